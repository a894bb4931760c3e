"""Special functions against mpmath, with the accuracies that their docstrings state."""

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

from replicax.numerics import special

INF = float("inf")


def values(f, *args):
    """f under jit and vmap; the autodiff of scalar functions comes through this as well."""
    return np.asarray(jax.jit(jax.vmap(f))(*map(jnp.asarray, args)))


def errors(computed, exact, scale=None):
    """|computed - exact| / (scale or |exact|); exact values below the normal float64 numbers do not count."""
    result = []
    for i, (c, e) in enumerate(zip(computed.tolist(), exact)):
        if mp.isinf(e):
            assert c == float(e)
            result.append(0.0)
            continue
        assert np.isfinite(c)
        size = abs(e) if scale is None else scale[i]
        result.append(float(abs(c - e) / size) if size > 1e-300 else 0.0)
    return np.array(result)


def derivative(f, order):
    for _ in range(order):
        f = jax.grad(f)
    return f


# ---------------------------------------------------------------- log H, mills and their chain


def exact_H(x):
    return mp.erfc(mp.mpf(x) / mp.sqrt(2)) / 2


def exact_chain(x):
    """log H, -mills, -mills', ..., -mills'''' at 50 digits or more (the recurrences cancel as x^10)."""
    with mp.workdps(90):
        x = mp.mpf(x)
        h = exact_H(x)
        log_h = mp.log(h) if x > -5 else mp.log1p(-exact_H(-x))
        g = mp.npdf(x) / h
        g1 = g * (g - x)
        g2 = g1 * (2 * g - x) - g
        g3 = g2 * (2 * g - x) - 2 * g1 * (1 - g1)
        g4 = g3 * (2 * g - x) + 3 * g2 * (2 * g1 - 1)
        return log_h, -g, -g1, -g2, -g3, -g4


def points():
    random = np.random.default_rng(1)
    around = lambda center: center + random.normal(size=60) * 10.0 ** random.uniform(-12, 0, 60)
    magnitude = 10 ** random.uniform(-12, 3, 150)
    return np.concatenate(
        [
            random.uniform(-6, 6, 300),
            random.uniform(-37, 37, 150),  # below -37.5 the density is not a normal float64
            *map(around, (0.0, -1.0024, -37.0, 5.0)),
            magnitude,
            -magnitude[magnitude < 37],
            [0.0, -0.0, 1e3, -1e3, 40.0, -40.0, 1e-300, -1e-300],
        ]
    )


POINTS = points()
CHAIN = list(zip(*map(exact_chain, POINTS)))


# the public function, or autodiff of log H
@pytest.mark.parametrize(
    "order, function, sign, tolerance",
    [
        (0, special.log_H, 1, 1.2e-15),
        (1, special.mills, -1, 1.2e-15),
        (2, special.mills_1, -1, 2.5e-15),
        (3, special.mills_2, -1, 1.2e-14),
        (1, derivative(special.log_H, 1), 1, 1.2e-15),
        (2, derivative(special.log_H, 2), 1, 2.5e-15),
        (3, derivative(special.log_H, 3), 1, 1.2e-14),
        (2, derivative(special.mills, 1), -1, 2.5e-15),
    ],
)
def test_log_H_and_its_derivatives_have_a_small_relative_error(order, function, sign, tolerance):
    exact = [sign * e for e in CHAIN[order]]
    assert errors(values(function, POINTS), exact).max() < tolerance


@pytest.mark.parametrize("function, sign", [(special.mills_3, -1), (derivative(special.log_H, 4), 1)])
def test_fourth_derivative_of_log_H(function, sign):
    """Relative error where it has no zero; it changes sign at -1.0024."""
    computed, exact = values(function, POINTS), [sign * e for e in CHAIN[4]]
    relative = errors(computed, exact)
    assert relative[POINTS >= 0].max() < 1.2e-15
    assert relative[POINTS < -3].max() < 1.2e-15
    assert errors(computed, exact, scale=np.ones(POINTS.size)).max() < 1e-14


def test_fifth_derivative_of_log_H():
    """A recurrence: it loses x^2, nothing else (and has a zero below x = 2)."""
    computed = -values(derivative(special.mills_3, 1), POINTS)
    assert errors(computed, CHAIN[5], scale=np.ones(POINTS.size)).max() < 1e-13
    assert (errors(computed, CHAIN[5]) < 4e-14 + 4e-15 * POINTS**2)[POINTS > 2].all()


def test_higher_and_forward_derivatives():
    x = jnp.array([-2.0, -0.3, 0.4, 3.0])
    fifth, step = jax.jit(jax.vmap(derivative(special.mills_3, 1))), 1e-5
    sixth = values(derivative(special.mills_3, 2), x)
    np.testing.assert_allclose(sixth, (fifth(x + step) - fifth(x - step)) / (2 * step), rtol=1e-6)
    forward = values(jax.jacfwd(jax.jacfwd(jax.jacrev(special.log_H))), x)
    np.testing.assert_allclose(forward, -special.mills_2(x), rtol=1e-14)


def test_H():
    with mp.workdps(30):
        assert errors(values(special.H, POINTS), [exact_H(x) for x in POINTS]).max() < 1.2e-15
        exact = [-mp.npdf(mp.mpf(x)) for x in POINTS]
        second = [mp.mpf(x) * mp.npdf(mp.mpf(x)) for x in POINTS]
    assert errors(values(jax.grad(special.H), POINTS), exact).max() < 1e-15
    assert errors(values(derivative(special.H, 2), POINTS), second).max() < 1e-15


def test_inverse_H():
    random = np.random.default_rng(2)
    p = np.concatenate([random.uniform(size=150), 10 ** random.uniform(-300, 0, 150)])
    p = np.concatenate([p, 1 - 10 ** random.uniform(-15, 0, 100), [0.5]])
    x = values(special.inverse_H, p)
    # the error, by one Newton step
    with mp.workdps(50):
        shift = [(exact_H(a) - mp.mpf(b)) / mp.npdf(mp.mpf(a)) for a, b in zip(x.tolist(), p.tolist())]
    assert max(abs(s) / max(1, abs(a)) for s, a in zip(shift, x)) < 1e-15
    slope = values(jax.grad(special.inverse_H), p)
    np.testing.assert_allclose(slope, 1 / values(jax.grad(special.H), x), rtol=1e-12)
    assert values(special.inverse_H, np.array([0.0, 1.0])).tolist() == [INF, -INF]


def exact_interval(a, b):
    """log(H(a) - H(b)) and its two derivatives."""
    a, b = mp.mpf(a), mp.mpf(b)
    if a + b < 0:
        value, slope_a, slope_b = exact_interval(-b, -a)
        return value, -slope_b, -slope_a
    with mp.workdps(70):
        difference = exact_H(a) - exact_H(b)
        value = mp.log1p(-exact_H(-a) - exact_H(b)) if a < -5 else mp.log(difference)
        return value, -mp.npdf(a) / difference, mp.npdf(b) / difference


def test_log_diff_H():
    random = np.random.default_rng(3)
    a = random.normal(size=800) * random.choice([1, 5, 30, 300], 800)
    b = a + 10 ** random.uniform(-12, 2, 800)
    exact = list(zip(*map(exact_interval, a, b)))
    assert errors(values(special.log_diff_H, a, b), exact[0]).max() < 1.2e-15
    slopes = values(lambda a, b: jnp.stack(jax.grad(special.log_diff_H, (0, 1))(a, b)), a, b).T
    for computed, slope in zip(slopes, exact[1:]):
        tolerance = np.array([2e-15 + 2e-16 * abs(float(mp.log(abs(s)))) for s in slope])
        assert (errors(computed, slope) < tolerance).all()


def test_log_diff_H_limits_and_second_derivatives():
    a, b = np.array([-INF, -INF, 1.0, -INF, 2.0]), np.array([INF, 1.0, INF, -3.0, 2.0])
    expected = np.array([0.0, special.log_H(-1.0), special.log_H(1.0), special.log_H(3.0), -INF])
    np.testing.assert_allclose(values(special.log_diff_H, a, b), expected, rtol=1e-15)
    first = jax.jit(jax.vmap(lambda a, b: jnp.stack(jax.grad(special.log_diff_H, (0, 1))(a, b))))
    second = jax.jit(jax.vmap(lambda a, b: jnp.array(jax.hessian(special.log_diff_H, (0, 1))(a, b))))
    slopes = np.asarray(first(a, b))[:4]
    g = special.mills(-1.0), special.mills(1.0), special.mills(3.0)
    np.testing.assert_allclose(slopes, [[0, 0], [0, g[0]], [-g[1], 0], [0, g[2]]], rtol=1e-14)
    hessian = np.asarray(second(a, b))[:4]
    assert np.isfinite(hessian).all()
    np.testing.assert_allclose(hessian[2], [[-special.mills_1(1.0), 0], [0, 0]], rtol=1e-14)
    assert np.isnan(special.log_diff_H(1.0, 0.0)) and np.isnan(special.log_diff_H(60.0, 0.0))

    x, y, step = jnp.array([-3.0, -0.2, 0.1, 2.0]), jnp.array([-2.5, 3.0, 0.3, 9.0]), 1e-5
    hessian = second(x, y)
    for k, (dx, dy) in enumerate([(step, 0.0), (0.0, step)]):
        numeric = (np.asarray(first(x + dx, y + dy)) - np.asarray(first(x - dx, y - dy))) / (2 * step)
        np.testing.assert_allclose(hessian[:, k], numeric, rtol=1e-7, atol=1e-8)


def test_log_hinge():
    """E (k - z)_+^2 without the cancellations of (1 + k^2) H(-k) + k G(k); its slope is 2 E (k - z)_+."""
    k = np.array([-30.0, -12.0, -8.0, -3.0, -0.5, 0.0, 1e-3, 2.0, 40.0])
    with mp.workdps(60):
        square = [(1 + mp.mpf(x) ** 2) * exact_H(-x) + x * mp.npdf(x) for x in k.tolist()]
        slope = [2 * (x * exact_H(-x) + mp.npdf(x)) / y for x, y in zip(k.tolist(), square)]
        wanted = np.array([float(mp.log(y)) for y in square]), np.array([float(y) for y in slope])
    error = 4e-16 * (1 + k**2)
    assert np.all(np.abs(special.log_hinge(k) - wanted[0]) < error * np.maximum(1.0, np.abs(wanted[0])))
    np.testing.assert_allclose(jax.vmap(jax.grad(special.log_hinge))(k), wanted[1], rtol=1e-11)


# ---------------------------------------------------------------- log cosh, log sums


def sech_square(x):
    return mp.sech(x) ** 2


def logistic(x):
    return 1 / (1 + mp.exp(-x))


@pytest.mark.parametrize(
    "function, exact",
    [
        (special.log_2cosh, lambda x: mp.log(2 * mp.cosh(x))),
        (derivative(special.log_2cosh, 1), mp.tanh),
        (special.sech2, sech_square),
        (derivative(special.log_2cosh, 2), sech_square),
        (derivative(special.log_2cosh, 3), lambda x: -2 * mp.tanh(x) * sech_square(x)),
        (special.softplus, lambda x: mp.log1p(mp.exp(x))),
        (special.sigmoid, logistic),
        (derivative(special.softplus, 1), logistic),
        (derivative(special.softplus, 2), lambda x: logistic(x) * logistic(-x)),
        (derivative(special.softplus, 3), lambda x: -logistic(x) * logistic(-x) * mp.tanh(x / 2)),
    ],
)
def test_log_2cosh_and_softplus(function, exact):
    random = np.random.default_rng(4)
    x = np.concatenate([random.uniform(-40, 40, 300), random.uniform(-300, 300, 100)])
    x = np.concatenate([x, random.normal(size=100) * 1e-4, 10 ** random.uniform(-9, 0, 100), [0.0]])
    with mp.workdps(50):
        assert errors(values(function, x), [exact(mp.mpf(v)) for v in x]).max() < 1.2e-15


def test_log_add_exp():
    random = np.random.default_rng(5)
    a, b = random.normal(size=(2, 200)) * 20
    exact = [mp.log(mp.exp(mp.mpf(x)) + mp.exp(mp.mpf(y))) for x, y in zip(a, b)]
    assert errors(values(special.log_add_exp, a, b), exact, scale=np.maximum(abs(a), abs(b))).max() < 1e-15
    slope = [logistic(mp.mpf(x) - mp.mpf(y)) for x, y in zip(a, b)]
    assert errors(values(jax.grad(special.log_add_exp), a, b), slope).max() < 1e-14

    a, b = np.array([-INF, -INF, 1.0, INF, 0.5]), np.array([-INF, 2.0, -INF, INF, 0.5])
    assert values(special.log_add_exp, a, b).tolist() == [-INF, 2.0, 1.0, INF, 0.5 + np.log(2)]
    assert values(jax.grad(special.log_add_exp, 0), a, b).tolist() == [0.5, 0.0, 1.0, 0.5, 0.5]
    assert values(jax.grad(special.log_add_exp, 1), a, b).tolist() == [0.5, 1.0, 0.0, 0.5, 0.5]
    second = values(jax.grad(jax.grad(special.log_add_exp)), a, b)
    assert np.isfinite(second).all() and second[-1] == 0.25


def test_binary_entropy():
    random = np.random.default_rng(6)
    d = np.concatenate([random.uniform(size=200), 10 ** random.uniform(-30, 0, 200), [0.5]])
    d = np.concatenate([d, 1 - 10 ** random.uniform(-15, 0, 100)])
    exact = lambda d: -d * mp.log(d) - (1 - d) * mp.log1p(-d)
    assert errors(values(special.binary_entropy, d), [exact(mp.mpf(v)) for v in d]).max() < 1e-15
    slope = [mp.log1p(-mp.mpf(v)) - mp.log(mp.mpf(v)) for v in d]
    size = np.maximum(1, [abs(float(s)) for s in slope])
    assert errors(values(jax.grad(special.binary_entropy), d), slope, scale=size).max() < 1e-15
    second = values(derivative(special.binary_entropy, 2), d)
    np.testing.assert_allclose(second, -1 / (d * (1 - d)), rtol=1e-14)
    assert values(special.binary_entropy, np.array([0.0, 1.0])).tolist() == [0.0, 0.0]
    assert values(jax.grad(special.binary_entropy), np.array([0.0, 1.0])).tolist() == [INF, -INF]
    assert np.isnan(values(special.binary_entropy, np.array([-0.1, 1.1]))).all()


# ---------------------------------------------------------------- two correlated fields


def exact_orthant(a, b, rho):
    """Plackett's integral over the angle phi, rho = cos(phi), from phi = 0; split at the scales of a - b."""
    a, b, rho = mp.mpf(a), mp.mpf(b), mp.mpf(rho)
    if rho < 0:
        return exact_H(a) - exact_orthant(a, -b, -rho)
    angle, gap = mp.acos(rho), abs(a - b)
    f = lambda phi: mp.exp(-((gap / mp.sin(phi)) ** 2) / 2 - a * b / (1 + mp.cos(phi)))
    breaks = {gap * k for k in (0.1, 0.2, 0.3, 0.5, 1, 2, 4, 10)} | {mp.mpf(k) for k in (0.1, 0.4, 0.8)}
    breaks = [0, *sorted(k for k in breaks if 0 < k < angle), angle]
    return exact_H(max(a, b)) - mp.quad(f, breaks) / (2 * mp.pi)


def orthant_points():
    random = np.random.default_rng(7)
    a, b = random.normal(size=(2, 150)) * 2
    rho = np.sin(random.uniform(-np.pi / 2, np.pi / 2, 150))
    rho[:60] = np.sign(rho[:60]) * (1 - 10 ** random.uniform(-16, -1, 60))
    b[:20] = np.sign(rho[:20]) * a[:20]
    b[20:60] = np.sign(rho[20:60]) * a[20:60] + 10 ** random.uniform(-10, 0, 40)
    b[60:75], b[75:90] = a[60:75], -a[75:90]
    a[90:95], b[93:98], rho[97:99] = 0.0, 0.0, 0.0
    return a, b, rho


def test_bivariate_orthant():
    a, b, rho = orthant_points()
    with mp.workdps(20):
        exact = [exact_orthant(*point) for point in zip(a, b, rho)]
    computed = values(special.bivariate_orthant, a, b, rho)
    assert errors(computed, exact, scale=np.ones(a.size)).max() < 1e-15


def test_bivariate_orthant_closed_forms_and_limits():
    a = np.array([0.0, 0.0, 0.0, 0.0, 1.0, -1.0, -1.0, 1.0, INF, -INF, -INF, 0.3, 40.0])
    b = np.array([0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.5, 0.7, 0.0, 0.7, -INF, -0.2, -50.0])
    rho = np.array([0.0, 1.0, -1.0, 0.6, 1.0, -1.0, -1.0, 1.0, 0.5, 0.5, 0.5, 0.0, 0.3])
    H = lambda x: float(exact_H(x))
    exact = [0.25, 0.5, 0.0, 0.25 + np.arcsin(0.6) / (2 * np.pi), H(1), 0.0, H(-1) + H(0.5) - 1]
    exact = [*exact, H(1), 0.0, H(0.7), 1.0, H(0.3) * H(-0.2), 0.0]
    np.testing.assert_allclose(values(special.bivariate_orthant, a, b, rho), exact, rtol=0, atol=1e-15)
    gradient = values(lambda *x: jnp.stack(jax.grad(special.bivariate_orthant, (0, 1, 2))(*x)), a, b, rho)
    assert np.isfinite(gradient).all()


def test_bivariate_orthant_derivatives():
    a, b, rho = orthant_points()
    keep = abs(rho) < 0.999
    a, b, rho = a[keep], b[keep], rho[keep]
    gradient = values(lambda *x: jnp.stack(jax.grad(special.bivariate_orthant, (0, 1, 2))(*x)), a, b, rho).T
    with mp.workdps(40):
        exact = []
        for x, y, r in zip(*(map(mp.mpf, v.tolist()) for v in (a, b, rho))):
            s = mp.sqrt(1 - r * r)
            density = mp.exp(-(x * x - 2 * r * x * y + y * y) / (2 * s * s)) / (2 * mp.pi * s)
            slopes = [-mp.npdf(u) * exact_H((v - r * u) / s) for u, v in ((x, y), (y, x))]
            exact.append((*slopes, density))
    for computed, slope in zip(gradient, zip(*exact)):
        scale = np.maximum(1e-3, [abs(float(s)) for s in slope])
        assert errors(computed, slope, scale).max() < 1e-13

    up, down = (values(special.bivariate_orthant, a, b, rho + step) for step in (1e-6, -1e-6))
    smooth = abs(rho) < 0.9
    np.testing.assert_allclose(gradient[2][smooth], (up - down)[smooth] / 2e-6, rtol=1e-6, atol=1e-9)
    hessian = values(lambda *x: jnp.array(jax.hessian(special.bivariate_orthant, (0, 1, 2))(*x)), a, b, rho)
    assert np.isfinite(hessian).all()
    np.testing.assert_allclose(hessian, np.swapaxes(hessian, 1, 2), rtol=1e-9, atol=1e-9)


# ---------------------------------------------------------------- limits, types, transformations


LIMITS = [  # function, value at -inf, value at +inf
    (special.log_H, 0, -INF),
    (special.mills, 0, INF),
    (special.mills_1, 0, 1),
    (special.mills_2, 0, 0),
    (special.mills_3, 0, 0),
    (derivative(special.mills_3, 1), 0, 0),
    (derivative(special.log_H, 1), 0, -INF),
    (derivative(special.log_H, 2), 0, -1),
    (special.H, 1, 0),
    (derivative(special.H, 1), 0, 0),
    (derivative(special.H, 2), 0, 0),
    (derivative(special.H, 3), 0, 0),
    (special.log_2cosh, INF, INF),
    (derivative(special.log_2cosh, 1), -1, 1),
    (derivative(special.log_2cosh, 2), 0, 0),
    (derivative(special.log_2cosh, 3), 0, 0),
    (derivative(special.log_2cosh, 4), 0, 0),
    (special.softplus, 0, INF),
    (derivative(special.softplus, 1), 0, 1),
    (derivative(special.softplus, 2), 0, 0),
    (derivative(special.softplus, 3), 0, 0),
]


def test_limits_at_infinity_and_far_out():
    x = jnp.array([-INF, -1e300, -1e9, 1e300, INF, np.nan])
    table = jax.jit(lambda x: [jax.vmap(function)(x) for function, _, _ in LIMITS])(x)
    for computed, (_, at_minus, at_plus) in zip(np.asarray(table), LIMITS):
        np.testing.assert_allclose(computed[[0, 4]], [at_minus, at_plus], rtol=0, atol=1e-40)
        assert not np.isnan(computed[:5]).any()
        assert np.isnan(computed[5])


@pytest.mark.parametrize("name", [n for n in special.__all__ if n not in ("log_diff_H", "bivariate_orthant")])
def test_shapes_types_and_compilation(name):
    function = getattr(special, name)
    arguments = (0.25, 0.5) if name == "log_add_exp" else (0.25,)
    plain = function(*arguments)
    assert plain.dtype == jnp.float64 and plain.shape == ()
    batch = [jnp.full((2, 3), a) for a in arguments]
    for route in (function, jax.vmap(function)):
        np.testing.assert_array_equal(route(*batch), np.full((2, 3), plain))
    for kind in (jnp.float32, jnp.int32):
        assert jax.eval_shape(function, *(kind(a) for a in arguments)).dtype == jnp.float64


def test_mixed_shapes():
    x = jnp.linspace(-1.0, 1.0, 4)
    assert special.log_diff_H(0, 1 + jnp.abs(x)).shape == (4,)
    assert special.bivariate_orthant(0, x, 0.5).shape == (4,)
    both = lambda b: special.bivariate_orthant(0, b, 0.5) + special.log_diff_H(0, b)
    assert np.isfinite(jax.jit(jax.grad(both))(0.7))


def test_value_and_slope_of_log_H_share_their_polynomial():
    """XLA must find what value and slope have in common; the exponential stands for all of it."""
    both = jax.jit(lambda x: jax.jvp(special.log_H, (x,), (jnp.ones_like(x),)))
    text = both.lower(jnp.linspace(-1.0, 1.0, 8)).compile().as_text()
    assert text.count(" exponential(") == 1
