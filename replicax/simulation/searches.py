r"""Searches for fixed points of recurrent networks beside the dynamics and `fbp`: a baseline, and three that look for dense regions.

    greedy         single flips, in random order, accepted when they do not raise the number of violated spins
    entropic       the same on the log-likelihood of smoothed states (spins independent, with means p s_i), p rising to 1:
                   L = sum_j log[(1+p)/2 Phi((J_D + p x_j)/sigma_j) + (1-p)/2 Phi((J_D - p x_j)/sigma_j)],
                   x_j = s_j h_j, sigma_j^2 = (1-p^2) sum_i J_ji^2;
                   flips that raise it are accepted: a local entropy in place of the energy
    replicated     y copies of sequential dynamics in the field gamma (mean of all copies), gamma rising from 0; a copy is tested without it
    stochastic     ascent of the same L in real theta, means m = tanh theta: sigma_j^2 = sum_i J_ji^2 (1 - m_i^2); sign theta is tested

A sweep is N^2 multiplications in all of them, and in those of `dynamics`; y copies cost y sweeps each time, and their `steps` and `budget` say so.
After Baldassi et al., PRL 120 (2018) 268103, arXiv:1710.09825 (stochastic), PNAS 113 (2016) E7655, arXiv:1605.06444 (copies), and Chaudhari
et al., arXiv:1611.01838 (entropic).
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from replicax.numerics.special import log_add_exp, log_H

from .arguments import integer, real
from .blocks import in_blocks
from .dynamics import States, final_states, first_states, integer_levels, keys_of, violated
from .instances import NetworkInstances

_FLOOR = 1e-6


def _log_half(x: jax.Array) -> jax.Array:
    """log of a share (1 + x)/2, finite at x = -1."""
    return jnp.log(jnp.maximum(0.5 * (1.0 + x), 1e-300))


def _log_satisfied(own: jax.Array, mean: jax.Array, sigma: jax.Array, J_D) -> jax.Array:
    """log P that a spin of mean `own` agrees with J_D and its Gaussian field."""
    return log_add_exp(
        _log_half(own) + log_H(-(J_D + mean) / sigma), _log_half(-own) + log_H(-(J_D - mean) / sigma)
    )


def greedy(
    instances: NetworkInstances, *, J_D: float, sweeps: int = 300, ties: str = "violated", key=0
) -> States:
    """Descent of the number of violated spins from random states, until a fixed point, at most `sweeps` sweeps."""
    return _descend(instances, J_D, np.ones(integer("sweeps", sweeps, 1)), ties, key)


def entropic_greedy(
    instances: NetworkInstances,
    *,
    J_D: float,
    smooth: float = 0.7,
    sweeps: int = 300,
    ties: str = "violated",
    key=0,
) -> States:
    """`entropic`, p rising linearly from `smooth` to 1 in `sweeps` sweeps; the state is tested after each."""
    smooth = real("smooth", smooth, 0.0, 1.0)
    return _descend(instances, J_D, np.linspace(smooth, 1.0, integer("sweeps", sweeps, 1)), ties, key)


def _descend(instances, J_D, schedule, ties, key) -> States:
    T = integer_levels(instances, J_D, 0.0, ties)
    first = first_states(instances, None, key, "start")
    unit = 1.0 / (instances.scale * np.sqrt(instances.N))
    run = lambda J, s, k: _descent(J, s, k, T, float(J_D), unit, schedule)
    s, used = in_blocks(run, (instances.couplings, first, keys_of(instances, key, "greedy")), 8)
    return final_states(instances, s, used, False, T, J_D, 0.0, len(schedule))


@jax.jit
@partial(jax.vmap, in_axes=(0, 0, 0, None, None, None, None))
def _descent(J, first, key, T, J_D, unit, schedule):
    key, columns = jax.random.wrap_key_data(key), J.T
    power = jnp.sum((J * unit) ** 2, 1)

    def cost(s, h, p):
        x, sigma = s * h * unit, jnp.sqrt(jnp.maximum(power * (1.0 - p * p), _FLOOR))
        smooth = -jnp.sum(_log_satisfied(p * jnp.ones_like(x), p * x, sigma, J_D))
        return jnp.where(p < 1.0, smooth, jnp.sum(violated(s, h, T)).astype(float))

    def visit(carry, i):
        s, h, now, p = carry
        other = s.at[i].set(-s[i])
        field = h - 2 * s[i] * columns[i]
        new = cost(other, field, p)
        take = new <= now
        return (jnp.where(take, other, s), jnp.where(take, field, h), jnp.where(take, new, now), p), None

    def sweep(carry):
        s, h, t = carry
        order = jax.random.permutation(jax.random.fold_in(key, t), s.shape[0])
        p = schedule[t]
        (s, h, *_), _ = jax.lax.scan(visit, (s, h, cost(s, h, p), p), order)
        return s, h, t + 1

    going = lambda carry: (carry[2] < len(schedule)) & jnp.any(violated(carry[0], carry[1], T))
    s, _, t = jax.lax.while_loop(going, sweep, (first, J @ first, jnp.zeros((), jnp.int32)))
    return s, t


def replicated_dynamics(
    instances: NetworkInstances,
    *,
    J_D: float,
    copies: int = 3,
    gamma: float = 0.5,
    sweeps: int = 300,
    ties: str = "violated",
    key=0,
) -> States:
    """`replicated`: gamma rises linearly from 0 to `gamma` in sweeps // copies rounds; the copy with the fewest violated spins is kept."""
    T, copies = integer_levels(instances, J_D, 0.0, ties), integer("copies", copies, 2)
    rounds = integer("sweeps", sweeps, copies) // copies
    pull = real("gamma", gamma, 0.0) * np.sqrt(instances.N) * instances.scale
    run = lambda J, k: _copies(J, k, T, pull, copies, rounds)
    s, used = in_blocks(run, (instances.couplings, keys_of(instances, key, "replicated")), 8)
    return final_states(instances, s, used * copies, False, T, J_D, 0.0, rounds * copies)


@partial(jax.jit, static_argnums=(4, 5))
@partial(jax.vmap, in_axes=(0, 0, None, None, None, None))
def _copies(J, key, T, pull, copies: int, rounds: int):
    N, columns = J.shape[0], J.T
    key, begin = jax.random.split(jax.random.wrap_key_data(key))
    first = jax.random.rademacher(begin, (copies, N), jnp.int32)
    levels = T.astype(float)

    def visit(carry, i):
        s, h, gamma = carry
        x = s[:, i] * (h[:, i] + gamma * jnp.mean(s[:, i]))
        flip = x < jnp.where(s[:, i] > 0, levels[0], levels[1])
        h = h - jnp.where(flip, 2 * s[:, i], 0)[:, None] * columns[i][None, :]
        return (s.at[:, i].set(jnp.where(flip, -s[:, i], s[:, i])), h, gamma), None

    def wrong(s, h):
        return jnp.sum(violated(s, h, T), 1)

    def sweep(carry):
        s, h, t = carry
        order = jax.random.permutation(jax.random.fold_in(key, t), N)
        (s, h, _), _ = jax.lax.scan(visit, (s, h, pull * t / rounds), order)
        return s, h, t + 1

    going = lambda carry: (carry[2] < rounds) & (jnp.min(wrong(carry[0], carry[1])) > 0)
    s, h, t = jax.lax.while_loop(going, sweep, (first, first @ columns, jnp.zeros((), jnp.int32)))
    return s[jnp.argmin(wrong(s, h))], t


def stochastic_spins(
    instances: NetworkInstances,
    *,
    J_D: float,
    rate: float = 0.2,
    sweeps: int = 300,
    ties: str = "violated",
    key=0,
) -> States:
    """`stochastic`: `sweeps` steps theta <- theta + rate dL/dm from small random theta (the slope of tanh left out)."""
    T, sweeps = integer_levels(instances, J_D, 0.0, ties), integer("sweeps", sweeps, 1)
    unit, rate = 1.0 / (instances.scale * np.sqrt(instances.N)), real("rate", rate, 0.0)
    run = lambda J, k: _ascent(J, k, T, float(J_D), unit, rate, sweeps)
    s, used = in_blocks(run, (instances.couplings, keys_of(instances, key, "stochastic")), 8)
    return final_states(instances, s, used, False, T, J_D, 0.0, sweeps)


@jax.jit
@partial(jax.vmap, in_axes=(0, 0, None, None, None, None, None))
def _ascent(J, key, T, J_D, unit, rate, sweeps):
    x = J * unit
    start = 1e-2 * jax.random.normal(jax.random.wrap_key_data(key), J.shape[:1])

    @jax.grad
    def slope(m):
        sigma = jnp.sqrt(jnp.maximum(x**2 @ (1.0 - m**2), _FLOOR))
        return jnp.sum(_log_satisfied(m, x @ m, sigma, J_D))

    def state(theta):
        s = jnp.where(theta >= 0.0, 1, -1).astype(jnp.int32)
        return s, jnp.any(violated(s, J @ s, T))

    def step(carry):
        theta, t, _ = carry
        theta = jnp.clip(theta + rate * slope(jnp.tanh(theta)), -6.0, 6.0)
        return theta, t + 1, state(theta)[1]

    going = lambda carry: (carry[1] < sweeps) & carry[2]
    theta, t, _ = jax.lax.while_loop(going, step, (start, jnp.zeros((), jnp.int32), state(start)[1]))
    return state(theta)[0], t
