"""Rules for Gaussian averages against mpmath: integrands that bend or jump, with the node counts stated."""

import functools
import itertools

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

from replicax.numerics.quadrature import RANGE, gaussian_rule, unit_panels
from replicax.numerics.special import log_2cosh, log_add_exp, log_H, mills, sech2

KAPPAS = (-3.0, -1.0, -0.2, 0.0, 0.7, 3.0)
DIGITS = 25


# ---------------------------------------------------------------- exact averages (used by other tests too)


@functools.cache
def legendre(n):
    """Gauss-Legendre nodes and weights on (-1, 1) to `DIGITS` digits."""
    with mp.workdps(DIGITS + 5):
        rule = []
        for start in np.polynomial.legendre.leggauss(n)[0].tolist():
            x = mp.mpf(start)
            for _ in range(4):
                p, before = x, mp.mpf(1)
                for k in range(2, n + 1):
                    p, before = ((2 * k - 1) * x * p - (k - 1) * before) / k, p
                slope = n * (x * p - before) / (x * x - 1)
                x -= p / slope
            rule.append((x, 2 / ((1 - x * x) * slope**2)))
        return rule


def exact_nodes(bends=(), widths=(), limit=11, order=20, jumps=()):
    """Nodes and Gaussian weights at `DIGITS` digits: unit panels, refined towards every bend."""
    limit = mp.mpf(limit)
    cuts = {mp.mpf(i) for i in range(-int(limit), int(limit) + 1)} | {mp.mpf(x) for x in jumps}
    for bend, width in zip(bends, widths):
        cuts.add(mp.mpf(bend))
        step = mp.mpf(width)
        while step < 2 * limit:
            cuts |= {bend - step, bend + step}
            step *= 2
    cuts = sorted(c for c in cuts if -limit <= c <= limit)
    pairs = []
    for a, b in itertools.pairwise(cuts):
        middle, half = (a + b) / 2, (b - a) / 2
        pairs += [(middle + half * x, half * w * mp.npdf(middle + half * x)) for x, w in legendre(order)]
    return pairs


def exact_average(f, bends=(), widths=(), **options):
    """E_z f(z) at `DIGITS` digits."""
    with mp.workdps(DIGITS):
        return mp.fsum(w * f(z) for z, w in exact_nodes(bends, widths, **options))


def exact_log_H(u):
    tail = mp.erfc(abs(u) / mp.sqrt(2)) / 2
    return mp.log(tail) if u > 0 else mp.log1p(-tail)


def exact_mills(u):
    return 2 * mp.npdf(u) / mp.erfc(u / mp.sqrt(2))


def test_the_exact_average_is_exact():
    """Against mpmath's own adaptive quadrature, with breaks around the bend."""
    with mp.workdps(DIGITS):
        q, V, kappa = mp.mpf(1) - mp.mpf("1e-8"), mp.mpf("1e-8"), mp.mpf("0.3")
        bend, width = kappa / mp.sqrt(q), mp.sqrt(V / q)
        breaks = [bend + s * width * x for s in (-1, 1) for x in (0, 2, 6, 30, 100, 1000)]
        breaks = sorted({*breaks, *map(mp.mpf, (-11, -6, -3, -1, 1, 3, 6, 11))})
        for f in (exact_log_H, lambda u: exact_mills(u) ** 2):
            one = exact_average(lambda z, f=f: f((kappa - mp.sqrt(q) * z) / mp.sqrt(V)), [bend], [width])
            other = mp.quad(lambda z, f=f: mp.npdf(z) * f((kappa - mp.sqrt(q) * z) / mp.sqrt(V)), breaks)
            assert abs(one / other - 1) < 1e-16


# ---------------------------------------------------------------- one bend


@functools.cache
def constraint(V):
    """E log H(u) and E mills(u)^2, u = (kappa - sqrt(1-V) z)/sqrt(V), at every kappa."""
    rows = []
    with mp.workdps(DIGITS):
        V = mp.mpf(V)
        root, scale = mp.sqrt(1 - V), mp.sqrt(V)
        for kappa in KAPPAS:
            nodes = exact_nodes([kappa / root], [scale / root])
            field = [((kappa - root * z) / scale, w) for z, w in nodes]
            square = lambda u: exact_mills(u) ** 2
            rows.append([mp.fsum(w * f(u) for u, w in field) for f in (exact_log_H, square)])
    return rows


def constraint_error(V, n):
    root, scale = np.sqrt(1 - V), np.sqrt(V)
    kappa = np.array(KAPPAS)
    rule = gaussian_rule((kappa / root,), (np.full_like(kappa, scale / root),), n)
    u = (kappa[:, None] - root * rule.nodes) / scale
    found = [np.asarray(jnp.sum(rule.weights * f, -1)) for f in (log_H(u), mills(u) ** 2)]
    return max(float(abs(f / e - 1)) for fs, es in zip(zip(*found), constraint(V)) for f, e in zip(fs, es))


@pytest.mark.parametrize("V", [1e-8, 1e-7, 1e-5, 1e-3, 0.1, 0.5, 0.9, 1 - 1e-6])
def test_one_bend(V):
    """256 nodes: twelve digits at every V = 1-q down to 1e-8; half of them are needed at 1-q > 1e-3."""
    assert constraint_error(V, 256) < 1e-14
    if V >= 1e-2:
        assert constraint_error(V, 128) < 1e-14


TOO_FEW = [  # nodes, V = 1-q, the error lies between
    (32, 0.9, 1e-8, 1e-6),
    (32, 1e-2, 1e-4, 1e-2),
    (64, 0.5, 0.0, 1e-12),
    (64, 1e-2, 1e-9, 1e-7),
    (128, 1e-5, 1e-11, 1e-9),
    (128, 1e-8, 1e-8, 1e-5),
]


@pytest.mark.parametrize("n, V, least, most", TOO_FEW)
def test_fewer_nodes_give_less(n, V, least, most):
    """What too few nodes cost, from both sides, so that the numbers stay true."""
    assert least <= constraint_error(V, n) <= most


@pytest.mark.parametrize("q_hat", [1e-4, 1.0, 1e2, 1e4, 1e8, 1e12, 1e16])
def test_site(q_hat):
    """E log 2cosh(sqrt(q_hat) z) and E sech^2: 256 nodes up to q_hat = 1e12, 320 at 1e16."""
    with mp.workdps(DIGITS):
        root = mp.sqrt(mp.mpf(q_hat))
        nodes = exact_nodes([0], [1 / root])
        value = mp.fsum(w * (abs(root * z) + mp.log1p(mp.exp(-2 * abs(root * z)))) for z, w in nodes)
        variance = mp.fsum(w * mp.sech(root * z) ** 2 for z, w in nodes)
    n = 256 if q_hat <= 1e12 else 320
    for even in (False, True):
        rule = gaussian_rule((0.0,), (float(1 / root),), n, even=even)
        y = float(root) * rule.nodes
        assert abs(float(jnp.sum(rule.weights * log_2cosh(y))) / value - 1) < 1e-14
        assert abs(float(jnp.sum(rule.weights * sech2(y))) / variance - 1) < 1e-14
        assert rule.nodes.shape == (n // 2 if even else n,)


def test_derivatives_leave_the_nodes_alone():
    """d/dkappa and d/dV of E log H by autodiff through the rule are the averages of the derivatives."""

    def value(kappa, V):
        root, scale = jnp.sqrt(1 - V), jnp.sqrt(V)
        rule = gaussian_rule((kappa / root,), (scale / root,), 256)
        return jnp.sum(rule.weights * log_H((kappa - root * rule.nodes) / scale))

    points = np.array([(kappa, V) for kappa in KAPPAS for V in (1e-6, 1e-2, 0.4)])
    by_kappa, by_V = (np.asarray(x) for x in jax.jit(jax.vmap(jax.grad(value, (0, 1))))(*points.T))
    for i, (kappa, V) in enumerate(points.tolist()):
        with mp.workdps(DIGITS):
            root, scale = mp.sqrt(1 - mp.mpf(V)), mp.sqrt(mp.mpf(V))
            rule = exact_nodes([kappa / root], [scale / root])
            nodes = [(z, (kappa - root * z) / scale, w) for z, w in rule]
            exact = -mp.fsum(w * exact_mills(u) for z, u, w in nodes) / scale
            assert abs(float(by_kappa[i]) / exact - 1) < 1e-12
            moved = [w * exact_mills(u) * (z / (2 * root * scale) - u / (2 * scale**2)) for z, u, w in nodes]
            assert abs(float(by_V[i]) + mp.fsum(moved)) < 1e-12 * mp.fsum(map(abs, moved))


# ---------------------------------------------------------------- several bends, jumps, symmetry


def two_bends(V, beta, kappa, n):
    """Relative error of E log(e^-beta + (1 - e^-beta) H(u)): a parabola, flat beyond u = sqrt(2 beta)."""
    root, scale, second = np.sqrt(1 - V), np.sqrt(V), np.sqrt(2 * beta)
    bends = (kappa / root, (kappa - second * scale) / root)
    widths = (scale / root, scale / root / (1 + second))
    with mp.workdps(DIGITS):
        r, s, floor = mp.sqrt(1 - mp.mpf(V)), mp.sqrt(mp.mpf(V)), mp.exp(-mp.mpf(beta))

        def f(z):
            x = (kappa - r * z) / s / mp.sqrt(2)
            return mp.log(mp.erfc(x) + floor * mp.erfc(-x)) - mp.log(2)

        exact = exact_average(f, list(map(mp.mpf, bends)), list(map(mp.mpf, widths)))
    rule = gaussian_rule(bends, widths, n)
    u = (kappa - root * rule.nodes) / scale
    return float(abs(float(jnp.sum(rule.weights * log_add_exp(log_H(u), log_H(-u) - beta))) / exact - 1))


@pytest.mark.parametrize("beta", [0.5, 3.0, 30.0, 300.0])
def test_two_bends(beta):
    """256 nodes: twelve digits for 1-q >= 1e-3; at 1e-6 it takes twice as many."""
    for kappa in (-2.0, 0.0, 1.0):
        for V in (1e-3, 0.3, 0.99):
            assert two_bends(V, beta, kappa, 256) < 1e-12
        assert two_bends(1e-6, beta, kappa, 512) < 1e-14


def test_two_bends_need_both():
    """A rule that is told of one bend only is wrong at half the cost; with both it is not."""
    beta, V, kappa = 30.0, 1e-3, 0.0
    exact = two_bends(V, beta, kappa, 256)
    root, scale = np.sqrt(1 - V), np.sqrt(V)
    u = lambda rule: (kappa - root * rule.nodes) / scale
    average = lambda rule: jnp.sum(rule.weights * log_add_exp(log_H(u(rule)), log_H(-u(rule)) - beta))
    second = np.sqrt(2 * beta)
    fine = gaussian_rule((0.0, -second * scale / root), (scale / root, scale / root / (1 + second)), 512)
    shared = gaussian_rule((0.0,), (scale / root,), 128)
    assert exact < 1e-12
    assert abs(average(shared) / average(fine) - 1) > 1e-7


@pytest.mark.parametrize("middle", [0.0, 1.3])
@pytest.mark.parametrize("apart, width", [(0.0, 0.05), (0.3, 0.05), (4.0, 0.2), (2.0, 3.0)])
def test_two_bends_of_one_width(apart, width, middle):
    """Two Gaussian peaks of this width: nodes that are told of the width once are those of two equal widths, at half the arithmetic."""
    bends = (middle - 0.5 * apart, middle + 0.5 * apart)
    once, twice = gaussian_rule(bends, (width,), 96), gaussian_rule(bends, (width, width), 96)
    density = lambda z, b: np.exp(-0.5 * ((z - b) / width) ** 2) / (width * np.sqrt(2 * np.pi))
    wide = 1 + width**2
    exact = sum(np.exp(-0.5 * b**2 / wide) / np.sqrt(2 * np.pi * wide) for b in bends)
    average = lambda rule: jnp.sum(rule.weights * sum(density(rule.nodes, b) for b in bends))
    assert once.nodes.shape == (96,) and np.all(np.diff(once.nodes) > 0)
    assert abs(average(once) / exact - 1) < 1e-9 and abs(average(twice) / exact - 1) < 1e-9
    if width < 1:
        np.testing.assert_allclose(once.nodes, twice.nodes, atol=1e-9)


@pytest.mark.parametrize(
    "apart, peak, wall",
    [
        (0.5, 0.9, 0.1),
        (2.0, 0.7, 0.1),
        (1.0, 0.3, 0.05),
        (1.0, 0.3, 0.01),
        (-0.5, 0.3, 0.05),
        (1.5, 0.2, 0.5),
    ],
)
def test_a_peak_beside_a_wall(apart, peak, wall):
    """A Gaussian cut off by H: ten digits with 96 nodes for both."""
    c = 1 / peak**2 - 1
    with mp.workdps(DIGITS):
        f = lambda z: mp.exp(-c * z * z / 2) * mp.erfc((apart - z) / wall / mp.sqrt(2)) / 2 * mp.npdf(z)
        edges = [-9, -3 * peak, 0, 3 * peak, apart - 5 * wall, apart, apart + 5 * wall, 9]
        exact = float(mp.quad(f, sorted(edges)))
    rule = gaussian_rule((0.0, apart), (peak, wall), 96)
    g = jnp.exp(-0.5 * c * rule.nodes**2 + log_H((apart - rule.nodes) / wall))
    assert rule.nodes.shape == (96,) and abs(jnp.sum(rule.weights * g) / exact - 1) < 1e-10


@pytest.mark.parametrize("apart", [0.0, 1e-3, 0.05, -0.3])
def test_coinciding_bends_are_both_resolved(apart):
    """A Gaussian of width 0.004 in z next to a bend of width 0.1: its average is a Gaussian density."""
    width, b = 4e-3, 0.3
    rule = gaussian_rule((b, b + apart), (width, 0.1), 128)
    peak = lambda z: jnp.exp(-0.5 * ((z - b) / width) ** 2) / (width * jnp.sqrt(2 * jnp.pi))
    exact = np.exp(-0.5 * b**2 / (1 + width**2)) / np.sqrt(2 * np.pi * (1 + width**2))
    np.testing.assert_allclose(jnp.sum(rule.weights * peak(rule.nodes)), exact, rtol=1e-10)


@pytest.mark.parametrize("a", [-2.5, -0.3, 0.0, 1.7, 4.0])
def test_jumps(a):
    """Steps and ramps at a: panels end there, and the derivative is that of the moving panels (Leibniz)."""

    def average(f):
        def value(x):
            rule = gaussian_rule((x,), (1.0,), 128, moving=True)
            return jnp.sum(rule.weights * f(rule.nodes, x))

        return value(a), jax.grad(value)(a), jax.grad(jax.grad(value))(a)

    H, G = float(mp.erfc(mp.mpf(a) / mp.sqrt(2)) / 2), float(mp.npdf(a))
    for f, exact in (
        (lambda z, x: jnp.where(z > x, 1.0, 0.0), (H, -G, a * G)),
        (lambda z, x: jnp.maximum(z - x, 0.0), (G - a * H, -H, G)),
        (lambda z, x: 0.5 * jnp.maximum(z - x, 0.0) ** 2, (0.5 * (H * (1 + a * a) - a * G), a * H - G, H)),
    ):
        for found, right in zip(average(f), exact):
            assert abs(found - right) < 1e-13


def test_two_jumps_move():
    """P(a < z < b) and its gradient (-G(a), G(b)); the bends are given in the wrong order."""

    def mass(a, b):
        rule = gaussian_rule((b, a), (1.0, 1.0), 128, moving=True)
        return jnp.sum(rule.weights * jnp.where((rule.nodes > a) & (rule.nodes < b), 1.0, 0.0))

    for a, b in ((-1.0, 0.5), (0.2, 3.0), (-0.001, 0.001), (-4.0, 4.0)):
        exact = float(mp.ncdf(b) - mp.ncdf(a))
        assert abs(mass(a, b) / exact - 1) < 1e-13
        by_a, by_b = jax.grad(mass, (0, 1))(a, b)
        assert abs(by_a + float(mp.npdf(a))) < 1e-14 and abs(by_b - float(mp.npdf(b))) < 1e-14


def random_bends(count, rng, size=300):
    bends = tuple(rng.uniform(-4, 4, size) for _ in range(count))
    return bends, tuple(10 ** rng.uniform(-4, 1, size) for _ in range(count))


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_polynomials(count):
    """Weights sum to 1, mean 0, variance 1, fourth moment 3, wherever the bends are."""
    bends, widths = random_bends(count, np.random.default_rng(count))
    rule = gaussian_rule(bends, widths, 512)
    for power, exact in ((0, 1.0), (1, 0.0), (2, 1.0), (3, 0.0), (4, 3.0)):
        moment = jnp.sum(rule.weights * rule.nodes**power, -1)
        assert np.max(np.abs(moment - exact)) < 1e-12 * (1 + exact)
    assert np.all(np.diff(np.sort(np.abs(rule.nodes), -1), axis=-1) >= 0) and np.all(rule.jacobian >= 0)
    assert np.max(np.abs(rule.nodes)) <= RANGE * (1 + 1e-14)
    logs, weights = np.asarray(rule.log_weights), np.asarray(rule.weights)
    used = weights > 0  # wide bends share one place: nothing lies between them
    assert np.all(logs[~used] < -690) and np.allclose(
        logs[used], np.log(weights[used]), rtol=1e-14, atol=1e-13
    )


@pytest.mark.parametrize("bends", [(1e4, 1e8), (3.0, 1e3), (-1e3, 1e3), (-2.0, 1e3)])
def test_wide_bends_leave_the_nodes_to_the_gaussian(bends):
    """Two bends that are no features: 64 nodes give the Gaussian to rounding."""
    rule = gaussian_rule(bends, tuple(map(abs, bends)), 64)
    assert abs(jnp.sum(rule.weights) - 1) < 1e-14
    assert abs(jnp.sum(rule.weights * jnp.cosh(0.7 * rule.nodes)) - np.exp(0.245)) < 1e-13


@pytest.mark.parametrize("width", [1e-3, 0.1, 1.0, 10.0])
@pytest.mark.parametrize("bends", [(-20.0,), (20.0,), (-20.0, -21.0), (12.0, 30.0), (-15.0, 15.0)])
def test_bends_outside_the_gaussian_do_not_matter(bends, width):
    """They must not take the nodes along: 128 give the Gaussian itself to twelve digits."""
    rule = gaussian_rule(bends, (width,) * len(bends), 128)
    for power, exact in ((0, 1.0), (2, 1.0)):
        assert abs(jnp.sum(rule.weights * rule.nodes**power) - exact) < 1e-12


@pytest.mark.parametrize("bend", [0.0, 0.3, 2.0])
def test_even_rules(bend):
    """The even rule on z > 0 gives the same averages as the full one with mirrored bends."""
    width = 1e-2
    bends, widths = ((0.0,), (width,)) if bend == 0 else ((-bend, bend), (width, width))
    f = lambda z: log_2cosh((z * z - bend * bend) / width if bend else z / width) + jnp.cos(z)
    full, half = (gaussian_rule(bends, widths, 256, even=even) for even in (False, True))
    one, other = (jnp.sum(rule.weights * f(rule.nodes)) for rule in (full, half))
    assert np.all(half.nodes >= 0)
    assert abs(one / other - 1) < 1e-13


def test_wider_ranges():
    """A tilt e^{c z} needs nodes up to c + RANGE; `upper` gives them, also as an array."""
    c = np.array([0.0, 3.0, 12.0, 30.0])
    rule = gaussian_rule((np.zeros(4),), (np.ones(4),), 256, upper=RANGE + c)
    logs = jax.scipy.special.logsumexp(c[:, None] * rule.nodes + rule.log_weights, axis=-1)
    assert np.max(np.abs(logs - c * c / 2) / (1 + c * c)) < 1e-13


def test_batches():
    """Nodes of shape S + (n,); vmap, jit and arrays give the same rule to rounding."""
    bends, widths = random_bends(2, np.random.default_rng(9), 12)
    rule = gaussian_rule(bends, widths, 64)
    assert rule.nodes.shape == rule.jacobian.shape == (12, 64)
    one = jax.jit(jax.vmap(lambda b, w: gaussian_rule(b, w, 64)))(bends, widths)
    assert np.allclose(one.nodes, rule.nodes, rtol=1e-13, atol=1e-13)
    grid = gaussian_rule(tuple(b.reshape(3, 4) for b in bends), tuple(w.reshape(3, 4) for w in widths), 64)
    assert np.array_equal(grid.nodes.reshape(12, 64), rule.nodes)


def test_unit_panels():
    x, w = unit_panels(3)
    assert x.shape == w.shape == (48,)
    for power in range(31):
        assert abs(w @ x**power - 1 / (power + 1)) < 1e-15
