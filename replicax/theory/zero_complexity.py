r"""y*: the number of replicas at which the external entropy vanishes, S_E = -y^2 d phi/dy = 0.

Below y* there are exponentially many groups (references), above it none; phi = S_I is least there.
"""

from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from replicax.numerics.roots import newton
from replicax.theory.free_entropy import FAR, Problem, State

#: numbers of replicas at which S_E is looked at: upwards from where a cold start is easy, then downwards
_UP, _DOWN = np.geomspace(16.0, 3000.0, 8), np.geomspace(8.0, 1.0, 4)
#: and between the two of them where it changes its sign, or the family ends
_FINER = 5
#: S_E is constant where it changes by less than this part between the last two of them
_CONSTANT = 0.02


class AtZeroComplexity(Problem):
    """A problem of y replicas at y*; coordinates: its own, then log y.

    family: has the field `y` and `at_y(y)`; where phi moves along the curve other than by its control, also `control` and
    `slope(problem, x, state, n)`.
    """

    family: Any

    #: S_E is a small difference: more than its family needs
    nodes: ClassVar[int] = 128
    accuracy: ClassVar[float] = 1e-9
    retried: ClassVar[bool] = False

    @property
    def counts(self) -> bool:
        return False

    @property
    def largest_block(self) -> int:  # type: ignore[override]
        return min(64, self.family.largest_block)

    @property
    def size(self) -> int:
        return self.family.size + 1

    @property
    def control(self) -> Array:
        return self.family.control

    def _complexity(self, problem: Problem, state: State, n: int) -> Array:
        """S_E/y: of order 1 where phi still depends on y."""
        y = jnp.asarray(problem.y, float)  # type: ignore[attr-defined]
        return -y * problem.partial(lambda p: p.y, state, n)

    def prepare(self, n: int, skip: Array | bool = False) -> tuple[tuple[Array, ...], Array]:
        """The first change of sign of S_E along y, or where it is smallest (next to a fold in y); from solution to solution of the family.

        No solution: S_E > 0 for y -> inf (where it has become constant), or S_E < 0 down to where the family has none.
        """
        n, size = self.nodes // 4, _UP.size + _DOWN.size
        grid = jnp.asarray(np.log(np.concatenate([_UP, _DOWN, np.ones(_FINER)])))

        def look(carry: tuple[Array, ...], i: Array) -> Any:
            x, left, known = carry
            middle = i == _UP.size
            up, finer = i < _UP.size, i >= size
            # between the first y of the grid with S_E <= 0 and the one before
            old = jnp.arange(size + _FINER) < size
            beyond = jnp.where((left <= 0) & old, x[:, -1], jnp.inf)
            upper = jnp.argmin(beyond)
            below = jnp.where(known & old & (x[:, -1] < beyond[upper]), x[:, -1], -jnp.inf)
            lower = jnp.argmax(below)
            ahead = jnp.where(jnp.isfinite(below[lower]), below[lower], x[upper, -1] - 1.0)
            share = (size + _FINER - i) / (_FINER + 1.0)
            log_y = jnp.where(finer, ahead + share * (x[upper, -1] - ahead), grid[i])
            before = jnp.where(finer & (i == size), upper, jnp.where(middle, 0, jnp.maximum(i - 1, 0)))
            warm = known[before] & jnp.isfinite(left[before])
            problem = self.family.at_y(jnp.exp(log_y))
            vain = (~up & ~finer & jnp.any(left > 0)) | (finer & ~jnp.any(left <= 0))
            starts, none = problem.prepare(problem.nodes, warm | vain)
            starts = jnp.stack([x[before, :-1], *starts])
            starts = starts.at[0].set(jnp.where(warm, starts[0], starts[1]))
            tries = jnp.where(vain & ~warm, 0, jnp.where(warm | none, 1, starts.shape[0]))
            residual = lambda x: problem.state(x, n).residual
            root = newton(residual, starts, tol=1e-7, max_steps=15, limit=FAR, tries=tries)
            complexity = self._complexity(problem, problem.state(root.x, n), n)
            lone = none & ~root.converged & ~warm & ~vain
            x = x.at[i].set(jnp.append(root.x, log_y))
            left = left.at[i].set(jnp.where(root.converged, complexity, jnp.nan))
            return (x, left, known.at[i].set(root.converged | lone)), lone

        empty = (jnp.zeros((size + _FINER, self.size)), jnp.full(size + _FINER, jnp.nan), jnp.zeros(size + _FINER, bool))
        (x, left, _), none = lax.scan(look, empty, jnp.arange(size + _FINER))
        many = (jnp.exp(x[:, -1]) * left)[_UP.size - 2 : _UP.size]
        constant = (many[1] > 0) & (jnp.abs(many[1] - many[0]) < _CONSTANT * many[1])
        use = none | jnp.isfinite(left)
        order = jnp.argsort(jnp.where(use, x[:, -1], jnp.inf))
        x, left, none = x[order], left[order], none[order]
        falls = (left[:-1] > 0) & (left[1:] <= 0)
        cut = none[:-1] & (left[1:] <= 0)
        first, nearest = jnp.argmax(falls), jnp.argmin(jnp.where(jnp.isnan(left), jnp.inf, jnp.abs(left)))
        share = left[first] / (left[first] - left[first + 1])
        between = x[first] + share * (x[first + 1] - x[first])
        found = jnp.any(falls)
        starts = (jnp.where(found, between, x[nearest]), x[nearest], x[first + 1])
        absent = ~found & (constant | jnp.any(cut))
        return tuple(lax.stop_gradient(s) for s in starts), lax.stop_gradient(absent)

    def starts(self) -> tuple[Array, ...]:
        return self.prepare(self.nodes)[0]

    def state(self, x: Array, n: int) -> State:
        y = jnp.exp(x[-1])
        problem = self.family.at_y(y)
        state = problem.state(x[:-1], n)
        left = self._complexity(problem, state, n)
        return State(state.order, jnp.append(state.residual, left), state.parts | dict(y=y, along=x))

    def terms(self, state: State, n: int) -> tuple[Array, ...]:
        return self.family.at_y(state.parts["y"]).terms(state, n)

    def columns(self, state: State, phi: Array, n: int) -> dict[str, Array]:
        problem = self.family.at_y(state.parts["y"])
        columns = problem.columns(state, phi, n)
        columns |= dict(entropy=phi, S_I=phi, S_E=jnp.zeros_like(phi))
        if hasattr(problem, "slope"):
            columns["slope"] = problem.slope(self, state.parts["along"], state, n)
        return columns

    def inside(self, state: State, edge: float = 1e-8) -> Array:
        return self.family.inside(state, edge)
