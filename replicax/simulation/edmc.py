r"""Entropy-driven Monte Carlo: a search on the local entropy instead of the number of errors.

    F(W) = (1/N) log sum_{W' solution} exp(gamma W.W')   by message passing in the field gamma W.

The flip of W_i changes the sum by a factor that the magnetisation m_i of the measure in the field gamma W gives exactly,

    exp( N dF_i ) = < exp(-2 gamma W_i w_i) > = cosh 2 gamma - W_i m_i sinh 2 gamma,

so that one fixed point of the messages judges all N flips, and new messages, from where they were, are needed only after a flip.

metropolis  a random weight is proposed, and flipped with probability min(1, exp(N dF_i / T)); at temperature T = 0, the default, where
            dF_i > 0. gamma rises to its next value ("scoping") after N rejections in a row. Waiting times are drawn instead of waited
            for, which changes no probability. At T > 0 W hardly ever stops: gamma may never rise, and the budget ends the run.
greedy      the flip with the largest dF_i; gamma rises where none is positive.

Baldassi, Ingrosso, Lucibello, Saglietti & Zecchina, J. Stat. Mech. (2016) 023301, arXiv:1511.05634.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from .arguments import choice, integer, real
from .blocks import each_instance, in_blocks
from .channels import Margin
from .constraints import threshold
from .gamp import as_patterns, fields, fixed_point, start
from .instances import sample_seeds
from .learning import Solutions, binary_solutions, is_signs, learnable
from .weights import BinaryWeights

MOVES = ("greedy", "metropolis")
GAMMAS = (0.6, 0.8, 1.0, 1.3, 1.6)
_SWEEPS = 200  # of message passing between two flips, at most
_TOLERANCE, _DAMPING = 1e-3, 0.1


def edmc(
    X,
    y=None,
    *,
    moves: str = "greedy",
    temperature: float = 0.0,
    flips: int | None = None,
    gammas: Sequence[float] = GAMMAS,
    kappa: float = 0.0,
    key=0,
) -> Solutions:
    """EdMC from random weights; steps are flips.

    moves: greedy, or metropolis at ``temperature`` T. flips: budget, 2 N unless given. counts: `proposals` (greedy: it
    looks at N weights for a flip) and `sweeps` of message passing, also where it fails. Ends where W solves, the flips are used up, or
    gamma has passed its last value (budget); or where the messages are not finite (diverged).
    """
    instances = learnable(X, y, kappa=kappa, even=False)
    choice("moves", moves, MOVES)
    temperature = real("temperature", temperature, 0.0)
    if moves == "greedy" and temperature > 0.0:
        raise ValueError(f"temperature = {temperature:g} is not allowed: greedy moves have temperature 0")
    flips = 2 * instances.N if flips is None else integer("flips", flips, 1)
    ladder = np.array([real("gammas", g, 0.0) for g in gammas])
    if ladder.size == 0 or not np.all(np.diff(ladder) > 0):
        raise ValueError(f"gammas = {tuple(gammas)} is not allowed: gammas must be increasing and not empty")
    T = threshold("margin", kappa, instances.N, instances.scale, False)
    seeds = sample_seeds(key, instances.samples, "edmc")
    rngs = [np.random.Generator(np.random.PCG64(s)) for s in seeds]
    W = np.stack([2.0 * rng.integers(0, 2, instances.N) - 1.0 for rng in rngs])
    keys = np.stack([rng.integers(0, 2**32, 2, dtype=np.uint32) for rng in rngs])
    run = lambda x, W, k: _run(
        x, W, k, ladder, temperature, kappa, T, 1.0 / instances.scale, flips, is_signs(instances), moves
    )
    W, steps, proposals, sweeps, finite = in_blocks(run, (instances.patterns, W, keys), 2)
    found = binary_solutions(instances, W, steps, flips, ~finite, kappa)
    return found._replace(counts=dict(proposals=proposals, sweeps=sweeps))


def log_change(W: jax.Array, m: jax.Array, gamma) -> jax.Array:
    """N dF_i of the flip of every weight, where m are the magnetisations in the field gamma W.

    cosh 2 gamma - W m sinh 2 gamma as a mean of exp(-+2 gamma), which keeps its digits.
    """
    up = 0.5 * (1.0 + W * m)  # probability of w_i = W_i
    return jnp.log(up * jnp.exp(-2.0 * gamma) + (1.0 - up) * jnp.exp(2.0 * gamma))


def _greedy(gain, temperature, key):
    """Which weight, whether it flips, and how many were looked at."""
    best = jnp.argmax(gain)
    return best, gain[best] > 0.0, float(gain.shape[0])


def _metropolis(gain, temperature, key):
    """The next flip of the chain, unless N proposals in a row are rejected before: the waiting time is geometric."""
    N = gain.shape[0]
    # a change of exactly 0 counts as rejected at temperature 0
    colder = jnp.exp(jnp.minimum(gain, 0.0) / jnp.where(temperature > 0.0, temperature, 1.0))
    accept = jnp.where(gain > 0.0, 1.0, jnp.where(temperature > 0.0, colder, 0.0))
    first, second = jax.random.split(key)
    u = 1.0 - jax.random.uniform(first)  # in (0, 1]
    p = jnp.mean(accept)
    rejected = jnp.where(p < 1.0, jnp.floor(jnp.log(u) / jnp.log1p(-jnp.minimum(p, 1.0 - 1e-16))), 0.0)
    flips = (p > 0.0) & (rejected < N)
    chosen = jax.random.categorical(second, jnp.log(accept))
    return chosen, flips, jnp.where(flips, rejected + 1.0, 1.0 * N)


_MOVE = {"greedy": _greedy, "metropolis": _metropolis}


@partial(jax.jit, static_argnums=(9, 10))
@each_instance(3)
def _run(x, W, key, gammas, temperature, kappa, T, unit, flips, signs: bool, moves: str):
    P, N = x.shape
    patterns, channel, kind = as_patterns(x, signs, unit, jnp.float32), Margin(kappa), BinaryWeights()
    limit = (T - 0.5) * unit / np.sqrt(N)
    wrong = lambda W: jnp.sum(fields(W[None], patterns.x) < limit, dtype=jnp.int32)
    key = jax.random.wrap_key_data(key)

    def step(state):
        W, s, level, count, (turn, proposals, sweeps), _, _ = state
        gamma = gammas[level]
        s, residual, t, _ = fixed_point(
            patterns, channel, kind, gamma * W[None], s, _DAMPING, _TOLERANCE, _SWEEPS
        )
        gain = log_change(W, s.m[0], gamma)
        chosen, flip, looked = _MOVE[moves](gain, temperature, jax.random.fold_in(key, turn))
        W = W.at[chosen].multiply(jnp.where(flip, -1.0, 1.0))
        effort = turn + 1, proposals + looked, sweeps + t[0]
        return W, s, level + ~flip, count + flip, effort, wrong(W), jnp.isfinite(residual[0])

    def going(state):
        _, _, level, count, _, errors, finite = state
        return (errors > 0) & (level < gammas.shape[0]) & (count < flips) & finite

    m = 0.5 * jnp.tanh(gammas[0]) * W[None]
    zero = jnp.zeros((), jnp.int32)
    first = (
        W, start(m, 1.0 - m**2, P), zero, zero, (zero, jnp.zeros(()), zero), wrong(W), jnp.array(True)
    )  # fmt: skip
    W, _, _, count, (_, proposals, sweeps), _, finite = jax.lax.while_loop(going, step, first)
    return W, count, proposals, sweeps, finite
