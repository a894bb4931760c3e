r"""y = inf replicas in a ball so small, or among so few patterns, that it fits between the constraints: phi is that without patterns."""

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import Array

from replicax.numerics.special import binary_entropy
from replicax.theory.free_entropy import Problem, State
from replicax.theory.reference import LOOSE
from replicax.vocabulary.levels import Level, tower


class FreeBall(Problem):
    """y = inf with a ball so small, or so few patterns, that it fits between the constraints: dq beyond any number, and phi without patterns.

    No unknowns.  S_E, of order log dq, is not given (but without patterns; infinite on the sphere).
    """

    model: Any
    q1: Array
    scale: float = eqx.field(static=True, default=1.0)

    nodes: ClassVar[int] = 64
    size: ClassVar[int] = 0
    failure: ClassVar[str] = "no solution"

    @property
    def counts(self) -> bool:
        return False

    def starts(self) -> tuple[Array, ...]:
        return (jnp.zeros(0),)

    def _ball(self) -> dict[str, Array]:
        """phi, d phi/d q1 and S_E without patterns; lim dq^2 q1^ where q1^ vanishes."""
        q1 = jnp.asarray(self.q1, float)
        if self.model.prior.norm == "spherical":
            return dict(
                phi=0.5 * jnp.log1p(-q1), slope=-0.5 / (1.0 - q1), S_E=jnp.full_like(q1, jnp.inf), pull=q1
            )
        root = jnp.sqrt(q1)
        field = jnp.arctanh(root) / root  # of the barycentre on itself: x = D tanh x
        left = 1.0 - field * (1.0 - q1)
        S_E = np.log(2.0) - 0.5 * (jnp.log(left) + 1.0 - left)
        return dict(
            phi=binary_entropy(0.5 * (1.0 - root)), slope=-0.5 * field, S_E=S_E, pull=2.0 / np.pi * q1
        )

    def state(self, x: Array, n: int) -> State:
        q1 = jnp.asarray(self.q1, float)
        spread = LOOSE * (1.0 - q1)
        levels = (Level((q1,), 0.0), Level((spread,), float("inf")))
        asked = tower(self.model.factor.terminal(1.0 - q1), levels, n).overlap[0][0]
        pull = self.model.weight * asked * (1.0 - q1 + spread) ** 2
        return State(dict(q0=q1, q1=q1), x, dict(pull=pull))

    def inside(self, state: State, edge: float = 1e-8) -> Array:
        """The constraints would need a larger dq than the largest looked at."""
        return state.parts["pull"] < self._ball()["pull"]

    def terms(self, state: State, n: int) -> tuple[Array, ...]:
        return (self._ball()["phi"],)

    def columns(self, state: State, phi: Array, n: int) -> dict[str, Array]:
        ball, nothing = self._ball(), jnp.zeros_like(phi)
        S_E = jnp.where(state.parts["pull"] > 0, jnp.nan, ball["S_E"])
        slope = self.scale * ball["slope"]
        return dict(S_I=phi, S_E=S_E, y=nothing + jnp.inf, entropy=phi, energy=nothing, slope=slope)


class FreeBallAround(Problem):
    """The same around any reference, at q1 = S^2; without patterns S_E = log 2 of binary weights, 0 on the sphere (else -inf there)."""

    model: Any
    control: Array

    nodes: ClassVar[int] = FreeBall.nodes
    size: ClassVar[int] = 0
    failure: ClassVar[str] = FreeBall.failure

    @property
    def ball(self) -> FreeBall:
        return FreeBall(self.model, jnp.asarray(self.control, float) ** 2)

    @property
    def counts(self) -> bool:
        return False

    def starts(self) -> tuple[Array, ...]:
        return self.ball.starts()

    def state(self, x: Array, n: int) -> State:
        state, S = self.ball.state(x, n), jnp.asarray(self.control, float)
        return state._replace(order=state.order | dict(S=S))

    def inside(self, state: State, edge: float = 1e-8) -> Array:
        return self.ball.inside(state, edge)

    def terms(self, state: State, n: int) -> tuple[Array, ...]:
        return self.ball.terms(state, n)

    def columns(self, state: State, phi: Array, n: int) -> dict[str, Array]:
        columns = self.ball.columns(state, phi, n)
        slope = -4.0 * state.order["S"] * columns["slope"]
        any_at_all, few = (0.0, -jnp.inf) if self.model.prior.norm == "spherical" else (np.log(2.0), jnp.nan)
        S_E = jnp.where(state.parts["pull"] > 0, few, any_at_all)
        return columns | dict(slope=slope, S_E=S_E, gamma=slope)
