r"""The hierarchy of a solution on the sphere: its Parisi function x(q), the fields of its patterns level by level, the gaps they leave.

x(q) = x_i between q_{i-1} and q_i, 0 below q_0, 1 above q_k (T = 0: c_i = lim beta x_i, q_k = 1).  Arrays of fixed length: steps that lower
nothing have no width, q_i = q_{i-1} and x_i = 0, next to q_0.  Parisi, PRL 43 (1979) 1754.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from replicax.vocabulary.fields import Fields, fields
from replicax.vocabulary.ladder import Ladder, Pattern


class Parisi(NamedTuple):
    """x (.., k): x_1, .., x_k; q (.., k + 1): q_0, .., q_k; stability (.., k + 1): 1 - alpha l_i^2 <f_i''^2>_{P_i} of every level.

    On a continuous part of x(q) the stabilities vanish (marginality); level 0 may lie below a gap.
    """

    x: Array
    q: Array
    stability: Array


class Hierarchy(NamedTuple):
    """A ladder, its patterns, its stabilities (outermost first), and to how many steps its arrays are filled up."""

    ladder: Ladder
    pattern: Pattern
    kappa: Array
    stability: Array
    steps: int

    def _filled(self, values: Array) -> Array:
        """Levels, innermost first -> outermost first, and as many as are wanted (absent ones are filled in or left out)."""
        values = values[: self.steps + 1]
        missing = self.steps + 1 - values.shape[0]
        return jnp.concatenate([jnp.repeat(values[-1:], missing, 0), values[::-1]])

    def parisi(self) -> Parisi:
        ladder = self.ladder
        q = ladder.overlaps.at[0].set(1.0) if self.pattern.absorbs else ladder.overlaps
        return Parisi(
            self._filled(jnp.append(ladder.ms, 0.0))[1:], self._filled(q), self._filled(self.stability[::-1])
        )

    def distributions(self, nodes: int) -> Fields:
        return fields(self.ladder, self.pattern, self.kappa, nodes)

    def fields(self, h: Array, nodes: int) -> Array:
        """P(q_i, h), i = 0, .., k: (k + 1, n)."""
        return self._filled(self.distributions(nodes)(h))

    def stabilities(self, x: Array, nodes: int) -> Array:
        """P(Delta = x): (n,)."""
        return self.distributions(nodes).gaps(x - self.kappa)
