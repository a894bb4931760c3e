"""The sphere: samplers against quadrature over a sphere of three weights and against the theory; the relaxation rule."""

import numpy as np
import pytest

import replicax as rx
from replicax.simulation import (
    langevin,
    linear_program,
    perceptron_instances,
    relaxation,
    sample_sphere,
    spherical_gradient,
    typical_solutions,
)
from replicax.simulation.learning import stabilities
from replicax.simulation.outcomes import BUDGET, SOLVED
from replicax.top.simulate import simulate

KAPPA = -0.2


@pytest.fixture(scope="module")
def few():
    """Five patterns of three weights, and a grid of equal areas on the sphere |W|^2 = 3: W (points, 3), Delta (points, 5)."""
    x = np.random.default_rng(3).standard_normal((5, 3)).round(3)
    x[3:] *= np.sign(x[3:] @ x[:3].sum(0))[:, None]  # solvable
    z = (np.arange(1200) + 0.5) / 600.0 - 1.0
    angle = (np.arange(1200) + 0.5) * np.pi / 600.0
    r = np.sqrt(1.0 - z**2)
    W = np.stack(
        [np.outer(r, np.cos(angle)), np.outer(r, np.sin(angle)), np.outer(z, np.ones(1200))], -1
    ).reshape(-1, 3)
    W *= np.sqrt(3.0)
    return x, W, W @ x.T / np.sqrt(3.0)


def exact(few, beta: float, loss: str) -> tuple[float, float]:
    """Energy per weight and overlap of two independent samples, by quadrature."""
    _, W, delta = few
    gap = KAPPA - delta
    E = ((gap > 0).sum(1) if loss == "errors" else 0.5 * (np.maximum(gap, 0.0) ** 2).sum(1)).astype(float)
    p = (E == 0).astype(float) if np.isinf(beta) else np.exp(-beta * E)
    p /= p.sum()
    return float(p @ E) / 3.0, float(((p @ W) ** 2).sum() / 3.0)


def agrees(statistic, value: float, resolution: float) -> None:
    """Within 4 standard errors, and these are small enough to tell."""
    assert statistic.error < resolution and abs(statistic.z(value)) < 4.0
    assert statistic.r_hat < 1.05


@pytest.mark.parametrize("beta, loss", [(1.5, "errors"), (6.0, "squared-hinge"), (np.inf, "errors")])
def test_great_circles_against_quadrature(few, beta, loss):
    found = sample_sphere(few[0], kappa=KAPPA, beta=beta, loss=loss, sweeps=6000, warmup=200, chains=4)
    energy, q = exact(few, beta, loss)
    assert q > 0.15  # the patterns matter
    agrees(found["q"], q, 0.01)
    if np.isinf(beta):
        assert found["energy"].mean == 0.0 and found["solved"].mean == 1.0
    else:
        agrees(found["energy"], energy, 0.01)


@pytest.mark.parametrize("leaps", [1, 6])
def test_langevin_against_quadrature(few, leaps):
    """The Metropolis test makes it exact, even at steps of which a third is refused."""
    found = langevin(few[0], kappa=KAPPA, beta=6.0, sweeps=20000, warmup=500, chains=4, leaps=leaps, rate=2.5)
    energy, q = exact(few, 6.0, "squared-hinge")
    assert 0.3 < found["acceptance"].mean < 0.97
    agrees(found["q"], q, 0.02)
    agrees(found["energy"], energy, 0.01)


@pytest.mark.slow
@pytest.mark.parametrize(
    "algorithm, parameters",
    [
        ("slice", dict(alpha=1.0, beta=1.0)),
        ("slice", dict(alpha=1.0, kappa=-0.5)),
        ("slice", dict(alpha=1.0, beta=3.0, labels="teacher")),
        ("langevin", dict(alpha=1.5, kappa=0.5, beta=2.0, loss="squared-hinge")),
    ],
)
def test_samplers_against_the_theory(algorithm, parameters):
    model = rx.SphericalPerceptron(**parameters)
    found, theory = simulate(model, algorithm, N=101, samples=12, sweeps=500), rx.solve(model)
    assert all(found[name].r_hat < 1.1 for name in ("energy", "q"))
    assert abs(found["q"].z(float(theory.order.q))) < 4.0
    assert abs(found["energy"].mean - float(theory.energy)) <= 4.0 * found["energy"].error
    if "labels" in parameters:
        assert abs(found["R"].z(float(theory.order.R))) < 4.0


def test_relaxation():
    """kappa = -0.5, N = 200: 6/6 at alpha = 2 and 3 in the tables; nobody passes the Gardner bound 4.77."""
    easy = perceptron_instances(N=200, alpha=2.0, samples=6, key=2)
    found = relaxation(easy, kappa=-0.5)
    assert found.solved.all() and 3 < np.median(found.steps) < 60
    np.testing.assert_allclose((found.W**2).sum(1), 200.0, rtol=1e-12)
    assert np.all(stabilities(easy, found.W).min(1) >= -0.5 - 1e-9)
    hard = perceptron_instances(N=60, alpha=8.0, samples=3, key=2)
    lost = relaxation(hard, kappa=-0.5, epochs=30)
    assert set(lost.outcome) == {BUDGET} and np.all(lost.errors > 0) and np.all(lost.steps == 30)
    assert lost.statistics(hard)["solved"].n == 3


def test_linear_programs():
    """kappa = -1/2: solved at small alpha, not beyond what was measured on other instances; by name; alpha = 0 has no bounded polytope."""
    for alpha, solved in ((1.5, 4), (4.5, 0)):
        instances = perceptron_instances(N=80, alpha=alpha, samples=4, key=9)
        found = linear_program(instances, kappa=-0.5)
        assert found.solved.sum() == solved and set(found.outcome) <= {SOLVED, BUDGET}
        np.testing.assert_allclose((found.W**2).mean(1), 1.0, rtol=1e-12)
        assert np.all((stabilities(instances, found.W).min(1) >= -0.5 - 1e-9) == found.solved)
    model = rx.SphericalPerceptron(alpha=0.0, kappa=-0.5)
    assert simulate(model, "linear-program", N=20, samples=2).table()["solved"] == 1.0


def test_relaxation_on_patterns_of_ones_own():
    rng = np.random.default_rng(5)
    X, y = rng.standard_normal((40, 80)), rng.choice([-1, 1], 40)
    found = relaxation(X, y, kappa=0.2)
    assert found.outcome[0] == SOLVED
    assert np.all(y * (X @ found.W[0]) / np.sqrt(80) >= 0.2 - 1e-4)  # the patterns are rounded to a lattice


def test_no_start_no_sample():
    """Beyond capacity there is nothing to sample: the runs count as unsolved, and no average is made up."""
    instances = perceptron_instances(N=21, alpha=6.0, samples=3)
    found = sample_sphere(instances, kappa=0.5, sweeps=4)
    assert found["solved"].mean == 0.0 and found["solved"].n == 3 and set(found) == {"solved"}


def test_uniform_solutions_are_solutions():
    """They keep the margin and the norm through all rotations, move away from the start, and skip what was not solved."""
    instances = perceptron_instances(N=31, alpha=1.0, samples=4, key=3)
    kept, W = typical_solutions(instances, kappa=-0.5, sweeps=30)
    assert kept.samples == 4 and W.shape == (4, 31)
    np.testing.assert_allclose((W**2).sum(1), 31.0, rtol=1e-10)
    assert np.all(stabilities(kept, W) >= -0.5 - 1e-12)
    before = spherical_gradient(instances, kappa=-0.5, eps=0.0).W
    assert np.all(np.abs((W * before).mean(1)) < 0.95)
    none, W = typical_solutions(perceptron_instances(N=21, alpha=6.0, samples=6), kappa=0.5)
    assert none.samples == 0 and W.shape == (0, 21)


def test_no_patterns_at_all():
    """alpha = 0: uniform on the sphere."""
    found = simulate(rx.SphericalPerceptron(alpha=0.0), "slice", N=5, samples=2, sweeps=50)
    assert found["energy"].mean == 0.0 and abs(found["q"].mean) < 0.2


@pytest.mark.parametrize(
    "model, algorithm, message",
    [
        (dict(beta=1.0), "relaxation", "beta = 1 is not allowed"),
        (dict(beta=1.0), "gradient", "beta = 1 is not allowed"),
        (dict(), "langevin", "beta = inf is not allowed"),
        (dict(beta=1.0), "langevin", "loss = 'errors' is not allowed"),
    ],
)
def test_bad_models(model, algorithm, message):
    with pytest.raises(ValueError, match=message):
        simulate(rx.SphericalPerceptron(alpha=1.0, **model), algorithm)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda x: relaxation(x, kappa=0.0, rate=3.0), "rate = 3.0"),
        (lambda x: relaxation(x, kappa=0.0, epochs=0), "epochs = 0"),
        (lambda x: linear_program(x, kappa=0.0), "kappa = 0 is not allowed"),
        (lambda x: sample_sphere(x, loss="hinge"), "loss = 'hinge'"),
        (lambda x: sample_sphere(x, beta=-1.0), "beta = -1.0"),
        (lambda x: langevin(x, beta=np.inf), "beta = inf"),
        (lambda x: langevin(x, leaps=0), "leaps = 0"),
        (lambda x: sample_sphere(np.full_like(x, np.nan)), "not finite"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call(np.ones((3, 4)))
