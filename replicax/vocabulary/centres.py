r"""Spins of the recurrent network around a quenched centre: a level of m = inf over both fields of `PairField`, averaged.

    psi(Z, X) = max_{y, x} [ F(y, x) - (y - Z)^2/(2 Dr) - (x - X)^2/(2 delta) ],
    F(y, x) = log sum_s e^{s y} w_s(x),    w_s(x) = E w(J_D + s x + sqrt(V) z).

At given x the best y is known: with a = y + D(x), D = (1/2) log(w_+/w_-), it is the root of a - Dr tanh a = Z + D(x) on the side of Z + D(x).  Then

    psi = max_x [ c(x) + x X/delta ] - X^2/(2 delta),   stationary where  X(x) = x - delta d_x F,

and where X(x) is not monotone the maximum jumps from one x to another (equal areas).  Z is narrow and X wide, so the average over X is the inner
one; it is taken in x, on panels that end at the jumps and move with them: nothing is inverted, and nothing is steep.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from replicax.numerics.quadrature import RANGE, gaussian_rule, unit_panels
from replicax.numerics.special import log_2cosh, log_H, mills, mills_1, sech2, sigmoid
from replicax.vocabulary.recurrent import PairField

#: jumps that are looked for at one Z (weights that do not sum to 1 show where there are more)
_JUMPS = 4
_LOG_SQRT_2PI = 0.5 * np.log(2 * np.pi)


class Spins(NamedTuple):
    """Spins at (Z, x): Z + D(x) and its slope in the place, x and X, dX/d(place), c, psi, the scores u = d_y F and raw = d_x F,
    loose = 1 - u^2, and det(1 - diag(Dr, delta) F'').
    """

    pull: Array
    pull_slope: Array
    x: Array
    X: Array
    slope: Array
    rest: Array
    value: Array
    u: Array
    raw: Array
    loose: Array
    det: Array


def spins(
    field: PairField, inner: tuple[Array, Array], Z: Array, place: Array, side: Array | float = 0.0
) -> Spins:
    """The spins in a centre of spin field Z; inner = (Dr, delta), beta = inf; place: x, stretched around -J_D and J_D.

    side: the sign of tanh a, also where the other one is better (Dr > 1); 0: the better one.
    """
    (Dr, delta), scale, J = inner, jnp.sqrt(field.V), field.J_D
    x, stretch = _stretched(place, J, scale)
    below = -jnp.stack([J + x, J - x]) / scale  # both spins in one call: the tails are most of the program
    log_plus, log_minus = log_H(below)
    b = Z + 0.5 * (log_plus - log_minus)
    side = jnp.where(side == 0.0, jnp.where(b < 0, -1.0, 1.0), side)

    def newton(a: Array, b: Array, Dr: Array) -> Array:  # convex: from above it falls on the largest root
        return a - (a - Dr * jnp.tanh(a) - b) / jnp.maximum(1.0 - Dr * sech2(a), 1e-12)

    held = lax.stop_gradient((side * b, Dr))
    first = jnp.abs(held[0]) + held[1]
    a = lax.stop_gradient(lax.fori_loop(0, 25, lambda _, a: newton(a, *held), first))
    for _ in range(2):  # three derivatives of the implicit function
        a = newton(a, side * b, Dr)
    a = side * a
    up, down = sigmoid(2.0 * a), sigmoid(-2.0 * a)
    u, loose = jnp.tanh(a), sech2(a)
    (plus, minus), (stiff_plus, stiff_minus) = mills(below) / scale, mills_1(below) / field.V
    raw = up * plus - down * minus
    stiff = 1.0 + delta * (up * stiff_plus + down * stiff_minus)
    slack = 1.0 - Dr * loose
    det = stiff * slack - 0.25 * delta * (plus + minus) ** 2 * loose
    best = 0.5 * (log_plus + log_minus) + log_2cosh(a) - 0.5 * Dr * u * u
    return Spins(
        pull=b,
        pull_slope=0.5 * (plus + minus) * stretch,
        x=x,
        X=x - delta * raw,
        slope=det / slack * stretch,
        rest=best - 0.5 * x * x / delta,
        value=best - 0.5 * delta * raw**2,
        u=u,
        raw=raw,
        loose=loose,
        det=det,
    )


class Centres(NamedTuple):
    """Nodes of the average over the standard normals (z, t) of a centre, their weights (they sum to 1 where the rule is sound), its spins."""

    z: Array
    t: Array
    weights: Array
    spins: Spins

    def mean(self, f: Array | float) -> Array:
        return jnp.sum(self.weights * f)


def centres(field: PairField, outer: tuple[Array, Array], inner: tuple[Array, Array], n: int) -> Centres:
    """The average over (Z, X) = (sqrt(r0) z, sqrt(q0) t), outer = (r0, q0), with n nodes a bend: arrays (nodes of z > 0, nodes of x)."""
    r0, q0 = outer
    rule = gaussian_rule((), (), n, even=True)
    z = rule.nodes[:, None]
    Z = jnp.sqrt(r0) * z

    known = lax.stop_gradient((field, inner, Z))
    last = lax.stop_gradient(_place(RANGE * jnp.sqrt(q0) + field.J_D + 6.0 * jnp.sqrt(field.V), field))
    grid = last * jnp.linspace(-1.0, 1.0, 64 + n)
    index = jnp.arange(grid.size)[None, :]
    table = spins(*known, jnp.broadcast_to(grid, (z.shape[0], grid.size)))
    concave = jnp.where(table.slope > 0, table.rest, -jnp.inf)
    gain = table.x[None] / known[1][1]

    def straddle(where: Array) -> Array:
        """The ends (2, .., 1) in the table of the jump over this index, if there is one: where both its sides are equally good."""
        left = index <= where
        parts = jnp.stack([jnp.where(left, concave, -jnp.inf), jnp.where(left, -jnp.inf, concave)])

        def halve(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
            middle = 0.5 * (ends[0] + ends[1])
            below, above = jnp.max(parts + gain * middle[None], axis=2, keepdims=True)
            return jnp.where(above > below, ends[0], middle), jnp.where(above > below, middle, ends[1])

        ends = (table.X.min(1, keepdims=True), table.X.max(1, keepdims=True))
        X, _ = lax.fori_loop(0, 40, halve, ends)
        return jnp.argmax(parts + gain * X[None], axis=2)[..., None]

    # where tanh a changes its sign, a jump in itself for Dr > 1; then where X(x) falls
    turn = jnp.maximum(jnp.sum(table.pull < 0, axis=1, keepdims=True) - 1, 0)

    def approach(_: int, now: tuple[Array, Array]) -> tuple[Array, Array]:
        at = spins(*known, now[0])
        return now[0] - jnp.clip(at.pull / at.pull_slope, -spacing, spacing), at.det

    spacing = grid[1] - grid[0]
    middle, det = lax.fori_loop(0, 5, approach, (grid[turn], jnp.zeros_like(z)))
    free = jnp.ones(table.slope.shape, bool)
    places, between = [], []
    for k in range(_JUMPS):
        where = jnp.argmin(jnp.where(free, table.slope, jnp.inf), axis=1)[:, None] if k else turn
        ends = straddle(where)
        free = free & ((index < ends[0]) | (index > ends[1]))
        places.append(where)
        between.append(ends)
    ends = jnp.stack(between, axis=1)  # (2 sides, jumps, nodes of z, 1)
    jumps = ends[1] - ends[0] > 1
    jumps = jumps.at[0].set(jumps[0] | (det < 0))
    start = jnp.stack([middle, *(grid[where] for where in places[1:])])
    side = np.zeros((2, _JUMPS, 1, 1))  # the first one has them given
    side[:, 0] = [[[-1.0]], [[1.0]]]

    def equal_areas(at: Array, field: PairField, inner: tuple[Array, Array], Z: Array) -> Array:
        """Newton for the ends of the jumps, where the chord of c(x) is its tangent."""
        both = spins(field, inner, Z[None, None], at, side)
        apart = jnp.where(jumps, both.x[1] - both.x[0], 1.0)
        X = -inner[1] * (both.rest[1] - both.rest[0]) / apart
        move = (X[None] - both.X) / jnp.where(both.slope > 0, both.slope, 1.0)
        return at + jnp.where(jumps[None], jnp.clip(move, -0.3, 0.3), 0.0)

    at = lax.fori_loop(0, 10, lambda _, at: equal_areas(at, *known), grid[ends])
    at = lax.stop_gradient(jnp.where(jumps[None], at, start[None]))
    at = lax.fori_loop(0, 2, lambda _, at: equal_areas(at, field, inner, Z), at)
    order = jnp.argsort(jnp.stack(places), axis=0)
    low, high = (jnp.take_along_axis(side_, order, 0) for side_ in at)
    edge = jnp.full((1, *z.shape), last)
    starts, stops = jnp.concatenate([-edge, high]), jnp.concatenate([low, edge])

    s, ds = unit_panels(max(2, n // 32))
    s, ds = 0.5 * (1.0 - np.cos(np.pi * s)), 0.5 * np.pi * np.sin(np.pi * s) * ds  # dense at the ends
    length = stops - starts
    flat = lambda x: jnp.moveaxis(x, 0, 1).reshape(z.shape[0], -1)
    place = flat(starts + length * s[None, None, :])
    width = flat(length * ds[None, None, :])
    at = spins(field, inner, Z, place)
    t = at.X / jnp.sqrt(q0)
    density = jnp.exp(-0.5 * t * t - _LOG_SQRT_2PI) * at.slope * width / jnp.sqrt(q0)
    return Centres(z, t, rule.weights[:, None] * density, at)


def _stretched(place: Array, bend: Array, width: Array) -> tuple[Array, Array]:
    """x, dx/d(place) with place = [asinh((x - b)/w) + asinh((x + b)/w)]/2."""
    b, w = lax.stop_gradient((bend, width))
    x = jnp.sinh(place) * jnp.sqrt(w**2 + (b / jnp.cosh(place)) ** 2)
    return x, 2.0 / (1.0 / jnp.sqrt(w**2 + (x - b) ** 2) + 1.0 / jnp.sqrt(w**2 + (x + b) ** 2))


def _place(x: Array, field: PairField) -> Array:
    w = jnp.sqrt(field.V)
    return 0.5 * (jnp.arcsinh((x - field.J_D) / w) + jnp.arcsinh((x + field.J_D) / w))
