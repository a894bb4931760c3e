r"""Functions of one variable that bend, tabulated on a stretched grid.

The nodes are equidistant in the coordinate

    u(h) = sum_b asinh((h - b)/w_b),

so all scales between the width w_b of a bend and the range get the same number of nodes.  Between the nodes the function is the polynomial
through the ten nearest ones: for functions analytic in a strip |Im u| < 1.5 the error is about (step/1.5)^10 of the local size.  The grid is a
constant in derivatives; values and arguments are not.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

_POINTS = 10


def _taylor() -> np.ndarray:
    """Values at -4.5, .., 4.5 -> coefficients of the powers of the argument."""
    return np.linalg.inv(np.vander(np.arange(_POINTS) - 0.5 * (_POINTS - 1), increasing=True))


class Grid(NamedTuple):
    """Nodes (n,), and what takes an argument to its place among them."""

    nodes: Array
    bends: tuple[Array, ...]
    widths: tuple[Array, ...]
    first: Array
    step: Array

    def place(self, h: Array) -> Array:
        """The coordinate of h in steps from the first node."""
        return (_coordinate(h, self.bends, self.widths) - self.first) / self.step


def _coordinate(h: Array, bends: tuple[Array, ...], widths: tuple[Array, ...]) -> Array:
    return sum((jnp.arcsinh((h - b) / w) for b, w in zip(bends, widths)), jnp.zeros(()))


def stretched_grid(bends: tuple[Array, ...], widths: tuple[Array, ...], lo: Array, hi: Array, n: int) -> Grid:
    """n nodes from lo to hi, stretched around `bends` over `widths`."""
    bends, widths, lo, hi = lax.stop_gradient((bends, widths, lo, hi))
    first, last = (_coordinate(x, bends, widths) for x in (lo, hi))
    step = (last - first) / (n - 1)
    wanted = first + step * jnp.arange(n)
    if len(bends) == 1:
        nodes = bends[0] + widths[0] * jnp.sinh(wanted)
    else:

        def halve(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
            middle = 0.5 * (ends[0] + ends[1])
            below = _coordinate(middle, bends, widths) < wanted
            return jnp.where(below, middle, ends[0]), jnp.where(below, ends[1], middle)

        everywhere = jnp.ones(n)
        left, right = lax.fori_loop(0, 60, halve, (lo * everywhere, hi * everywhere))
        nodes = 0.5 * (left + right)
    return Grid(nodes, bends, widths, first, step)


class Tabulated(NamedTuple):
    """A function given by its values on a grid: callable, piecewise polynomial; constant beyond the grid."""

    grid: Grid
    coefficients: Array

    def __call__(self, h: Array) -> Array:
        pieces = self.coefficients.shape[0]
        t = jnp.clip(self.grid.place(h), 0.0, pieces + _POINTS - 2.0)
        piece = jnp.clip(jnp.floor(t).astype(int) - (_POINTS // 2 - 1), 0, pieces - 1)
        s = t - piece - 0.5 * (_POINTS - 1)
        c = self.coefficients[piece]
        value = c[..., -1]
        for power in range(_POINTS - 2, -1, -1):
            value = value * s + c[..., power]
        return value


def tabulate(values: Array, grid: Grid) -> Tabulated:
    """The function with these values on the nodes."""
    window = np.arange(values.shape[0] - _POINTS + 1)[:, None] + np.arange(_POINTS)
    return Tabulated(grid, values[window] @ jnp.asarray(_taylor()).T)
