"""Franz-Parisi entropies on the sphere: the functional by hand, exact identities, what is flagged."""

import numpy as np
import pytest
from scipy.special import log_ndtr

import replicax as rx

pytestmark = pytest.mark.slow

Sphere = rx.SphericalPerceptron

#: (alpha, kappa, d, kappa_ref): S (public figures, 2e-6) or None
POINTS = {
    (2.0, -0.5, 0.125, -0.5): -0.913255977,
    (2.0, -0.5, 0.05, -0.5): -1.150334077,
    (2.0, -0.5, 0.01, -0.5): -1.759097492,
    (2.0, -0.5, 0.05, -0.25): -1.050258892,
    (1.0, 0.0, 0.01, 0.3): None,
    (1.9, 0.0, 0.1, 0.0): None,  # a reference with q = 0.97: its own stabilities are far tails of the fields
    (3.0, -1.0, 0.45, -0.5): None,
}


def by_hand(alpha, kappa, reference, q, S, q1, t):
    """(1/2) [log(1-q1) + (q1 - b^2 (1-2q)/(1-q)^2 - 2 b t/(1-q))/(1-q1)] + alpha E log H, b = S - t: uniform grids and Gauss-Legendre."""
    z, x = np.linspace(-8.5, 8.5, 1001), np.linspace(-8, 8, 65)
    weight = lambda y: np.exp(-0.5 * y**2) / np.sqrt(2 * np.pi) * (y[1] - y[0])
    low = (reference - np.sqrt(q) * z) / np.sqrt(1 - q)
    start = np.maximum(low, -9.0)
    length = np.where(start < 0, 9 - start, np.minimum(9.0, 45 / np.maximum(5, start)))
    u, wu = np.polynomial.legendre.leggauss(64)
    y = start[:, None] + length[:, None] * (u + 1) / 2
    wy = 0.5 * wu * length[:, None] * np.exp(-0.5 * y**2 - 0.5 * np.log(2 * np.pi) - log_ndtr(-low)[:, None])
    b, rest = S - t, 1 - q1
    spread = np.sqrt(max(q1 - t * t / q - b * b / (1 - q), 0.0))
    h = (t / np.sqrt(q) * z[:, None] + b / np.sqrt(1 - q) * y)[..., None] + spread * x
    energetic = np.einsum("i,ij,k,ijk->", weight(z), wy, weight(x), log_ndtr((h - kappa) / np.sqrt(rest)))
    return (
        0.5 * (np.log(rest) + (q1 - b * b * (1 - 2 * q) / (1 - q) ** 2 - 2 * b * t / (1 - q)) / rest)
        + alpha * energetic
    )


@pytest.fixture(scope="module")
def solved():
    q = float(rx.solve(Sphere(alpha=1.0)).order.q)
    extra = [(1.0, 0.0, 0.5 * (1 - q), 0.0), (1.0, 0.0, 0.1 + 1e-4, 0.0), (1.0, 0.0, 0.1 - 1e-4, 0.0), (1.0, 0.0, 0.1, 0.0),
             (1.0, 0.0, 0.1, 0.6), (4.5, -0.5, 0.01, -0.5)]  # fmt: skip
    alpha, kappa, d, reference = np.array([*POINTS, *extra]).T
    return rx.solve(Sphere(alpha=alpha, kappa=kappa), rx.FranzParisi(d=d, kappa_ref=reference))


def test_the_functional_by_hand(solved):
    for i, ((alpha, kappa, d, reference), wanted) in enumerate(POINTS.items()):
        q = float(rx.solve(Sphere(alpha=alpha, kappa=reference)).order.q)
        at = lambda q1, t: by_hand(alpha, kappa, reference, q, 1 - 2 * d, q1, t)
        q1, t, S = (float(x[i]) for x in (solved.order.q1, solved.order.t, solved.entropy))
        assert abs(at(q1, t) - S) < 1e-9 and (wanted is None or abs(S - wanted) < 1e-7)
        step = 1e-4 * (1 - t)
        assert abs(at(q1, t + step) - at(q1, t - step)) < 2 * step * 1e-5
        step = 1e-3 * (1 - q1)
        assert abs(at(q1 + step, t) - at(q1 - step, t)) < 2 * step * 1e-4


def test_identities(solved):
    """At the typical distance all solutions are counted; the slope is the derivative."""
    n = len(POINTS)
    assert abs(float(solved.entropy[n]) - float(rx.solve(Sphere(alpha=1.0)).phi)) < 1e-10
    slope = (solved.entropy[n + 1] - solved.entropy[n + 2]) / 2e-4
    np.testing.assert_allclose(solved.slope[n + 3], slope, rtol=1e-5)


def test_what_is_flagged(solved):
    assert list(solved.status[-2:]) == ["no reference", "unstable (replicon)"] and np.isnan(
        solved.entropy[-2]
    )
