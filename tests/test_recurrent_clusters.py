"""Clusters of fixed points whose complexity vanishes, against grids of one's own."""

import numpy as np
import pytest
from scipy import optimize
from scipy.special import log_ndtr

import replicax as rx


def grid_phi(J, q1, m, r1):
    """Phi(m, q1) at r1 on a plain grid: trapezoid in z, panels of Gauss-Legendre around +-J_D in t."""
    s, c, w = np.sqrt(1 - q1), np.sqrt(q1), np.sqrt((1 - q1) / q1)
    x, weight = np.polynomial.legendre.leggauss(20)
    edges = np.concatenate([np.linspace(0, 12, 25), J / c + w * np.linspace(-25, 25, 140)])
    edges = np.unique(np.clip(edges, 0, 12))
    t = (0.5 * (edges[1:] + edges[:-1])[:, None] + 0.5 * np.diff(edges)[:, None] * x).ravel()
    dt = (0.5 * np.diff(edges)[:, None] * weight).ravel()
    top = m * np.sqrt(r1) + 11
    z, h = np.linspace(-top, top, 2 * int(top / min(0.4, 0.4 / np.sqrt(r1))) + 1, retstep=True)
    up, down = log_ndtr((J + c * t) / s), log_ndtr((J - c * t) / s)
    rows = []
    for u, d, x, dx in zip(up, down, t, dt):
        e = m * np.logaddexp(u + z * np.sqrt(r1), d - z * np.sqrt(r1)) - 0.5 * z * z
        rows.append(np.log(dx) - 0.5 * x * x + e.max() + np.log(np.sum(np.exp(e - e.max()))))
    log_G = np.logaddexp.reduce(rows) + np.log(2 * h / (2 * np.pi))
    return -0.5 * r1 * (1 - q1) - 0.5 * m * q1 * r1 + log_G / m


J = np.array([0.0137, 0.1, 0.6214, 1.3489, 3.2359])
D = np.array([0.00374, 0.03, 0.0521, 0.0306, 0.28])


@pytest.fixture(scope="module")
def star():
    """Some points, and four where m exceeds a million or every float."""
    return rx.solve(
        rx.RecurrentNetwork(J_D=[*J, 2.0, 5.0, 1.0]), rx.LocalEntropy(d=[*D, 0.05, 1e-4, 1e-3], y="star")
    )


def test_complexity_vanishes_where_phi_is_least(star):
    assert np.all(star.converged)
    for k in range(3):
        m, r1, q1 = float(star.y[k]), float(star.order.r1[k]), 1 - 2 * D[k]
        assert grid_phi(J[k], q1, m, r1) == pytest.approx(float(star.S_I[k]), abs=1e-12)
        slope = (grid_phi(J[k], q1, 1.001 * m, r1) - grid_phi(J[k], q1, 0.999 * m, r1)) / 0.002
        assert abs(m * slope) < 2e-5  # S_E = -m^2 dPhi/dm
    np.testing.assert_allclose(star.y[1], 6.071219, rtol=1e-6)
    np.testing.assert_allclose(star.S_I[1], 0.0133610294, atol=1e-9)


def test_many_replicas(star):
    """J_D far above sqrt(1-q1): exponentially many replicas.  The limit of m -> inf is an upper bound that is nearly reached."""
    np.testing.assert_allclose(np.log(star.y[3:5]), [8.72035431, 11.66406499], atol=1e-7)
    for k in (5, 6, 7):
        limit = rx.solve(
            rx.RecurrentNetwork(J_D=[2.0, 5.0, 1.0][k - 5]), rx.LocalEntropy(d=[0.05, 1e-4, 1e-3][k - 5])
        )
        gap = float(limit.phi - star.S_I[k])
        assert -1e-14 < gap < 1e-5
        assert float(star.S_E[k]) == 0.0 and float(star.y[k]) > 1e6


@pytest.mark.slow
def test_the_limit_of_many_replicas_meets_the_exact_problem():
    """Sigma = 0 by finite differences on the grid, at log m = 11.66."""
    k, m = 4, np.exp(11.66406499)
    q1 = 1 - 2 * D[k]
    rho = np.arctanh(np.sqrt(q1)) / np.sqrt(q1)
    f = lambda log_r, m=m: m * grid_phi(J[k], q1, m, np.exp(log_r))
    centre = np.log(rho / m)
    best = optimize.minimize_scalar(f, bracket=(centre - 0.01, centre + 0.01), tol=1e-9)
    step = lambda h: f(best.x, (1 + h) * m) - f(best.x, (1 - h) * m)
    internal = (8 * step(1e-3) - step(2e-3)) / (12e-3 * m)
    assert abs(best.fun - m * internal) < 2e-5


@pytest.mark.slow
def test_onset_of_dense_regions():
    """S*(d) and the differences of its slope at the thresholds: a double zero, a stationary inflection, a vanishing inflection."""
    lines = [rx.threshold(rx.RecurrentNetwork(), name) for name in ("j-gap", "j-mono", "j-conc")]
    J, d = (np.array([float(getattr(line, name)) for line in lines])[:, None] for name in ("value", "d"))
    np.testing.assert_allclose(J[:, 0], [0.0601, 0.0731, 0.0957], atol=3e-4)
    h = 0.02 * np.array([-2, -1, 0, 1, 2])
    curve = rx.solve(rx.RecurrentNetwork(J_D=J), rx.LocalEntropy(d=d * (1 + h), y="star"))
    slope = np.asarray(curve.slope)
    first = (slope[:, 0] - 8 * slope[:, 1] + 8 * slope[:, 3] - slope[:, 4]) / (12 * 0.02)
    second = (-slope[:, 0] + 16 * slope[:, 1] - 30 * slope[:, 2] + 16 * slope[:, 3] - slope[:, 4]) / (
        12 * 4e-4
    )
    assert abs(float(curve.S_I[0, 2])) < 1e-12
    np.testing.assert_allclose(slope[:2, 2], 0.0, atol=1e-10)
    np.testing.assert_allclose(first[1:], 0.0, atol=1e-5)
    assert abs(second[2]) < 1e-4 < 0.1 < abs(second[1])
