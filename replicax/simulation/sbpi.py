r"""Online rules for binary weights that keep integer hidden states: SBPI and CP+R.

Hidden states h_i are odd integers with |h_i| <= K, W_i = sign h_i. Patterns are presented one by one in random order; with D = sum_i x_i W_i

    R1  D < 0:             h_i += 2 x_i for every i
    R2  SBPI: 0 <= D <= theta, with probability p_s:  h_i += 2 x_i where h_i x_i > 0 (no weight changes)
        CP+R: after every presentation, each i with probability p_r:  h_i += 2 sign h_i

and h is cut at +-K. A run stops after an epoch without an error: W did not change in it, so every pattern is right. Baldassi, Braunstein,
Brunel & Zecchina, PNAS 104 (2007) 11079, arXiv:0707.1295; Baldassi, J. Stat. Phys. 136 (2009) 902, arXiv:1211.3024.

K must grow like sqrt(N) (below ~1.5 sqrt(N) states saturate and nothing is learnt), the budget of epochs likewise; p_s below 0.25 or
above 0.4 fails at large N, and p_r = p_s / sqrt(2 pi N) is the same rate of reinforcement. At alpha = 0.7, N = 1001 SBPI solves 102 of 120
instances in 1000 epochs (median of those solved 300), as many as an independent scalar loop on the same ones (102).
"""

from __future__ import annotations

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from .arguments import integer, real
from .blocks import in_blocks
from .instances import sample_seeds
from .learning import Solutions, binary_solutions, learnable, only_signs


def states(N: int) -> int:
    """K = 2 floor(2 sqrt N) + 1."""
    return 2 * math.floor(2.0 * math.sqrt(N)) + 1


def sbpi(
    X, y=None, *, epochs: int = 1000, p_s: float = 0.3, theta: int = 1, K: int | None = None, key=0
) -> Solutions:
    """SBPI on +-1 patterns (samples, P, N), N odd; K = 2 floor(2 sqrt N) + 1 unless given."""
    return _online(X, y, epochs, real("p_s", p_s, 0.0, 1.0), 0.0, integer("theta", theta, 0), K, key)


def cpr(X, y=None, *, epochs: int = 1000, p_r: float | None = None, K: int | None = None, key=0) -> Solutions:
    """CP+R on +-1 patterns; p_r = 0.3 / sqrt(2 pi N) and K = 2 floor(sqrt N) + 1 unless given."""
    instances = learnable(X, y, even=False)
    p_r = 0.3 / math.sqrt(2.0 * math.pi * instances.N) if p_r is None else real("p_r", p_r, 0.0, 1.0)
    K = 2 * math.floor(math.sqrt(instances.N)) + 1 if K is None else K
    return _online(instances, None, epochs, 0.0, p_r, -1, K, key)


def _online(X, y, epochs, p_s, p_r, theta, K, key) -> Solutions:
    instances = only_signs(learnable(X, y, even=False), "an online rule")
    N = instances.N
    K = states(N) if K is None else integer("K", K, 1, 2**14)
    K += 1 - K % 2  # states are odd
    epochs = integer("epochs", epochs, 1)
    keys = np.stack([seed.generate_state(2) for seed in sample_seeds(key, instances.samples, "online")])
    order = sample_seeds(key, 1, "order")[0].generate_state(2)
    run = lambda x, k: _run(x, k, order, p_s, p_r, theta, K, epochs, p_r > 0.0)
    W, steps = in_blocks(run, (instances.patterns, keys), max(1, min(16, -(-instances.samples // 2))))
    return binary_solutions(instances, W, steps, epochs, np.zeros(len(steps), bool), 0.0)


@partial(jax.jit, static_argnums=(8,))
def _run(x, keys, order, p_s, p_r, theta, K, epochs, random_walk: bool):
    """Patterns (samples, P, N) int8 -> W (samples, N) int8 and epochs used.

    The instances of a batch share the order of presentation, so that each step reads one slice; a solved one stays as it is.
    """
    samples, P, N = x.shape
    # one row more than there are patterns: an array without rows cannot be indexed
    rows = jnp.pad(jnp.swapaxes(x, 0, 1), ((0, 1), (0, 0), (0, 0)))
    order = jax.random.wrap_key_data(order)
    pairs = jax.vmap(lambda k: jax.random.split(jax.random.wrap_key_data(k)))(keys)
    begin, draws = pairs[:, 0], pairs[:, 1]
    uniform = lambda keys, n: jax.vmap(lambda k: jax.random.uniform(k, (n,), jnp.float32))(keys)
    one, two = jnp.int16(1), jnp.int16(2)
    count = jnp.int16 if N < 2**15 else jnp.int32

    def present(carry, presentation):
        h, wrong, active = carry
        mu, u, t = presentation
        row = rows[mu].astype(jnp.int16)
        W = jnp.where(h > 0, one, -one)
        D = jnp.sum(row * W, -1, dtype=count)
        error = (D < 0) & active
        metaplastic = (D >= 0) & (D <= theta) & (u < p_s) & active
        moved = error[:, None] | (metaplastic[:, None] & (row == W))
        h = jnp.where(moved, h + two * row, h)
        if random_walk:
            grow = uniform(jax.vmap(jax.random.fold_in, (0, None))(draws, t), N) < p_r
            h = jnp.where(grow & active[:, None], h + two * jnp.where(h > 0, one, -one), h)
        return (jnp.clip(h, -K, K).astype(jnp.int16), wrong + error, active), None

    def epoch(state):
        h, active, steps, t = state
        mus = jax.random.permutation(jax.random.fold_in(order, t), P)
        # epochs count from 0, presentations from 2^31: their random streams never meet
        uniforms = uniform(jax.vmap(jax.random.fold_in, (0, None))(draws, t), P)
        times = jnp.uint32(2**31) + (t * P + jnp.arange(P)).astype(jnp.uint32)
        begin = (h, jnp.zeros(samples, jnp.int32), active)
        (h, wrong, _), _ = jax.lax.scan(present, begin, (mus, uniforms.T, times))
        return h, active & (wrong > 0), steps + active, t + 1

    going = lambda state: jnp.any(state[1]) & (state[3] < epochs)
    h = jax.vmap(lambda k: jax.random.rademacher(k, (N,), jnp.int16))(begin)
    zero = jnp.zeros((), jnp.int32)
    first = (h, jnp.ones(samples, bool), jnp.zeros(samples, jnp.int32), zero)
    h, _, steps, _ = jax.lax.while_loop(going, epoch, first)
    return jnp.where(h > 0, 1, -1).astype(jnp.int8), steps
