"""Finite-temperature Metropolis of the binary perceptron, E(W) = number of violated patterns.

The fields of all patterns are carried along and updated at every accepted flip. They are exact integers (see
`constraints`): they never drift and need no refresh, and ties are exact.

One flip moves every stability by 2/sqrt(N). At equilibrium more patterns sit just above the margin than just
below, so that a flip raises E by O(sqrt(N)) on average, and the acceptance falls like exp(-c sqrt(N)) with c
growing with beta and alpha: at N = 1000, alpha = 1 single flips equilibrate at beta = 1, not at beta = 2.
Parallel tempering helps, a ladder of temperatures whose walkers exchange configurations (Hukushima, Nemoto,
J. Phys. Soc. Jpn. 65 (1996) 1604); there too watch r_hat.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from .arguments import choice, integer, real
from .blocks import in_blocks
from .constraints import threshold, violated
from .instances import PerceptronInstances, perceptron_instances, sample_seeds
from .statistics import Statistic

ORDERS = ("sequential", "random")
_WALKERS_AT_ONCE = 16


def metropolis_perceptron(
    *,
    N: int,
    alpha: float,
    beta: float,
    kappa: float = 0.0,
    samples: int = 8,
    chains: int = 2,
    sweeps: int = 200,
    warmup: int | None = None,
    key=0,
    patterns: str = "gaussian",
    constraint: str = "margin",
    labels: str = "random",
    strict: bool = False,
    order: str = "sequential",
    ladder: Sequence[float] = (),
) -> dict[str, Statistic]:
    """Gibbs measure exp(-beta E(W)) of ``samples`` instances, ``chains`` independent chains each.

    Random starts. One sweep is N proposals; ``sweeps`` are measured after ``warmup`` others (default: as
    many). P = round(alpha N).

    energy   e = E/N, errors per weight
    q        overlap W.W'/N of two chains on the same instance (chains >= 2)
    R        overlap W.W_T/N with the teacher (labels="teacher")

    ladder: hotter temperatures, increasing values below beta. Every chain is then a set of len(ladder) + 1
    walkers that try to exchange their temperatures after each sweep; the walker at beta is measured. Start
    the ladder where single flips are accepted, with steps of about 3/sqrt(N); the cost is that of
    len(ladder) + 1 chains. With several instances the errors hold the disorder too (see
    `Statistic.from_chains`). An r_hat above 1.1 says that the chains have not equilibrated or are too short.
    """
    N, chains, sweeps = integer("N", N, 1), integer("chains", chains, 1), integer("sweeps", sweeps, 4)
    instances = perceptron_instances(
        N=N, alpha=alpha, samples=samples, key=key, patterns=patterns, labels=labels
    )
    warmup = sweeps if warmup is None else integer("warmup", warmup, 0)
    energies, overlaps, teacher_overlaps = metropolis_series(
        instances,
        beta=beta,
        kappa=kappa,
        chains=chains,
        sweeps=warmup + sweeps,
        key=key,
        constraint=constraint,
        strict=strict,
        order=order,
        ladder=ladder,
    )
    results = {"energy": Statistic.from_chains(energies[..., warmup:])}
    if chains > 1:
        results["q"] = Statistic.from_chains(overlaps[..., None, warmup:])
    if instances.teacher is not None:
        results["R"] = Statistic.from_chains(teacher_overlaps[..., warmup:])
    return results


def metropolis_series(
    instances: PerceptronInstances,
    *,
    beta: float,
    kappa: float = 0.0,
    chains: int = 2,
    sweeps: int = 200,
    key=0,
    constraint: str = "margin",
    strict: bool = False,
    order: str = "sequential",
    ladder: Sequence[float] = (),
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Time series after every sweep, from random starts.

    energy (samples, chains, sweeps): E/N. overlap (samples, sweeps): mean of W.W'/N over the pairs of
    chains of one instance (nan for one chain). teacher overlap (samples, chains, sweeps): W.W_T/N (0
    without a teacher).

    Acceptance min(1, exp(-beta dE)), and min(1, exp((beta' - beta)(E' - E))) for exchanges on the ladder.
    order="sequential": sites 1..N in turn, "random": a site drawn at random at each step; the chains share
    the sites, not the acceptances.
    """
    beta = real("beta", beta, 0.0)
    choice("order", order, ORDERS)
    chains, sweeps = integer("chains", chains, 1), integer("sweeps", sweeps, 1)
    N = instances.N
    T = threshold(constraint, kappa, N, instances.scale, strict)
    x = instances.patterns
    teacher = np.zeros((instances.samples, N), np.int8) if instances.teacher is None else instances.teacher
    dtype = np.int32
    if x.dtype == np.int8 and N < 2**14:  # +-1 patterns: |F| <= N, and |F| + 2 fits in 16 bits
        dtype, T = np.int16, max(-(2**14), min(2**14, T))
    keys = np.stack([seed.generate_state(2) for seed in sample_seeds(key, instances.samples, "dynamics")])
    sites_key = sample_seeds(key, 1, "sites")[0].generate_state(2)
    betas = np.array([*ladder, beta], dtype=np.float64)
    if not np.all(np.diff(betas, prepend=0.0) >= 0.0):
        raise ValueError(f"ladder = {ladder} is not allowed: ladder must be increasing in [0, beta = {beta}]")
    shared = (sites_key, np.array(T, dtype), betas, chains, sweeps, constraint, order)
    run = lambda x, teacher, keys: _run(x, teacher, keys, *shared)
    block = max(1, _WALKERS_AT_ONCE // (chains * len(betas)))
    energy, squares, teacher_overlap = in_blocks(run, (x, teacher, keys), block)
    with np.errstate(invalid="ignore", divide="ignore"):
        overlap = np.where(chains > 1, (squares / N - chains) / np.float64(chains * (chains - 1)), np.nan)
    return energy / N, overlap, teacher_overlap / N


@partial(jax.jit, static_argnums=(6, 7, 8, 9))
@partial(jax.vmap, in_axes=(0, 0, 0, None, None, None, None, None, None, None))
def _run(x, teacher, key, sites_key, T, betas, chains: int, sweeps: int, constraint: str, order: str):
    """Patterns x (P, N) -> E (chains, sweeps), |sum of the chains' W|^2 (sweeps,), W.W_T (chains, sweeps).

    State: W (N, walkers), fields F (walkers, P), errors E (walkers,), walker[chain, level] = who is at
    betas[level].
    """
    N = x.shape[1]
    columns = x.T  # (N, P): what one flip needs is contiguous
    walkers = chains * betas.shape[0]
    start, flips_key, exchanges_key = jax.random.split(jax.random.wrap_key_data(key), 3)
    sites_key = jax.random.wrap_key_data(sites_key)
    W = jax.random.rademacher(start, (N, walkers), T.dtype)
    shift = lambda spins, i: spins[:, None] * columns[i].astype(T.dtype)[None, :]
    F = jax.lax.fori_loop(0, N, lambda i, F: F + shift(W[i], i), jnp.zeros((walkers, x.shape[0]), T.dtype))
    errors = lambda fields: jnp.sum(violated(fields, T, constraint), -1, dtype=jnp.int32)

    def sweep(state, t):
        W, F, E, walker = state
        beta = jnp.zeros(walkers).at[walker.ravel()].set(jnp.tile(betas, chains))
        flips, exchanges, sites = (jax.random.fold_in(k, t) for k in (flips_key, exchanges_key, sites_key))

        def flip(state, proposal):
            W, F, E = state
            i, uniform = proposal
            w = W[i]
            F_new = F - shift(2 * w, i)
            E_new = errors(F_new)
            # 1 - uniform is never 0: moves less likely than 2^-23 are refused, not overrated
            accept = 1.0 - uniform <= jnp.exp(-beta * (E_new - E)).astype(jnp.float32)
            W = W.at[i].set(jnp.where(accept, -w, w))
            return (W, jnp.where(accept[:, None], F_new, F), jnp.where(accept, E_new, E)), None

        i = jnp.arange(N) if order == "sequential" else jax.random.randint(sites, (N,), 0, N)
        uniforms = jax.random.uniform(flips, (N, walkers), jnp.float32)
        (W, F, E), _ = jax.lax.scan(flip, (W, F, E), (i, uniforms))
        walker = _exchange(walker, E, betas, exchanges)
        coldest = walker[:, -1]
        measured = W[:, coldest].astype(jnp.int32)
        square = jnp.sum(jnp.sum(measured, 1, dtype=jnp.int64) ** 2)
        overlap = jnp.sum(measured * teacher[:, None].astype(jnp.int32), 0, dtype=jnp.int32)
        return (W, F, E, walker), (E[coldest], square, overlap)

    walker = jnp.arange(walkers).reshape(chains, -1)
    _, (E, squares, R) = jax.lax.scan(sweep, (W, F, errors(F), walker), jnp.arange(sweeps))
    return E.T, squares, R.T


def _exchange(walker: jax.Array, E: jax.Array, betas: jax.Array, key: jax.Array) -> jax.Array:
    """walker (chains, levels) after exchange attempts of neighbouring levels: a round per level."""
    chains, levels = walker.shape

    def exchange_round(walker, attempt):
        r, uniform = attempt
        energies = E[walker]
        gain = (betas[1:] - betas[:-1])[None, :] * (energies[:, 1:] - energies[:, :-1])
        tried = jnp.arange(levels - 1) % 2 == r % 2
        swap = ((uniform < jnp.exp(gain)) & tried[None, :]).astype(jnp.int32)
        upward, downward = jnp.pad(swap, ((0, 0), (0, 1))), jnp.pad(swap, ((0, 0), (1, 0)))
        source = jnp.arange(levels)[None, :] + upward - downward
        return jnp.take_along_axis(walker, source, axis=1), None

    uniforms = jax.random.uniform(key, (levels, chains, levels - 1))
    return jax.lax.scan(exchange_round, walker, (jnp.arange(levels), uniforms))[0]
