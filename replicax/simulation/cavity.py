r"""Belief propagation with all N P cavity messages: the slow reference of `gamp`, from which it differs by O(1/N).

om_mu->i = sum_{j != i} x_mu,j m_j->mu / sqrt(N),   V_mu->i = sum_{j != i} x_mu,j^2 (1 - m_j->mu^2)/N,
u_mu->i = [ log f(om + x_mu,i/sqrt(N), V) - log f(om - x_mu,i/sqrt(N), V) ]/2,   m_i->mu = tanh( f_i + sum_{nu != mu} u_nu->i ),

log Z = sum_mu log f(om_mu, V_mu) + sum_i log Z_i - sum_{i mu} log Z_i,mu.     Mezard, J. Phys. A 22 (1989) 2181.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from replicax.numerics.special import log_2cosh

from .arguments import integer, real
from .blocks import in_blocks
from .channels import Channel, Margin, of_one_unit
from .gamp import FLOOR_VARIANCE, GampResult, _broadcast
from .learning import learnable
from .outcomes import BUDGET, CONVERGED, DIVERGED, FLOOR


def belief_propagation(
    X,
    y=None,
    *,
    channel: Channel | None = None,
    field=None,
    damping: float = 0.0,
    tol: float = 1e-10,
    iterations: int = 1000,
) -> GampResult:
    """Fixed points of the full cavity equations of binary weights, O(N P) evaluations of log f per iteration.

    Arguments and results as those of `gamp`, one column.
    """
    instances = learnable(X, y)
    channel = Margin() if channel is None else of_one_unit(channel)
    fields = np.zeros((instances.samples, 1, instances.N))
    fields = fields if field is None else _broadcast("field", field, fields.shape)
    unit = 1.0 / (instances.scale * np.sqrt(instances.N))
    run = lambda x, f: _run(
        x, f[:, 0], channel, unit, real("damping", damping, 0.0, 0.99), real("tol", tol, 0.0),
        integer("iterations", iterations, 1),
    )  # fmt: skip
    return GampResult(*(r[:, None] for r in in_blocks(run, (instances.patterns, fields), 1)))


@partial(jax.jit, static_argnums=(6,))
@partial(jax.vmap, in_axes=(0, 0, *(None,) * 5))
def _run(x, field, channel, unit, damping, tol, iterations: int):
    x = x.astype(jnp.float64) * unit
    N = x.shape[1]

    def totals(m):
        """om and V of every pattern with all incoming messages (P, 1), and what each weight puts in (P, N)."""
        v = x**2 * (1.0 - m**2)
        return jnp.sum(x * m, 1, keepdims=True), jnp.sum(v, 1, keepdims=True), v

    def messages(m):
        om, V, v = totals(m)
        om, V = om - x * m, jnp.maximum(V - v, 1e-10)
        return 0.5 * (channel.value(om + x, V) - channel.value(om - x, V))

    def step(state):
        u, _, t = state
        m = cavity(u)
        new = messages(m)
        residual = jnp.max(jnp.abs(cavity(new) - m), initial=0.0)
        return (1.0 - damping) * new + damping * u, jnp.where(jnp.isnan(residual), jnp.inf, residual), t + 1

    def cavity(u):
        return jnp.tanh(field[None, :] + jnp.sum(u, 0, keepdims=True) - u)

    going = lambda state: (state[1] > tol) & jnp.isfinite(state[1]) & (state[2] < iterations)
    u, residual, t = jax.lax.while_loop(going, step, (jnp.zeros_like(x), jnp.array(1e300), 0))
    m_cavity = cavity(u)
    om, V, _ = totals(m_cavity)
    h = field + jnp.sum(u, 0)
    m = jnp.tanh(h)
    # Z_i over prod 2 cosh u, and Z_i,mu = cosh(h_i->mu + u) / (cosh h_i->mu cosh u) / 2 .. of normalised laws
    h_cavity = h[None, :] - u
    sites = jnp.sum(log_2cosh(h)) - jnp.sum(log_2cosh(u))
    edges = jnp.sum(log_2cosh(h)[None, :] - log_2cosh(h_cavity) - log_2cosh(u))
    phi = (jnp.sum(channel.value(om, V)) + sites - edges) / N
    energy = jnp.sum(channel.energy(om, V)) / N
    outcome = jnp.where(
        residual <= tol, jnp.where(jnp.min(V, initial=1.0) < FLOOR_VARIANCE, FLOOR, CONVERGED), BUDGET
    )
    outcome = jnp.where(jnp.isfinite(residual), outcome, DIVERGED)
    known = lambda value: jnp.where(outcome == CONVERGED, value, jnp.nan)
    return known(phi), known(energy), known(jnp.mean(m**2)), m, residual, t, outcome
