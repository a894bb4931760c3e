"""Franz-Parisi entropies on the sphere: the functional by hand, exact identities, what is flagged."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_ndtr, ndtr

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
    (1.56, -0.35, 2e-4, 0.04): None,  # no constraint is felt so close to a reference of larger margin
    (
        0.98,
        0.16,
        0.0217,
        0.468,
    ): None,  # a reference with q = 0.985, farther away than it sees solutions of its margin
    (2.88, -0.235, 8e-4, -0.235): None,
}


def weight(y):
    return np.exp(-0.5 * y**2) / np.sqrt(2 * np.pi) * (y[1] - y[0])


def fields(reference, q, S, t):
    """What solutions share with their reference, (t/sqrt q) z + (S - t)/sqrt(1 - q) y, y beyond its margin: values and weights."""
    z = np.linspace(-8.5, 8.5, 1001)
    low = (reference - np.sqrt(q) * z) / np.sqrt(1 - q)
    start = np.maximum(low, -9.0)
    length = np.where(start < 0, 9 - start, np.minimum(9.0, 45 / np.maximum(5, start)))
    u, wu = np.polynomial.legendre.leggauss(96)
    y = start[:, None] + length[:, None] * (u + 1) / 2
    wy = 0.5 * wu * length[:, None] * np.exp(-0.5 * y**2 - 0.5 * np.log(2 * np.pi) - log_ndtr(-low)[:, None])
    return t / np.sqrt(q) * z[:, None] + (S - t) / np.sqrt(1 - q) * y, weight(z)[:, None] * wy


def by_hand(alpha, kappa, reference, q, S, q1, t):
    """(1/2) [log(1-q1) + (q1 - b^2 (1-2q)/(1-q)^2 - 2 b t/(1-q))/(1-q1)] + alpha E log H, b = S - t: uniform grids and Gauss-Legendre."""
    x = np.linspace(-8, 8, 65)
    b, rest = S - t, 1 - q1
    spread = np.sqrt(max(q1 - t * t / q - b * b / (1 - q), 0.0))
    h, weights = fields(reference, q, S, t)
    h = h[..., None] + spread * x
    energetic = np.einsum("ij,k,ijk->", weights, weight(x), log_ndtr((h - kappa) / np.sqrt(rest)))
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
        step = 1e-5 * (1 - t)
        assert abs(at(q1, t + step) - at(q1, t - step)) < 2 * step * 1e-5
        step = 1e-3 * (1 - q1)
        assert abs(at(q1 + step, t) - at(q1 - step, t)) < 4e-9  # third derivatives: about 1e-9 of log(1 - q1)


def room(alpha, kappa, reference, q, S):
    """The least over t of q1 - b^2 (1-2q)/(1-q)^2 - 2 b t/(1-q) - alpha E(kappa - h)_+^2 at q1 = 1: what diverges there, over 2 (1 - q1)."""

    def at(t):
        b = S - t
        spread = np.sqrt(1 - t * t / q - b * b / (1 - q))
        h, weights = fields(reference, q, S, t)
        u = (kappa - h) / spread
        short = spread**2 * ((1 + u * u) * ndtr(u) + u * np.exp(-0.5 * u**2) / np.sqrt(2 * np.pi))
        return 1 - b * b * (1 - 2 * q) / (1 - q) ** 2 - 2 * b * t / (1 - q) - alpha * np.sum(weights * short)

    middle, half = q * S, np.sqrt(q * (1 - q) * (1 - S * S))  # where the spread vanishes
    bounds = (middle - 0.999 * half, middle + 0.999 * half)
    return minimize_scalar(at, bounds=bounds, method="bounded").fun


def test_where_no_solution_is_that_far_away():
    """Solutions within a small cone: none beyond a distance at which q1 = 1, and the entropy falls to -inf there."""
    alpha, kappa, d = 0.49, 0.86, np.array([0.2, 0.22, 0.24, 0.3])
    solutions = rx.solve(Sphere(alpha=alpha, kappa=kappa), rx.FranzParisi(d=d))
    q = float(rx.solve(Sphere(alpha=alpha, kappa=kappa)).order.q)
    left = np.array([room(alpha, kappa, kappa, q, 1 - 2 * x) for x in d])
    assert list(solutions.status) == ["ok", "ok", "no solution", "no solution"]
    assert list(left > 0) == [True, True, False, False] and np.isnan(solutions.entropy[-1])
    # a loss instead of constraints leaves weights at every distance
    assert not bool(rx.FranzParisi(d=0.3).problems(Sphere(alpha=alpha, kappa=kappa, beta=3.0))[0].absent(64))


def test_mild_points_are_solved_from_a_cold_start():
    rng = np.random.default_rng(3)
    kappa, share, d = rng.uniform(-3, 1, 24), rng.uniform(0.1, 0.7, 24), rng.uniform(0.01, 0.4, 24)
    alpha = share * np.asarray(rx.threshold(Sphere(kappa=kappa), "capacity").value)
    solutions = rx.solve(Sphere(alpha=alpha, kappa=kappa), rx.FranzParisi(d=d))
    assert bool(solutions.converged.all()) and float(solutions.steps.max()) < 30


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
