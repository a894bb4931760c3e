r"""Belief propagation for the fixed points of one recurrent network: all N^2 cavity messages, and the Bethe entropy.

Row j asks J_D + s_j h_j > 0 of all spins; its field is Gaussian with the cavity means m of the others.  Weighted by exp(sum_i f_i s_i),

    om = sum_k J_jk m_k,  V = sum_k J_jk^2 (1 - m_k^2),  A_s = Phi((J_D + s om)/sqrt V),   Z_j = (1+m_j)/2 A_+ + (1-m_j)/2 A_-,
    u_j->j = (1/2) log A_+/A_-,    u_j->i = (1/2) log [ Z_j(s_i = +)/Z_j(s_i = -) ]  (om, V without i, and om +- J_ji),
    m_i->j = tanh( f_i + sum_{k != j} u_k->i ),    log Z = sum_j log Z_j + sum_i log Z_i - sum_{ij} log Z_ij.

f = 0 has the solution m = 0: log Z = N log 2 + sum_j log Phi(J_D/|J_j|), the annealed count of this network.  A field along a fixed point
measures the fixed points around it: entropy = log Z - sum_i f_i <s_i>, at distance (1 - <s . reference>/N)/2.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from replicax.numerics.special import log_2cosh, log_H

from .arguments import choice, integer, real
from .blocks import in_blocks
from .dynamics import first_states, sequential
from .instances import NetworkInstances
from .network_messages import reinforced_messages
from .outcomes import BUDGET, CONVERGED, DIVERGED
from .statistics import Statistic

_FLOOR = 1e-10


class NetworkBethe(NamedTuple):
    """phi = (1/N) log sum exp(f . s) over fixed points, entropy = phi - f . m/N, magnetisation m (samples, N); residual, outcome of the messages."""

    phi: np.ndarray
    entropy: np.ndarray
    magnetisation: np.ndarray
    residual: np.ndarray
    outcome: np.ndarray

    @property
    def converged(self) -> np.ndarray:
        return self.outcome == CONVERGED


def network_belief_propagation(
    instances: NetworkInstances,
    *,
    J_D: float,
    field=0.0,
    damping: float = 0.3,
    tol: float = 1e-9,
    iterations: int = 1000,
) -> NetworkBethe:
    """The messages of every network from u = 0, weighted by exp(field . s); field (samples, N), or what broadcasts to it."""
    fields = np.broadcast_to(np.asarray(field, float), (instances.samples, instances.N))
    unit = 1.0 / (instances.scale * np.sqrt(instances.N))
    damping, tol = real("damping", damping, 0.0, 0.99), real("tol", tol, 0.0)
    iterations, J_D = integer("iterations", iterations, 1), real("J_D", J_D, 0.0)
    run = lambda J, f: _run(J, f, J_D, unit, damping, tol, iterations)
    return NetworkBethe(*in_blocks(run, (instances.couplings, fields), 4))


@jax.jit
@partial(jax.vmap, in_axes=(0, 0, *(None,) * 5))
def _run(couplings, field, J_D, unit, damping, tol, iterations):
    J = couplings * unit
    N = J.shape[0]
    on = jnp.eye(N, dtype=bool)

    def mix(own, mean, V):
        """log of the probability that a row is satisfied, own = mean of its spin."""
        up, down = log_H(-(J_D + mean) / jnp.sqrt(V)), log_H(-(J_D - mean) / jnp.sqrt(V))
        share = lambda x: jnp.log(jnp.maximum(0.5 * (1.0 + x), 1e-300))
        return jnp.logaddexp(share(own) + up, share(-own) + down), 0.5 * (up - down)

    def rows(m):
        """m[j, i] = m_i->j: own mean, om, V of every row (N, 1)."""
        v = J**2 * (1.0 - m**2)
        return jnp.diagonal(m)[:, None], jnp.sum(J * m, 1, keepdims=True), jnp.sum(v, 1, keepdims=True), v

    def messages(m):
        own, om, V, v = rows(m)
        rest, V_rest = om - J * m, jnp.maximum(V - v, _FLOOR)
        to_others = 0.5 * (mix(own, rest + J, V_rest)[0] - mix(own, rest - J, V_rest)[0])
        return jnp.where(on, mix(own, om, jnp.maximum(V, _FLOOR))[1], to_others)

    def cavity(u):
        return jnp.tanh(field[None, :] + jnp.sum(u, 0, keepdims=True) - u)

    def step(state):
        u, _, t = state
        m = cavity(u)
        new = messages(m)
        residual = jnp.max(jnp.abs(cavity(new) - m))
        return (1.0 - damping) * new + damping * u, jnp.where(jnp.isnan(residual), jnp.inf, residual), t + 1

    going = lambda state: (state[1] > tol) & jnp.isfinite(state[1]) & (state[2] < iterations)
    u, residual, _ = jax.lax.while_loop(going, step, (jnp.zeros((N, N)), jnp.array(1e300), 0))
    own, om, V, _ = rows(cavity(u))
    satisfied = mix(own, om, jnp.maximum(V, _FLOOR))[0]
    h = field + jnp.sum(u, 0)
    sites = jnp.sum(log_2cosh(h)) - jnp.sum(log_2cosh(u))
    edges = jnp.sum(log_2cosh(h)[None, :] - log_2cosh(h[None, :] - u) - log_2cosh(u))
    phi = (jnp.sum(satisfied) + sites - edges) / N
    m = jnp.tanh(h)
    outcome = jnp.where(jnp.isfinite(residual), jnp.where(residual <= tol, CONVERGED, BUDGET), DIVERGED)
    return phi, phi - jnp.sum(field * m) / N, m, residual, outcome


AROUND = ("fbp", "sequential", "random")


def count_around(
    instances: NetworkInstances,
    *,
    J_D: float,
    strength: float = 0.0,
    around: str = "fbp",
    damping: float = 0.3,
    iterations: int = 1000,
    sweeps: int = 100,
    key=0,
) -> dict[str, Statistic]:
    """Fixed points of every network in a field `strength` along a reference: one that is found (fbp, sequential), or a random state.

    phi, entropy as in `NetworkBethe`, d: their distance from the reference, of the runs that have a reference and converged: `solved`, of all
    """
    choice("around", around, AROUND)
    strength = real("strength", strength, 0.0)
    searches = dict(fbp=reinforced_messages, sequential=sequential)
    if around == "random":
        reference, found = first_states(instances, None, key, "reference"), np.ones(instances.samples, bool)
    else:
        search = searches[around](instances, J_D=J_D, sweeps=sweeps, key=key)
        reference, found = search.s, search.solved
    run = network_belief_propagation(
        instances, J_D=J_D, field=strength * reference, damping=damping, iterations=iterations
    )
    good = found & run.converged
    distance = 0.5 - 0.5 * (run.magnetisation * reference).mean(1)
    return {
        "phi": Statistic.from_samples(run.phi[good]),
        "entropy": Statistic.from_samples(run.entropy[good]),
        "d": Statistic.from_samples(distance[good]),
        "solved": Statistic.from_counts(int(good.sum()), len(good)),
        "budget": Statistic(float(iterations), 0.0, len(good)),
    }
