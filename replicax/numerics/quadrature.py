r"""Gaussian averages  E_z F(z) = \int Dz F(z)  of integrands that bend.

A rule is frozen data: nodes z (..., n) and Jacobian factors, so that

    E_z F(z)  ~  sum_j  G(z_j) jacobian_j F(z_j),      G(z) = exp(-z^2/2) / sqrt(2 pi).

The integrands of replica theory are analytic, but they *bend*: log H((kappa - sqrt(q) z)/sqrt(1-q)) turns from 0 into a
parabola over a width w = sqrt((1-q)/q) around z* = kappa/sqrt(q).  Gauss-Hermite is blind to that; here every rule is told
where the bends are and how wide:

- one bend:  z = z* + w sinh(u), trapezoid in u (spectral: all scales between w and 1 get the same number of nodes);
- two bends:  u = asinh((z - z1)/w1) + asinh((z - z2)/w2), solved for z in closed form, trapezoid in u;
- several bends, or jumps:  panels of Gauss-Legendre in the stretched coordinate u of the nearest bend.

Bends, widths and ranges are constants in derivatives (``stop_gradient``): the nodes move with the parameters, the integral
does not.  Everything has a trailing node axis and works under jit and vmap.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

#: half-width of the integration range in standard deviations; the mass outside is 2 H(9) = 2e-19
RANGE = 9.0
#: a bend wider than this is no feature: the Gaussian itself is the scale
_WIDEST = 1.5
#: centre of the panels of the bulk beside a jump: about 0, but no number that a parameter takes (jumps must not coincide with it)
_BULK = 0.0577215664901533
_LOG_SQRT_2PI = 0.5 * np.log(2 * np.pi)
_LOG_NOTHING = float(np.log(1e-300))
_ORDER = 16


class Rule(NamedTuple):
    """Nodes z and Jacobian factors of shape (..., n) of a rule for E_z F(z)."""

    nodes: Array
    jacobian: Array

    @property
    def log_density(self) -> Array:
        """log G(z) at the nodes."""
        return -0.5 * self.nodes**2 - _LOG_SQRT_2PI

    @property
    def weights(self) -> Array:
        return jnp.exp(self.log_density) * self.jacobian

    @property
    def log_weights(self) -> Array:
        used = self.jacobian > 1e-300  # a panel of no length has no derivatives either
        log_jacobian = jnp.where(used, jnp.log(jnp.where(used, self.jacobian, 1.0)), _LOG_NOTHING)
        return self.log_density + log_jacobian


def gaussian_rule(
    bends: tuple[ArrayLike, ...],
    widths: tuple[ArrayLike, ...],
    n: int,
    *,
    lower: ArrayLike = -RANGE,
    upper: ArrayLike = RANGE,
    even: bool = False,
    moving: bool = False,
) -> Rule:
    """The rule for an integrand that bends at `bends` over `widths` (arrays of one shape S): nodes of shape S + (nodes,).

    `n` nodes for one bend or two, n a bend for more (none: one bend at 0 of width 1); the width of two equally wide ones may be given once.
    `even`: the integrand is even in z (then the bends must lie in mirrored pairs; a single one stands for its pair): the same accuracy from
    half the nodes, on z > 0.  `moving`: the bends are jumps; panels end there and move with them, and the derivative of the integral is that
    of the moving panels (Leibniz).
    """
    if not bends:
        bends, widths = (0.0,), (1.0,)
    hold = (lambda x: x) if moving else lax.stop_gradient
    b = [hold(jnp.asarray(x, float)) for x in bends]
    lo, hi = (lax.stop_gradient(jnp.asarray(x, float)) for x in (lower, upper))
    widest = _WIDEST * jnp.maximum(1.0, 0.5 * (hi - lo) - RANGE)
    w = [jnp.clip(hold(jnp.asarray(x, float)), 1e-30, widest) for x in widths]
    if len(b) == 1 and not moving:
        return _one_bend(b[0], w[0], lo, hi, n, even)
    if moving:  # a jump stays where it is, however wide its surroundings; far out it must not take the nodes away from the bulk
        w = [jnp.minimum(x, 1.0) for x in w]
        b, w = [*b, jnp.asarray(_BULK)], [*w, jnp.asarray(_WIDEST)]
    elif not even:
        if len(w) == 1:
            return _alike(b, w[0], lo, hi, n)
        if len(b) == 2:
            return _two_bends(b, w, lo, hi, max(n, 2 * _ORDER))
        w = _narrowest(b, w)
    return _panels(b, w, jnp.zeros_like(hi) if even else lo, hi, n, even)


def _narrowest(bends, widths):
    """Widths that also resolve narrower bends close by: where bends coincide each side of them belongs to one only."""
    return [jnp.stack([w + jnp.abs(b - at) for b, w in zip(bends, widths)]).min(0) for at in bends]


def _one_bend(bend, width, lo, hi, n, even) -> Rule:
    if even:
        return _mirrored(jnp.abs(bend), width, hi, n // 2)
    bend, width = _within(bend, width, lo, hi, 0.25)
    u0 = jnp.arcsinh((lo - bend) / width)
    du = (jnp.arcsinh((hi - bend) / width) - u0) / (n - 1)
    u = u0[..., None] + du[..., None] * _along(np.arange(n), du)
    grow, shrink = jnp.exp(u), jnp.exp(-u)
    nodes = bend[..., None] + 0.5 * width[..., None] * (grow - shrink)
    return Rule(nodes, 0.5 * (width * du)[..., None] * (grow + shrink))


def _mirrored(bend, width, hi, n) -> Rule:
    """Bends at -b and b for an even integrand: trapezoid in the u of `_pair`, which is odd in z."""
    du = _both(bend, width, hi) / n
    nodes, slope = _pair(bend, width, du[..., None] * _along(np.arange(n) + 0.5, du))
    return Rule(nodes, 2.0 * du[..., None] * slope)


def _both(bend, width, z):
    """u = (asinh((z - b)/w) + asinh((z + b)/w))/2."""
    return 0.5 * (jnp.arcsinh((z - bend) / width) + jnp.arcsinh((z + bend) / width))


def _pair(bend, width, u):
    """z at the coordinates u of bends at -b and b, z = sinh u sqrt(w^2 + b^2/cosh^2 u), and dz/du."""
    b, w = bend[..., None], width[..., None]
    grow = jnp.exp(u)
    shrink = 1.0 / grow
    turn = 2.0 / (grow + shrink)
    root = jnp.sqrt(w**2 + (b * turn) ** 2)
    return 0.5 * (grow - shrink) * root, (w**2 + b**2 * turn**4) / (turn * root)


def _alike(bends, width, lo, hi, n) -> Rule:
    """Two bends of one width."""
    (first, one), (second, other) = (_within(b, width, lo, hi, 0.25) for b in bends)
    middle, half, width = 0.5 * (first + second), 0.5 * jnp.abs(second - first), jnp.maximum(one, other)
    u0 = _both(half, width, lo - middle)
    du = (_both(half, width, hi - middle) - u0) / (n - 1)
    nodes, slope = _pair(half, width, u0[..., None] + du[..., None] * _along(np.arange(n), du))
    return Rule(middle[..., None] + nodes, du[..., None] * slope)


def _two_bends(bends, widths, lo, hi, n) -> Rule:
    """sinh u = a sqrt(1 + b^2) + b sqrt(1 + a^2), a and b the distances from the bends in their widths, gives a^2 + b^2 + 2 a b cosh u =
    sinh^2 u, which is quadratic in z.
    """
    (b1, w1), (b2, w2) = (_within(b, w, lo, hi, 0.25) for b, w in zip(bends, widths))
    at = lambda z: jnp.arcsinh((z - b1) / w1) + jnp.arcsinh((z - b2) / w2)
    u0 = at(lo)
    du = (at(hi) - u0) / (n - 1)
    u = u0[..., None] + du[..., None] * _along(np.arange(n), du)
    b1, w1, b2, w2 = (jnp.asarray(x)[..., None] for x in (b1, w1, b2, w2))
    grow = w1 * w2 * jnp.cosh(u)
    size = w1**2 + w2**2 + 2.0 * grow
    middle = (b1 * (w2**2 + grow) + b2 * (w1**2 + grow)) / size
    nodes = middle + w1 * w2 * jnp.sinh(u) * jnp.sqrt(size + (b1 - b2) ** 2) / size
    slope = 1.0 / jnp.sqrt(w1**2 + (nodes - b1) ** 2) + 1.0 / jnp.sqrt(w2**2 + (nodes - b2) ** 2)
    return Rule(nodes, du[..., None] / slope)


def _along(x: np.ndarray, like: Array) -> Array:
    """The vector x as a trailing axis behind the axes of `like`."""
    return jnp.asarray(x).reshape((1,) * jnp.ndim(like) + (-1,))


def _within(bend, width, lo, hi, inwards):
    """A bend outside the range does not matter, a wide one not where it is: neither may take the nodes along.

    inwards: the part of the range at each end that a wide bend leaves (nearly 1/2: to the middle, for several must not share one far place).
    """
    width = jnp.clip(jnp.abs(bend - jnp.clip(bend, lo, hi)), width, jnp.maximum(width, _WIDEST))
    margin = jnp.where(width >= _WIDEST, inwards, 0.0) * (hi - lo)
    return jnp.clip(bend, lo + margin, hi - margin), width


def _panels(b, w, lo, hi, n, even) -> Rule:
    shape = jnp.broadcast_shapes(*(x.shape for x in (*b, *w, lo, hi)))
    bends = jnp.stack([jnp.broadcast_to(x, shape) for x in b])
    widths = jnp.stack([jnp.broadcast_to(x, shape) for x in w])
    lo, hi = jnp.broadcast_to(lo, shape), jnp.broadcast_to(hi, shape)
    bends, widths = lax.sort(_within(bends, widths, lo[None], hi[None], 0.49), dimension=0, num_keys=1)
    middles = 0.5 * (bends[1:] + bends[:-1])
    ends = [lo, *middles, hi]
    s, ds = unit_panels(max(1, n // (2 * _ORDER)))
    nodes, jacobians = [], []
    for bend, width, left, right in zip(bends, widths, ends[:-1], ends[1:]):
        for edge in (left, right):
            length = jnp.arcsinh((edge - bend) / width)
            u = length[..., None] * _along(s, length)
            nodes.append(bend[..., None] + width[..., None] * jnp.sinh(u))
            jacobians.append((jnp.abs(length) * width)[..., None] * _along(ds, length) * jnp.cosh(u))
    scale = 2.0 if even else 1.0
    return Rule(jnp.concatenate(nodes, -1), scale * jnp.concatenate(jacobians, -1))


def unit_panels(panels: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes and weights of `panels` equal panels of (0, 1)."""
    x, w = np.polynomial.legendre.leggauss(_ORDER)
    nodes = (np.arange(panels)[:, None] + 0.5 * (x + 1)) / panels
    return nodes.ravel(), np.tile(0.5 * w / panels, panels)
