r"""The relaxation perceptron: an online rule on the sphere |W|^2 = N that reaches margins kappa of either sign.

Patterns are presented in random order; where Delta = x.W/sqrt(N) < kappa,

    W <- W + lam (kappa + eps - Delta) x/sqrt(N),   then W back to the sphere.

lam = 1 puts the pattern at margin kappa + eps (for |x|^2 = N, before the projection): the projection of Agmon, Canad. J. Math. 6 (1954) 382,
and Motzkin & Schoenberg, ibid. 393. A run stops after an epoch without a violation: W did not change in it.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from .arguments import integer, real
from .blocks import in_blocks
from .instances import sample_seeds
from .learning import Solutions, learnable, spherical_solutions


def relaxation(
    X, y=None, *, kappa: float, epochs: int = 400, rate: float = 1.0, eps: float = 0.05, key=0
) -> Solutions:
    """Relaxation on patterns ([samples,] P, N) from random weights; rate is lam, in [0, 2]. steps are epochs."""
    instances = learnable(X, y, kappa=kappa)
    rate, eps, epochs = real("rate", rate, 0.0, 2.0), real("eps", eps, 0.0), integer("epochs", epochs, 1)
    seeds = sample_seeds(key, instances.samples, "relaxation")
    W = np.stack([np.random.Generator(np.random.PCG64(s)).standard_normal(instances.N) for s in seeds])
    keys = np.stack([s.generate_state(2) for s in seeds])
    run = lambda x, W, k: _run(x, W, k, 1.0 / instances.scale, kappa, rate, eps, epochs)
    W, steps = in_blocks(run, (instances.patterns, W, keys), 4)
    return spherical_solutions(instances, W, steps, epochs, kappa)


@partial(jax.jit)
@partial(jax.vmap, in_axes=(0, 0, 0, *(None,) * 5))
def _run(x, W, key, unit, kappa, rate, eps, epochs):
    """Patterns (P, N) -> W (N,) and epochs used."""
    P, N = x.shape
    # one row more than there are patterns: an array without rows cannot be indexed
    patterns = jnp.pad(x.astype(jnp.float64) * (unit / np.sqrt(N)), ((0, 1), (0, 0)))
    key = jax.random.wrap_key_data(key)
    normal = lambda W: W * jnp.sqrt(N / jnp.sum(W**2))

    def present(state, mu):
        W, wrong = state
        row = patterns[mu]
        stability = row @ W
        violated = stability < kappa
        moved = normal(W + rate * (kappa + eps - stability) * row)
        return (jnp.where(violated, moved, W), wrong + violated), None

    def epoch(state):
        W, _, t = state
        order = jax.random.permutation(jax.random.fold_in(key, t), P)
        (W, wrong), _ = jax.lax.scan(present, (W, 0), order)
        return W, wrong, t + 1

    going = lambda state: (state[1] > 0) & (state[2] < epochs) & jnp.all(jnp.isfinite(state[0]))
    W, _, t = jax.lax.while_loop(going, epoch, (normal(W), 1, 0))
    return W, t
