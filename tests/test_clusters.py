"""Clusters of the sphere: the m = 1 equations integrated by hand, published structure, and where there are none."""

import numpy as np
import pytest
from scipy.special import log_ndtr

import replicax as rx

Sphere = rx.SphericalPerceptron

pytestmark = pytest.mark.slow


def log_f(h, kappa, V):
    return log_ndtr((h - kappa) / np.sqrt(V))


def score(h, kappa, V):
    u = (kappa - h) / np.sqrt(V)
    return np.exp(-0.5 * u**2 - 0.5 * np.log(2 * np.pi) - log_ndtr(-u)) / np.sqrt(V)


def by_hand(alpha, kappa, q0, q1):
    """Residuals of q0 and q1 at m = 1, and Sigma, on uniform grids: the weight of z1 is H((kappa - h)/sqrt(1-q1)), normalised."""
    z = np.linspace(-9, 9, 1201)
    w = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi) * (z[1] - z[0])
    outer = np.sqrt(q0) * z
    h = outer[:, None] + np.sqrt(q1 - q0) * z[None]
    f1, f0 = log_f(h, kappa, 1 - q1), log_f(outer, kappa, 1 - q0)
    inside = w[None] * np.exp(f1 - f0[:, None])
    mean = lambda x: float(np.sum(w[:, None] * inside * x))
    l0, l1 = 1 - q0, 1 - q1
    first = q0 / l0**2 - alpha * np.sum(w * score(outer, kappa, l0) ** 2)
    second = q0 / l0**2 + (q1 - q0) / (l0 * l1) - alpha * mean(score(h, kappa, l1) ** 2)
    entropic = 0.5 * (-np.log(l0 / l1) + (q1 - q0) / l0 - q0 * (q1 - q0) / l0**2)
    sigma = -(entropic + alpha * (mean(f1) - np.sum(w * f0)))
    return first, second, sigma


def test_dynamical_and_kauzmann_lines():
    kappa = np.array([-2.25, -2.5, -2.9, -1.8, 0.2])
    dynamical, kauzmann = (rx.threshold(Sphere(kappa=kappa), name) for name in ("dynamical", "kauzmann"))
    np.testing.assert_allclose(dynamical.value[:2], [129.445, 280.808], rtol=2e-5)
    np.testing.assert_allclose(kauzmann.value[:2], [129.9327, 287.1152], rtol=1e-6)
    np.testing.assert_allclose(kauzmann.q1[:2], [0.59935, 0.78819], atol=1e-5)
    for line in (dynamical, kauzmann):
        assert line.status.tolist() == ["ok"] * 3 + ["no solution"] * 2
        for i in range(3):
            first, second, sigma = by_hand(*(float(x[i]) for x in (line.value, kappa, line.q0, line.q1)))
            assert abs(first) < 1e-8 and abs(second) < 1e-7
            assert abs(sigma) < 1e-9 if line is kauzmann else sigma > 1e-4
    # at alpha_d the equation of q1 has a double root
    at = lambda q1: by_hand(float(dynamical.value[1]), -2.5, float(dynamical.q0[1]), q1)[1]
    q1 = float(dynamical.q1[1])
    assert abs(at(q1 + 1e-4) - at(q1 - 1e-4)) / 2e-4 < 1e-3 * (at(q1 + 0.1) - at(q1)) / 0.1


def test_the_kauzmann_line_begins_where_the_dynamical_one_does():
    """Below kappa = -2.0431 clusters are born at a small D = (q1 - q0)/(1 - q0) (3e-4 here), and Sigma ~ D^4: 1e-14."""
    kappa = np.array([-2.05, -2.0433, -2.0432])
    dynamical, kauzmann, dat = (
        rx.threshold(Sphere(kappa=kappa), name) for name in ("dynamical", "kauzmann", "dat")
    )
    assert kauzmann.converged.all() and dynamical.converged.all()
    assert np.all(kauzmann.value > dynamical.value) and np.all(kauzmann.value < dat.value)
    assert np.all(kauzmann.quadrature_error < 1e-10)
    # the equation of q1 is a cubic in D there: its double root, and the point of equal areas, divide the way to the de Almeida-Thouless line alike
    part = (kauzmann.value - dynamical.value) / (dat.value - dynamical.value)
    np.testing.assert_allclose(part[1:], 1 / 9, rtol=0.02)


def test_gardner_line():
    kappa = np.array([-2.0, -1.6, -1.75, -2.25, -1.2])
    line = rx.threshold(Sphere(kappa=kappa), "gardner")
    np.testing.assert_allclose(line.value[:4], [95.0693, 27.286, 44.019, 204.53], rtol=3e-5)
    assert line.status.tolist() == ["ok"] * 4 + ["no solution"]
    assert np.all(line.q1[:4] > line.q0[:4]) and np.all((line.m[:4] > 0) & (line.m[:4] < 1))
    dat = rx.threshold(Sphere(kappa=kappa[:3]), "dat").value
    assert np.all(line.value[:3] > dat) and np.all(
        line.value[:4] < rx.threshold(Sphere(kappa=kappa[:4]), "capacity").value
    )


def test_the_threshold_moves_with_the_margin():
    import jax

    slope = jax.grad(lambda k: rx.threshold(Sphere(kappa=k), "kauzmann").value)(-2.5)
    around = rx.threshold(Sphere(kappa=[-2.501, -2.499]), "kauzmann").value
    np.testing.assert_allclose(slope, (around[1] - around[0]) / 2e-3, rtol=1e-4)


def test_phases():
    """On either side of every line; values of the specification's lines are public."""
    points = {
        (1.9, 0.0): "RS", (2.1, 0.0): "UNSAT", (7.0, -1.0): "RS", (10.0, -1.0): "full RSB", (12.5, -1.0): "UNSAT",
        (60.0, -2.0): "RS", (80.0, -2.0): "1-RSB", (110.0, -2.0): "full RSB", (130.0, -2.0): "UNSAT", (280.0, -2.5): "RS",
        (284.0, -2.5): "RS, clustered", (300.0, -2.5): "1-RSB", (450.0, -2.5): "full RSB", (515.0, -2.5): "UNSAT",
    }  # fmt: skip
    alpha, kappa = np.array(list(points)).T
    assert list(rx.phase(alpha, kappa)) == list(points.values())
    with pytest.raises(ValueError, match="alpha = -1"):
        rx.phase(-1.0, 0.0)


def test_lines_at_very_negative_margins():
    """Hardly any pattern is felt, and alpha is 1e5 to 1e16; the lines keep their order."""
    kappa = np.array([-8.0, -6.0, -5.2])
    lines = [
        rx.threshold(Sphere(kappa=kappa), name) for name in ("dynamical", "kauzmann", "gardner", "capacity")
    ]
    values = np.stack([np.asarray(line.value) for line in lines])
    assert np.all(np.isfinite(values)) and np.all(np.diff(values, axis=0) > 0)
    for i in (1, 2):
        alpha, q0, q1 = (float(np.asarray(x)[i]) for x in (lines[1].value, lines[1].q0, lines[1].q1))
        first, second, sigma = by_hand(alpha, kappa[i], q0, q1)
        assert abs(first) < 1e-6 * q0 and abs(second) < 1e-6 / (1 - q1) and abs(sigma) < 1e-7
