r"""y*: the number of replicas at which the external entropy vanishes, S_E = -y^2 d phi/dy = 0.

Below y* there are exponentially many groups (references), above it none; phi = S_I is least there.
"""

from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from replicax.numerics.roots import newton, solve_linear
from replicax.theory.free_entropy import FAR, Followed, Problem, State

#: numbers of replicas at which a cold start is looked for, in turn; the fewest and the most that are looked at
_COLD = (16.0, 100.0, 4.0)
_FEWEST, _MOST = 1.0, 1e7
#: steps of log y between two looks: from where Newton is close enough, at least and at most upwards, at most downwards, and the last try
_CLOSE, _LEAST, _UP, _DOWN, _LAST = 0.7, 0.3, 2.0, 0.7, 0.05
_LOOKS = 40
#: beyond this number finer rules are needed
_SMOOTH = 500.0
#: rounding in S_E is this times y^2; y* is known where it moves log y by less than a part in
_ROUNDING, _RESOLVED = 3e-17, 1e3
#: above this number S_E is counted in units of y^2
_MANY = 100.0
#: y is large where it exceeds lim y (q1 - q0)/(1 - q1) by this factor: S_E changes as 1/y then
_LARGE = 30.0


class _Look(NamedTuple):
    x: Array  # the last solution, its log y, S_E, how S_E and the solution change with log y
    at: Array
    left: Array
    slope: Array
    tangent: Array
    step: Array  # of log y from there
    lowest: Array  # bounds of log y: S_E > 0, S_E <= 0
    highest: Array
    warm: Array
    cold: Array
    count: Array
    done: Array
    none: Array
    far: Array  # S_E > 0 as far as it is known


class AtZeroComplexity(Followed):
    """A problem of y replicas at y*; coordinates: its own, then log y.  Where Newton fails (next to a fold of the family in y) S_E is led to 0.

    family: has the field `y`, `at_y(y)` and `spread(state)`, y (q1 - q0)/(1 - q1); where phi moves along the curve other than by its control,
    also `control` and `slope(problem, x, state, n)`.  Rounding moves y* by about 3e-17 y*^2/|d S_E/d log y| of itself (beyond 1e-3: not converged);
    phi, which is least there, does not feel it.
    """

    family: Any
    #: what is asked for of it
    left: Array | float = 0.0

    #: S_E is a small difference: more than its family needs
    accuracy: ClassVar[float] = 1e-9
    polished: ClassVar[bool] = True
    coarser: ClassVar[int] = 1
    #: S_E < 0 wherever the family is stable
    beyond: ClassVar[str | None] = "no solution"

    @property
    def counts(self) -> bool:
        return False

    @property
    def nodes(self) -> int:  # type: ignore[override]
        return self.family.nodes

    def finer(self, n: int) -> int:
        return self.family.finer(n)

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
        """S_E."""
        y = jnp.asarray(problem.y, float)  # type: ignore[attr-defined]
        return -y * y * problem.partial(lambda p: p.y, state, n)

    def _response(self, x: Array, n: int) -> tuple[Array, Array, Array, Array]:
        """S_E, d S_E/d log y and d x/d log y along the solutions of the family, and the determinant of its saddle."""

        def at(x: Array) -> tuple[Array, Array]:
            problem = self.family.at_y(jnp.exp(x[-1]))
            state = problem.state(x[:-1], n)
            left = self._complexity(problem, state, n)
            return jnp.append(state.residual, left), left

        changes, left = jax.jacfwd(at, has_aux=True)(lax.stop_gradient(x))
        saddle = changes[:-1, :-1]
        tangent = -solve_linear(saddle, changes[:-1, -1])
        return left, changes[-1, -1] + changes[-1, :-1] @ tangent, tangent, jnp.linalg.det(saddle)

    def prepare(self, n: int, skip: Array | bool = False) -> tuple[tuple[Array, ...], Array]:
        """Close to the first y with S_E = 0, upwards from where a cold start succeeds, or downwards if S_E < 0 there: from solution to solution
        of the family, by Newton steps in log y.

        No solution: the family has none, or S_E approaches a positive limit for y -> inf (as 1/y).
        """
        refined, n = n > self.nodes, n // 2
        ends = np.log(_FEWEST), np.log(_MOST if refined else _SMOOTH)

        def look(s: _Look) -> _Look:
            at = jnp.where(s.warm, s.at + s.step, jnp.log(jnp.asarray(_COLD))[s.cold])
            problem = self.family.at_y(jnp.exp(at))
            starts, none = problem.prepare(problem.nodes, s.warm)
            ahead = s.x + s.step * s.tangent
            starts = jnp.stack([jnp.where(s.warm, ahead, starts[0]), *starts[1:]])
            tries = jnp.where(s.warm | none, 1, starts.shape[0])
            residual = lambda x: problem.state(x, n).residual
            root = newton(residual, starts, tol=1e-7, max_steps=15, limit=FAR, tries=tries)
            left, slope, tangent, _ = self._response(jnp.append(root.x, at), n)
            found = root.converged & jnp.isfinite(left) & jnp.isfinite(slope)
            # nothing there: closer, or a cold start elsewhere
            closer = s._replace(
                step=0.5 * s.step,
                cold=s.cold + ~s.warm,
                count=s.count + 1,
                done=jnp.where(s.warm, jnp.abs(s.step) < _LAST, s.cold + 1 >= len(_COLD)),
                none=jnp.where(s.warm, s.none, s.none & none),
            )
            lowest, highest = jnp.where(left > 0, at, s.lowest), jnp.where(left > 0, s.highest, at)
            newton_step = jnp.where(slope < 0, -left / slope, jnp.inf)
            up, down = jnp.clip(newton_step, _LEAST, _UP), jnp.clip(newton_step, -_DOWN, -_LAST)
            up = jnp.minimum(jnp.where(up > 0.9 * (highest - at), 0.5 * (highest - at), up), ends[1] - at)
            down = jnp.maximum(jnp.where(down < 0.9 * (lowest - at), 0.5 * (lowest - at), down), ends[0] - at)
            step = jnp.where(left > 0, up, down)
            y = jnp.exp(at)
            spread = problem.spread(problem.state(root.x, n))
            ordered = s.warm & (left > 0) & (y > _LARGE * spread)
            falls = jnp.abs(slope) * jnp.exp(at - s.at) < 2.0 * jnp.abs(s.slope)
            limit = ordered & falls & (at > s.at + _LEAST) & (left > 2.0 * jnp.abs(slope))
            close = (jnp.abs(newton_step) < _CLOSE) & (slope < 0)
            # S_E falls as log y, to 0 far beyond
            beyond = (y > _SMOOTH) & (spread > y) & (newton_step > ends[1] - at + 3.0)
            far = (left > 0) & ~close & (beyond | (ends[1] - at < 1e-3))
            end = far | (jnp.abs(step) < 1e-3)
            true = jnp.ones((), bool)
            here = _Look(
                root.x, at, left, slope, tangent, jnp.where(close, newton_step, step), lowest, highest, true, s.cold,
                s.count + 1, close | limit | end, limit, far & ~limit,
            )  # fmt: skip
            return jax.tree.map(lambda a, b: jnp.where(found, a, b), here, closer)

        zero, blank = jnp.zeros(()), jnp.zeros(self.family.size)
        false, far = jnp.zeros((), bool), jnp.asarray(jnp.inf)
        start = _Look(
            blank, zero, far, zero, blank, zero, -far, far, false, jnp.zeros((), int), jnp.zeros((), int),
            jnp.asarray(skip), ~false, false,
        )  # fmt: skip
        going = lambda s: ~s.done & (s.count < _LOOKS)
        s = lax.while_loop(going, look, lax.stop_gradient(start))
        # where S_E > 0 as far as it is known Newton's method has nothing to look for
        there = jnp.where(s.far, 2.0 * FAR, jnp.append(s.x, s.at))
        onward = there + jnp.where(s.far, 0.0, s.step) * jnp.append(s.tangent, 1.0)
        return (lax.stop_gradient(onward), lax.stop_gradient(there)), s.none

    def starts(self) -> tuple[Array, ...]:
        return self.prepare(self.nodes)[0]

    def state(self, x: Array, n: int) -> State:
        y = jnp.exp(x[-1])
        problem = self.family.at_y(y)
        state = problem.state(x[:-1], n)
        left = self._in_units(self._complexity(problem, state, n) - self.left, y)
        return State(state.order, jnp.append(state.residual, left), state.parts | dict(y=y, along=x))

    def _in_units(self, left: Array, y: Array) -> Array:
        """S_E in units in which rounding does not show where y is large."""
        return left / (1.0 + (y / _MANY) ** 2)

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

    def unstable(self, state: State, columns: dict[str, Array], n: int) -> Array:
        return self.family.at_y(state.parts["y"]).unstable(state, columns, n)

    def reached(self, x: Array, n: int) -> Array:
        """y* is known in spite of rounding, with the rules that it needs, and S_E falls there."""
        _, slope, _, _ = self._response(x, n // 2)
        known = _RESOLVED * _ROUNDING * jnp.exp(2.0 * x[-1]) < jnp.abs(slope)
        known = known & ((n > self.nodes) | (x[-1] < np.log(_SMOOTH)))
        return known & (self._oriented | (slope < 0))

    @property
    def _oriented(self) -> bool:
        return getattr(self.family, "oriented", False)

    def inside(self, state: State, edge: float = 1e-8) -> Array:
        """Beyond a fold in y the solutions of the family are unstable: a determinant has changed its sign."""
        found = self.family.inside(state, edge)
        if not self._oriented:
            return found
        return found & (self._response(state.parts["along"], self.nodes // 2)[3] > 0)
