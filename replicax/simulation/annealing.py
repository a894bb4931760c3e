r"""Simulated annealing of binary weights on a loss, alone or in y coupled replicas.

    weight = exp( -beta sum_a E(W^a) + K ),   star: K = sum_i log 2 cosh(gamma sum_a W_i^a)   (a centre, summed out)
                                              ring: K = gamma sum_i sum_a W_i^a W_i^{a+1}     (Suzuki-Trotter: quantum annealing)

y = 1 is plain annealing (Kirkpatrick, Gelatt & Vecchi, Science 220 (1983) 671). Star: robust ensemble, Baldassi et al.,
arXiv:1605.06444; ring: Baldassi & Zecchina, PNAS 115 (2018) 1457, arXiv:1706.08470, with gamma = (1/2) log coth(beta Gamma/y) for a
transverse field Gamma. On the number of errors plain annealing fails beyond N of a few hundred (exponential time); the cross entropy
log(1 + exp(-2 g Delta))/(2 g) does not at the loads reached here.

Single flips; the fields are exact integers. At one step the replicas propose different sites, N/y apart, so that their moves commute.
A compiled scalar loop that packs spins into bits is 10 to 100 times faster at low acceptance; here all instances run side by side.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from replicax.numerics.special import log_2cosh

from .arguments import choice, integer, real
from .blocks import in_blocks
from .constraints import threshold
from .instances import sample_seeds
from .learning import Solutions, binary_solutions, is_signs, learnable

COUPLINGS = ("star", "ring")
_WALKERS_AT_ONCE = 16

#: name -> loss of x = Delta - kappa, elementwise in float32 (log1p is slow, and its digits beyond 1e-7 do not matter to a sum of losses)
LOSSES: dict[str, Callable] = {
    "cross-entropy": lambda x: jnp.maximum(-x, 0.0) + 0.5 * jnp.log(1.0 + jnp.exp(-2.0 * jnp.abs(x))),
    "errors": lambda x: (x < 0).astype(jnp.float32),
    "linear": lambda x: jnp.maximum(-x, 0.0),
    "hinge": lambda x: jnp.maximum(1.0 - x, 0.0),
    "exponential": lambda x: jnp.exp(-x),
}
#: beta from .. to that solve at N <= 1001 (cross entropy: alpha = 0.4 in 500 sweeps)
BETAS = {
    "cross-entropy": (4.0, 40.0),
    "errors": (0.5, 6.0),
    "linear": (0.5, 6.0),
    "hinge": (0.5, 6.0),
    "exponential": (0.5, 10.0),
}


def annealing(
    X,
    y=None,
    *,
    loss: str = "cross-entropy",
    betas: tuple[float, float] | None = None,
    sweeps: int = 500,
    replicas: int = 1,
    coupling: str = "star",
    gammas: tuple[float, float] = (0.0, 1.0),
    kappa: float = 0.0,
    key=0,
) -> Solutions:
    """Anneal beta (default `BETAS` of the loss) and gamma linearly over ``sweeps`` sweeps of all replicas, from random weights.

    Stops where a replica, or the sign of their sum, violates nothing (Delta >= kappa). steps are sweeps: times ``replicas`` for the cost.
    """
    instances = learnable(X, y, kappa=kappa, even=False)
    choice("loss", loss, tuple(LOSSES))
    choice("coupling", coupling, COUPLINGS)
    replicas = integer("replicas", replicas, 1, instances.N)
    sweeps = integer("sweeps", sweeps, 1)
    ends = BETAS[loss] if betas is None else betas
    schedule = [
        np.linspace(real(n, a, 0.0), real(n, b, 0.0), sweeps)
        for n, (a, b) in (("betas", ends), ("gammas", gammas))
    ]
    T = threshold("margin", kappa, instances.N, instances.scale, False)
    dtype = jnp.int16 if is_signs(instances) and instances.N < 2**14 else jnp.int32
    T = np.array(max(-(2**14), min(2**14, T)) if dtype == jnp.int16 else T, dtype)
    keys = np.stack([seed.generate_state(2) for seed in sample_seeds(key, instances.samples, "annealing")])
    unit = 1.0 / (instances.scale * np.sqrt(instances.N))
    run = lambda x, k: _run(x, k, T, unit, kappa, *schedule, loss, replicas, coupling)
    half = -(-instances.samples // 2)  # two blocks at least: they run side by side
    W, steps = in_blocks(run, (instances.patterns, keys), max(1, min(_WALKERS_AT_ONCE // replicas, half)))
    return binary_solutions(instances, W, steps, sweeps, np.zeros(len(steps), bool), kappa)


def coupling_change(W: jax.Array, sites: jax.Array, gamma, coupling: str) -> jax.Array:
    """Change of K when replica a flips its site sites[a], for every a: W (N, y) -> (y,)."""
    y = W.shape[1]
    mine = W[sites, jnp.arange(y)].astype(jnp.float64)
    rows = W[sites].astype(jnp.float64)
    if coupling == "star":
        s = jnp.sum(rows, 1)
        return log_2cosh(gamma * (s - 2.0 * mine)) - log_2cosh(gamma * s)
    a = jnp.arange(y)
    around = rows[a, (a + 1) % y] + rows[a, (a - 1) % y]
    return -2.0 * gamma * mine * around


def measure(loss: str, T, unit, kappa) -> Callable[[jax.Array], tuple[jax.Array, jax.Array]]:
    """Fields (y, P) -> energy, and whether no pattern is violated, (y,)."""

    def errors(F):
        E = jnp.sum(F < T, -1, dtype=jnp.int32)
        return E.astype(jnp.float32), E == 0

    def others(F):
        x = (F * unit - kappa).astype(jnp.float32)
        return jnp.sum(LOSSES[loss](x), -1), jnp.all(F >= T, -1)

    return errors if loss == "errors" else others


@partial(jax.jit, static_argnums=(7, 8, 9))
@partial(jax.vmap, in_axes=(0, 0, *(None,) * 8))
def _run(x, key, T, unit, kappa, betas, gammas, loss: str, y: int, coupling: str):
    """Patterns (P, N) -> W (N,) and sweeps used. State: W (N, y), fields F (y, P)."""
    P, N = x.shape
    columns = x.T
    energies = measure(loss, T, unit, kappa)
    begin, flips = jax.random.split(jax.random.wrap_key_data(key))
    W = jax.random.rademacher(begin, (N, y), T.dtype)
    F = jax.lax.fori_loop(
        0, N, lambda i, F: F + W[i][:, None] * columns[i].astype(T.dtype)[None], jnp.zeros((y, P), T.dtype)
    )
    apart = [a * (N // y) for a in range(y)]

    def sweep(state):
        W, F, t, _ = state
        beta, gamma = betas[t], gammas[t]

        def flip(state, proposal):
            W, F, E, done = state
            i, u = proposal
            sites = [(i + a) % N for a in apart]
            # slices, one for each replica: they are ten times faster than what gathers them
            rows = jnp.stack([jax.lax.dynamic_index_in_dim(columns, s, keepdims=False) for s in sites])
            w = jnp.stack([W[s, a] for a, s in enumerate(sites)])
            F_new = F - (2 * w)[:, None] * rows.astype(T.dtype)
            E_new, right = energies(F_new)
            gain = -beta * (E_new - E)
            if y > 1:
                gain = gain + coupling_change(W, jnp.stack(sites), gamma, coupling)
            # a replica that solves stays where it is, to be found at the end of the sweep
            accept = (1.0 - u <= jnp.exp(jnp.minimum(gain, 0.0)).astype(jnp.float32)) & ~done
            for a, s in enumerate(sites):
                W = jax.lax.dynamic_update_slice(W, jnp.where(accept[a], -w[a], w[a])[None, None], (s, a))
            F = jnp.where(accept[:, None], F_new, F)
            return (W, F, jnp.where(accept, E_new, E), jnp.where(accept, right, done)), None

        uniforms = jax.random.uniform(jax.random.fold_in(flips, t), (N, y), jnp.float32)
        (W, F, _, done), _ = jax.lax.scan(flip, (W, F, *energies(F)), (jnp.arange(N), uniforms))
        found, best = jnp.any(done), W[:, jnp.argmax(done)]
        if y > 1:
            centre = jnp.where(jnp.sum(W, 1) >= 0, 1, -1).astype(T.dtype)
            centred = jnp.all((x.astype(jnp.float32) @ centre.astype(jnp.float32)) >= T - 0.5)
            best, found = jnp.where(centred & ~found, centre, best), found | centred
        # the answer is kept where the state is: in the first replica
        return W.at[:, 0].set(jnp.where(found, best, W[:, 0])), F, t + 1, found

    going = lambda state: ~state[3] & (state[2] < betas.shape[0])
    W, _, t, _ = jax.lax.while_loop(going, sweep, (W, F, jnp.zeros((), jnp.int32), jnp.array(False)))
    return W[:, 0], t
