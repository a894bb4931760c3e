r"""Fixed points around a quenched centre: y = inf replicas of the recurrent network at overlaps q0 = q1.

In the functional with overlaps (q0, q1), conjugates (r0, r1) and m replicas, F of `vocabulary.recurrent`,

    phi = -(1/2) (m-1) q1 r1 + (1/2) m q0 r0 - (1/2) r1 + E level(F, (r1 - r0, q1 - q0), m)(sqrt(r0) z, sqrt(q0) t),

q0 = r0 = 0 is always stationary: it averages the number of clusters over the couplings (`theory.recurrent`).  For m -> inf there is a second
stationary point, q0 = q1 - delta/m, r1 = r0 + Dr/m, where all replicas share one centre that is typical for its couplings:

    phi = -(1/2) [q1 Dr + r0 delta + (1 - q1) r0] + E psi(sqrt(r0) z, sqrt(q1) t),          psi: `vocabulary.centres`,

stationary where <(d_y F)^2> = q1, <(d_x F)^2> = r0 and <z d_y F> = sqrt(r0) (1 - q1 + delta).  It lies below the limit m -> inf at q0 = 0 and
meets it for q1 -> 0 and for J_D >> sqrt(1 - q1), where r0 vanishes; below q1 = 1/2, roughly, also below S* (y = star).

S_E = lim m (phi(m) - phi):

    S_E = -(1/2) E log det(1 - D F'') - (1/2) [Dr (1 - q1) + delta E d_x^2 psi],     D = diag(Dr, delta).
"""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import Array

from replicax.theory.free_entropy import Problem, State
from replicax.theory.models import RecurrentNetwork
from replicax.vocabulary.centres import Centres, centres

#: log (r0, Dr, delta) of solutions by least squares on 1, J_D, J_D^2, log q1, log(1-q1), J_D/sqrt(1-q1), J_D^2/(1-q1), and which way they are off
_FIT = np.array(
    [
        (-1.0, -1.57, -1.17),
        (-7.8, 1.04, 5.83),
        (1.03, -0.26, -0.85),
        (1.91, 0.04, -0.42),
        (2.9, -0.31, -1.95),
        (5.05, 0.58, -3.05),
        (-1.19, -0.1, 0.62),
    ]
)
_OFF = np.array([1.5, 0.15, -0.75])
#: a smaller determinant is one in a jump too small to be seen
_FLAT = 1e-9


class QuenchedCentre(Problem):
    """y = inf with q0 = q1 given; coordinates: log r0, log Dr, log delta.

    Not converged: where r0 has vanished (J_D = 0 and q1 > 0.89; exp(-45) at large J_D), and a few points (J_D about 1, q1 about 0.1) where Newton
    walks across a jump that is too small for the nodes to see.
    """

    model: RecurrentNetwork
    q1: Array
    #: d(q1)/d(control)
    scale: float = eqx.field(static=True, default=1.0)

    largest_block: ClassVar[int] = 8
    accuracy: ClassVar[float] = 1e-6
    retried: ClassVar[bool] = False
    size: ClassVar[int] = 3

    def starts(self) -> tuple[Array, ...]:
        J, q1 = jnp.asarray(self.model.J_D, float), jnp.asarray(self.q1, float)
        wide = J / jnp.sqrt(1.0 - q1)
        terms = jnp.stack([jnp.ones_like(J), J, J * J, jnp.log(q1), jnp.log1p(-q1), wide, wide**2])
        start = terms @ _FIT
        return (start, start + _OFF, start - _OFF)

    def _centres(self, r0: Array, Dr: Array, delta: Array, n: int) -> Centres:
        q1 = jnp.asarray(self.q1, float)
        return centres(self.model.pair_field(1.0 - q1), (r0, q1), (Dr, delta), n)

    def state(self, x: Array, n: int) -> State:
        r0, Dr, delta = jnp.exp(x)
        q1 = jnp.asarray(self.q1, float)
        out = self._centres(r0, Dr, delta, n)
        spin, loose = out.mean(out.spins.u**2), out.mean(out.spins.loose)
        left = (
            jnp.log(out.mean(out.spins.raw**2)) - x[0],
            jnp.log(spin) - jnp.log(loose) - jnp.log(q1) + jnp.log1p(-q1),
            jnp.log(out.mean(out.z * out.spins.u)) - 0.5 * x[0] - jnp.log(1.0 - q1 + delta),
        )
        order = dict(q1=q1, r0=r0, Dr=Dr, delta=delta)
        return State(order, jnp.stack(left), order | dict(centres=out))

    def inside(self, state: State, edge: float = 1e-8) -> Array:
        """Where the nodes miss something, weights are missing."""
        out = state.parts["centres"]
        return jnp.abs(out.mean(1.0) - 1.0) < 1e-5

    def terms(self, state: State, n: int) -> tuple[Array, ...]:
        q1, (r0, Dr, delta) = jnp.asarray(self.q1, float), (state.parts[k] for k in ("r0", "Dr", "delta"))
        out = self._centres(r0, Dr, delta, n)
        return (-0.5 * q1 * Dr, -0.5 * r0 * delta, -0.5 * (1.0 - q1) * r0, out.mean(out.spins.value))

    def columns(self, state: State, phi: Array, n: int) -> dict[str, Array]:
        q1, out = jnp.asarray(self.q1, float), state.parts["centres"]
        # by parts: jumps of d_x psi count
        bent = out.mean(out.t * out.spins.raw) / jnp.sqrt(q1)
        moved = state.parts["Dr"] * (1.0 - q1) + state.parts["delta"] * bent
        S_E = -0.5 * (out.mean(jnp.log(jnp.maximum(out.spins.det, _FLAT))) + moved)
        slope = self.scale * self.partial(lambda p: p.q1, state, n)
        y = jnp.full_like(phi, jnp.inf)
        return dict(entropy=phi, S_I=phi, S_E=S_E, y=y, slope=slope, energy=jnp.zeros_like(phi))
