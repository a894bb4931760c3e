"""Thresholds: reference figures, closed forms, derivatives, flags, and the whole range of parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

import replicax as rx
from replicax.answers import thresholds

KAPPAS = np.linspace(-3, 3, 61)


def gardner(kappa):
    """1/[(1 + kappa^2) Phi(kappa) + kappa G(kappa)], the closed form of Gardner (1988)."""
    return 1.0 / ((1 + kappa**2) * norm.cdf(kappa) + kappa * norm.pdf(kappa))


@pytest.mark.parametrize(
    ("model", "name", "expected", "tolerance"),
    [
        # value, and columns by name; computed by independent scripts unless a paper is named
        (rx.BinaryPerceptron(kappa=-2.0), "capacity", dict(value=29.992083209315155, q=0.118633847007), 1e-9),
        (rx.BinaryPerceptron(kappa=-0.5), "capacity", dict(value=1.6788411129169627, q=0.473769179511), 1e-9),
        (rx.BinaryPerceptron(), "capacity", dict(value=0.8330785997395679, q=0.563949080084), 1e-9),
        (rx.BinaryPerceptron(), "capacity", dict(value=0.8330786), 5e-8),  # Stojnic (2023)
        (rx.BinaryPerceptron(kappa=0.5), "capacity", dict(value=0.4556645645424296, q=0.638413331996), 1e-9),
        (rx.BinaryPerceptron(kappa=2.0), "capacity", dict(value=0.11648872429989036, q=0.791914641580), 1e-9),
        (rx.BinaryPerceptron(alpha=0.2), "kappa-max", dict(value=1.3277036285085178), 1e-9),
        (rx.BinaryPerceptron(alpha=1.0), "kappa-max", dict(value=-0.13773001694758683), 1e-9),
        (rx.BinaryPerceptron(alpha=0.9), "freezing", dict(value=6.777737665694941), 1e-7),
        (rx.BinaryPerceptron(alpha=0.9), "freezing", dict(energy=0.008799237122, q=0.550270130809), 1e-9),
        (
            rx.BinaryPerceptron(alpha=4.0),
            "freezing",
            dict(value=1.7287210383745573, energy=0.967014713681),
            1e-7,
        ),
        (rx.BinaryPerceptron(alpha=2.0, kappa=-0.5), "freezing", dict(value=4.294129772720585), 1e-7),
        (rx.BinaryPerceptron(), "dat", dict(value=1.0146536100941308), 1e-6),
        (rx.BinaryPerceptron(kappa=0.5), "dat", dict(value=0.5345007679728458), 1e-6),
        (rx.SymmetricPerceptron(kappa=0.5), "capacity", dict(value=0.7220912450685875), 1e-12),
        (rx.SymmetricPerceptron(kappa=2.0), "capacity", dict(value=14.884652251701112), 1e-11),
        (
            rx.SymmetricPerceptron(kappa=0.25, constraint="u"),
            "capacity",
            dict(value=3.1518927356278574),
            1e-12,
        ),
        (
            rx.SphericalPerceptron(kappa=-0.5),
            "dat",
            dict(value=3.950701313445222, q=0.8959227308561226),
            1e-9,
        ),
        (rx.SphericalPerceptron(kappa=-0.5), "dat", dict(x_break=0.22585320909, xdot=0.6968002127), 1e-7),
        (
            rx.SphericalPerceptron(kappa=-1.0),
            "dat",
            dict(value=7.873560240525111, x_break=0.36676533561),
            1e-8,
        ),
        (rx.SphericalPerceptron(kappa=-1.5), "dat", dict(value=18.73807935629136, xdot=-0.02346422277), 1e-8),
    ],
    ids=lambda x: None if isinstance(x, float) else str(x)[:60].replace("\n", " "),
)
def test_reference_figures(model, name, expected, tolerance):
    answer = rx.threshold(model, name)
    assert bool(answer.converged) and answer.status == "ok"
    for column, value in expected.items():
        assert float(getattr(answer, column)) == pytest.approx(value, abs=tolerance), column


def test_spherical_capacity_is_gardners():
    answer = rx.threshold(rx.SphericalPerceptron(kappa=KAPPAS), "capacity")
    np.testing.assert_allclose(answer.value, gardner(KAPPAS), rtol=1e-13)
    np.testing.assert_array_equal(answer.status, np.where(KAPPAS < 0, "upper bound", "ok"))


def test_spherical_margin_inverts_the_capacity():
    alphas = np.array([0.01, 0.3, 1.0, 2.0, 5.0, 100.0, 4000.0])
    answer = rx.threshold(rx.SphericalPerceptron(alpha=alphas), "kappa-max")
    np.testing.assert_allclose(gardner(np.asarray(answer.value)), alphas, rtol=1e-12)
    assert abs(float(answer.value[3])) < 1e-12


def test_binary_capacity_over_the_domain():
    """The saddle and the condition hold at every margin, below the first-moment bound, and monotonically."""
    answer = rx.threshold(rx.BinaryPerceptron(kappa=KAPPAS), "capacity")
    assert np.all(np.asarray(answer.converged))
    value = np.asarray(answer.value)
    assert np.all(np.diff(value) < 0)
    assert np.all(value < -np.log(2) / norm.logsf(KAPPAS))
    there = rx.solve(rx.BinaryPerceptron(alpha=value, kappa=KAPPAS))
    assert np.max(np.abs(there.entropy)) < 1e-11
    np.testing.assert_allclose(there.q, answer.q, atol=1e-11)


def test_margin_and_capacity_are_inverse():
    alphas = 10.0 ** np.linspace(-1.5, 2, 24)
    margins = rx.threshold(rx.BinaryPerceptron(alpha=alphas), "kappa-max").value
    np.testing.assert_allclose(
        rx.threshold(rx.BinaryPerceptron(kappa=margins), "capacity").value, alphas, rtol=1e-10
    )


def test_instability_is_where_the_replicon_vanishes():
    kappas = np.linspace(-2.9, -0.05, 20)
    for model in (rx.SphericalPerceptron, rx.BinaryPerceptron):
        answer = rx.threshold(model(kappa=kappas), "dat")
        assert np.all(np.asarray(answer.converged))
        there = rx.solve(model(alpha=answer.value, kappa=kappas))
        assert np.max(np.abs(there.replicon)) < 1e-9


def test_instability_next_to_margin_zero():
    """1 - q = .755 kappa^2: values of both equations by hand in mpmath."""
    answer = rx.threshold(rx.SphericalPerceptron(kappa=np.array([-1e-3, -1e-4, -1e-6])), "dat")
    assert np.all(np.asarray(answer.converged))
    np.testing.assert_allclose(
        answer.value, [2.003191616515493, 2.000319154551586, 2.000003191538315], rtol=1e-13
    )
    np.testing.assert_allclose(1.0 - answer.q[:2], [7.5333834796e-7, 7.55024467786e-9], rtol=2e-8)


def test_freezing_over_the_domain():
    """From just above capacity (beta_c -> inf) to many patterns; the entropy of the solution vanishes there."""
    kappas = np.linspace(-3, 3, 8)
    capacity = np.asarray(rx.threshold(rx.BinaryPerceptron(kappa=kappas), "capacity").value)
    alphas = capacity * (1 + 10.0 ** np.arange(-8, 5, 2))[:, None]
    answer = rx.threshold(rx.BinaryPerceptron(alpha=alphas, kappa=kappas), "freezing")
    assert np.all(np.asarray(answer.converged))
    assert np.all(np.diff(answer.value, axis=0) < 0)
    there = rx.solve(rx.BinaryPerceptron(alpha=alphas, kappa=kappas, beta=answer.value))
    assert np.max(np.abs(there.entropy)) < 1e-9
    np.testing.assert_allclose(there.energy, answer.energy, rtol=1e-7)


def test_symmetric_u_beyond_kappa_star_is_an_upper_bound():
    """kappa* = 0.81709945308 (Aubin, Perkins & Zdeborova: 0.817): annealed entropy and instability vanish together."""
    star = 0.8170994530782729
    answer = rx.threshold(
        rx.SymmetricPerceptron(kappa=[star - 1e-6, star + 1e-6], constraint="u"), "capacity"
    )
    assert list(answer.status) == ["ok", "upper bound"]
    assert float(answer.value[0]) == pytest.approx(0.78570343, abs=1e-5)


@pytest.mark.parametrize(
    ("build", "name", "at"),
    [
        (lambda k: rx.BinaryPerceptron(kappa=k), "capacity", 0.0),
        (lambda k: rx.BinaryPerceptron(kappa=k), "capacity", -1.3),
        (lambda k: rx.SphericalPerceptron(kappa=k), "dat", -0.8),
        (lambda k: rx.SphericalPerceptron(kappa=k), "capacity", 0.3),
        (lambda a: rx.BinaryPerceptron(alpha=a), "kappa-max", 0.7),
        (lambda a: rx.SphericalPerceptron(alpha=a), "kappa-max", 1.5),
        (lambda a: rx.BinaryPerceptron(alpha=a), "freezing", 1.4),
        (lambda k: rx.SymmetricPerceptron(kappa=k), "capacity", 1.1),
    ],
)
def test_derivatives_against_finite_differences(build, name, at):
    def value(x):
        return rx.threshold(build(x), name).value

    h = 2e-3
    points = value(at + h * np.array([-2, -1, 1, 2.0]))
    difference = float(points @ np.array([1, -8, 8, -1]) / (12 * h))
    assert float(jax.grad(value)(at)) == pytest.approx(difference, rel=1e-7)


def test_derivative_of_the_capacity_is_the_one_in_the_readme():
    slope = jax.grad(lambda k: rx.threshold(rx.BinaryPerceptron(kappa=k), "capacity").value)(0.0)
    assert float(slope) == pytest.approx(-1.0820156348, abs=1e-9)


def test_vmap_and_second_derivative():
    def value(k):
        return rx.threshold(rx.BinaryPerceptron(kappa=k), "capacity").value

    ks = jnp.array([-0.2, 0.0, 0.2])
    np.testing.assert_allclose(jax.vmap(value)(ks), value(ks), rtol=1e-13)
    second = float(jax.grad(jax.grad(value))(0.0))
    h = 1e-2
    slopes = jax.vmap(jax.grad(value))(h * jnp.array([-2, -1, 1, 2.0]))
    assert second == pytest.approx(float(slopes @ jnp.array([1, -8, 8, -1]) / (12 * h)), rel=1e-6)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        # at any distance below capacity the entropy vanishes at no temperature
        (rx.BinaryPerceptron(alpha=np.array([0.1, 0.7, 0.833, 0.8330785]), kappa=0.0), "freezing"),
        # RS is stable up to the capacity
        (rx.SphericalPerceptron(kappa=np.array([0.0, 1e-9, 0.5, 3.0])), "dat"),
    ],
)
def test_a_threshold_that_does_not_exist_is_flagged(model, name):
    answer = rx.threshold(model, name)
    assert not np.any(answer.converged)
    assert set(answer.status) == {"no solution"}
    assert np.all(np.isnan(answer.value)) and all(np.all(np.isnan(v)) for v in answer.columns.values())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: rx.threshold(rx.BinaryPerceptron(), "melting"),
            "threshold 'melting' is unknown; there are alpha-le",
        ),
        (
            lambda: rx.threshold(rx.SymmetricPerceptron(kappa=1.0), "freezing"),
            "not defined for SymmetricPerceptron",
        ),
        (
            lambda: rx.threshold(rx.BinaryPerceptron(alpha=0.3), "capacity"),
            "alpha = 0.3: threshold 'capacity' solves",
        ),
        (lambda: rx.threshold(rx.BinaryPerceptron(), "kappa-max"), "alpha is missing"),
        (lambda: rx.threshold(rx.BinaryPerceptron(kappa=np.nan), "capacity"), "kappa = nan is outside"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        call()


class Coarse(thresholds.Augmented):
    nodes, coarser = 14, 1


def test_the_error_of_a_threshold_is_what_finer_rules_change():
    definition = thresholds.definition_of(rx.BinaryPerceptron, "capacity")
    rough = thresholds.System("alpha", lambda model, options: Coarse(model, options, definition))
    kernel = jax.jit(lambda kappa: thresholds._Kernel("capacity", rough, ())((_at(kappa), {}), None, 1))
    for kappa in (-0.7, 0.0, 0.9):
        found, exact = kernel(kappa), rx.threshold(_at(kappa), "capacity")
        off = abs(float(found.value - exact.value))
        assert exact.quadrature_error < 1e-12 < off < found.quadrature_error < 1e-2
    assert "quadrature_error" in exact.table()


def _at(kappa):
    return rx.BinaryPerceptron(kappa=kappa)


def test_the_error_of_a_threshold_without_a_system():
    found = rx.threshold(rx.SymmetricPerceptron(kappa=np.array([0.5, 1.0])), "capacity")
    p = norm.cdf([0.5, 1.0]) - norm.cdf([-0.5, -1.0])
    np.testing.assert_allclose(found.value, -np.log(2) / np.log(p), rtol=1e-14)
    assert np.all(found.quadrature_error < 1e-13)
