"""Replica-symmetric answers against independent numbers, at points drawn from the whole domain.

The domain: kappa in [-3, 3], beta in [0, inf], alpha from 0 to 0.999 of the capacity (q -> 1 at beta = inf).
"""

import functools
import itertools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtr
from test_quadrature import DIGITS, exact_average

from replicax.answers.solve import solve
from replicax.theory.ansatz import RS
from replicax.theory.models import BinaryPerceptron, SphericalPerceptron

pytestmark = pytest.mark.slow  # minutes of mpmath and compilation

INF = float("inf")
CASES = ("binary margin", "binary errors", "spherical margin", "spherical errors", "spherical squared-hinge")
thorough = settings(derandomize=True, deadline=None, max_examples=200, database=None)


class Point(NamedTuple):
    case: str
    alpha: float
    kappa: float
    beta: float

    @property
    def binary(self):
        return self.case.startswith("binary")

    @property
    def loss(self):
        return self.case.split()[1]

    def model(self, alpha=None, kappa=None):
        alpha, kappa = self.alpha if alpha is None else alpha, self.kappa if kappa is None else kappa
        if self.binary:
            return BinaryPerceptron(alpha, kappa, self.beta)
        return SphericalPerceptron(alpha, kappa, self.beta, "errors" if self.loss == "margin" else self.loss)


def capacity(case, kappa):
    """q -> 1 at beta = inf: 1/alpha = E (kappa + z)_+^2 on the sphere, 2/pi of it for w = +-1."""
    second = (1 + kappa**2) * ndtr(kappa) + kappa * math.exp(-0.5 * kappa**2) / math.sqrt(2 * math.pi)
    return (2 / math.pi if case.startswith("binary") else 1.0) / second


@st.composite
def points(draw, case):
    kappa = draw(st.floats(-3, 3))
    small = st.floats(-12, -3).map(lambda x: 10.0**x)
    fraction = draw(st.one_of(st.floats(1e-12, 0.999), small, st.sampled_from([0.0, 0.999])))
    beta = INF
    if not case.endswith("margin"):
        beta = draw(st.one_of(st.floats(-3, 4).map(lambda x: 10.0**x), st.sampled_from([0.0, 1.0, 1e5])))
    return Point(case, float(fraction * capacity(case, kappa)), kappa, beta)


# ---------------------------------------------------------------- the functional, independently


@functools.cache
def unit():
    return np.polynomial.legendre.leggauss(24)


def normal(bends, limit=12.0):
    """Nodes and Gaussian weights: panels of one unit, halved towards every (bend, width)."""
    ends = set(np.arange(-limit, limit + 0.5))
    for bend, width in bends:
        if abs(bend) < 3 * limit:
            steps = width * 2.0 ** np.arange(max(0, int(np.log2(4 * limit / width))) + 1)
            ends |= {bend, *(bend + steps), *(bend - steps)}
    ends = np.array(sorted(x for x in ends if abs(x) <= limit))
    x, w = unit()
    half = 0.5 * np.diff(ends)[:, None]
    z = (0.5 * (ends[1:] + ends[:-1])[:, None] + half * x).ravel()
    return z, (half * w).ravel() * np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)


def bends(p, q, V):
    if q == 0:
        return []
    found = [(p.kappa / math.sqrt(q), math.sqrt(V / q))]
    if p.loss == "errors":
        u = math.sqrt(2 * p.beta)
        found.append(((p.kappa - u * math.sqrt(V)) / math.sqrt(q), math.sqrt(V / q) / (1 + u)))
    return found


def log_f(p, h, V):
    """log f and d_h log f in numpy."""
    s = math.sqrt(V)
    u = (p.kappa - h) / s
    log_H, log_G = log_ndtr(-u), -0.5 * u * u - 0.5 * math.log(2 * math.pi)
    if p.loss == "margin":
        return log_H, np.exp(log_G - log_H) / s
    if p.loss == "errors":
        f = np.logaddexp(log_H, log_ndtr(u) - p.beta)
        return f, -math.expm1(-p.beta) * np.exp(log_G - f) / s
    t = 1 + p.beta * V
    below = -0.5 * p.beta * (p.kappa - h) ** 2 / t - 0.5 * math.log(t) + log_ndtr(u / math.sqrt(t))
    f = np.logaddexp(log_H, below)
    return f, np.exp(below - f) * p.beta * (p.kappa - h) / t + np.exp(log_G - f) / s * (p.beta * V / t)


def energetic(p, q, V):
    """E log f and E (d_h log f)^2."""
    z, w = normal(bends(p, q, V))
    f, g = log_f(p, math.sqrt(q) * z, V)
    return math.fsum(w * f), math.fsum(w * g * g)


def entropic(q_hat):
    """(q, 1-q, E log 2cosh) for w = +-1."""
    if q_hat == 0:
        return 0.0, 1.0, math.log(2)
    z, w = normal([(0.0, 1 / math.sqrt(q_hat))])
    y = np.abs(math.sqrt(q_hat) * z)
    e = np.exp(-2 * y)
    q, V = math.fsum(w * np.tanh(y) ** 2), math.fsum(w * 4 * e / (1 + e) ** 2)
    return q, V, math.fsum(w * (y + np.log1p(e)))


def functional(p, q, q_hat):
    V = 1 - q
    if p.binary:
        return -0.5 * q_hat * V + entropic(q_hat)[2] + p.alpha * energetic(p, q, V)[0]
    return 0.5 * math.log(V) + 0.5 * q / V + p.alpha * energetic(p, q, V)[0]


def exact_functional(p, q, q_hat):
    """The same with mpmath, and mpmath's erfc, at 25 digits."""
    with mp.workdps(DIGITS):
        q, q_hat, kappa = mp.mpf(q), mp.mpf(q_hat), mp.mpf(p.kappa)
        V, floor = 1 - q, mp.exp(-mp.mpf(p.beta)) if p.beta < INF else mp.mpf(0)
        cold, root = p.loss == "margin", mp.sqrt(q)

        def f(z):
            u = (kappa - root * z) / mp.sqrt(2 * V)
            if p.loss == "squared-hinge":
                t = 1 + p.beta * V
                soft = mp.exp(-p.beta * (kappa - root * z) ** 2 / (2 * t)) / mp.sqrt(t)
                return mp.log(mp.erfc(u) / 2 + soft * mp.erfc(-u / mp.sqrt(t)) / 2)
            return mp.log(mp.erfc(u) / 2 + (0 if cold else floor * mp.erfc(-u) / 2))

        energetic = exact_average(f, *zip(*[map(mp.mpf, b) for b in bends(p, float(q), float(V))]))
        if not p.binary:
            return mp.log(V) / 2 + q / (2 * V) + p.alpha * energetic
        y = mp.sqrt(q_hat)
        site = exact_average(lambda z: abs(y * z) + mp.log1p(mp.exp(-2 * abs(y * z))), [mp.mpf(0)], [1 / y])
        return -q_hat * V / 2 + site + p.alpha * energetic


@pytest.mark.parametrize("case", CASES)
def test_the_reference(case):
    """The numpy functional against mpmath at arbitrary orders, near and far from q = 1."""
    random = np.random.default_rng(CASES.index(case))
    for _ in range(4):
        kappa, q = random.uniform(-3, 3), 1 - 10 ** random.uniform(-4, -0.05)
        beta = INF if case.endswith("margin") else 10 ** random.uniform(-2, 3)
        p = Point(case, random.uniform(0.1, 1) * capacity(case, kappa), kappa, beta)
        q_hat = 10 ** random.uniform(-2, 5)
        exact = exact_functional(p, q, q_hat)
        scale = p.alpha * abs(energetic(p, q, 1 - q)[0]) + (q_hat if p.binary else 1 / (1 - q)) + 1
        assert abs(functional(p, q, q_hat) - exact) < 3e-16 * scale


# ---------------------------------------------------------------- the answers


def answer(p):
    solution = solve(p.model())
    assert bool(solution.converged), (p, solution.status)
    return solution


def check(p):
    """phi at the returned order parameters, the promise of `quadrature_error`, and the order parameters."""
    solution = answer(p)
    q, q_hat, phi = float(solution.order.q), float(solution.order.q_hat), float(solution.phi)
    error = float(solution.quadrature_error)
    assert error <= 1e-9, (p, error)
    exact = functional(p, q, q_hat)
    assert abs(phi - exact) <= max(error, 1e-13 * (1 + abs(phi))), (p, phi, exact, error)
    expected = saddle(p)
    if expected == 0:
        assert q < 1e-30
        return
    # below 1e-8 a level is its first-order expansion: q is good to 4 q^2
    assert abs(q - expected) <= 1e-9 * expected + 4e-16, (p, q, expected)


def saddle(p):
    """q by Brent's method on the scalar saddle equation: its first root, the branch from alpha = 0."""
    with np.errstate(divide="ignore"):
        start = np.log(p.alpha * log_f(p, np.zeros(1), 1.0)[1][0] ** 2)
    if not np.isfinite(start) or start < -200:
        return 0.0

    def overlap(x):
        return entropic(math.exp(x))[:2] if p.binary else (1 / (1 + math.exp(-x)), 1 / (1 + math.exp(x)))

    def mismatch(x):
        q, V = overlap(x)
        asked = p.alpha * energetic(p, q, V)[1]
        return x - math.log(asked) if p.binary else math.log(q) - math.log(asked * V * V)

    left = start - 0.5
    while mismatch(left) > 0:
        left -= 1.0
    right = left + 0.4
    while mismatch(right) < 0:
        left, right = right, right + 0.4
        assert right < 40, p
    return overlap(brentq(mismatch, left, right, xtol=1e-14, rtol=1e-14))[0]


@thorough
@given(points("binary margin"))
def test_binary_margin(p):
    check(p)


@thorough
@given(points("binary errors"))
def test_binary_errors(p):
    check(p)


@thorough
@given(points("spherical margin"))
def test_spherical_margin(p):
    check(p)


@thorough
@given(points("spherical errors"))
def test_spherical_errors(p):
    check(p)


@thorough
@given(points("spherical squared-hinge"))
def test_spherical_hinge(p):
    check(p)


# ---------------------------------------------------------------- outside the domain


@pytest.mark.parametrize("case", ["binary margin", "spherical margin"])
def test_no_solution_beyond_capacity(case):
    """Above the q -> 1 capacity: "no solution", NaN (w = +-1: for kappa >= -2.9, below which RS folds)."""
    random = np.random.default_rng(0)
    kappa = random.uniform(-2.9, 3, 500)
    excess = 10 ** random.uniform(-6, 3, 500)
    alpha = np.array([capacity(case, k) for k in kappa]) * (1 + excess)
    solution = solve(Point(case, alpha, kappa, INF).model())
    wrong = np.flatnonzero(np.asarray(solution.status) != "no solution")
    assert not wrong.size, (excess[wrong], kappa[wrong], np.asarray(solution.status)[wrong])
    assert not np.any(solution.converged)
    assert np.all(np.isnan(solution.phi)) and np.all(np.isnan(solution.order.q))


@pytest.mark.parametrize("case", ["binary margin", "spherical margin"])
def test_up_to_capacity(case):
    """Between 0.999 and 1 - 1e-7 of the capacity there is a solution, with the error it states."""
    random = np.random.default_rng(1)
    for _ in range(40):
        kappa, gap = random.uniform(-2.5, 2.5), 10 ** random.uniform(-7, -3)
        p = Point(case, (1 - gap) * capacity(case, kappa), kappa, INF)
        solution = answer(p)
        q, q_hat = float(solution.order.q), float(solution.order.q_hat)
        V = 1 - q
        # q is rounded: 1 - q is good to 1e-16/(1-q), of which phi feels the square
        slack = (2e-16 / V) ** 2 / V + 1e-15 / V + (1e-15 * q_hat * V if p.binary else 0.0)
        error = max(float(solution.quadrature_error), 1e-13 * (1 + abs(float(solution.phi))))
        assert abs(float(solution.phi) - functional(p, q, q_hat)) <= error + slack, (p, gap)


def test_beyond_the_binary_fold():
    """At kappa < -2.95 RS of w = +-1 folds, with two roots above the capacity; the small one is right."""
    p = Point("binary margin", 1.02 * capacity("binary margin", -2.998), -2.998, INF)
    solution = answer(p)
    assert abs(float(solution.order.q) / saddle(p) - 1) < 1e-9
    assert 0.1 < float(solution.order.q) < 0.2


# ---------------------------------------------------------------- derivatives


def interior(case, seed, count=40):
    random = np.random.default_rng(seed)
    kappa = random.uniform(-2, 2, count)
    alpha = random.uniform(0.05, 0.9, count) * np.array([capacity(case, k) for k in kappa])
    beta = np.full(count, INF) if case.endswith("margin") else 10 ** random.uniform(-1, 1.5, count)
    return alpha, kappa, beta


@functools.cache
def gradients(case):
    """d(phi, q)/d(alpha, kappa) of the solution, jitted over a batch; beta = inf is part of the structure."""
    cold = case.endswith("margin")

    def quantities(alpha, kappa, beta):
        solution = solve(Point(case, alpha, kappa, INF if cold else beta).model())
        return jnp.stack([solution.phi, solution.order.q])

    return jax.jit(jax.vmap(jax.jacfwd(quantities, (0, 1)))), jax.jit(
        jax.vmap(jax.jacrev(quantities, (0, 1)))
    )


@pytest.mark.parametrize("case", CASES)
def test_envelope_theorem(case):
    """d phi/d alpha = E log f and d phi/d kappa = -alpha E d_h log f, in forward and reverse mode."""
    alpha, kappa, beta = interior(case, 5)
    values = solve(Point(case, alpha, kappa, INF if case.endswith("margin") else beta).model())
    for mode in gradients(case):
        by_alpha, by_kappa = (np.asarray(x)[:, 0] for x in mode(alpha, kappa, beta))
        for i, q in enumerate(np.asarray(values.order.q).tolist()):
            p = Point(case, *map(float, (alpha[i], kappa[i], beta[i])))
            value = energetic(p, q, 1 - q)[0]
            z, w = normal(bends(p, q, 1 - q))
            slope = -p.alpha * math.fsum(w * log_f(p, math.sqrt(q) * z, 1 - q)[1])
            assert abs(by_alpha[i] - value) < 1e-11 * (1 + abs(value)), p
            assert abs(by_kappa[i] - slope) < 1e-11 * (1 + abs(slope)), p


def richardson(f, x, step):
    """f'(x) from central differences at steps h, h/2, h/4, h/8: error O(h^8)."""
    table = [(f(x + step / 2**k) - f(x - step / 2**k)) / (2 * step / 2**k) for k in range(4)]
    for j in range(1, 4):
        table = [(4**j * b - a) / (4**j - 1) for a, b in itertools.pairwise(table)]
    return table[0]


@pytest.mark.parametrize("case", CASES)
def test_finite_differences(case):
    """d(phi, q)/d(alpha, kappa) against Richardson extrapolation of the solutions themselves."""
    alpha, kappa, beta = interior(case, 6)
    beta = INF if case.endswith("margin") else beta

    def quantities(alpha, kappa):
        solution = solve(Point(case, alpha, kappa, beta).model())
        return np.stack([solution.phi, solution.order.q], -1)

    by_alpha, by_kappa = gradients(case)[0](alpha, kappa, np.broadcast_to(beta, alpha.shape))
    scale = alpha[:, None]
    numeric = richardson(lambda x: quantities(alpha * (1 + x), kappa), 0.0, 0.004)
    assert np.max(np.abs(by_alpha * scale - numeric) / (1 + np.abs(numeric))) < 1e-9
    numeric = richardson(lambda x: quantities(alpha, kappa + x), 0.0, 0.004)
    assert np.max(np.abs(by_kappa - numeric) / (1 + np.abs(numeric))) < 1e-9


@pytest.mark.parametrize("case", CASES)
def test_no_patterns(case):
    """alpha = 0: q = 0, d phi/d alpha = log f(0; 1), d q/d alpha = (d_h log f)^2, all finite."""
    kappa = np.array([-3.0, -1.0, 0.0, 0.4, 2.0])
    beta = np.full(5, INF) if case.endswith("margin") else np.array([0.3, 1.0, 3.0, 10.0, 100.0])
    solution = solve(Point(case, 0.0, kappa, INF if case.endswith("margin") else beta).model())
    assert np.all(solution.converged) and np.max(np.abs(solution.order.q)) < 1e-30
    assert np.max(np.abs(solution.phi - (math.log(2) if case.startswith("binary") else 0.0))) < 1e-15
    for mode in gradients(case):
        by_alpha, by_kappa = mode(np.zeros(5), kappa, beta)
        assert np.all(np.isfinite(by_alpha)) and np.max(np.abs(by_kappa)) < 1e-15
        for i in range(5):
            f, g = log_f(Point(case, 0.0, kappa[i], beta[i]), np.zeros(1), 1.0)
            # at q = 0 the levels take second derivatives by differences
            assert abs(by_alpha[i, 0] - f[0]) < 1e-10 * (1 + abs(f[0]))
            assert abs(by_alpha[i, 1] - g[0] ** 2) < 1e-9 * (1 + g[0] ** 2)


@pytest.mark.parametrize("case", CASES)
def test_next_to_no_patterns(case):
    """However small alpha is, the answer is its limit: q = alpha f'^2, phi = phi(0) + alpha log f."""
    for alpha in (1e-9, 1e-20, 1e-50, 1e-100, 1e-200, 1e-300):
        p = Point(case, alpha, 0.3, INF if case.endswith("margin") else 2.0)
        solution, (f, g) = solve(p.model()), log_f(p, np.zeros(1), 1.0)
        assert bool(solution.converged), (p, solution.status)
        assert abs(solution.order.q - alpha * g[0] ** 2) < 1e-7 * alpha
        assert abs(solution.phi - (math.log(2) if p.binary else 0.0) - alpha * f[0]) < 1e-15


def test_batches_and_points_agree():
    """A table, each point alone and jit(vmap) give the same numbers; inf may stand in an array of beta."""
    random = np.random.default_rng(11)
    kappa, beta = random.uniform(-2, 2, 30), 10 ** random.uniform(-1, 2, 30)
    alpha = random.uniform(0, 0.8, 30) * np.array([capacity("binary", k) for k in kappa])
    beta[::5] = INF
    table = solve(BinaryPerceptron(alpha, kappa, beta))
    traced = jax.jit(jax.vmap(lambda a, k, b: solve(BinaryPerceptron(a, k, b), RS()).phi))(alpha, kappa, beta)
    for i in range(30):
        one = solve(BinaryPerceptron(float(alpha[i]), float(kappa[i]), float(beta[i])))
        assert abs(one.phi - table.phi[i]) < 1e-12 and abs(traced[i] - table.phi[i]) < 1e-12
        assert abs(one.order.q - table.order.q[i]) < 1e-11


@pytest.mark.slow
def test_a_wide_plane_of_temperatures():
    """Any alpha up to 100 and beta up to 1e5 has a solution: converged, with relative error 1e-9."""
    random = np.random.default_rng(12)
    kappa, beta = random.uniform(-3, 3, 500), 10 ** random.uniform(-3, 5, 500)
    alpha = 10 ** random.uniform(-6, 2, 500)
    for model in (
        BinaryPerceptron(alpha, kappa, beta),
        SphericalPerceptron(alpha, kappa, beta),
        SphericalPerceptron(alpha, kappa, beta, "squared-hinge"),
    ):
        solution = solve(model)
        lost = np.flatnonzero(~np.asarray(solution.converged))
        assert not lost.size, [(alpha[i], kappa[i], beta[i]) for i in lost[:3]]
        assert np.max(solution.quadrature_error / (1 + np.abs(solution.phi))) < 1e-9
