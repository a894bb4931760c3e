r"""The free entropy as one functional, and the moment map derived from it.

    Phi = interaction(O, O^) + sum of terms,     stationary in all order parameters.

With overlaps q_0 <= .. <= q_k between replicas at the k+1 levels of an ansatz, conjugates q^_i and Parisi parameters
0 = m_0 < m_1 < .. < m_{k+1} = 1, the interaction is bilinear,

    interaction = -(1/2) q^_k V - (1/2) sum_i m_i (q_i q^_i - q_{i-1} q^_{i-1}) - (1/2) Q b,      V = Q - q_k,

and every term is a tower of replica levels (`vocabulary.levels`).  Stationarity needs no derivation: the overlaps are moments of the
scores of the site, the conjugates those of the factor, q^_i - q^_{i-1} = alpha gap_i.  A *problem* is this map for one model and
ansatz, in logarithmic coordinates:

    state(x, n)          what the coordinates x give with n quadrature nodes a bend: order parameters and the residual of the map;
    terms(state, n)      the terms of the functional there; phi is their sum;
    columns(state, n)    the observables, all of them partial derivatives of phi at fixed order parameters (envelope theorem);
    absent(n)            True where the map has no root (the overlap has run to 1).
"""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

from replicax.theory.models import RecurrentNetwork
from replicax.vocabulary.levels import Level, Moments, tower
from replicax.vocabulary.limits import INFINITE
from replicax.vocabulary.priors import increments

#: coordinates beyond this belong to no overlap below 1
FAR = 45.0
#: a conjugate below this (times alpha) is zero: beta = 0, constraints that ask nothing
TINY = 1e-24


class State(NamedTuple):
    """Order parameters by name, residual of the map (size,), and whatever `phi` and `observables` need (`parts`)."""

    order: dict[str, Array]
    residual: Array
    parts: dict[str, Any]


class Problem(eqx.Module):
    """What the problems share: phi as the sum of its terms, and its partial derivatives in the parameters of the model."""

    #: points solved in one compiled batch, by the memory of their nodes
    largest_block: ClassVar[int] = 4096

    @property
    def counts(self) -> bool:
        """True where exp(N phi) counts configurations, so that a negative entropy says that there are none."""
        return True

    def phi(self, state: State, n: int) -> Array:
        return sum(self.terms(state, n), jnp.zeros(()))

    def partial(self, parameter: Callable, state: State, n: int) -> Array:
        """d phi/d(parameter) at fixed order parameters; `parameter` picks the leaf out of the problem."""
        x = jnp.asarray(parameter(self), float)

        def phi(value: Array) -> Array:
            return eqx.tree_at(parameter, self, value).phi(state, n)

        return jax.jvp(phi, (x,), (jnp.ones_like(x),))[1]

    def thermal(self, state: State, phi: Array, n: int) -> tuple[Array, Array]:
        """(energy, entropy) = (-d phi/d beta, phi + beta energy); beta = inf: (0, phi)."""
        beta = self.model.beta
        if beta is INFINITE:
            return jnp.zeros_like(phi), phi
        energy = -self.partial(lambda p: p.model.beta, state, n)
        cold = jnp.isinf(beta)
        return energy, phi + jnp.where(cold, 0.0, jnp.where(cold, 0.0, beta) * energy)

    def absent(self, n: int) -> Array:
        return jnp.zeros((), bool)

    def inside(self, state: State, edge: float = 1e-8) -> Array:
        """False where 1 - q < edge: beyond, moments underflow and agree about nothing."""
        return jnp.ones((), bool)


class Bipartite(Problem):
    """Weights on one side, patterns on the other: perceptrons of any prior and factor, at k+1 levels with given m.

    Coordinates: x_i = log of the increment of q^_i per pattern and weight (in units of the multiplier on the sphere), so that alpha = 0 is an
    ordinary point; then b/alpha where the norm of the weights is free.  Without levels (symmetric constraints) q = q^ = 0.
    """

    model: Any
    ms: tuple

    #: nodes per bend for the solution; `solve` starts with half of them and checks with twice as many
    nodes: ClassVar[int] = 128

    @property
    def size(self) -> int:
        return len(self.ms) + (self.model.prior.norm == "free")

    @property
    def counts(self) -> bool:
        return self.model.prior.norm != "spherical"

    def starts(self) -> tuple[Array, ...]:
        """Left of the root: the first iterate of the map, conjugate = squared score at q = 0; then a wide scan."""
        _, (score,), _ = self.model.factor.terminal(jnp.ones(())).derivatives(jnp.zeros(()))
        first = jnp.log(score**2 + TINY)
        return tuple(jnp.full(self.size, x) for x in (first, first + 2.0, first - 3.0, 0.0, 4.0))

    def state(self, x: Array, n: int) -> State:
        model, levels = self.model, len(self.ms)
        alpha = jnp.asarray(model.weight, float)
        free = model.prior.norm == "free"
        b = alpha * x[levels] if free else jnp.zeros(())
        site = model.prior.site(tuple(alpha * jnp.exp(x[i]) for i in range(levels)), b, self.ms, n)
        terminal = model.factor.terminal(site.complement)
        factor = tower(terminal, tuple(Level((v,), m) for v, m in zip(site.overlaps, self.ms)), n)
        asked = increments(factor)
        residual = [
            # log(q^_i/alpha) of the site against that of the factor; the site may rescale its coordinate
            jnp.log(jnp.exp(x[i]) * _ratio(site.conjugates[i], alpha * jnp.exp(x[i])) + TINY)
            - jnp.log(asked[i] + TINY)
            for i in range(levels)
        ]
        if free:
            residual.append(x[levels] - factor.curvature[0])
        q = jnp.cumsum(jnp.stack((*site.overlaps, jnp.zeros(()))))
        q_hat = jnp.cumsum(jnp.stack((*site.conjugates, jnp.zeros(()))))
        order = _named(q[:-1], q_hat[:-1])
        if free:
            order["Q"], order["b"] = site.norm, site.b
        parts = dict(
            site=site,
            replicon=1.0 - alpha * site.curvature2 * factor.curvature2[0],
        )
        return State(order, jnp.stack(residual) if residual else jnp.zeros(0), parts)

    def absent(self, n: int) -> Array:
        """The residual rises from -inf; if it is still negative where q = 1 it has no root (constraints at beta = inf), but for a pair
        just beyond the q -> 1 capacity of binary weights, where it overshoots.
        """
        if len(self.ms) != 1 or self.size != 1:
            return jnp.zeros((), bool)
        return self.state(jnp.full(1, self.model.prior.saturated), n).residual[0] < 0

    def inside(self, state: State, edge: float = 1e-8) -> Array:
        return state.parts["site"].complement > edge * state.parts["site"].norm

    def columns(self, state: State, phi: Array, n: int) -> dict[str, Array]:
        columns = dict(replicon=state.parts["replicon"])
        if hasattr(self.model, "beta"):
            columns["energy"], columns["entropy"] = self.thermal(state, phi, n)
        return columns

    def terms(self, state: State, n: int) -> tuple[Array, ...]:
        site, model = state.parts["site"], self.model
        q = q_hat = coupling = jnp.zeros(())
        for overlap, conjugate, m in zip(site.overlaps, site.conjugates, self.ms):
            coupling = coupling + m * ((q + overlap) * (q_hat + conjugate) - q * q_hat)
            q, q_hat = q + overlap, q_hat + conjugate
        norm = site.norm * site.b if model.prior.norm == "free" else 0.0
        value = model.prior.value(site.conjugates, site.b, self.ms, n)
        levels = tuple(Level((v,), m) for v, m in zip(site.overlaps, self.ms))
        energetic = tower(model.factor.terminal(site.complement), levels, n).value
        return (-0.5 * (q_hat * site.complement + coupling + norm), value, model.weight * energetic)


def _ratio(a: Array, b: Array) -> Array:
    return jnp.where(b > 0, a / jnp.where(b > 0, b, 1.0), 1.0)


def _named(q: Array, q_hat: Array) -> dict[str, Array]:
    """q, q_hat for one level (or none); q0, q1, .. for more."""
    if q.shape[0] <= 1:
        zero = jnp.zeros(())
        return dict(q=q[0] if q.shape[0] else zero, q_hat=q_hat[0] if q.shape[0] else zero)
    return {f"q{i}": v for i, v in enumerate(q)} | {f"q{i}_hat": v for i, v in enumerate(q_hat)}


class FirstMoment(Problem):
    """The annealed count of the recurrent network: no unknowns, one level over the symmetric part of the couplings."""

    model: RecurrentNetwork

    nodes: ClassVar[int] = 128
    size: ClassVar[int] = 0

    def starts(self) -> tuple[Array, ...]:
        return (jnp.zeros(0),)

    def state(self, x: Array, n: int) -> State:
        zero = jnp.zeros(())
        return State(dict(q=zero, q_hat=zero), x, {})

    def terms(self, state: State, n: int) -> tuple[Array, ...]:
        return (self.model.count.moments(n).value,)

    def columns(self, state: State, phi: Array, n: int) -> dict[str, Array]:
        energy, entropy = self.thermal(state, phi, n)
        return dict(energy=energy, entropy=entropy)


class ReplicaCluster(Problem):
    r"""m replicas of the recurrent network at mutual overlap q1 (q0 = 0), r1 stationary: Phi(m, q1) per replica.

        Phi = -(1/2) r1 (1 - q1) - (1/2) m q1 r1 + level(F, (r1, q1), m)(0, 0)

    Coordinate: log r1; the residual compares the overlap <(d_y F)^2> that r1 produces with the one asked for.
    """

    model: RecurrentNetwork
    q1: Array
    m: Array
    #: d(q1)/d(control): the slope is the derivative in the control that the user gave (q1, or d = (1-q1)/2)
    scale: float = eqx.field(static=True, default=1.0)

    nodes: ClassVar[int] = 96
    largest_block: ClassVar[int] = 64
    size: ClassVar[int] = 1

    def starts(self) -> tuple[Array, ...]:
        near = jnp.log(_frozen_r1(self.q1, self.m))
        return (near[None], near[None] - 3.0, near[None] + 3.0)

    def _tower(self, r1: Array, n: int) -> Moments:
        terminal = self.model.pair_field(1.0 - self.q1)
        return tower(terminal, (Level((r1, jnp.asarray(self.q1, float)), self.m),), n)

    def state(self, x: Array, n: int) -> State:
        r1 = jnp.exp(x[0])
        out = self._tower(r1, n)
        # 1 - q1 = <sech^2>, the curvature: both sides of the logit without cancellation
        actual, rest = out.overlap[0][0], out.curvature[0]
        residual = jnp.log(actual) - jnp.log(rest) - jnp.log(self.q1) + jnp.log1p(-self.q1)
        q1 = jnp.asarray(self.q1, float)
        return State(dict(q1=q1, r1=r1), residual[None], dict(r1=r1, tower=out))

    def terms(self, state: State, n: int) -> tuple[Array, ...]:
        r1, q1 = state.parts["r1"], self.q1
        return (-0.5 * r1 * (1.0 - q1) - 0.5 * self.m * q1 * r1, self._tower(r1, n).value)

    def columns(self, state: State, phi: Array, n: int) -> dict[str, Array]:
        m = jnp.asarray(self.m, float)
        by_m = self.partial(lambda p: p.m, state, n)
        internal = phi + m * by_m
        columns = dict(entropy=internal, S_I=internal, S_E=-m * m * by_m, y=m)
        columns["slope"] = self.scale * self.partial(lambda p: p.q1, state, n)
        columns["energy"] = self.thermal(state, phi, n)[0]
        columns["replicon"] = self._stability(state.parts["tower"])
        return columns

    def _stability(self, out: Moments) -> Array:
        """q0 = 0 is locally stable where 1 - (X_uv^2 + |X_uu X_vv|)/m^2 > 0, X the Hessian of log G in constant fields (u, v).

        (m^2 - X_uv^2)^2 > X_uu^2 X_vv^2 and m^2 > X_uv^2, from the second order in (q0, r0) of the functional with q0 > 0; X/m is
        the Hessian of the level (odd parts vanish by the joint reflection).
        """
        (uu, uv), (_, vv) = out.hessian
        return 1.0 - uv**2 - jnp.abs(uu * vv)


def _frozen_r1(q1: Array, m: Array | float) -> Array:
    """A first guess: at large m every site freezes at magnetisation sqrt(q1) = tanh(m r1 sqrt(q1)), helped by its raw field."""
    centre = jnp.sqrt(jnp.asarray(q1, float))
    return 0.7 * jnp.arctanh(centre) / (centre * m)


class ReplicaClusterStar(Problem):
    """`ReplicaCluster` at the m where the complexity vanishes, S_E = -m^2 d Phi/dm = 0: Phi = S_I is least there.

    Coordinates: log r1, log m.
    """

    model: RecurrentNetwork
    q1: Array
    scale: float = eqx.field(static=True, default=1.0)

    nodes: ClassVar[int] = 96
    largest_block: ClassVar[int] = 64
    size: ClassVar[int] = 2

    def starts(self) -> tuple[Array, ...]:
        return tuple(
            jnp.log(jnp.stack([_frozen_r1(self.q1, m), jnp.asarray(m)]))
            for m in (8.0, 20.0, 3.0, 60.0, 200.0)
        )

    def _cluster(self, m: Array) -> ReplicaCluster:
        return ReplicaCluster(self.model, self.q1, m, self.scale)

    def state(self, x: Array, n: int) -> State:
        m = jnp.exp(x[1])
        cluster = self._cluster(m)
        state = cluster.state(x[:1], n)
        complexity = -m * cluster.partial(lambda p: p.m, state, n)
        return State(
            state.order, jnp.concatenate([state.residual, complexity[None]]), state.parts | dict(m=m)
        )

    def terms(self, state: State, n: int) -> tuple[Array, ...]:
        return self._cluster(state.parts["m"]).terms(state, n)

    def columns(self, state: State, phi: Array, n: int) -> dict[str, Array]:
        columns = self._cluster(state.parts["m"]).columns(state, phi, n)
        return columns | dict(entropy=phi, S_I=phi, S_E=jnp.zeros_like(phi))


class ReplicaClusterLimit(Problem):
    r"""m -> inf of `ReplicaCluster`: Phi = F(y, x) - y sqrt(q1), stationary in both fields (they are frozen).

    Equals h2(d_c) + max_x [(1-d_c) log Phi(J_D + x) + d_c log Phi(J_D - x)]/sqrt(1-q1), d_c = (1 - sqrt(q1))/2 at beta = inf.
    Coordinates: y and x/sqrt(1-q1).
    """

    model: RecurrentNetwork
    q1: Array
    scale: float = eqx.field(static=True, default=1.0)

    nodes: ClassVar[int] = 0
    size: ClassVar[int] = 2

    def starts(self) -> tuple[Array, ...]:
        y = jnp.arctanh(jnp.sqrt(jnp.asarray(self.q1, float)))
        return (jnp.stack([y, jnp.zeros(())]), jnp.stack([0.5 * y, jnp.ones(())]))

    def state(self, x: Array, n: int) -> State:
        terminal, scale = self.model.pair_field(1.0 - self.q1), jnp.sqrt(1.0 - self.q1)
        y, field = x[0], scale * x[1]
        _, (by_y, by_x), _ = terminal.derivatives(y, field)
        centre = jnp.sqrt(jnp.asarray(self.q1, float))
        residual = jnp.stack([jnp.arctanh(by_y) - jnp.arctanh(centre), scale * by_x])
        return State(dict(q1=jnp.asarray(self.q1, float)), residual, dict(y=y, x=field))

    def terms(self, state: State, n: int) -> tuple[Array, ...]:
        y, x = state.parts["y"], state.parts["x"]
        return (self.model.pair_field(1.0 - self.q1)(y, x), -y * jnp.sqrt(self.q1))

    def columns(self, state: State, phi: Array, n: int) -> dict[str, Array]:
        """Every site pins its field to 1/sqrt(m), so S_E = -(1/2) log m -> -inf: the limit bounds S_I from above."""
        columns = dict(entropy=phi, S_I=phi, S_E=jnp.full_like(phi, -jnp.inf), y=jnp.full_like(phi, jnp.inf))
        columns["slope"] = self.scale * self.partial(lambda p: p.q1, state, n)
        columns["energy"] = self.thermal(state, phi, n)[0]
        return columns
