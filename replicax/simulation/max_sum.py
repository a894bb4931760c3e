r"""Reinforced max-sum: message passing at zero temperature for binary weights, +-1 patterns, N odd, kappa = 0.

psi_j is the field on weight j, u_{mu->j} the message of pattern mu, psi_{j->mu} = psi_j - u_{mu->j}. A message is half the difference of

    max { sum_{j != i} psi_{j->mu} W_j : sum_j x_{mu j} W_j > 0 }   between W_i = +1 and W_i = -1.

The best weights follow their fields; weights with x psi < 0 are misaligned with the pattern and turned, cheapest first, until it is satisfied.
With the costs |psi| of the misaligned ones in rising order, c_1 <= c_2 <= .., S = sum_j x_j sign psi_j and k = (1 - S)/2 of them to turn,

    aligned i:     u = x_i c_{k+1} if S <= 1, else 0
    misaligned i:  u = x_i c_{k+1} if i is among the k cheapest, else x_i c_k (0 where k = 0 or less).

Reinforcement: psi_i <- f_i + sum_mu u_{mu->i} + r_t psi_i, r_t = min(1, t dr); the small random f_i break ties between integers. Baldassi &
Braunstein, J. Stat. Mech. (2015) P08008, arXiv:1505.05401. Their tuned priors reach
alpha of about 0.75; plain reinforcement, as here, solves 20, 14 and 5 of 20 instances of N = 301 at alpha = 0.3, 0.5 and 0.6.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from .arguments import integer, real
from .blocks import in_blocks
from .focusing import reinforcement
from .instances import sample_seeds
from .learning import Solutions, binary_solutions, learnable, only_signs

_FIELD = 1e-2
_LARGE = 1e6


def max_sum(X, y=None, *, dr: float = 0.005, sweeps: int = 400, key=0) -> Solutions:
    """Reinforced max-sum on +-1 patterns ([samples,] P, N), N odd and at least 3; sign psi is tested after each sweep."""
    instances = only_signs(learnable(X, y, even=False), "max-sum")
    integer("N", instances.N, 3)
    r = 1.0 - reinforcement(real("dr", dr, 0.0, 1.0), sweeps).inverse_y
    rngs = [np.random.Generator(np.random.PCG64(s)) for s in sample_seeds(key, instances.samples, "max-sum")]
    fields = np.stack([_FIELD * rng.standard_normal(instances.N) for rng in rngs])
    W, steps, finite = in_blocks(lambda x, f: _run(x, f, r), (instances.patterns, fields), 2)
    return binary_solutions(instances, W, steps, sweeps, ~finite, 0.0)


def pattern_messages(x: jax.Array, psi: jax.Array) -> jax.Array:
    """u of one pattern x (N,) from the fields psi_{j->mu} (N,) on its weights."""
    N = x.shape[0]
    misaligned = x * psi < 0.0
    size = jnp.abs(psi)
    costs = jnp.sort(jnp.where(misaligned, size, jnp.inf))
    k = jnp.sum(misaligned) - (N - 1) // 2  # (1 - S)/2 with S = N - 2 #misaligned
    after = costs[jnp.clip(k, 0, N - 1)]
    last = jnp.where(k >= 1, costs[jnp.clip(k - 1, 0, N - 1)], 0.0)
    turned = misaligned & (k >= 1) & (size <= last)
    through = jnp.where(k >= 0, after, 0.0)
    return x * jnp.where(misaligned & ~turned, last, through)


@jax.jit
@partial(jax.vmap, in_axes=(0, 0, None))
def _run(x, f, r):
    """Patterns (P, N) -> W (N,), sweeps used, whether all fields stayed finite. State: psi (N,), u (P, N)."""
    P, N = x.shape
    patterns = x.astype(jnp.float32)

    def sweep(state):
        psi, u, f, _, t = state
        u = jax.vmap(pattern_messages)(patterns, psi[None] - u)
        psi = f + jnp.sum(u, 0) + r[t].astype(jnp.float32) * psi
        W = jnp.where(psi >= 0.0, 1.0, -1.0)
        # fields, messages and f may share any scale, and reinforced fields grow without bound: a power of 2 rounds nothing
        power = jnp.ceil(jnp.log2(jnp.maximum(jnp.max(jnp.abs(psi)) / _LARGE, 1.0))).astype(jnp.int32)
        psi, u, f = (jnp.ldexp(a, -power) for a in (psi, u, f))
        return psi, u, f, jnp.sum(patterns @ W < 0.0, dtype=jnp.int32), t + 1

    going = lambda state: (state[3] > 0) & (state[4] < r.shape[0]) & jnp.all(jnp.isfinite(state[0]))
    zero, f = jnp.zeros((), jnp.int32), f.astype(jnp.float32)
    first = (f, jnp.zeros((P, N), jnp.float32), f, zero + P + 1, zero)
    psi, _, _, _, t = jax.lax.while_loop(going, sweep, first)
    return jnp.where(psi >= 0.0, 1, -1), t, jnp.all(jnp.isfinite(psi))
