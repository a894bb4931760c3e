"""Max-sum against brute force; replicas and entropy-SGD against what they reduce to; rates on fresh instances."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import replicax as rx
from replicax.simulation import (
    entropy_sgd,
    max_sum,
    perceptron_instances,
    replicated_sgd,
    stochastic_weights,
)
from replicax.simulation.descent import cross_entropy
from replicax.simulation.learning import errors
from replicax.simulation.max_sum import pattern_messages
from replicax.simulation.outcomes import BUDGET, SOLVED
from replicax.top.simulate import simulate

SOLVERS = {"max-sum": max_sum, "replicated-sgd": replicated_sgd, "entropy-sgd": entropy_sgd}


@pytest.mark.parametrize("N", [3, 9])
def test_messages_of_max_sum_against_brute_force(N):
    """Half the difference of the two maxima over all weights, from badly aligned to satisfied patterns."""
    rng = np.random.default_rng(N)
    W = np.array(list(itertools.product([-1.0, 1.0], repeat=N)))
    turns = set()
    for _ in range(60):
        x = rng.choice([-1.0, 1.0], N)
        psi = rng.standard_normal(N) + x * rng.choice([-1.0, 0.0, 1.0])
        right = W @ x > 0
        wanted = []
        for i in range(N):
            value = W @ np.where(np.arange(N) == i, 0.0, psi)
            wanted.append(0.5 * (value[right & (W[:, i] > 0)].max() - value[right & (W[:, i] < 0)].max()))
        np.testing.assert_allclose(pattern_messages(jnp.array(x), jnp.array(psi)), wanted, atol=1e-14)
        turns.add(np.sign(np.sum(x * np.sign(psi)) - 1))
    assert turns == {-1.0, 0.0, 1.0}  # every case of the formula came up


@pytest.fixture(scope="module")
def easy():
    return perceptron_instances(N=201, alpha=0.3, samples=4, patterns="pm1", key=21)


@pytest.fixture(scope="module")
def hard():
    return perceptron_instances(N=51, alpha=1.6, samples=3, patterns="pm1", key=22)


@pytest.mark.parametrize("name", SOLVERS)
def test_solved_and_not(name, easy, hard):
    """All solve alpha = 0.3, none alpha = 1.6, beyond capacity; that is a budget used up, in the denominator."""
    found = SOLVERS[name](easy)
    assert found.solved.all() and np.array_equal(found.outcome == SOLVED, errors(easy, found.W) == 0)
    assert found.W.dtype == np.int8 and np.all(np.abs(found.W) == 1) and np.all(found.steps > 0)
    lost = SOLVERS[name](hard)
    assert set(lost.outcome) == {BUDGET} and np.all(lost.errors > 0) and np.all(lost.steps == lost.budget)
    row = lost.statistics(hard)
    assert row["solved"].mean == 0.0 and row["solved"].n == 3 and row["diverged"].mean == 0.0


def test_max_sum_does_not_overflow(hard):
    """Fields grow without bound at r = 1: 1500 sweeps would pass 1e38 (single precision) many times over."""
    found = max_sum(hard, dr=0.05, sweeps=1500)
    assert set(found.outcome) == {BUDGET} and np.all(found.errors < hard.P / 2)


def test_entropy_sgd_of_one_inner_step_is_gradient_ascent(easy):
    """mu = m/4 + 3/4 (m + eta' grad L): plain ascent at 3/4 of the rate, while no mean is cut."""
    rate = 0.02
    plain = stochastic_weights(easy, steps=8, rate=0.75 * rate)
    inner = entropy_sgd(easy, steps=8, inner=1, noise=0.0, rate=rate, gammas=(0.5, 0.5))
    np.testing.assert_array_equal(plain.W, inner.W)
    half = entropy_sgd(easy, steps=8, inner=1, noise=0.0, rate=2 * rate, pull=0.5, gammas=(3.0, 3.0))
    np.testing.assert_array_equal(plain.W, half.W)


def test_replicas_without_coupling_do_not_know_gamma(hard):
    one = replicated_sgd(hard, coupling=0.0, epochs=5, gammas=(0.1, 0.0))
    other = replicated_sgd(hard, coupling=0.0, epochs=5, gammas=(2.0, 1.0))
    np.testing.assert_array_equal(one.W, other.W)
    coupled = replicated_sgd(hard, coupling=0.3, epochs=5, gammas=(2.0, 1.0))
    assert not np.array_equal(one.W, coupled.W)


@pytest.mark.parametrize("tree", [False, True])
def test_cross_entropy_of_votes(tree):
    """-log(p)/2 of three units against all 2^3 votes; of one unit log(1 + exp(-2 (Delta - kappa)))/2."""
    rng = np.random.default_rng(8)
    W, x = rng.choice([-1.0, 1.0], (2, 3, 6)), rng.standard_normal((3, 4, 6) if tree else (4, 6))
    delta = np.einsum("aki,kpi->akp" if tree else "aki,pi->akp", W, x)
    p = 1.0 / (1.0 + np.exp(-2.0 * (delta - 0.1)))
    right = sum(
        np.prod(np.where(np.array(v)[:, None] == 1, p, 1.0 - p), 1)
        for v in np.ndindex(2, 2, 2)
        if sum(v) >= 2
    )
    found = jax.jit(cross_entropy)(jnp.asarray(W), jnp.asarray(x), 0.1)
    assert float(found) == pytest.approx(-0.5 * np.log(right).sum(), rel=1e-12)
    one = jax.jit(cross_entropy)(jnp.asarray(W[:, :1]), jnp.asarray(x[:1] if tree else x), 0.1)
    assert float(one) == pytest.approx(0.5 * np.log1p(np.exp(-2.0 * (delta[:, :1] - 0.1))).sum(), rel=1e-12)


def test_coupling_helps():
    """alpha = 0.5, N = 501, 150 epochs, fresh instances: rates of about 1 and 0.1 were measured on others."""
    instances = perceptron_instances(N=501, alpha=0.5, samples=6, patterns="pm1", key=41)
    together = replicated_sgd(instances, epochs=150)
    alone = replicated_sgd(instances, epochs=150, coupling=0.0)
    assert together.solved.sum() >= 5 and alone.solved.sum() <= 3


def test_patterns_and_margins_of_ones_own():
    rng = np.random.default_rng(6)
    X, y = rng.standard_normal((30, 120)), rng.choice([-1, 1], 30)
    for solver in (entropy_sgd, replicated_sgd):
        found = solver(X, y, kappa=0.1)
        assert found.solved[0] and np.all(y * (X @ found.W[0]) >= 0.1 * np.sqrt(120) - 1e-2)
    signs = np.where(rng.random((25, 101)) < 0.5, 1, -1)
    W = max_sum(signs, y[:25]).W[0].astype(int)
    assert np.all(y[:25] * (signs @ W) > 0)


def test_by_name():
    for name in SOLVERS:
        table = simulate(rx.BinaryPerceptron(alpha=0.2), name, N=101, samples=2).table()
        assert table["solved"] == 1.0 and table["energy"] == 0.0 and table["solved_err"] > 0


@pytest.mark.slow
def test_rates():
    """N = 1001, alpha = 0.6: 19 of 20 and 20 of 20 for entropy-SGD and for stochastic weights at the same rate."""
    instances = perceptron_instances(N=1001, alpha=0.6, samples=20, patterns="pm1", key=43)
    found = entropy_sgd(instances)
    assert found.solved.sum() >= 16 and 8 < np.median(found.steps[found.solved]) < 25
    assert max_sum(perceptron_instances(N=301, alpha=0.3, samples=6, patterns="pm1", key=44)).solved.all()


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda x: max_sum(np.ones((3, 4), int)), "N = 4 is not allowed"),
        (lambda x: max_sum(np.ones((3, 1), int)), "N = 1 is not allowed"),
        (lambda x: max_sum(0.5 * x), "counts in integers"),
        (lambda x: max_sum(x, dr=1.5), "dr = 1.5"),
        (lambda x: entropy_sgd(x, pull=1.5), "pull = 1.5"),
        (lambda x: entropy_sgd(x, gammas=(0.0, 1.0)), "gammas = 0.0"),
        (lambda x: entropy_sgd(x, inner=0), "inner = 0"),
        (lambda x: replicated_sgd(x, replicas=0), "replicas = 0"),
        (lambda x: replicated_sgd(x, batch=0), "batch = 0"),
        (lambda x: replicated_sgd(x, np.array([1, 2, 1])), "labels must be -1 or \\+1"),
        (lambda x: simulate(rx.BinaryPerceptron(alpha=0.3, kappa=0.5), "max-sum"), "kappa = 0.5"),
        (lambda x: simulate(rx.BinaryPerceptron(alpha=0.3, beta=1.0), "replicated-sgd"), "beta = 1"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call(np.ones((3, 5), int))
