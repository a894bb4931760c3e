r"""y*: the number of replicas at which the external entropy vanishes, S_E = -y^2 d phi/dy = 0.

Below y* there are exponentially many groups (references), above it none; phi = S_I is least there.
"""

from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from replicax.numerics.roots import newton
from replicax.theory.free_entropy import FAR, Problem, State

#: numbers of replicas at which S_E is looked at first
_SCAN = np.geomspace(2.0, 3000.0, 24)


class AtZeroComplexity(Problem):
    """A problem of y replicas at y*; coordinates: its own, then log y.

    family: has the field `y` and `at_y(y)`; where phi moves along the curve other than by its control, also `control` and
    `slope(problem, x, state, n)`.
    """

    family: Any

    #: S_E is a small difference: more than its family needs
    nodes: ClassVar[int] = 128
    accuracy: ClassVar[float] = 1e-9

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

    def starts(self) -> tuple[Array, ...]:
        """The first change of sign of S_E on a grid of y, or where it is smallest (next to a fold in y)."""
        n = self.nodes // 4

        def look(y: Array) -> tuple[Array, Array]:
            problem = self.family.at_y(y)
            residual = lambda x: problem.state(x, n).residual
            root = newton(residual, jnp.stack(problem.starts()), tol=1e-7, max_steps=25, limit=FAR)
            left = self._complexity(problem, problem.state(root.x, n), n)
            return jnp.append(root.x, jnp.log(y)), jnp.where(root.converged, left, jnp.nan)

        x, left = lax.map(look, jnp.asarray(_SCAN))
        falls = (left[:-1] > 0) & (left[1:] <= 0)
        first, nearest = jnp.argmax(falls), jnp.argmin(jnp.where(jnp.isnan(left), jnp.inf, jnp.abs(left)))
        share = left[first] / (left[first] - left[first + 1])
        between = x[first] + share * (x[first + 1] - x[first])
        starts = (jnp.where(falls[first], between, x[nearest]), x[nearest], x[first + 1])
        return tuple(lax.stop_gradient(s) for s in starts)

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
