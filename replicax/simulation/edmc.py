r"""Entropy-driven Monte Carlo: a search on the local entropy instead of the number of errors.

    F(W) = (1/N) log sum_{W' solution} exp(gamma W.W')   by message passing in the field gamma W.

Greedy at zero temperature: with h_i the total field on weight i, the flip of i raises F (to first order) iff W_i (h_i - gamma W_i) < 0;
the worst one is flipped, and gamma rises where none is left ("scoping"). Messages restart from where they were. Baldassi, Ingrosso,
Lucibello, Saglietti & Zecchina, J. Stat. Mech. (2016) 023301, arXiv:1511.05634, who flip by Metropolis: ~N^2.84 proposals at alpha = 0.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from .arguments import integer, real
from .blocks import in_blocks
from .channels import Margin
from .constraints import threshold
from .gamp import as_patterns, fixed_point, product, start
from .instances import sample_seeds
from .learning import Solutions, binary_solutions, is_signs, learnable
from .weights import BinaryWeights

GAMMAS = (0.6, 0.8, 1.0, 1.3, 1.6)
_SWEEPS = 200  # of message passing between two flips, at most
_TOLERANCE, _DAMPING = 1e-3, 0.1


def edmc(
    X, y=None, *, flips: int | None = None, gammas: Sequence[float] = GAMMAS, kappa: float = 0.0, key=0
) -> tuple[Solutions, np.ndarray]:
    """Greedy EdMC from random weights: the solutions (steps: flips), and the sweeps of message passing used (samples,).

    flips: budget of flips, 2 N unless given. Ends where W solves, the flips are used up, or none helps at the last gamma (budget); or
    where the messages are not finite (diverged).
    """
    instances = learnable(X, y, kappa=kappa, even=False)
    flips = 2 * instances.N if flips is None else integer("flips", flips, 1)
    ladder = np.array([real("gammas", g, 0.0) for g in gammas])
    if ladder.size == 0 or not np.all(np.diff(ladder) > 0):
        raise ValueError(f"gammas = {tuple(gammas)} is not allowed: gammas must be increasing and not empty")
    T = threshold("margin", kappa, instances.N, instances.scale, False)
    rngs = [np.random.Generator(np.random.PCG64(s)) for s in sample_seeds(key, instances.samples, "edmc")]
    W = np.stack([2.0 * rng.integers(0, 2, instances.N) - 1.0 for rng in rngs])
    run = lambda x, W: _run(x, W, ladder, kappa, T, 1.0 / instances.scale, flips, is_signs(instances))
    W, steps, sweeps, finite = in_blocks(run, (instances.patterns, W), 2)
    return binary_solutions(instances, W, steps, flips, ~finite, kappa), sweeps


@partial(jax.jit, static_argnums=(7,))
@partial(jax.vmap, in_axes=(0, 0, *(None,) * 6))
def _run(x, W, gammas, kappa, T, unit, flips, signs: bool):
    P, N = x.shape
    patterns, channel, kind = as_patterns(x, signs, unit, jnp.float32), Margin(kappa), BinaryWeights()
    limit = (T - 0.5) * unit / np.sqrt(N)
    wrong = lambda W: jnp.sum(product(W[None], patterns.x.T) < limit, dtype=jnp.int32)

    def step(state):
        W, s, level, count, sweeps, _, _ = state
        gamma = gammas[level]
        s, residual, t, _ = fixed_point(
            patterns, channel, kind, gamma * W[None], s, _DAMPING, _TOLERANCE, _SWEEPS
        )
        agreement = W * (s.h[0] - gamma * W)
        worst = jnp.argmin(agreement)
        flip = agreement[worst] < 0
        W = W.at[worst].multiply(jnp.where(flip, -1.0, 1.0))
        finite = jnp.isfinite(residual[0])
        return W, s, level + ~flip, count + flip, sweeps + t[0], wrong(W), finite

    def going(state):
        _, _, level, count, _, errors, finite = state
        return (errors > 0) & (level < gammas.shape[0]) & (count < flips) & finite

    m = 0.5 * jnp.tanh(gammas[0]) * W[None]
    zero = jnp.zeros((), jnp.int32)
    first = (W, start(m, 1.0 - m**2, P), zero, zero, zero, wrong(W), jnp.array(True))
    W, _, _, count, sweeps, _, finite = jax.lax.while_loop(going, step, first)
    return W, count, sweeps, finite
