"""Thresholds of recurrent networks: isolation, dense regions, the code of fixed points, attractors, stable aligned states."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from replicax.answers.status import CODE
from replicax.answers.thresholds import Explicit, Options, System, define
from replicax.numerics.brackets import bracketed_root
from replicax.numerics.quadrature import gaussian_rule
from replicax.numerics.roots import newton
from replicax.numerics.special import H, binary_entropy, log_H
from replicax.theory.ansatz import Pair
from replicax.theory.free_entropy import FAR, Searched, State
from replicax.theory.models import RateNetwork, RecurrentNetwork
from replicax.theory.rate_network import aligned_edge
from replicax.theory.recurrent import ReplicaCluster, ReplicaClusterStar
from replicax.vocabulary.limits import INFINITE

LOG2 = float(np.log(2.0))
_SCAN = 400


def isolation(model: Any, options: Options, n: int, lowest: float = 1e-14):
    """The smallest distance d at which the entropy of pairs (S_2 - S_1) vanishes: below it a typical solution has no neighbour.

    S_2 - S_1 ~ -c sqrt(d) at d -> 0; the first sign change on a logarithmic grid, then a bracketed root in log d.
    """

    def entropy(log_d: Array) -> Array:
        (problem,) = Pair(d=jnp.exp(log_d)).problems(model)
        return problem.phi(problem.state(jnp.zeros(0), n), n)

    grid = jnp.linspace(np.log(lowest), np.log(0.5), _SCAN)
    positive = jax.vmap(entropy)(grid) > 0
    first = jnp.argmax(positive)
    root = bracketed_root(entropy, grid[jnp.maximum(first - 1, 0)], grid[first])
    return jnp.exp(root.value), {}, root.residual, root.converged & jnp.any(positive)


class DenseOnset(Searched):
    r"""Where S*(d), the entropy of clusters without complexity, changes its shape: a bordered system in derivatives along the curve.

    S* = Phi(r1, m; d, J_D) is stationary in r1 and m.  With y = (log r1, log m), c = log d and y(c + e) = y + u e + w e^2/2,

        j-gap    Phi_y = 0,  Phi = 0,  g = 0                            the least S* is zero: below, a gap
        j-mono   Phi_y = 0,  g = 0,  and their first derivatives in e     S* becomes monotone
        j-conc   Phi_y = 0, its first and second derivatives, g' = g'' = 0   the inflection disappears: S* is concave

    g = dPhi/dd = dS*/dd, primes: derivatives in e.  Coordinates: y (u, w), c, log J_D.
    """

    model: RecurrentNetwork
    known: Array  # eta = field = 0
    order: int = eqx.field(static=True)
    guess: tuple[float, float, float] = eqx.field(static=True)  # J_D, d, m

    def value(self, x: Array) -> Array:
        return jnp.exp(x[-1])

    def _cluster(self, log_m: Array, c: Array, log_J: Array) -> ReplicaCluster:
        model = eqx.tree_at(lambda m: m.J_D, self.model, jnp.exp(log_J), is_leaf=lambda x: x is None)
        return ReplicaCluster(model, 1.0 - 2.0 * jnp.exp(c), jnp.exp(log_m))

    def _phi(self, y: Array, c: Array, log_J: Array, n: int) -> Array:
        return self._cluster(y[1], c, log_J).phi(State({}, y, dict(r1=jnp.exp(y[0]))), n)

    def _gradient(self, y: Array, c: Array, log_J: Array, n: int) -> Array:
        """(m Phi_y, dPhi/dd)."""
        phi = lambda z: self._phi(z[:2], z[2], log_J, n)
        z = jnp.append(y, c)
        return jax.jacfwd(phi)(z) * jnp.exp(jnp.stack([y[1], y[1], -c]))

    def starts(self) -> tuple[Array, ...]:
        J, d, m = self.guess
        step, n = 0.1, self.nodes // 4
        c, log_J = jnp.log(d) + step * jnp.array([-1.0, 0.0, 1.0]), jnp.asarray(np.log(J))

        def saddle(c: Array) -> Array:
            near = ReplicaClusterStar(self.model, 1.0 - 2.0 * jnp.exp(c)).near(m)
            return newton(lambda y: self._gradient(y, c, log_J, n)[:2], near[None], tol=1e-8, limit=FAR).x

        below, here, above = jax.vmap(saddle)(c)
        curve = [here, (above - below) / (2.0 * step), (above - 2.0 * here + below) / step**2]
        return (lax.stop_gradient(jnp.concatenate([*curve[: self.order + 1], jnp.stack([c[1], log_J])])),)

    def state(self, x: Array, n: int) -> State:
        curve, c, log_J = x[:-2].reshape(self.order + 1, 2), x[-2], x[-1]

        def along(e: Array) -> Array:
            powers = jnp.stack([jnp.ones(()), e, 0.5 * e * e])[: self.order + 1]
            return self._gradient(powers @ curve, c + e, log_J, n)

        rows, function = [along(jnp.zeros(()))], along
        for _ in range(self.order):
            function = lambda e, f=function: jax.jvp(f, (e,), (jnp.ones_like(e),))[1]
            rows.append(function(jnp.zeros(())))
        saddle = jnp.concatenate([row[:2] for row in rows])
        slopes = jnp.stack([row[2] for row in rows][-2:])
        if self.order == 0:
            slopes = jnp.append(slopes, self._phi(x[:2], c, log_J, n))
        return State({}, jnp.concatenate([saddle, slopes]), {})

    def columns(self, x: Array, n: int) -> dict[str, Array]:
        return dict(d=jnp.exp(x[-2]), y=jnp.exp(x[1]), S_I=self._phi(x[:2], x[-2], x[-1], n))

    def code(self, x: Array, n: int) -> Array:
        return jnp.asarray(CODE["ok"])

    def inside(self, x: Array, n: int) -> Array:
        return (x[-2] < -LOG2) & (x[1] > 0.0) & self.known


def _onset(order: int, *guess: float):
    def system(model: RecurrentNetwork, options: Options) -> DenseOnset:
        if model.N is not INFINITE:
            raise ValueError("N: the onset of dense regions is a limit N = inf")
        known = (jnp.asarray(model.eta) == 0) & (jnp.asarray(model.field) == 0)
        return DenseOnset(RecurrentNetwork(beta=model.beta), known, order, guess)  # type: ignore[arg-type]

    return System("J_D", system)


def _network_isolation(model: RecurrentNetwork, options: Options, n: int):
    if model.N is not INFINITE:
        raise ValueError("N: the distance of isolated fixed points is a limit N = inf")
    return isolation(model, options, n, lowest=1e-290)


def _shannon(model: RecurrentNetwork, options: Options, n: int):
    """The flip rate p with h2(p) = log 2 - S_1 = -log Phi(J_D): Shannon bound and Gilbert-Varshamov distance of the rate S_1/log 2."""
    lost = -log_H(-jnp.asarray(model.J_D, float))
    root = bracketed_root(
        lambda x, lost: jnp.log(binary_entropy(jnp.exp(x))) - jnp.log(lost),
        -700.0,
        -LOG2,
        jnp.minimum(lost, LOG2),
    )
    return jnp.exp(root.value), {}, root.residual, root.converged


def attractor_capacity(J: Array, n: int) -> tuple[Array, Array, Array]:
    r"""1/alpha_c = min_t E (t V + Z)_+^2 of typical fixed points, V ~ N(0,1) conditioned on V > -J_D.

    With one Gaussian average: E (t V + Z)_+^2 = (1 + t^2 V^2) Phi(t V) + t V phi(t V).  Returns alpha_c, residual of the stationarity
    in t and success; t < 0 (attractors repel where V has a positive mean).  Random labels (J_D = inf): Gardner's 2.
    """
    J = jnp.asarray(J, float)
    inside = H(-J)
    narrow = 1e-4 * jnp.ones_like(J)  # small J_D: a large |t| turns the cost at V = 0
    x = gaussian_rule((-J, jnp.zeros_like(J)), (narrow, narrow), 8 * n, moving=True)
    weight = jnp.where(x.nodes > -J, x.weights, 0.0) / inside

    def cost(t: Array, J: Array) -> Array:
        u = t * x.nodes
        density = jnp.exp(-0.5 * u * u) / np.sqrt(2.0 * np.pi)
        return jnp.sum(weight * ((1.0 + u * u) * H(-u) + u * density))

    # in the logarithm of -t, which is exponentially small at large J_D
    root = bracketed_root(lambda y, J: jax.grad(cost)(-jnp.exp(y), J), -700.0, 14.0, J)
    # J_D = 0: every V is positive, t -> -inf, and any number can be stored; J_D > 7: E V < 1e-11, t = 0 to all digits
    ends = (J == 0.0) | (J > 7.0)
    value = jnp.where(J == 0.0, jnp.inf, 1.0 / cost(jnp.where(J > 7.0, 0.0, -jnp.exp(root.value)), J))
    return value, root.residual, root.converged | ends


def _attractors(model: RecurrentNetwork, options: Options, n: int):
    value, residual, converged = attractor_capacity(model.J_D, n)  # type: ignore[arg-type]
    return value, {}, residual, converged


def _aligned(model: Any, options: Options, n: int):
    value, root = aligned_edge(model.s)
    return value, {}, root.residual, root.converged & (jnp.asarray(model.s) > 1.0)


define("j-gap", RecurrentNetwork, _onset(0, 0.06, 0.016, 4.6))
define("j-mono", RecurrentNetwork, _onset(1, 0.073, 0.006, 7.5))
define("j-conc", RecurrentNetwork, _onset(2, 0.096, 0.026, 6.3))
define("d-iso", RecurrentNetwork, Explicit("d", _network_isolation, needs=("J_D",)))
define("shannon", RecurrentNetwork, Explicit("p", _shannon, needs=("J_D",)))
define("attractor-capacity", RecurrentNetwork, Explicit("alpha", _attractors, needs=("J_D",)))
define("g-star", RateNetwork, Explicit("g", _aligned))
