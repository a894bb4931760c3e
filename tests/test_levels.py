"""Replica levels and their towers against dense quadrature (numpy, scipy), closed forms and identities."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq, minimize_scalar
from scipy.special import log_ndtr, logsumexp

from replicax.vocabulary.factors import Errors, GroundTerminal, HardMargin, Rectangle, SquaredHinge
from replicax.vocabulary.levels import SMALL, Level, Moments, Quadratic, Terminal, tower
from replicax.vocabulary.limits import INFINITE
from replicax.vocabulary.recurrent import PairField

pytestmark = pytest.mark.slow  # minutes of mpmath and compilation

INF = float("inf")
V, KAPPA = 0.2, 0.3


class LogCosh(Terminal):
    """f = log 2cosh h, a log-convex terminal with |f'| <= 1."""

    even = True

    def __call__(self, *h):
        return jnp.logaddexp(h[0], -h[0])

    def slope(self, component):
        return 1.0


class PlainQuadratic(Terminal):
    """The function of `Quadratic` without its closed form."""

    a: jax.Array

    def __call__(self, *h):
        return 0.5 * self.a * h[0] ** 2


TERMINALS = {
    "margin": HardMargin(KAPPA).terminal(jnp.asarray(V)),
    "errors": Errors(KAPPA, 2.0).terminal(jnp.asarray(V)),
    "hinge": SquaredHinge(KAPPA, 3.0).terminal(jnp.asarray(V)),
    "rectangle": Rectangle(0.8).terminal(jnp.asarray(V)),
    "log-cosh": LogCosh(),
}


def log_H(u):
    return log_ndtr(-u)


def reference(name, h, V=V):
    """f, f', f'' in numpy."""
    s = np.sqrt(V)
    if name == "log-cosh":
        t = np.tanh(h)
        return np.logaddexp(h, -h), t, 1 / np.cosh(h) ** 2
    if name == "rectangle":
        a, b = (-0.8 - h) / s, (0.8 - h) / s
        a, b = np.where(a + b > 0, (a, b), (-b, -a))
        f = log_H(a) + np.log1p(-np.exp(log_H(b) - log_H(a)))
        low, high = (np.exp(-0.5 * ((x - h) / s) ** 2 - f) / np.sqrt(2 * np.pi) for x in (-0.8, 0.8))
        g = (low - high) / s
        return f, g, ((-0.8 - h) / s * low - (0.8 - h) / s * high) / V - g * g
    u = (KAPPA - h) / s
    mills = lambda u: np.exp(-0.5 * u * u - log_H(u)) / np.sqrt(2 * np.pi)
    if name == "margin":
        g = mills(u) / s
        return log_H(u), g, g * (u / s - g)
    if name == "errors":
        f = np.logaddexp(log_H(u), log_H(-u) - 2.0)
        g = (1 - np.exp(-2.0)) * np.exp(-0.5 * u * u - f) / np.sqrt(2 * np.pi) / s
        return f, g, g * (u / s - g)
    # A = H(u), B the squared-hinge half, by hand: B' = B slope - G(u)/(s stretch)
    stretch, gap = 1 + 3.0 * V, KAPPA - h
    below = -1.5 * gap**2 / stretch - 0.5 * np.log(stretch) + log_H(-u / np.sqrt(stretch))
    f = np.logaddexp(log_H(u), below)
    part, slope = np.exp(below - f), 3.0 * gap / stretch
    G = np.exp(-0.5 * u * u - f) / np.sqrt(2 * np.pi)
    g = part * slope + G / s * (1 - 1 / stretch)
    k = part * (slope**2 - 3.0 / stretch) - slope * G / (s * stretch) + u * G / V * (1 - 1 / stretch)
    return f, g, k - g * g


@functools.cache
def dense(limit=40.0):
    """A rule of 24-node panels of width 1/8 on (-limit, limit): all bends are wider."""
    x, w = np.polynomial.legendre.leggauss(24)
    ends = np.arange(-limit, limit + 1e-9, 0.125)
    z = (0.5 * (ends[1:] + ends[:-1])[:, None] + 0.0625 * x).ravel()
    return z, np.log(np.tile(0.0625 * w, len(ends) - 1)) - 0.5 * z * z - 0.5 * np.log(2 * np.pi)


def level(f, v, m, h):
    """(value, score, <g^2>, Var g, <f''>) of one level of the numpy function f -> (f, g, k)."""
    z, logw = dense()
    f, g, k = f(h + np.sqrt(v) * z)
    weights = np.exp(logw) if m == 0 else np.exp(m * f + logw - logsumexp(m * f + logw))
    value = np.sum(weights * f) if m == 0 else logsumexp(m * f + logw) / m
    score = np.sum(weights * g)
    return value, score, np.sum(weights * g * g), np.sum(weights * (g - score) ** 2), np.sum(weights * k)


class Answers(NamedTuple):
    """One level, and the derivatives of its value by autodiff, over a batch of (v, h)."""

    moments: Moments
    by_v: jax.Array
    by_h: jax.Array
    by_h2: jax.Array


@functools.partial(jax.jit, static_argnums=(0, 1))
def _answers(name, plain, v, m, h):
    def moments(v, h):
        return tower(TERMINALS[name], (Level((v,), 0.0 if plain else m),), 256, (h,))

    value = lambda v, h: moments(v, h).value
    by_h = jax.grad(value, 1)
    functions = (moments, jax.grad(value), by_h, jax.grad(by_h, 1))
    return Answers(*(jax.vmap(f)(v, h) for f in functions))


def answers(name, m, v, h):
    out = _answers(name, m == 0, np.asarray(v), jnp.asarray(float(m)), np.asarray(h))
    return jax.tree.map(np.asarray, out)


FIELDS = (-3.0, -0.7, 0.0, 0.3, 1.5)


def grid(*axes):
    return tuple(x.ravel() for x in np.meshgrid(*axes, indexing="ij"))


def assert_close(found, exact, tolerance, *where):
    """|found - exact| <= tolerance (1 + |exact|), naming the worst point."""
    found, exact = np.asarray(found), np.asarray(exact)
    error = np.abs(found - exact) / (1 + np.abs(exact))
    error = np.where(np.isnan(error), np.inf, error)
    worst = np.argmax(error)
    point = tuple(float(x[worst]) for x in where)
    assert error[worst] <= tolerance, (point, float(found[worst]), float(exact[worst]), float(error[worst]))


@pytest.mark.parametrize("m", [0, 0.3, 1.0, 2.0, 8.0])
@pytest.mark.parametrize("name", TERMINALS)
def test_one_level(name, m):
    """Value, score, overlap, gap and curvature of one level, from narrow (v = 1e-4) to wide (v = 4)."""
    v, h = grid((1e-4, 0.01, 0.3, 1.0, 4.0), FIELDS)
    out = answers(name, m, v, h).moments
    exact = np.array([level(functools.partial(reference, name), x, m, y) for x, y in zip(v, h)]).T
    found = (out.value, out.score[0], out.overlap[0][0], out.gap[0][0], out.curvature[0])
    for a, b in zip(found, exact, strict=True):
        assert_close(a, b, 2e-12, v, h)


@pytest.mark.parametrize("m", [0, 0.7, 3.0])
@pytest.mark.parametrize("name", TERMINALS)
def test_gradient_in_the_field(name, m):
    """d level/dh = score, d^2 level/dh^2 = <f''> + m Var f', by autodiff."""
    v, h = grid((0.05, 0.4, 2.0), FIELDS)
    out = answers(name, m, v, h)
    assert_close(out.by_h, out.moments.score[0], 1e-12, v, h)
    assert_close(out.by_h2, out.moments.curvature[0] + m * out.moments.gap[0][0], 1e-11, v, h)


@pytest.mark.parametrize("m", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("name", ["margin", "errors", "log-cosh"])
def test_two_levels(name, m):
    """m_0 = 0 over m: the nested quadrature, and overlap_1 - overlap_0 = gap_1."""
    v0, v1 = 0.3, 0.25
    z, logw = dense(9.0)
    inner = np.array([level(functools.partial(reference, name), v1, m, np.sqrt(v0) * x) for x in z]).T
    value, score, overlap, gap, curvature = np.exp(logw) @ inner.T
    mean = np.exp(logw) @ inner[1]
    levels = lambda m: (Level((jnp.asarray(v0),), 0.0), Level((jnp.asarray(v1),), m))
    out = jax.jit(lambda m: tower(TERMINALS[name], levels(m), 192))(jnp.asarray(m))
    assert abs(out.value - value) < 1e-12
    assert abs(out.score[0] - score) < 1e-12
    assert abs(out.overlap[1][0] - overlap) < 1e-12
    assert abs(out.gap[1][0] - gap) < 1e-12
    assert abs(out.overlap[0][0] - np.exp(logw) @ inner[1] ** 2) < 1e-12
    assert abs(out.gap[0][0] - np.exp(logw) @ (inner[1] - mean) ** 2) < 1e-12
    assert abs(out.curvature[0] - curvature) < 1e-12
    assert abs(out.overlap[1][0] - out.overlap[0][0] - out.gap[1][0]) < 1e-13


@pytest.mark.parametrize("m", [0.5, 2.0, 8.0])
@pytest.mark.parametrize("r1, q1", [(1.4, 0.9), (0.1, 0.5), (0.3, 0.99)])
def test_two_components(m, r1, q1):
    """The recurrent network's field of two components: by a product of dense rules."""
    J_D, s = 0.3, np.sqrt(1 - q1)
    (y, ly), (t, lt) = dense(), dense(10.0)
    near = np.abs(y) < m * np.sqrt(r1) + 10
    y, ly = y[near], ly[near]
    # a step of width s at -J_D and J_D: the panels of 1/8 are finer only down to s = 0.1
    a, b = (log_ndtr((J_D + sign * np.sqrt(q1) * t) / s) for sign in (1, -1))
    field = np.sqrt(r1) * y
    F = np.logaddexp(field[:, None] + a, -field[:, None] + b)
    logs = m * F + ly[:, None] + lt
    value = logsumexp(logs) / m
    weights = np.exp(logs - m * value)
    tilt = np.tanh(field[:, None] + 0.5 * (a - b))
    u = [(J_D + sign * np.sqrt(q1) * t) / s for sign in (1, -1)]
    rates = [np.exp(-0.5 * x * x - log) / np.sqrt(2 * np.pi) / s for x, log in zip(u, (a, b))]
    raw = 0.5 * ((1 + tilt) * rates[0] - (1 - tilt) * rates[1])
    terminal = PairField(jnp.asarray(J_D), INFINITE, jnp.asarray(1 - q1))
    variances = (jnp.asarray(r1), jnp.asarray(q1))
    out = jax.jit(lambda m: tower(terminal, (Level(variances, m),), 128))(jnp.asarray(m))
    assert abs(out.value - value) < 1e-12
    assert abs(out.overlap[0][0] - np.sum(weights * tilt**2)) < 1e-12
    assert abs(out.overlap[0][1] / np.sum(weights * raw**2) - 1) < 1e-11
    assert abs(out.curvature[0] - np.sum(weights * (1 - tilt**2))) < 1e-12


# ---------------------------------------------------------------- the heat equation and small variances


@pytest.mark.parametrize("m", [0, 0.5, 1.0, 4.0])
@pytest.mark.parametrize("name", TERMINALS)
def test_heat_equation(name, m):
    """d level/dv = (1/2) E_tilt[f'' + m f'^2]: autodiff in v against the moments."""
    v, h = grid([1e-7, 1e-5, 1e-3, 0.1, 1.0], FIELDS)
    out = answers(name, m, v, h)
    right = 0.5 * (out.moments.curvature[0] + m * out.moments.overlap[0][0])
    assert_close(out.by_v, right, 1e-11, v, h)


@pytest.mark.parametrize("m", [0, 0.5, 1.0, 4.0])
@pytest.mark.parametrize("name", TERMINALS)
def test_no_variance(name, m):
    """v = 0 is the terminal itself, with its slope, and d/dv there is (f'' + m f'^2)/2."""
    h = np.array(FIELDS)
    v = np.zeros_like(h)
    out, (f, g, k) = answers(name, m, v, h), reference(name, h)
    assert_close(out.moments.value, f, 1e-13, h)
    assert_close(out.moments.score[0], g, 1e-11, h)
    assert_close(out.moments.overlap[0][0], g * g, 1e-11, h)
    assert np.max(np.abs(out.moments.gap[0][0])) < 1e-12
    assert_close(out.by_v, 0.5 * (k + m * g * g), 1e-9, h)


@pytest.mark.parametrize("m", [0, 1.0, 4.0])
@pytest.mark.parametrize("name", TERMINALS)
def test_across_the_switch(name, m):
    """Value continuous to 1e-9 where the stencil takes over; its derivative to the neglected v d^4 f/4."""
    widths = [float(jnp.max(jnp.asarray(w))) for w in TERMINALS[name].bends(0, float(m)).widths]
    edge = SMALL * min(1.0, *widths) ** 2
    h = np.array(FIELDS)
    below, above = (answers(name, m, np.full_like(h, edge * x), h) for x in (1 - 1e-6, 1 + 1e-6))
    assert_close(above.moments.value, below.moments.value, 1e-9, h)
    # v d^4 f/4 with v = SMALL width^2 and d^4 f ~ 2/width^4
    assert_close(above.by_v, below.by_v, SMALL / (2 * min(1.0, *widths) ** 2), h)


# ---------------------------------------------------------------- closed forms


def test_log_weights_compose():
    """m = 1 over a hard margin adds its variance: level(log H_V, v, 1) = log H_{V+v}."""

    @jax.jit
    def error(V, v, h):
        factor = HardMargin(KAPPA)
        level = tower(factor.terminal(V), (Level((v,), jnp.asarray(1.0)),), 256, (h,)).value
        exact = factor.log_partition(h, V + v)
        return (level - exact) / (1 + jnp.abs(exact))

    vs = np.concatenate([[0.0], 10.0 ** np.arange(-12, 2.0)])
    V, v, h = (x.ravel() for x in np.meshgrid([1e-3, 0.2, 1.0], vs, [-4.0, -1.0, 0.0, 0.31, 1.5, 6.0]))
    errors = np.abs(jax.vmap(error)(V, v, h))
    worst = np.argmax(errors)
    assert errors[worst] < 1e-12, (V[worst], v[worst], h[worst], errors[worst])


QUADRATIC = [
    (-0.7, (0.5,), (0.0,)),
    (0.4, (0.3, 0.8), (0.0, 0.6)),
    (-2.0, (0.2, 0.5, 1.5), (0.0, 0.3, 2.0)),
]


@pytest.mark.parametrize("a, variances, ms", QUADRATIC)
def test_quadratic(a, variances, ms):
    """The closed form of a quadratic terminal against the quadrature of the same function: all moments."""
    h = (jnp.asarray(0.4),)
    levels = tuple(Level((jnp.asarray(v),), m if m == 0 else jnp.asarray(m)) for v, m in zip(variances, ms))
    n = 96 if len(ms) > 2 else 128
    closed = tower(Quadratic(jnp.asarray(a)), levels, n, h)
    summed = tower(PlainQuadratic(jnp.asarray(a)), levels, n, h)
    for x, y in zip(jax.tree.leaves(closed), jax.tree.leaves(summed), strict=True):
        assert abs(x - y) < 1e-12 * (1 + abs(x)), (closed, summed)


def test_quadratic_has_an_edge():
    """m a v >= 1: the average of exp(m a h^2/2) diverges; the closed form says nan, not a number."""
    for v, finite in ((0.9, True), (1.1, False)):
        level = Level((jnp.asarray(v),), jnp.asarray(1.0))
        out = tower(Quadratic(jnp.asarray(1.0)), (level,), 8, (jnp.asarray(0.3),))
        assert bool(jnp.isfinite(out.value)) == finite


# ---------------------------------------------------------------- the Moreau envelope


@pytest.mark.parametrize("name", ["margin", "hinge"])
def test_envelope(name):
    """m = inf: max_x [f(x) - (x - h)^2/(2 v)] against direct maximisation; d/dh = f'(x), d/dv = f'(x)^2/2."""
    value = lambda v, h: tower(TERMINALS[name], (Level((v,), INF),), 0, (h,))
    slopes = jax.grad(lambda v, h: value(v, h).value, (0, 1))
    both = jax.jit(lambda v, h: (value(v, h), *slopes(v, h)))
    for v in (1e-3, 0.1, 1.0, 5.0):
        for h in (-4.0, -1.0, 0.0, 0.3, 1.0, 3.0):
            out, by_v, slope = both(jnp.asarray(v), jnp.asarray(h))
            objective = lambda x, v=v, h=h: -(reference(name, x)[0] - (x - h) ** 2 / (2 * v))
            best = minimize_scalar(objective, (h - 1, h + 1), tol=1e-14)
            assert abs(out.value + best.fun) < 1e-13 * (1 + abs(best.fun))
            x = h + v * float(out.score[0])
            _, g, k = reference(name, x)
            assert abs(out.score[0] - g) < 1e-11 * (1 + g)
            assert abs(slope - g) < 1e-11 * (1 + g)
            assert abs(by_v - 0.5 * g * g) < 1e-11 * (1 + g * g)
            # gap = lim m <Var f'> = v f''^2/(1 - v f''): Gaussian fluctuations around the maximum
            assert abs(out.gap[0][0] - v * k * k / (1 - v * k)) < 1e-10 * (1 + k * k)


def test_envelope_of_a_quadratic():
    """Both signs of v, where 1 - a v > 0: a h^2/(2 (1 - a v))."""
    for a, v in ((-1.0, 0.5), (-1.0, -0.5), (0.7, 0.5), (0.7, -2.0)):
        h = (jnp.asarray(1.3),)
        levels = (Level((jnp.asarray(v),), INF),)
        for terminal in (PlainQuadratic(jnp.asarray(a)), Quadratic(jnp.asarray(a))):
            out = tower(terminal, levels, 0, h)
            assert abs(out.value - 0.5 * a * 1.3**2 / (1 - a * v)) < 1e-13
            assert abs(out.score[0] - a * 1.3 / (1 - a * v)) < 1e-13


@pytest.mark.parametrize("v", [-0.3, -0.8])
def test_envelope_of_negative_variance(v):
    """v < 0 : the stationary point is a minimum, x = h + v f'(x), found again by scanning."""
    f = lambda x: np.logaddexp(x, -x) - 0.4 * x * x + 0.3 * x

    class Tilted(Terminal):
        def __call__(self, *h):
            return jnp.logaddexp(h[0], -h[0]) - 0.4 * h[0] ** 2 + 0.3 * h[0]

    for h in (-1.0, 0.2, 2.0):
        out = tower(Tilted(), (Level((jnp.asarray(v),), INF),), 0, (jnp.asarray(h),))
        best = minimize_scalar(lambda x, h=h: f(x) - (x - h) ** 2 / (2 * v), (h - 1, h + 1), tol=1e-14)
        assert abs(out.value - best.fun) < 1e-12


def test_large_m_tends_to_the_envelope():
    """(1/m) log E exp(m f(h + sqrt(v/m) z)) -> envelope, with the 1/m correction -(1/2m) log(1 - v f'')."""
    v, h, m = 0.5, -0.4, 1e4
    envelope = tower(TERMINALS["margin"], (Level((jnp.asarray(v),), INF),), 0, (jnp.asarray(h),))
    finite = answers("margin", m, [v / m], [h]).moments.value[0]
    k = reference("margin", h + v * float(envelope.score[0]))[2]
    assert abs(finite - envelope.value + 0.5 * np.log(1 - v * k) / m) < 1e-7
    assert abs(finite - envelope.value) > 1e-6


@pytest.mark.parametrize("m", [300.0, 3e4, 1e6])
def test_many_replicas_of_bounded_slope(m):
    """One peak, a flat one and two far apart (m v below, at and above 1): against sums over 10^5 points."""
    from replicax.vocabulary.priors import Binary

    f, h = Binary().terminal(jnp.zeros(())), np.array([0.0, 1e-4, 0.01, 0.3, 5.0])
    for product in (0.3, 1.0, 3.0):
        v = product / m
        out = tower(f, (Level((v * jnp.ones(h.size),), m),), 128, (jnp.asarray(h),))
        reach = 9 + m * np.sqrt(v)
        z = np.linspace(-reach, reach, 200_001)
        x = h[:, None] + np.sqrt(v) * z
        exponent = m * np.logaddexp(x, -x) - z**2 / 2
        value = logsumexp(exponent, axis=1)
        weights = np.exp(exponent - value[:, None])
        weights /= weights.sum(axis=1, keepdims=True)
        value = (value + np.log(reach * 1e-5 / np.sqrt(2 * np.pi))) / m
        mean = np.sum(weights * np.tanh(x), axis=1)
        gap = np.sum(weights * (np.tanh(x) - mean[:, None]) ** 2, axis=1)
        assert np.max(np.abs(out.value - value)) < 1e-14 * (1 + 300 / m)
        assert np.max(np.abs(out.score[0] - mean)) < 1e-10
        np.testing.assert_allclose(out.gap[0][0], gap, rtol=1e-6, atol=1e-12)


def test_small_variance_around_a_kink_of_many_replicas():
    """An outer variance of 1e-10 is not small where the level below it bends over 1/m: E z-average of the inner level, by Gauss-Hermite."""
    from replicax.vocabulary.priors import Binary

    f, m, outer, inner = Binary().terminal(jnp.zeros(())), 1e6, 1e-10, 1e-7
    both = tower(f, (Level((jnp.asarray(outer),), 0.0), Level((jnp.asarray(inner),), m)), 256)
    z, w = np.polynomial.hermite_e.hermegauss(100)
    h = jnp.asarray(np.sqrt(outer) * z)
    one = tower(f, (Level((inner * jnp.ones(h.size),), m),), 512, (h,))
    w = w / w.sum()
    assert both.overlap[0][0] == pytest.approx(float(w @ one.score[0] ** 2), rel=1e-3)
    assert both.gap[1][0] == pytest.approx(float(w @ one.gap[0][0]), rel=1e-3)


def test_ground_state_envelopes():
    """g(h; chi) of both losses by direct maximisation; E_z g and its chi-derivative with moving panels."""
    costs = (lambda x: 1.0 * (x < 0.2), lambda x: 0.5 * np.maximum(0.2 - x, 0) ** 2)
    for loss, cost in zip((Errors(0.2), SquaredHinge(0.2)), costs):
        for chi in (0.1, 1.0, 6.0):
            x = np.concatenate([np.linspace(-12, 12, 240001), [0.2]])
            for h in np.linspace(-5, 3, 17):
                exact = np.max(-cost(x) - (x - h) ** 2 / (2 * chi))
                assert abs(loss.envelope(jnp.asarray(h), jnp.asarray(chi)) - exact) < 1e-7
            tower_of = lambda c, loss=loss: tower(GroundTerminal(loss, c), (Level((jnp.ones(()),), 0.0),), 64)
            out = tower_of(jnp.asarray(chi))
            slope = jax.grad(lambda c, f=tower_of: f(c).value)(jnp.asarray(chi))
            # d/dchi E g = E <g'^2>/2 (Hamilton-Jacobi), also across the jumps
            assert abs(slope - 0.5 * out.overlap[0][0]) < 1e-12


def test_towers_are_the_same_traced_and_concrete():
    """Whether a field is known to be zero must not change a number: eager, jit, and jit in the field."""
    level = Level((jnp.asarray(0.5),), jnp.asarray(2.0))
    value = lambda h: tower(LogCosh(), (level,), 128, (h,)).value
    for h in (0.0, -1.2):
        assert abs(value(jnp.asarray(h)) - jax.jit(value)(h)) < 1e-14
    outer = Level((jnp.asarray(0.3),), 0.0)
    nested = lambda: tower(LogCosh(), (outer, level), 128).value
    assert abs(nested() - jax.jit(nested)()) < 1e-14
    assert abs(jax.grad(value)(0.0)) < 1e-14


def test_odd_moments_of_even_towers():
    """At h = 0 an even tower has score 0, so Var f' = <f'^2> and the Hessian <f''> + m <f'^2>."""
    for m in (0.0, jnp.asarray(1.0), jnp.asarray(4.0)):
        for terminal in (LogCosh(), TERMINALS["rectangle"]):
            out = tower(terminal, (Level((jnp.asarray(0.7),), m),), 128)
            assert abs(out.score[0]) < 1e-14
            assert abs(out.gap[0][0] - out.overlap[0][0]) < 1e-14
            level = Level((jnp.asarray(0.7),), m)
            shifted = lambda h, t=terminal, level=level: tower(t, (level,), 128, (h,)).value
            right = out.curvature[0] + m * out.overlap[0][0]
            assert abs(jax.grad(jax.grad(shifted))(0.0) - right) < 1e-11
            assert abs(out.hessian[0][0] - right) < 1e-11


@pytest.mark.parametrize("v", [1e-3, 1.0, 1e3, 7e9])
def test_a_constraint_over_a_loose_level_at_zero_temperature(v):
    """<-log(1 - v f'')/2> and <v f''^2/(1 - v f'')> over fields h = x - v f'(x) ~ N(0, q), integrated over x instead of h: log(1 - v f'') bends
    where f'' ~ exp(-(x - kappa)^2/(2 V)) is about 1/v, ten digits with 64 nodes.
    """
    q, V, kappa = 0.98, 0.02, 0.3
    levels = (Level((jnp.asarray(q),), 0.0), Level((jnp.asarray(v),), INF))
    out = tower(HardMargin(kappa).terminal(jnp.asarray(V)), levels, 64)

    def parts(x):
        u = (kappa - x) / np.sqrt(V)
        mills = np.exp(-0.5 * u * u - 0.5 * np.log(2 * np.pi) - log_H(u))
        return mills / np.sqrt(V), -mills * (mills - u) / V

    def average(f):
        def integrand(x):
            slope, k = parts(x)
            h = x - v * slope
            return np.exp(-0.5 * h * h / q) / np.sqrt(2 * np.pi * q) * (1 - v * k) * f(1 - v * k, k)

        low = brentq(lambda x: x - v * parts(x)[0] + 12.0, -15.0, 15.0)
        edges = np.linspace(low, 12.0, 400)
        return sum(quad(integrand, a, b, epsabs=1e-14, epsrel=1e-13)[0] for a, b in zip(edges, edges[1:]))

    assert abs(average(lambda r, k: 1.0) - 1) < 1e-12
    loose, gap = average(lambda r, k: -0.5 * np.log(r)), average(lambda r, k: v * k * k / r)
    assert abs(float(out.fluctuation) / loose - 1) < 1e-10
    assert abs(float(out.gap[1][0]) / gap - 1) < 1e-9
