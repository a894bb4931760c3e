"""Message passing against single instances solved elsewhere, enumeration, its own derivatives and state evolution."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from replicax.simulation import (
    PerceptronInstances,
    belief_propagation,
    enumerate_histograms,
    gamp,
    local_entropy,
    perceptron_instances,
)
from replicax.simulation.channels import Committee, Margin, Rectangle, SquaredHinge, UFunction
from replicax.simulation.learning import learnable
from replicax.simulation.outcomes import BUDGET, COLLAPSED, CONVERGED, FLOOR, LOST, words

SIGNS = np.array([-1, 1], np.int8)


def recipe(N, alpha, seed):
    """The instances of the reference figures: X and labels by numpy alone."""
    rng = np.random.default_rng(seed)
    P = round(alpha * N)
    return rng.choice(SIGNS, (P, N)), rng.choice(SIGNS, P)


def planted(N, alpha, seed):
    """Patterns with the labels of a teacher absorbed, and the teacher."""
    rng = np.random.default_rng(seed)
    X = rng.choice(SIGNS, (round(alpha * N), N))
    T = rng.choice(SIGNS, N)
    return X * np.sign(X.astype(int) @ T).astype(np.int8)[:, None], T


# ---------------------------------------------------------------- channels

CHANNELS = [
    (Margin(0.3), lambda x: float(x >= 0.3)),
    (Margin(-0.4, 1.5), lambda x: 1.0 if x >= -0.4 else math.exp(-1.5)),
    (Rectangle(0.8), lambda x: float(abs(x) <= 0.8)),
    (UFunction(0.5, 2.0), lambda x: 1.0 if abs(x) >= 0.5 else math.exp(-2.0)),
    (SquaredHinge(0.4, 3.0), lambda x: math.exp(-1.5 * max(0.4 - x, 0.0) ** 2)),
]


@pytest.mark.parametrize("channel, weight", CHANNELS, ids=lambda c: type(c).__name__)
def test_channels_are_the_integrals_that_they_say(channel, weight):
    om, V, step = 0.37, 0.6, 1e-4
    kinks = sorted({float(channel.kappa), -float(channel.kappa)})

    def log_f(om):
        edges = [-8.0, *kinks, 8.0]
        parts = (quad(lambda x: weight(x) * norm.pdf(x, om, math.sqrt(V)), a, b, epsabs=1e-13)[0]
                 for a, b in zip(edges, edges[1:]))  # fmt: skip
        return math.log(sum(parts))

    a, V = jnp.array([[om]]), jnp.array([[0.6]])
    V = float(V[0, 0])
    low, mid, high = (log_f(om + s * step) for s in (-1, 0, 1))
    g, slope = channel(a, jnp.full((1, 1), V))
    assert float(channel.value(a, jnp.full((1, 1), V))[0, 0]) == pytest.approx(mid, abs=1e-11)
    assert float(g[0, 0]) == pytest.approx((high - low) / (2 * step), abs=1e-6)
    assert float(slope[0, 0]) == pytest.approx((high - 2 * mid + low) / step**2, abs=1e-3)


def test_a_hard_margin_does_not_overflow_far_below():
    g, slope = Margin()(jnp.array([[-1e3, 1e3]]), jnp.full((1, 1), 1e-6))
    np.testing.assert_allclose(g, [[1e9, 0.0]], rtol=1e-9)
    np.testing.assert_allclose(slope, [[-1e6, 0.0]], rtol=1e-6)


def test_committees_are_sums_over_votes():
    """log f, g and its slope of 3 units, against all 2^3 votes and differences; one unit is a margin."""
    rng = np.random.default_rng(5)
    om, V = rng.standard_normal((3, 6)), rng.uniform(0.2, 1.0, (3, 1)) * np.ones(6)

    def log_f(om, beta):
        p = norm.cdf((om - 0.2) / np.sqrt(V))
        right = 0.0
        for votes in np.ndindex(2, 2, 2):
            v = np.array(votes)[:, None]
            right = right + (v.sum() >= 2) * np.prod(np.where(v == 1, p, 1.0 - p), 0)
        return np.log(right + math.exp(-beta) * (1.0 - right))

    for beta in (math.inf, 1.3):
        channel = Committee(0.2, None if beta == math.inf else beta, units=3)
        value = jax.jit(lambda om: channel.value(om, V))(om)
        np.testing.assert_allclose(value.sum(0), log_f(om, beta), rtol=1e-12)
        g, slope = jax.jit(lambda om: channel(om, V))(om)
        for k in range(3):
            e = 1e-4 * (np.arange(3) == k)[:, None]
            low, mid, high = log_f(om - e, beta), log_f(om, beta), log_f(om + e, beta)
            np.testing.assert_allclose(g[k], (high - low) / 2e-4, atol=1e-7)
            np.testing.assert_allclose(slope[k], (high - 2 * mid + low) / 1e-8, atol=1e-6)
    energy = (log_f(om, 1.3 - 1e-5) - log_f(om, 1.3 + 1e-5)) / 2e-5
    np.testing.assert_allclose(jax.jit(lambda om: channel.energy(om, V))(om).sum(0), energy, atol=1e-8)
    one, margin = Committee(0.2, units=1), Margin(0.2)
    x, far = jnp.array([[-300.0, -1.0, 0.4, 50.0]]), jnp.full((1, 4), 1e-3)
    both = lambda channel: jax.jit(lambda x: (channel.value(x, far), *channel(x, far)))(x)
    (a, *slopes), (b, *others) = both(one), both(margin)
    np.testing.assert_allclose(a, b, rtol=1e-12)
    for a, b in zip(slopes, others):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-12)


# ---------------------------------------------------------------- single instances


@pytest.mark.parametrize(
    "alpha, kappa, beta, phi, q",
    [
        (0.4, 0.0, None, 0.3925595223561142, 0.25461751478843714),
        (0.6, 0.0, None, 0.23132632197243716, 0.3866241077590476),
        (0.5, 0.0, 1.0, 0.5011661637509996, 0.060215425369431475),
        (0.3, 0.5, None, 0.26580490356823905, 0.41007799300244735),
    ],
)
def test_single_instances(alpha, kappa, beta, phi, q):
    """An independent numpy implementation on the same instances (N = 1001, seed 1000)."""
    X, y = recipe(1001, alpha, 1000)
    result = gamp(X, y, channel=Margin(kappa, beta), tol=1e-12)
    assert words(result.outcome).tolist() == [["converged"]]
    assert result.phi[0, 0] == pytest.approx(phi, abs=1e-12)
    assert result.q[0, 0] == pytest.approx(q, abs=1e-10)
    if beta is not None:
        assert result.energy[0, 0] == pytest.approx(0.13971200296372605, abs=1e-11)


def test_derivatives_of_the_bethe_free_entropy():
    """d phi/d beta = -energy and d phi/d(field) = overlap: phi is stationary in the messages."""
    X, y = recipe(501, 0.5, 7)
    W = np.random.default_rng(0).choice([-1.0, 1.0], 501)
    step, stencil = 2e-3, np.array([-2.0, -1.0, 1.0, 2.0])
    beta = 1.0 + step * np.concatenate([[0.0], stencil, np.zeros(4)])[:, None]
    gamma = 0.2 + step * np.concatenate([[0.0], np.zeros(4), stencil])[:, None]
    result = gamp(X, y, channel=Margin(0.0, jnp.asarray(beta)), field=gamma * W, tol=1e-14)
    slopes = result.phi[0, 1:].reshape(2, 4) @ np.array([1.0, -8.0, 8.0, -1.0]) / (12 * step)
    assert slopes[0] == pytest.approx(-result.energy[0, 0], abs=1e-10)
    assert slopes[1] == pytest.approx((result.m[0, 0] * W).mean(), abs=1e-10)


@pytest.mark.slow
def test_the_slow_reference_differs_by_one_over_N():
    """Full cavity messages: the difference of phi falls like 1/N, and is 4e-5 at N = 101, beta = 1."""
    gaps = []
    for N in (51, 201):
        X = np.stack([recipe(N, 0.4, 100 + s)[0] for s in range(4)])
        fast, slow = gamp(X), belief_propagation(X)
        assert np.all(fast.outcome == CONVERGED) and np.all(slow.outcome == CONVERGED)
        gaps.append(np.abs(fast.phi - slow.phi).mean())
    assert gaps[1] < 0.5 * gaps[0] < 1e-3
    X, y = recipe(101, 0.5, 3)
    soft = Margin(0.0, 1.0)
    assert gamp(X, y, channel=soft).phi[0, 0] == pytest.approx(
        belief_propagation(X, y, channel=soft).phi[0, 0], abs=1e-4
    )


def test_against_enumeration():
    """All weights of N = 21, P = 8 at beta = 1: the published histogram, and the mean of 60 instances."""
    X = np.stack([x * y[:, None] for x, y in (recipe(21, 8 / 21, 5000 + s) for s in range(60))])
    histograms = enumerate_histograms(PerceptronInstances.from_array(X))
    assert histograms.counts[0].tolist() == [
        16947, 98857, 257406, 426887, 496958, 426887, 257406, 98857, 16947,
    ]  # fmt: skip
    exact = histograms.log_z(1.0) / 21
    assert exact.mean() == pytest.approx(0.5484389206300627, abs=1e-12)
    difference = gamp(X, channel=Margin(0.0, 1.0)).phi[:, 0] - exact
    assert abs(difference.mean()) < 1e-3 and np.sqrt((difference**2).mean()) < 3e-3


def test_patterns_that_are_not_signs():
    """Row and column variances: patterns of unequal size agree with the full cavity equations."""
    rng = np.random.default_rng(4)
    X = rng.standard_normal((80, 201)) * rng.uniform(0.3, 2.0, (80, 1)) * rng.uniform(0.5, 1.5, (1, 201))
    X = np.clip(X, -7.9, 7.9)
    fast, slow = gamp(X, damping=0.2), belief_propagation(X)
    assert fast.phi[0, 0] == pytest.approx(slow.phi[0, 0], abs=1.5e-3)
    assert np.abs(fast.m - slow.m).max() < 0.06


@pytest.mark.slow
def test_constraints_even_in_the_weights_are_annealed():
    """m = 0: phi = log 2 + alpha log p."""
    instances = perceptron_instances(N=301, alpha=0.5, patterns="pm1", key=1)
    result = gamp(instances, channel=Rectangle(1.0))
    p = norm.cdf(1) - norm.cdf(-1)
    assert result.phi[0, 0] == pytest.approx(math.log(2) + instances.P / 301 * math.log(p), abs=1e-12)


def test_learning_from_a_teacher_follows_state_evolution():
    """q = R = 0.29309 at alpha = 0.5 (Bayes-optimal)."""
    instances = perceptron_instances(N=1001, alpha=0.5, samples=8, patterns="pm1", labels="teacher", key=3)
    result = gamp(instances)
    R = (result.m[:, 0] * instances.teacher).mean(1)
    assert R.mean() == pytest.approx(0.29309, abs=4 * R.std(ddof=1) / math.sqrt(8))
    assert result.q.mean() == pytest.approx(0.29309, abs=0.01)


@pytest.mark.slow
def test_sphere():
    """Averages at N = 400 lie within 4 standard errors of replica symmetry."""
    for kappa, alpha, phi in ((-0.5, 1.0, -0.38947653), (-1.0, 4.0, -0.731672)):
        result = gamp(
            perceptron_instances(N=400, alpha=alpha, samples=8, key=2),
            channel=Margin(kappa),
            weights="spherical",
            damping=0.3,
        )
        assert np.all(result.outcome == CONVERGED)
        error = result.phi.std(ddof=1) / math.sqrt(8)
        assert abs(result.phi.mean() - phi) < 4 * error < 0.05
    nothing = gamp(np.ones((1, 51)), channel=Margin(-30.0), weights="spherical")
    assert nothing.phi[0, 0] == pytest.approx(0.0, abs=1e-12)


# ---------------------------------------------------------------- honesty


def test_outcomes():
    X, y = recipe(301, 0.5, 1)
    assert gamp(X, y, iterations=3).outcome.tolist() == [[BUDGET]]
    assert np.isnan(gamp(X, y, iterations=3).phi).all()
    # far beyond capacity of what a teacher leaves open, the variance vanishes: not converged, whatever the step
    X, _ = planted(401, 2.5, 1)
    result = gamp(X, damping=0.5)
    assert result.outcome[0, 0] != CONVERGED and np.isnan(result.phi[0, 0])
    assert FLOOR not in gamp(*recipe(301, 0.3, 2)).outcome


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: gamp(np.zeros((0, 5))), "not empty"),
        (lambda: gamp(np.array([[1.0, np.nan]])), "finite"),
        (lambda: gamp(np.ones((3, 5)), y=[1, 0, 1]), "labels must be -1 or"),
        (lambda: gamp(np.ones((3, 5)), y=[1, 1]), "y of shape"),
        (lambda: gamp(np.ones((3, 5)), y=["a", "b", "c"]), "labels must be -1 or"),
        (lambda: gamp(np.ones((3, 5)) * 1j), "real numbers"),
        (lambda: gamp(np.full((3, 5), 10**9)), "max .patterns. = 1000000000"),
        (lambda: gamp(np.ones((3, 5)), field=np.ones(4)), "field of shape"),
        (lambda: gamp(np.ones((3, 5)), damping=1.0), "damping = 1.0"),
        (lambda: gamp(np.ones((3, 5)), channel=Committee(units=3)), "N = 5"),
        (lambda: gamp(np.ones((3, 6)), channel=Committee(units=3), field=np.ones((2, 2))), "columns"),
        (lambda: belief_propagation(np.ones((3, 6)), channel=Committee(units=3)), "committees"),
        (lambda: gamp(np.ones((3, 5)), weights="ternary"), "weights = 'ternary'"),
        (lambda: local_entropy(np.ones((3, 5)), around=np.zeros(5), gammas=[0.0]), "around"),
        (lambda: local_entropy(np.ones((3, 5)), around=np.ones(5), gammas=[0.5, 0.2]), "gammas"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("numbers", [np.uint8, np.uint64, np.int8, float, np.float32])
def test_types_of_patterns(numbers):
    """Labels are absorbed without wrapping, and +-1 are +-1 in any type."""
    y = np.array([1, -1, 1])
    X = np.ones((3, 5), numbers)
    found = learnable(X, y).patterns
    assert found.dtype == np.int8 and np.array_equal(found[0], y[:, None] * np.ones((3, 5)))
    wide = learnable(X + numbers(4), y)
    assert np.array_equal(wide.patterns[0] / wide.scale, 5 * y[:, None] * np.ones((3, 5)))


@pytest.mark.parametrize("tree", [True, False])
def test_committees_against_all_weights(tree):
    """3 units of 5 inputs, all 2^15 weights at beta = 1: the bias is O(1/N); dphi/dbeta = -energy."""
    every = (2 * ((np.arange(32)[:, None] >> np.arange(5)) & 1) - 1).astype(np.int8)
    differences = []
    for seed in range(8):
        X = np.random.default_rng(seed).choice(SIGNS, (6, 15 if tree else 5))
        votes = [np.sign(every @ (X[:, 5 * k : 5 * k + 5] if tree else X).T) for k in range(3)]
        total = votes[0][:, None, None] + votes[1][None, :, None] + votes[2][None, None]
        exact = np.log(np.exp(-(total < 0).sum(-1)).sum()) / 15
        begin = None if tree else 0.1 * np.random.default_rng(seed).standard_normal((3, 5))
        run = lambda beta: gamp(
            X, channel=Committee(beta=beta, units=3, tree=tree), start_at=begin, damping=0.3
        )
        result = run(1.0)
        assert result.outcome[0, 0] == CONVERGED and result.m.shape == (1, 3, 5)
        differences.append(result.phi[0, 0] - exact)
    assert abs(np.mean(differences)) < 0.006 and np.std(differences) < 0.01
    slope = (run(1.0 + 1e-4).phi - run(1.0 - 1e-4).phi) / 2e-4
    np.testing.assert_allclose(slope, -result.energy, atol=1e-6)


# ---------------------------------------------------------------- local entropy


def test_local_entropy_around_a_teacher():
    X, T = planted(1001, 0.5, 2000)
    curve = local_entropy(X, around=T, gammas=[0.0, 0.2, 0.5, 1.0])
    d = [0.27287046206160237, 0.16646053643880232, 0.053219850861046136]
    S = [0.3632917708891668, 0.2898872429350281, 0.12730340249664185]
    np.testing.assert_allclose(curve.d[0, 1:], d, atol=1e-10)
    np.testing.assert_allclose(curve.entropy[0, 1:], S, atol=1e-10)
    assert curve.entropy[0, 0] == pytest.approx(gamp(X).phi[0, 0], abs=1e-10)
    assert np.all(curve.entropy < curve.bound)
    # dS/dd = 2 gamma between neighbours, to second order
    fine = local_entropy(X, around=T, gammas=[0.49, 0.51])
    slope = np.diff(fine.entropy[0]) / np.diff(fine.d[0])
    assert slope[0] == pytest.approx(1.0, abs=1e-4)


def test_the_end_of_a_branch_is_reported():
    X, T = planted(1001, 1.0, 2000)
    curve = local_entropy(X, around=T, gammas=[0.5, 0.7, 1.0], iterations=400)
    assert curve.d[0, 0] == pytest.approx(0.06714681476271916, abs=1e-9)
    assert curve.entropy[0, 0] == pytest.approx(0.040743336586102186, abs=1e-9)
    assert curve.outcome[0, 0] == CONVERGED and curve.outcome[0, 1] in (BUDGET, COLLAPSED, FLOOR)
    assert curve.outcome[0, 2] == LOST and np.isnan(curve.entropy[0, 1:]).all()


def test_local_entropy_without_patterns_is_the_volume():
    """A margin of -30 forbids nothing."""
    X, _ = recipe(101, 0.1, 0)
    W = np.random.default_rng(1).choice([-1.0, 1.0], 101)
    curve = local_entropy(X, around=W, gammas=[0.0, 0.3, 1.0], channel=Margin(-30.0))
    np.testing.assert_allclose(curve.d[0], (1 - np.tanh([0.0, 0.3, 1.0])) / 2, atol=1e-12)
    np.testing.assert_allclose(curve.entropy, curve.bound, atol=1e-12)
    sphere = W * math.sqrt(101 / (W**2).sum())
    curve = local_entropy(X, around=sphere, gammas=[0.5, 2.0], channel=Margin(-30.0), weights="spherical")
    np.testing.assert_allclose(curve.entropy, curve.bound, atol=1e-12)
