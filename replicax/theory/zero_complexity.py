r"""y*: the number of replicas at which the external entropy vanishes, S_E = -y^2 d phi/dy = 0.

Below y* there are exponentially many groups (references), above it none; phi = S_I is least there.
"""

from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from replicax.numerics.roots import newton
from replicax.theory.free_entropy import FAR, Followed, Problem, State

#: numbers of replicas at which S_E is looked at: upwards from where a cold start is easy, then downwards
_UP = np.concatenate([np.geomspace(16.0, 50.0, 5), np.geomspace(90.0, 3000.0, 5)])
_DOWN = np.geomspace(11.0, 1.0, 7)
_MANY = 300.0
#: S_E is constant where it changes by less than this part between the last two of them
_CONSTANT = 0.02


class _Look(NamedTuple):
    x: Array
    left: Array  # of S_E; NaN: not looked at, or no solution
    index: Array
    done: Array


class AtZeroComplexity(Followed):
    """A problem of y replicas at y*; coordinates: its own, then log y.  Where Newton fails (next to a fold of the family in y) S_E is led to 0.

    family: has the field `y` and `at_y(y)`; where phi moves along the curve other than by its control, also `control` and
    `slope(problem, x, state, n)`.
    """

    family: Any
    #: what is asked for of it
    left: Array | float = 0.0

    #: S_E is a small difference: more than its family needs
    accuracy: ClassVar[float] = 1e-9
    retried: ClassVar[bool] = False
    polished: ClassVar[bool] = True
    #: S_E < 0 wherever the family is stable
    beyond: ClassVar[str | None] = "no solution"

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
        """S_E, in units in which rounding does not show where y is large."""
        y = jnp.asarray(problem.y, float)  # type: ignore[attr-defined]
        return -y * y / (1.0 + y / _MANY) * problem.partial(lambda p: p.y, state, n)

    def prepare(self, n: int, skip: Array | bool = False) -> tuple[tuple[Array, ...], Array]:
        """The first y with S_E <= 0, from solution to solution of the family: upwards, then downwards if S_E > 0 has not been met.

        No solution: S_E > 0 for y -> inf (where it has become constant).
        """
        n, size = self.nodes // 4, _UP.size + _DOWN.size
        grid = jnp.asarray(np.log(np.concatenate([_UP, _DOWN])))

        def look(s: _Look) -> _Look:
            i = s.index
            before = jnp.where(i == _UP.size, 0, jnp.maximum(i - 1, 0))
            warm = jnp.isfinite(s.left[before])
            problem = self.family.at_y(jnp.exp(grid[i]))
            starts, none = problem.prepare(problem.nodes, warm)
            starts = jnp.stack([jnp.where(warm, s.x[before, :-1], starts[0]), *starts])
            tries = jnp.where(warm | none, 1, starts.shape[0])
            residual = lambda x: problem.state(x, n).residual
            root = newton(residual, starts, tol=1e-7, max_steps=15, limit=FAR, tries=tries)
            complexity = self._complexity(problem, problem.state(root.x, n), n)
            x = s.x.at[i].set(jnp.append(root.x, grid[i]))
            left = s.left.at[i].set(jnp.where(root.converged, complexity, jnp.nan))
            above, below = jnp.any(left > 0), jnp.any(left <= 0)
            turn = (i < _UP.size) & below  # S_E <= 0 already: only fewer replicas are left
            return _Look(x, left, jnp.where(turn, _UP.size, i + 1), above & (below | (i + 1 == _UP.size)))

        start = _Look(
            jnp.zeros((size, self.size)), jnp.full(size, jnp.nan), jnp.zeros((), int), jnp.asarray(skip)
        )
        going = lambda s: ~s.done & (s.index < size)
        x, left, *_ = lax.while_loop(going, look, lax.stop_gradient(start))
        many = ((1.0 + jnp.exp(grid) / _MANY) * left)[_UP.size - 2 : _UP.size]
        constant = (many[1] > 0) & (jnp.abs(many[1] - many[0]) < _CONSTANT * many[1])
        order = jnp.argsort(jnp.where(jnp.isfinite(left), grid, jnp.inf))
        x, left = x[order], left[order]
        found = jnp.any(left <= 0)
        first, nearest = jnp.argmax(left <= 0), jnp.argmin(jnp.where(jnp.isnan(left), jnp.inf, jnp.abs(left)))
        before = jnp.maximum(first - 1, 0)
        share = jnp.where(first > 0, left[before] / (left[before] - left[first]), 1.0)
        between = x[before] + share * (x[first] - x[before])
        starts = (jnp.where(found, between, x[nearest]), x[nearest], x[first])
        return tuple(lax.stop_gradient(s) for s in starts), lax.stop_gradient(~found & constant)

    def starts(self) -> tuple[Array, ...]:
        return self.prepare(self.nodes)[0]

    def state(self, x: Array, n: int) -> State:
        y = jnp.exp(x[-1])
        problem = self.family.at_y(y)
        state = problem.state(x[:-1], n)
        left = self._complexity(problem, state, n)
        return State(
            state.order, jnp.append(state.residual, left - self.left), state.parts | dict(y=y, along=x)
        )

    def fewer(self, share: Array, start: Array, n: int) -> "AtZeroComplexity":
        problem = self.family.at_y(jnp.exp(start[-1]))
        left = self._complexity(problem, problem.state(start[:-1], n), n)
        return AtZeroComplexity(self.family, (1.0 - share) * lax.stop_gradient(left))

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
        """Beyond a fold in y the solutions of the family are unstable: a determinant has changed its sign."""
        if not getattr(self.family, "oriented", False):
            return self.family.inside(state, edge)
        problem, n = self.family.at_y(state.parts["y"]), self.nodes // 4
        jacobian = jax.jacfwd(lambda x: problem.state(x, n).residual)(state.parts["along"][:-1])
        return self.family.inside(state, edge) & (jnp.linalg.det(lax.stop_gradient(jacobian)) > 0)
