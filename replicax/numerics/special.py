"""Gaussian tails and log-sum functions with accurate derivatives: the hot spot of every free entropy.

G(x) = exp(-x^2/2) / sqrt(2 pi) and H(x) = int_x^inf G. Everything is elementwise, in float64 (inputs are
converted), and may be differentiated any number of times, forward and reverse. Each derivative is stated in
closed form (custom JVP): nothing divides infinity by infinity or subtracts nearly equal numbers.

    log H' = -mills,   mills' = mills_1,   mills_1' = mills_2,   mills_2' = mills_3

For x >= 0 mills(x) - x, mills_2 and mills_3 are rational functions with coefficients of one sign
(`benchmarks/fit_special.py`); for x < 0, H(x) = 1 - H(-x) and the recurrence g' = g (g - x) do not cancel.
log H, mills and mills_1 at the same x share one rational function and one exponential under `jit`.

"Relative error" below is the largest one measured against mpmath (`tests/test_special.py`).
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from . import _special_coefficients as _table

__all__ = [
    "H",
    "binary_entropy",
    "bivariate_orthant",
    "inverse_H",
    "log_2cosh",
    "log_H",
    "log_add_exp",
    "log_diff_H",
    "log_hinge",
    "mills",
    "mills_1",
    "mills_2",
    "mills_3",
    "sech2",
    "sigmoid",
    "softplus",
]

_SQRT_2PI = math.sqrt(2 * math.pi)
_LARGE = 1e15  # beyond, x and x + 1/x are the same number
_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_LOG = (  # Lg7 ... Lg1
    1.479819860511658591e-01,
    1.531383769920937332e-01,
    1.818357216161805012e-01,
    2.222219843214978396e-01,
    2.857142874366239149e-01,
    3.999999999940941908e-01,
    6.666666666666735130e-01,
)
_NODES_12, _WEIGHTS_12 = np.polynomial.legendre.leggauss(12)
_NODES_22, _WEIGHTS_22 = np.polynomial.legendre.leggauss(22)


def _float(x: ArrayLike) -> Array:
    if not jax.config.read("jax_enable_x64"):
        raise RuntimeError("special functions need float64: jax.config.update('jax_enable_x64', True)")
    return jnp.asarray(x, dtype=jnp.result_type(float))


def _floats(*xs: ArrayLike) -> list[Array]:
    return jnp.broadcast_arrays(*(_float(x) for x in xs))


@jax.jit
def _log(y: Array, excess: Array) -> Array:
    """log y for positive, normal, finite y (nothing else is checked), relative error 3e-16.

    `excess` is y - 1 before rounding, used where y is in (sqrt(1/2), sqrt(2)): there log y = log1p(excess).
    (Never get it back as y - 1: XLA simplifies (1 + x) - 1 to x.) y = 2^k (1 + f), and fdlibm's polynomial in
    (f / (2 + f))^2 (e_log.c, Sun Microsystems, 1993). Three times faster than `jnp.log` on the CPU.
    """
    bits = jax.lax.bitcast_convert_type(y, jnp.int64)
    power = (bits - 0x3FE6A09E667F3BCD) >> 52
    f = jax.lax.bitcast_convert_type(bits - (power << 52), jnp.float64) - 1
    f = jnp.where(power == 0, excess, f)
    s = f / (2 + f)
    z, half = s * s, 0.5 * f * f
    rest = jnp.zeros_like(f)
    for c in _LOG:
        rest = (rest + c) * z
    k = power.astype(jnp.float64)
    return k * _LN2_HIGH - ((half - (s * (half + rest) + k * _LN2_LOW)) - f)


@jax.custom_jvp
def _log1p(x):
    """log(1 + x), x > -1, relative error 3e-16 (`jnp.log1p`: 2.6e-14 at x in (-1/2, 0), 5 times slower)."""
    return _log(1 + x, x)


@_log1p.defjvp
def _(primals, tangents):
    (x,), (dx,) = primals, tangents
    return _log1p(x), dx / (1 + x)


def _ratio(p, q, x: Array) -> Array:
    """P(x) / Q(x), by Horner's rule; x at most 1e15, so that no power overflows."""
    top, bottom = p[-1] * x + p[-2], x + q[-2]
    for c in p[-3::-1]:
        top = top * x + c
    for c in q[-3::-1]:
        bottom = bottom * x + c
    return top / bottom


@jax.jit
def _excess(x: Array) -> Array:
    """mills(|x|) - |x|, relative error 4e-16."""
    return _ratio(_table.MILLS_MINUS_X_P, _table.MILLS_MINUS_X_Q, jnp.minimum(jnp.abs(x), _LARGE))


@jax.jit
def _density(x: Array) -> Array:
    """G(x), relative error 4e-16: y is x to 20 bits after the point, y^2 is exact, x^2 never rounded."""
    x = jnp.minimum(jnp.abs(x), 40.0)
    y = jnp.round(x * 2.0**20) * 2.0**-20
    d = 0.5 * (x - y) * (x + y)
    return jnp.exp(-0.5 * y * y) * ((1 - d * (1 - d * (0.5 - d * (1 / 6)))) * (1 / _SQRT_2PI))


@jax.custom_jvp
def _G(x):
    return _density(x)


@_G.defjvp
def _(primals, tangents):
    (x,), (dx,) = primals, tangents
    return _G(x), -jnp.clip(x, -40.0, 40.0) * _G(x) * dx


@jax.jit
def _tail(x: Array) -> tuple[Array, Array, Array]:
    """mills(|x|), G(x) and H(|x|)."""
    m = jnp.abs(x) + _excess(x)
    density = _density(x)
    return m, density, density / m


# ---------------------------------------------------------------- log H and the inverse Mills ratio


@jax.custom_jvp
def _log_H(x):
    m, _, h = _tail(x)
    log = _log(jnp.where(x < 0, 1 - h, _SQRT_2PI * m), -h)  # sqrt(2 pi) m is above 2
    return jnp.where(x < 0, log, -0.5 * x * x - log)


@_log_H.defjvp
def _(primals, tangents):
    (x,), (dx,) = primals, tangents
    return _log_H(x), -_mills(x) * dx


@jax.custom_jvp
def _mills(x):
    m, density, h = _tail(x)
    return jnp.where(x < 0, density / (1 - h), m)


@_mills.defjvp
def _(primals, tangents):
    (x,), (dx,) = primals, tangents
    return _mills(x), _mills_1(x) * dx


@jax.custom_jvp
def _mills_1(x):
    g, r, y = _mills(x), _excess(x), jnp.clip(x, -40.0, _LARGE)
    return jnp.where(x < 0, g * (g - y), r * (y + r))


@_mills_1.defjvp
def _(primals, tangents):
    (x,), (dx,) = primals, tangents
    return _mills_1(x), _mills_2(x) * dx


@jax.custom_jvp
def _mills_2(x):
    g, y = _mills(x), jnp.clip(x, -40.0, _LARGE)
    fit = _ratio(_table.MILLS_2_P, _table.MILLS_2_Q, jnp.abs(y))
    return jnp.where(x < 0, g * ((g - y) * (2 * g - y) - 1), fit)


@_mills_2.defjvp
def _(primals, tangents):
    (x,), (dx,) = primals, tangents
    return _mills_2(x), _mills_3(x) * dx


@jax.custom_jvp
def _mills_3(x):
    g, g1, g2, y = _mills(x), _mills_1(x), _mills_2(x), jnp.clip(x, -40.0, _LARGE)
    fit = _ratio(_table.MILLS_3_P, _table.MILLS_3_Q, jnp.abs(y))
    return jnp.where(x < 0, g2 * (2 * g - y) - 2 * g1 * (1 - g1), fit)


@_mills_3.defjvp
def _(primals, tangents):
    (x,), (dx,) = primals, tangents
    g1, g2, g3, y = _mills_1(x), _mills_2(x), _mills_3(x), jnp.clip(x, -40.0, _LARGE)
    g = jnp.where(x < _LARGE, _mills(x), y)
    return g3, (g3 * (2 * g - y) + 3 * g2 * (2 * g1 - 1)) * dx


@jax.custom_jvp
def _H(x):
    h = _tail(x)[2]
    return jnp.where(x < 0, 1 - h, h)


@_H.defjvp
def _(primals, tangents):
    (x,), (dx,) = primals, tangents
    return _H(x), -_G(x) * dx


@jax.jit
def log_H(x: ArrayLike) -> Array:
    """log H(x) = log( erfc(x / sqrt 2) / 2 ), relative error 1e-15 for all x.

    x >= 0: -x^2/2 - log( sqrt(2 pi) mills(x) );  x < 0: log1p(-H(-x)). Derivative: -mills(x).
    """
    return _log_H(_float(x))


@jax.jit
def mills(x: ArrayLike) -> Array:
    """G(x) / H(x), the inverse Mills ratio: ~ x at +inf, ~ G(x) at -inf. Relative error 1e-15."""
    return _mills(_float(x))


@jax.jit
def mills_1(x: ArrayLike) -> Array:
    """mills'(x) = mills (mills - x), in (0, 1): 1 - 1/x^2 at +inf. Relative error 2e-15."""
    return _mills_1(_float(x))


@jax.jit
def mills_2(x: ArrayLike) -> Array:
    """mills''(x) = mills' (2 mills - x) - mills > 0: 2/x^3 at +inf.

    Relative error 1e-15 for x >= 0, 1e-14 for x < 0 (at x = 0-; 2e-15 below -1).
    """
    return _mills_2(_float(x))


@jax.jit
def mills_3(x: ArrayLike) -> Array:
    """mills'''(x) = mills'' (2 mills - x) - 2 mills' (1 - mills'): -6/x^4 at +inf, a zero at x = -1.0024.

    Relative error 1e-15 for x >= 0; for x < 0 absolute error 5e-15, relative error 1e-15 below -3.
    """
    return _mills_3(_float(x))


@jax.jit
def H(x: ArrayLike) -> Array:
    """H(x) = int_x^inf G = erfc(x / sqrt 2) / 2, relative error 1e-15.

    Zero from x = 37.5 on (XLA flushes subnormals). Derivative: -G(x).
    """
    return _H(_float(x))


@jax.jit
def log_hinge(k: ArrayLike) -> Array:
    """log E (k - z)_+^2 of z ~ N(0, 1): log[(1 + k^2) H(-k) + k G(k)], without its cancellations. Error 1e-16 (1 + k^2)."""
    x = -_float(k)
    return _log_H(x) + jnp.log1p((_mills(x) - x) ** 2 - _mills_1(x))


@jax.custom_jvp
def _inverse_H(p):
    x = -jax.scipy.special.ndtri(p)
    step = (_log_H(x) - jnp.log(p)) / _mills(x)  # one Newton step in log H
    return jnp.where(jnp.isfinite(step), x + step, x)


@_inverse_H.defjvp
def _(primals, tangents):
    (p,), (dp,) = primals, tangents
    x = _inverse_H(p)
    return x, -_SQRT_2PI * jnp.exp(0.5 * x * x) * dp


@jax.jit
def inverse_H(p: ArrayLike) -> Array:
    """x with H(x) = p, 0 <= p <= 1: `ndtri` and one Newton step in log H. Derivative: -1 / G(x).

    Error 1e-15 max(1, |x|).
    """
    return _inverse_H(_float(p))


def _interval(a, b):
    """log(H(a) - H(b)), G(a)/(H(a) - H(b)) and G(b)/(H(a) - H(b)).

    By H(x) = 1 - H(-x) take a + b >= 0. With m the middle and d the half width, for d (1 + m) < 1.5

        H(a) - H(b) = 2 d G(m) S,   S = (1/2) int_-1^1 exp(-m d v - d^2 v^2 / 2) dv   (Gauss-Legendre),

    otherwise 1 - H(-a) - H(b) for a < 0 and H(a) (1 - Q) for a >= 0 with
    Q = H(b)/H(a) = exp(-2 m d) mills(a) / mills(b): none of them cancels.
    """
    flip = a + b < 0
    a, b = jnp.where(flip, -b, a), jnp.where(flip, -a, b)
    near = jnp.abs(b - a) * (2 + (a + b)) < 6
    a_near, b_near = jnp.where(near, a, 0.0), jnp.where(near, b, 1.0)
    m, d = 0.5 * (a_near + b_near), 0.5 * (b_near - a_near)
    s = jnp.zeros_like(m)
    for v, w in zip(_NODES_12.tolist(), _WEIGHTS_12.tolist()):
        s = s + w * jnp.exp(-d * v * (m + 0.5 * d * v))
    slopes_near = (jnp.exp(d * (sign * m - 0.5 * d)) / (d * s) for sign in (1, -1))

    a_far, b_far, below = jnp.where(near, 0.0, a), jnp.where(near, 2.0, jnp.minimum(b, 1e100)), a < 0
    (mills_a, density_a, h_a), (mills_b, density_b, h_b) = _tail(a_far), _tail(b_far)
    exponential = jnp.exp(-0.5 * (b_far - a_far) * jnp.maximum(b_far + a_far, 0.0))
    both = h_a + h_b
    inside, part = 1 - both, 1 - exponential * mills_a / mills_b
    slopes_far = (
        jnp.where(below, density_a / inside, mills_a / part),
        jnp.where(below, density_b / inside, mills_a * exponential / part),
    )

    y = jnp.where(near, d * s, jnp.where(below, inside, part / mills_a))
    y = jnp.where(a < b, y, 0.5)
    small = below & ~near
    log = _log(y, jnp.where(small, -both, y - 1))
    square = jnp.where(near, m, a_far)
    log = jnp.where(small, log, log - 0.5 * square * square - math.log(_SQRT_2PI))
    log = jnp.where(a < b, log, jnp.where(a == b, -jnp.inf, jnp.nan))
    slope_a, slope_b = (jnp.where(near, n, f) for n, f in zip(slopes_near, slopes_far))
    return log, jnp.where(flip, slope_b, slope_a), jnp.where(flip, slope_a, slope_b)


@jax.custom_jvp
def _log_diff_H(a, b):
    return _interval(a, b)[0]


@_log_diff_H.defjvp
def _(primals, tangents):
    (a, b), (da, db) = primals, tangents
    slope_a, slope_b = _interval_slopes(a, b)
    return _log_diff_H(a, b), slope_b * db - slope_a * da


@jax.custom_jvp
def _interval_slopes(a, b):
    return _interval(a, b)[1:]


@_interval_slopes.defjvp
def _(primals, tangents):
    (a, b), (da, db) = primals, tangents
    slope_a, slope_b = _interval_slopes(a, b)
    log_slope = slope_b * db - slope_a * da
    a, b = jnp.clip(a, -1e100, 1e100), jnp.clip(b, -1e100, 1e100)
    return (slope_a, slope_b), (-slope_a * (a * da + log_slope), -slope_b * (b * db + log_slope))


@jax.jit
def log_diff_H(a: ArrayLike, b: ArrayLike) -> Array:
    """log(H(a) - H(b)), the probability of an interval, for a <= b (nan for a > b, -inf for a = b).

    Derivatives: -G(a) / (H(a) - H(b)) and G(b) / (H(a) - H(b)). Relative errors: 1e-15; of the
    derivatives 1e-15, or 1e-16 |log(derivative)| where they are tiny.
    """
    return _log_diff_H(*_floats(a, b))


# ---------------------------------------------------------------- log cosh, log sums


@jax.custom_jvp
def _tanh(x):
    return jnp.tanh(x)


@_tanh.defjvp
def _(primals, tangents):
    (x,), (dx,) = primals, tangents
    return _tanh(x), _sech2(x) * dx


@jax.custom_jvp
def _sech2(x):
    e = jnp.exp(-2 * jnp.abs(x))
    return 4 * e / ((1 + e) * (1 + e))


@_sech2.defjvp
def _(primals, tangents):
    (x,), (dx,) = primals, tangents
    return _sech2(x), -2 * _tanh(x) * _sech2(x) * dx


@jax.custom_jvp
def _log_2cosh(x):
    return jnp.abs(x) + _log1p(jnp.exp(-2 * jnp.abs(x)))


@_log_2cosh.defjvp
def _(primals, tangents):
    (x,), (dx,) = primals, tangents
    return _log_2cosh(x), _tanh(x) * dx


@jax.jit
def log_2cosh(x: ArrayLike) -> Array:
    """log(2 cosh x) = |x| + log1p(exp(-2|x|)). Derivatives: tanh, sech2, -2 tanh sech2.

    Relative errors 1e-15.
    """
    return _log_2cosh(_float(x))


@jax.jit
def sech2(x: ArrayLike) -> Array:
    """1 - tanh(x)^2 = 4 e / (1 + e)^2 with e = exp(-2|x|): no cancellation at large |x|."""
    return _sech2(_float(x))


@jax.custom_jvp
def _sigmoid(x):
    e = jnp.exp(-jnp.abs(x))
    return jnp.where(x < 0, e, 1.0) / (1 + e)


@_sigmoid.defjvp
def _(primals, tangents):
    (x,), (dx,) = primals, tangents
    return _sigmoid(x), 0.25 * _sech2(0.5 * x) * dx


@jax.custom_jvp
def _softplus(x):
    return jnp.maximum(x, 0.0) + _log1p(jnp.exp(-jnp.abs(x)))


@_softplus.defjvp
def _(primals, tangents):
    (x,), (dx,) = primals, tangents
    return _softplus(x), _sigmoid(x) * dx


@jax.jit
def softplus(x: ArrayLike) -> Array:
    """log(1 + exp x) = max(x, 0) + log1p(exp(-|x|)). Derivatives: sigmoid(x), sech2(x/2)/4, ..."""
    return _softplus(_float(x))


@jax.jit
def sigmoid(x: ArrayLike) -> Array:
    """1 / (1 + exp(-x)), with small relative error on both sides."""
    return _sigmoid(_float(x))


def _difference(a, b):
    same = (a == b) & jnp.isinf(a)
    return jnp.where(same, 0.0, a) - jnp.where(same, 0.0, b)


@jax.custom_jvp
def _log_add_exp(a, b):
    return jnp.maximum(a, b) + _log1p(jnp.exp(-jnp.abs(_difference(a, b))))


@_log_add_exp.defjvp
def _(primals, tangents):
    (a, b), (da, db) = primals, tangents
    d = _difference(a, b)
    return _log_add_exp(a, b), _sigmoid(d) * da + _sigmoid(-d) * db


@jax.jit
def log_add_exp(a: ArrayLike, b: ArrayLike) -> Array:
    """log(exp a + exp b); a or b (or both) may be -inf. Derivatives: sigmoid(a - b), sigmoid(b - a)."""
    return _log_add_exp(*_floats(a, b))


@jax.custom_jvp
def _logit(d):
    """log(d / (1 - d)); infinite at the ends, nan outside."""
    return jnp.log(d) - jnp.where(d < 1, _log1p(-jnp.where(d < 1, d, 0.5)), jnp.log(1 - d))


@_logit.defjvp
def _(primals, tangents):
    (d,), (dd,) = primals, tangents
    return _logit(d), dd / (d * (1 - d))


@jax.custom_jvp
def _binary_entropy(d):
    inside = (d > 0) & (d < 1)
    p = jnp.where(inside, d, 0.5)
    ends = jnp.where((d == 0) | (d == 1), 0.0, jnp.nan)
    return jnp.where(inside, -p * jnp.log(p) - (1 - p) * _log1p(-p), ends)


@_binary_entropy.defjvp
def _(primals, tangents):
    (d,), (dd,) = primals, tangents
    return _binary_entropy(d), -_logit(d) * dd


@jax.jit
def binary_entropy(d: ArrayLike) -> Array:
    """-d log d - (1 - d) log(1 - d) in nats; 0 at d = 0 and 1, nan outside. Derivative: log((1 - d) / d)."""
    return _binary_entropy(_float(d))


# ---------------------------------------------------------------- two correlated fields


def _owen(h, c):
    """Owen's T(h, c/h) for h > 0, c >= 0, T(h, r) = (1/2 pi) int_0^r exp(-h^2 (1 + x^2)/2) / (1 + x^2) dx.

    Beyond slope 1 by T(h, c/h) = (H(h) + H(c))/2 - H(h) H(c) - T(c, h/c); up to slope 1 the integrand is even
    and smooth, Gauss-Legendre on [-r, r] (D. B. Owen, Ann. Math. Stat. 27, 1075, 1956).
    """
    steep = c > h
    small, large = jnp.minimum(h, c), jnp.maximum(h, c)
    r2 = (small / large) ** 2
    q2 = jnp.where(steep, c, h) ** 2
    total = jnp.zeros_like(r2)
    for x, w in zip(_NODES_22[11:].tolist(), _WEIGHTS_22[11:].tolist()):
        total = total + w * jnp.exp(-0.5 * q2 * (1 + x * x * r2)) / (1 + x * x * r2)
    t = jnp.sqrt(r2) * total / (2 * math.pi)
    p, q = _H(h), _H(c)
    return jnp.where(steep, 0.5 * (p + q) - p * q - t, t)


def _conditional(a, b, rho):
    """(b - rho a) / s and s = sqrt(1 - rho^2): no cancellation as rho -> 1, b -> a or rho -> -1, b -> -a."""
    s = jnp.sqrt(jnp.maximum((1 - rho) * (1 + rho), 1e-120))
    return jnp.where(rho < 0, (b + a) - (1 + rho) * a, (b - a) + (1 - rho) * a) / s, s


@jax.custom_jvp
def _orthant(a, b, rho):
    a, b = jnp.clip(a, -40.0, 40.0), jnp.clip(b, -40.0, 40.0)
    p_a, flip = _H(a), rho < 0
    b, rho = jnp.where(flip, -b, b), jnp.abs(rho)
    a, b = (jnp.where(jnp.abs(x) < 1e-100, 1e-100, x) for x in (a, b))
    c_a, c_b = _conditional(a, b, rho)[0], _conditional(b, a, rho)[0]
    wedge_a = jnp.sign(c_a) * jnp.sign(a) * _owen(jnp.abs(a), jnp.abs(c_a))
    wedge_b = jnp.sign(c_b) * jnp.sign(b) * _owen(jnp.abs(b), jnp.abs(c_b))
    p = 0.5 * (_H(a) + _H(b)) - jnp.where((a < 0) == (b < 0), 0.0, 0.5) - wedge_a - wedge_b
    return jnp.where(flip, p_a - p, p)


@_orthant.defjvp
def _(primals, tangents):
    (a, b, rho), (da, db, drho) = primals, tangents
    value = _orthant(a, b, rho)
    a, b = jnp.clip(a, -40.0, 40.0), jnp.clip(b, -40.0, 40.0)
    c_a, s = _conditional(a, b, rho)
    c_b, _ = _conditional(b, a, rho)
    side = jnp.where(rho < 0, -1.0, 1.0)
    exponent = 0.5 * ((a - side * b) / s) ** 2 + side * a * b / (1 + jnp.abs(rho))
    density = jnp.exp(-exponent) / (2 * math.pi * s)
    return value, density * drho - _G(a) * _H(c_a) * da - _G(b) * _H(c_b) * db


@jax.jit
def bivariate_orthant(a: ArrayLike, b: ArrayLike, rho: ArrayLike) -> Array:
    """P(x > a, y > b) for unit Gaussians with correlation rho in [-1, 1], absolute error 1e-15.

    For rho >= 0, with Owen's T, c_a = (b - rho a) / sqrt(1 - rho^2) and c_b its mirror image,

        P = (H(a) + H(b))/2 - T(a, c_a/a) - T(b, c_b/b) - (1/2 where a b < 0),

    and P(a, b, -rho) = H(a) - P(a, -b, rho).

    Derivatives: -G(a) H(c_a), -G(b) H(c_b), and the density exp(-(a^2 - 2 rho a b + b^2) / (2 (1 - rho^2))) /
    (2 pi sqrt(1 - rho^2)) in rho (Plackett), which is infinite at |rho| = 1 where a = +-b (here: 1e59).
    """
    return _orthant(*_floats(a, b, rho))
