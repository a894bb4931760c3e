r"""The recurrent network: first moment of the number of fixed points, and clusters of y replicas."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from replicax.numerics.quadrature import gaussian_rule
from replicax.numerics.roots import newton
from replicax.numerics.special import (
    binary_entropy,
    inverse_H,
    log_add_exp,
    log_H,
)
from replicax.theory.ansatz import RS, LocalEntropy, evaluates, poses, require
from replicax.theory.free_entropy import FAR, Problem, State
from replicax.theory.models import Number, RecurrentNetwork
from replicax.theory.quenched_centre import QuenchedCentre
from replicax.vocabulary.levels import Level, Moments, tower
from replicax.vocabulary.limits import INFINITE, STAR, is_concrete
from replicax.vocabulary.recurrent import log_minus_log_weight, log_weight

LOG2 = float(np.log(2.0))


class FirstMoment(Problem):
    """The annealed count of the recurrent network: no unknowns, one level over the symmetric part of the couplings."""

    model: RecurrentNetwork

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

    def _tower(self, r1: Array, n: int, value_only: bool = False) -> Moments:
        terminal = self.model.pair_field(1.0 - self.q1)
        levels = (Level((r1, jnp.asarray(self.q1, float)), self.m),)
        return tower(terminal, levels, n, value_only=value_only)

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
        return (-0.5 * r1 * (1.0 - q1) - 0.5 * self.m * q1 * r1, self._tower(r1, n, value_only=True).value)

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


#: log m beyond which a cluster without complexity is computed in leading order of 1/m
_MANY = float(np.log(1e6))


class ReplicaClusterStar(Problem):
    """`ReplicaCluster` at the m where the complexity vanishes, S_E = -m^2 d Phi/dm = 0: Phi = S_I is least there.

    Coordinates: log r1, log m.
    """

    model: RecurrentNetwork
    q1: Array
    scale: float = eqx.field(static=True, default=1.0)

    largest_block: ClassVar[int] = 64
    size: ClassVar[int] = 2

    def near(self, m: float) -> Array:
        """Coordinates from which to look for about m replicas."""
        return jnp.stack([jnp.log(_frozen_r1(self.q1, m)), jnp.log(jnp.asarray(m, float))])

    def starts(self) -> tuple[Array, ...]:
        """Where the complexity changes sign on a coarse grid of m, followed upwards in m; beyond it, the root of the limit."""
        n = 3 * self.nodes // 8
        grid = jnp.linspace(np.log(1.1), np.log(600.0), 10)

        def follow(log_rho: Array, log_m: Array) -> tuple[Array, tuple[Array, Array]]:
            cluster = self._cluster(jnp.exp(log_m))
            x = newton(
                lambda x: cluster.state(x, n).residual, (log_rho - log_m)[None, None], tol=0.03, max_steps=6
            ).x
            return x[0] + log_m, (x[0], self.state(jnp.stack([x[0], log_m]), n).residual[1])

        first = jnp.log(3.0 * _frozen_r1(self.q1, 1.0))
        _, (log_r, complexity) = lax.scan(follow, first, grid)
        turns = (complexity[:-1] > 0) & (complexity[1:] <= 0)
        k = jnp.argmax(turns)
        part = complexity[k] / (complexity[k] - complexity[k + 1])
        between = lambda y: y[k] + part * (y[k + 1] - y[k])
        start = jnp.stack([between(log_r), between(grid)])
        many = ReplicaClusterStarLimit(self.model, self.q1, self.scale)
        root = newton(
            lambda x: many.state(x, many.nodes).residual,
            jnp.stack(many.starts()),
            tol=1e-3,
            max_steps=12,
            limit=FAR,
        )
        log_m = -log_H(jnp.exp(root.x[0]))
        frozen = jnp.stack([jnp.log(many.state(root.x, many.nodes).order["r1"]), log_m])
        frozen = jnp.where(log_m > _MANY + 0.5, FAR + 1.0, frozen)  # nothing to find here
        start = lax.stop_gradient(jnp.where(jnp.any(turns), start, frozen))
        return (start, start + jnp.array([-0.5, 0.5]), start - jnp.array([-0.5, 0.5]))

    def _cluster(self, m: Array) -> ReplicaCluster:
        return ReplicaCluster(self.model, self.q1, m, self.scale)

    def state(self, x: Array, n: int) -> State:
        m = jnp.exp(x[1])
        cluster = self._cluster(m)
        state = cluster.state(x[:1], n)
        # m Phi is rounded like m: so is the complexity, which is a difference of such terms
        complexity = -m * cluster.partial(lambda p: p.m, state, n) * m / (1.0 + m / 1000.0)
        return State(
            state.order, jnp.concatenate([state.residual, complexity[None]]), state.parts | dict(m=m)
        )

    def reached(self, x: Array, n: int) -> Array:
        """At m -> 0 the complexity vanishes trivially; of very many replicas `ReplicaClusterStarLimit` knows more."""
        return (x[1] > 0.0) & (x[1] < _MANY)

    def terms(self, state: State, n: int) -> tuple[Array, ...]:
        return self._cluster(state.parts["m"]).terms(state, n)

    def columns(self, state: State, phi: Array, n: int) -> dict[str, Array]:
        columns = self._cluster(state.parts["m"]).columns(state, phi, n)
        return columns | dict(entropy=phi, S_I=phi, S_E=jnp.zeros_like(phi))


class ReplicaClusterStarLimit(Problem):
    r"""`ReplicaClusterStar` where m is very large (J_D far above sqrt(1-q1)), in leading order of 1/m.

    Spins freeze at magnetisations +-sqrt(q1), and only raw fields |t| < ~J_D leave every replica stable:

        m Phi = m h2(d_c) + K + log int Dt e^{m F(t)},    K = log 2 - (1/2) [log(1 - k) + k],    k = m r1 (1-q1) = (1-q1) artanh(sqrt q1)/sqrt q1,
        F(t) = (1-d_c) log Phi(u_+) + d_c log Phi(u_-) + (1/2) d_c (1-d_c) [log Phi(u_+)/Phi(u_-)]^2/(1-k),

    u_+- = (J_D +- t sqrt(q1))/sqrt(1-q1), the last term from the spins that follow the raw field.  m = 1/H(u) may exceed every float, m F does
    not.  Coordinate: log u.
    """

    model: RecurrentNetwork
    q1: Array
    scale: float = eqx.field(static=True, default=1.0)

    nodes: ClassVar[int] = 256
    size: ClassVar[int] = 1

    def _frozen(self) -> tuple[Array, Array, Array]:
        """sqrt(q1), k, K."""
        q1 = jnp.asarray(self.q1, float)
        centre = jnp.sqrt(q1)
        k = (1.0 - q1) * jnp.log((1.0 + centre) / jnp.sqrt(1.0 - q1)) / centre
        return centre, k, LOG2 - 0.5 * (jnp.log1p(-k) + k)

    def starts(self) -> tuple[Array, ...]:
        centre, _, K = self._frozen()
        inside = inverse_H(0.5 - 0.5 * jnp.exp(-K))
        u = (jnp.asarray(self.model.J_D, float) - centre * inside) / jnp.sqrt(1.0 - self.q1)
        return tuple(jnp.log(jnp.maximum(u - shift, 4.0))[None] for shift in (0.0, 1.0, 2.0))

    def _raw_fields(self, u: Array, log_m: Array, n: int) -> tuple[Array, Array, Array]:
        """Nodes t, log weights, and m |F(t)|."""
        centre, k, _ = self._frozen()
        J, width = jnp.asarray(self.model.J_D, float), jnp.sqrt(1.0 - self.q1)
        edge, scale = (J - u * width) / centre, width / (centre * (1.0 + u))
        rule = gaussian_rule((-edge, edge), (scale, scale), n)
        up, down = (
            log_minus_log_weight((J + sign * centre * rule.nodes) / width, self.model.beta)
            for sign in (1.0, -1.0)
        )
        few = 0.5 * (1.0 - self.q1) / (1.0 + centre)  # d_c
        first = log_add_exp(jnp.log1p(-few) + up, jnp.log(few) + down)
        spread = jnp.exp(up) - jnp.exp(down)
        follow = 0.5 * few * (1.0 - few) * spread**2 / (1.0 - k)
        loss = jnp.where(follow < 0.3 * jnp.exp(first), first + jnp.log1p(-follow * jnp.exp(-first)), first)
        return rule.nodes, rule.log_weights, jnp.exp(jnp.minimum(log_m + loss, 100.0))

    def state(self, x: Array, n: int) -> State:
        u = jnp.exp(x[0])
        log_m = -log_H(u)
        _, k, K = self._frozen()
        _, log_weights, loss = self._raw_fields(u, log_m, n)
        log_mean = jax.nn.logsumexp(log_weights - loss)
        mean_loss = jnp.sum(jnp.exp(log_weights - loss - log_mean) * loss)
        complexity = K + log_mean + mean_loss
        order = dict(q1=jnp.asarray(self.q1, float), r1=k / (1.0 - self.q1) * jnp.exp(-log_m))
        return State(order, complexity[None], dict(u=u, log_m=log_m))

    def reached(self, x: Array, n: int) -> Array:
        return -log_H(jnp.exp(x[0])) >= _MANY

    def terms(self, state: State, n: int) -> tuple[Array, ...]:
        centre, _, K = self._frozen()
        log_m = state.parts["log_m"]
        _, log_weights, loss = self._raw_fields(lax.stop_gradient(state.parts["u"]), log_m, n)
        fluctuation = K + jax.nn.logsumexp(log_weights - loss)
        return (
            binary_entropy(0.5 * (1.0 - self.q1) / (1.0 + centre)),
            jnp.exp(-log_m) * fluctuation,
        )

    def columns(self, state: State, phi: Array, n: int) -> dict[str, Array]:
        log_m = state.parts["log_m"]
        t, log_weights, loss = self._raw_fields(state.parts["u"], log_m, n)
        weights = jax.nn.softmax(log_weights - loss)
        columns = dict(entropy=phi, S_I=phi, S_E=jnp.zeros_like(phi), y=jnp.exp(log_m))
        columns["slope"] = self.scale * self.partial(lambda p: p.q1, state, n)
        columns["energy"] = self.thermal(state, phi, n)[0]
        # `ReplicaCluster._stability` in this limit: X_uu/m = m q1, X_vv = (<t^2> - 1)/q1, X_uv = m <t> at spin +
        first, second = jnp.sum(weights * t), jnp.sum(weights * t * t)
        columns["replicon"] = 1.0 - first**2 - jnp.abs(1.0 - second)
        return columns


class ReplicaClusterLimit(Problem):
    r"""m -> inf of `ReplicaCluster`: Phi = F(y, x) - y sqrt(q1), stationary in both fields (they are frozen).

    Equals h2(d_c) + max_x [(1-d_c) log Phi(J_D + x) + d_c log Phi(J_D - x)]/sqrt(1-q1), d_c = (1 - sqrt(q1))/2 at beta = inf.
    The magnetisation sqrt(q1) fixes y; what is left is one equation in u = x/sqrt(1-q1), taken in logarithms (both scores are
    exponentially small where J_D >> sqrt(1-q1)): log (1-d_c)/d_c + log g(u_+) - log g(u_-) = 0, g = (log E w)'.
    """

    model: RecurrentNetwork
    q1: Array
    scale: float = eqx.field(static=True, default=1.0)

    nodes: ClassVar[int] = 0
    size: ClassVar[int] = 1

    def _bias(self) -> tuple[Array, Array, Array]:
        """artanh(sqrt q1) = log((1-d_c)/d_c)/2, J_D/sqrt(1-q1), and the slope of the equation at u = 0, roughly."""
        rest = 1.0 - jnp.asarray(self.q1, float)
        centre = jnp.sqrt(jnp.asarray(self.q1, float))
        ratio = jnp.asarray(self.model.J_D, float) / jnp.sqrt(rest)
        return 0.5 * jnp.log((1.0 + centre) ** 2 / rest), ratio, 1.6 + 2.0 * ratio

    def starts(self) -> tuple[Array, ...]:
        bias, _, slope = self._bias()
        return tuple((f * 2.0 * bias / slope)[None] for f in (1.0, 0.5, 2.0))

    def state(self, x: Array, n: int) -> State:
        bias, ratio, slope = self._bias()
        up, down = (log_weight(ratio + sign * x[0], self.model.beta) for sign in (1.0, -1.0))
        # log g(u) = -u^2/2 - log E w(u + z) + constant
        residual = (2.0 * bias - 2.0 * ratio * x[0] - up + down) / slope
        parts = dict(y=bias - 0.5 * (up - down), x=jnp.sqrt(1.0 - self.q1) * x[0])
        return State(dict(q1=jnp.asarray(self.q1, float)), residual[None], parts)

    def terms(self, state: State, n: int) -> tuple[Array, ...]:
        y, x = state.parts["y"], state.parts["x"]
        return (self.model.pair_field(1.0 - self.q1)(y, x), -y * jnp.sqrt(self.q1))

    def columns(self, state: State, phi: Array, n: int) -> dict[str, Array]:
        """Every site pins its field to 1/sqrt(m), so S_E = -(1/2) log m -> -inf: the limit bounds S_I from above."""
        columns = dict(entropy=phi, S_I=phi, S_E=jnp.full_like(phi, -jnp.inf), y=jnp.full_like(phi, jnp.inf))
        columns["slope"] = self.scale * self.partial(lambda p: p.q1, state, n)
        columns["energy"] = self.thermal(state, phi, n)[0]
        return columns


def count_only(model: RecurrentNetwork, what: str, finite: bool = False) -> RecurrentNetwork:
    """The network whose replicated count is known: eta = field = 0 (NaN where a traced one is not), N = inf unless `finite`."""
    if model.N is not INFINITE and not finite:
        raise ValueError(f"N: {what} are limits N = inf")
    for name in ("eta", "field"):
        value = getattr(model, name)
        if is_concrete(value) and bool(np.any(np.asarray(value) != 0)):
            raise ValueError(f"{name}: the replicated count is known for {name} = 0 only")
        model = eqx.tree_at(lambda m: m.J_D, model, jnp.where(jnp.asarray(value) == 0, model.J_D, jnp.nan))
    return model


@poses(RS, RecurrentNetwork)
def first_moment(model: RecurrentNetwork, ansatz: RS) -> tuple[Problem, ...]:
    require(model, "J_D")
    return (FirstMoment(model),)


@poses(LocalEntropy, RecurrentNetwork)
def clusters(model: RecurrentNetwork, ansatz: LocalEntropy) -> tuple[Problem, ...]:
    """y replicas at overlap q1, q0 = 0; y = inf also around a quenched centre."""
    require(model, "J_D")
    if ansatz.ensemble != "replicas":
        raise ValueError(f"ensemble = {ansatz.ensemble!r}: the recurrent network has replicas only")
    model = count_only(model, "local entropies")
    if ansatz.centre == "quenched":
        if ansatz.y is not INFINITE or model.beta is not INFINITE:
            raise ValueError("centre = quenched: known for y = inf and beta = inf")
        return (QuenchedCentre(model, ansatz.overlap, ansatz.scale),)  # type: ignore[arg-type]
    if ansatz.y is INFINITE:
        return (ReplicaClusterLimit(model, ansatz.overlap, ansatz.scale),)  # type: ignore[arg-type]
    if ansatz.y is STAR:
        few = ReplicaClusterStar(model, ansatz.overlap, ansatz.scale)  # type: ignore[arg-type]
        return (few, ReplicaClusterStarLimit(model, ansatz.overlap, ansatz.scale))  # type: ignore[arg-type]
    return (ReplicaCluster(model, ansatz.overlap, ansatz.y, ansatz.scale),)  # type: ignore[arg-type]


@evaluates(LocalEntropy, RecurrentNetwork)
def _cluster_functional(model: RecurrentNetwork, ansatz: LocalEntropy, **order: Number) -> Array:
    """phi(r1), phi(q0, r0, r1) of y replicas of the recurrent network at overlap q1; phi(r0, Dr, delta) around a quenched centre."""
    problem = clusters(model, ansatz)[0]
    if isinstance(problem, QuenchedCentre):
        return _around_centre(problem, **order)
    if not isinstance(problem, ReplicaCluster):
        raise ValueError("y: the functional of r1 exists for a finite number of replicas")
    return _of_replicas(problem, **order)


def _around_centre(
    problem: QuenchedCentre, *, r0: Number, Dr: Number, delta: Number, nodes: int = 128
) -> Array:
    parts = {name: jnp.asarray(x, float) for name, x in dict(r0=r0, Dr=Dr, delta=delta).items()}
    return problem.phi(State({}, jnp.zeros(0), parts), nodes)


def _of_replicas(
    problem: ReplicaCluster,
    *,
    r1: Number,
    q0: Number | None = None,
    r0: Number = 0.0,
    nodes: int | None = None,
) -> Array:
    """Without q0: q0 = r0 = 0.  With it there are four integrals: 32 nodes know it to about 1e-6."""
    r1 = jnp.asarray(r1, float)
    if q0 is None:
        return problem.phi(State({}, jnp.zeros(0), dict(r1=r1)), nodes or 192)
    q0, r0, q1, m = (jnp.asarray(x, float) for x in (q0, r0, problem.q1, problem.m))
    levels = (Level((r0, q0), 0.0), Level((r1 - r0, q1 - q0), m))
    term = tower(problem.model.pair_field(1.0 - q1), levels, nodes or 32, value_only=True).value
    return -0.5 * (m - 1.0) * q1 * r1 + 0.5 * m * q0 * r0 - 0.5 * r1 + term
