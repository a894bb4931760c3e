r"""Sampling the sphere |W|^2 = N with weight exp(-beta E(W)), E a sum of losses of the stabilities Delta = X W/sqrt(N).

Great circles. From W and a random direction u, orthogonal to W and as long, the stabilities on W cos p + u sin p are Delta cos p + delta sin p
with delta = X u/sqrt(N): one product with the patterns serves the whole circle. A level is drawn below the weight of W, and p uniformly from
the part of the circle above it, by shrinking an arc around p = 0: exact for every loss and beta, and nothing is refused or tuned. Neal, Ann.
Stat. 31 (2003) 705; on the sphere Habeck, Hasenpflug, Kodgirwar & Rudolf, arXiv:2301.08056. At beta = inf this is hit-and-run among
the solutions; it starts at solutions found by `spherical_gradient`, central points of wide margins, which O(N^2) moves forget.

Langevin. For losses with a gradient: a random tangent velocity, ``leaps`` kicks along the gradient and geodesic flights between them, and a
Metropolis test of what the integration lost. leaps = 1 is Langevin dynamics; all are exact at every step size (Byrne & Girolami,
Scand. J. Stat. 40 (2013) 825, arXiv:1301.6064).
"""

from __future__ import annotations

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from .arguments import choice, integer, real
from .blocks import in_blocks
from .gradient import spherical_gradient
from .instances import PerceptronInstances, sample_seeds
from .learning import learnable, stabilities
from .statistics import Statistic

_DRIFT = 1e-8

#: name -> loss of the gap kappa - Delta, elementwise
LOSSES = {
    "errors": lambda gap: (gap > 0.0).astype(gap.dtype),
    "squared-hinge": lambda gap: 0.5 * jnp.maximum(gap, 0.0) ** 2,
}


def sample_sphere(
    X,
    y=None,
    *,
    kappa: float = 0.0,
    beta: float = math.inf,
    loss: str = "errors",
    chains: int = 2,
    sweeps: int = 200,
    warmup: int | None = None,
    key=0,
) -> dict[str, Statistic]:
    """Great-circle sampling, N moves a sweep: ``sweeps`` are measured after ``warmup`` others (default: as many).

    energy   mean loss per weight;  q  overlap W.W'/N of two chains of one instance (chains >= 2);  R  W.W_T/N where there is a teacher
    solved   (beta = inf) fraction of instances with a solution at which to start every chain; the others are left out of the averages

    An r_hat above 1.1 says that the chains have not equilibrated or are too short: at N = 101 tau is 2 sweeps at beta = 1, 10 to 15 at
    beta = 3 or among solutions.
    """
    instances = learnable(X, y, kappa=kappa)
    beta = real("beta", beta, 0.0, infinite=True)
    choice("loss", loss, tuple(LOSSES))
    chains, sweeps = integer("chains", chains, 1), integer("sweeps", sweeps, 4)
    warmup = sweeps if warmup is None else integer("warmup", warmup, 0)
    results: dict[str, Statistic] = {}
    if beta == math.inf:
        instances, W, kept = _solutions(instances, chains, kappa, key)
        results["solved"] = Statistic.from_counts(int(kept.sum()), len(kept))
        if not kept.any():
            return results
    else:
        W = _directions(instances, chains, key)
    _, series = _walk(instances, W, kappa, beta, loss, warmup + sweeps, key)
    return results | _averages(instances, series, warmup)


def typical_solutions(
    X, y=None, *, kappa: float = 0.0, sweeps: int = 200, chains: int | None = None, key=0
) -> tuple[PerceptronInstances, np.ndarray]:
    """One uniform solution Delta >= kappa of each instance, or ``chains`` independent ones, after ``sweeps`` of N great-circle moves.

    Returns the instances for which (all) starts were found, and W (these instances, N), or (these instances, chains, N).
    """
    instances = learnable(X, y, kappa=kappa)
    sweeps, count = integer("sweeps", sweeps, 1), 1 if chains is None else integer("chains", chains, 1)
    kept, W, _ = _solutions(instances, count, kappa, key)
    if kept.samples:
        W = _walk(kept, W, kappa, math.inf, "errors", sweeps, key)[0]
    return kept, W[:, 0] if chains is None else W


def langevin(
    X,
    y=None,
    *,
    kappa: float = 0.0,
    beta: float = 1.0,
    chains: int = 2,
    sweeps: int = 500,
    warmup: int | None = None,
    leaps: int = 10,
    rate: float = 1.0,
    key=0,
) -> dict[str, Statistic]:
    """Langevin sampling of the squared hinge (kappa - Delta)_+^2/2 at finite ``beta``: one trajectory of ``leaps`` kicks a sweep.

    The time step is rate N^(-1/4) / sqrt(1 + beta lam), lam = (1 + sqrt(P/N))^2 the largest curvature. Columns as in `sample_sphere`, and
    the `acceptance` of trajectories: beyond 0.6 to 0.9 change rate.
    """
    instances = learnable(X, y, kappa=kappa)
    beta = real("beta", beta, 0.0)
    chains, sweeps = integer("chains", chains, 1), integer("sweeps", sweeps, 4)
    warmup = sweeps if warmup is None else integer("warmup", warmup, 0)
    curvature = 1.0 + beta * (1.0 + math.sqrt(instances.P / instances.N)) ** 2
    dt = real("rate", rate, 0.0) * instances.N**-0.25 / math.sqrt(curvature)
    W, keys, teacher = _directions(instances, chains, key), _keys(instances, key), _teacher(instances)
    run = lambda x, T, W, k: _trajectories(
        x, T, W, k, 1.0 / instances.scale, kappa, beta, dt, integer("leaps", leaps, 1), warmup + sweeps
    )
    series, accepted = in_blocks(run, (instances.patterns, teacher, W, keys), max(1, 8 // chains))
    acceptance = Statistic.from_chains(accepted[..., warmup:])
    return _averages(instances, series, warmup) | {"acceptance": acceptance}


def _walk(instances, W, kappa, beta, loss: str, sweeps: int, key):
    """Last points (samples, chains, N) and series of great-circle moves from W."""
    run = lambda x, T, W, k: _circles(x, T, W, k, 1.0 / instances.scale, kappa, beta, loss, sweeps)
    arrays = instances.patterns, _teacher(instances), W, _keys(instances, key)
    return in_blocks(run, arrays, max(1, 8 // W.shape[1]))


def _directions(instances: PerceptronInstances, chains: int, key) -> np.ndarray:
    """Uniform points (samples, chains, N)."""
    rngs = [np.random.Generator(np.random.PCG64(s)) for s in sample_seeds(key, instances.samples, "sphere")]
    W = np.stack([rng.standard_normal((chains, instances.N)) for rng in rngs])
    return W * np.sqrt(instances.N / (W**2).sum(-1, keepdims=True))


def _solutions(instances, chains: int, kappa: float, key):
    """Instances all of whose chains have a solution to start from, these solutions, and which instances they are."""
    every = PerceptronInstances(np.repeat(instances.patterns, chains, 0), instances.scale)
    found = spherical_gradient(every, kappa=kappa, eps=0.0, key=key)
    W = found.W.reshape(instances.samples, chains, instances.N)
    # strictly inside, so that rounding does not put a start outside
    inside = stabilities(every, found.W).min(1, initial=math.inf) >= kappa
    kept = inside.reshape(instances.samples, chains).all(1)
    teacher = None if instances.teacher is None else instances.teacher[kept]
    return PerceptronInstances(instances.patterns[kept], instances.scale, teacher), W[kept], kept


def _keys(instances, key) -> np.ndarray:
    return np.stack([s.generate_state(2) for s in sample_seeds(key, instances.samples, "circles")])


def _teacher(instances) -> np.ndarray:
    shape = (instances.samples, instances.N)
    return np.zeros(shape) if instances.teacher is None else instances.teacher.astype(np.float64)


def _averages(instances, series, warmup: int) -> dict[str, Statistic]:
    energy, overlap, teacher = (np.asarray(s)[..., warmup:] for s in series)
    results = {"energy": Statistic.from_chains(energy)}
    if energy.shape[1] > 1:
        results["q"] = Statistic.from_chains(overlap[:, None])
    if instances.teacher is not None:
        results["R"] = Statistic.from_chains(teacher)
    return results


def _measure(W, F, kappa, loss: str, teacher):
    """Energy per weight (chains,), mean overlap of pairs (), overlap with the teacher (chains,)."""
    chains, N = W.shape
    pairs = (jnp.sum(jnp.sum(W, 0) ** 2) / N - chains) / max(chains * (chains - 1), 1)
    return jnp.sum(LOSSES[loss](kappa - F), -1) / N, pairs, W @ teacher / N


def _tangent(u, W):
    return u - W * jnp.sum(u * W, -1, keepdims=True) / W.shape[-1]


@partial(jax.jit, static_argnums=(7, 8))
@partial(jax.vmap, in_axes=(0, 0, 0, 0, *(None,) * 5))
def _circles(x, teacher, W, key, unit, kappa, beta, loss: str, sweeps: int):
    """W (chains, N), and series of `_measure`, time last."""
    chains, N = W.shape
    patterns = x.astype(jnp.float64) * (unit / np.sqrt(N))
    key = jax.random.wrap_key_data(key)

    def log_weight(F):
        gap = kappa - F
        hard = jnp.where(jnp.any(gap > 0.0, -1), -jnp.inf, 0.0)
        soft = -jnp.where(jnp.isinf(beta), 0.0, beta) * jnp.sum(LOSSES[loss](gap), -1)
        return jnp.where(jnp.isinf(beta), hard, soft)

    def move(state, draws):
        W, F = state
        u, height, p, arc = draws
        u = _tangent(u, W)
        u = u * jnp.sqrt(N / jnp.sum(u**2, -1, keepdims=True))
        delta = u @ patterns.T
        level = log_weight(F) + jnp.log1p(-height)
        on = lambda p: F * jnp.cos(p)[:, None] + delta * jnp.sin(p)[:, None]

        def shrink(state):
            p, low, high, outside, t = state
            low, high = jnp.where(p < 0.0, p, low), jnp.where(p < 0.0, high, p)
            new = low + (high - low) * jax.random.uniform(jax.random.fold_in(arc, t), (chains,))
            p = jnp.where(outside, new, p)
            return p, low, high, log_weight(on(p)) < level, t + 1

        first = (p, p - 2.0 * jnp.pi, p, log_weight(on(p)) < level, 1)
        p = jax.lax.while_loop(lambda state: jnp.any(state[3]), shrink, first)[0]
        return (W * jnp.cos(p)[:, None] + u * jnp.sin(p)[:, None], on(p)), None

    def sweep(state, t):
        # drawn for a whole sweep at once: several times faster than move by move
        directions, heights, angles, arcs = jax.random.split(jax.random.fold_in(key, t), 4)
        draws = (
            jax.random.normal(directions, (N, chains, N)),
            jax.random.uniform(heights, (N, chains)),
            jax.random.uniform(angles, (N, chains), maxval=2.0 * jnp.pi),
            jax.random.split(arcs, N),
        )
        state, _ = jax.lax.scan(move, state, draws)
        return state, _measure(*state, kappa, loss, teacher)

    (W, F), series = jax.lax.scan(sweep, (W, W @ patterns.T), jnp.arange(sweeps))
    # the stabilities were rotated along, never made anew: nan if that lost them
    lost = jnp.max(jnp.abs(F - W @ patterns.T), initial=0.0) > _DRIFT
    return W, jax.tree.map(lambda s: jnp.where(lost, jnp.nan, jnp.moveaxis(s, 0, -1)), series)


@partial(jax.jit, static_argnums=(8, 9))
@partial(jax.vmap, in_axes=(0, 0, 0, 0, *(None,) * 6))
def _trajectories(x, teacher, W, key, unit, kappa, beta, dt, leaps: int, sweeps: int):
    """Series of `_measure`, and acceptances (chains, sweeps)."""
    chains, N = W.shape
    patterns = x.astype(jnp.float64) * (unit / np.sqrt(N))
    key = jax.random.wrap_key_data(key)
    loss = LOSSES["squared-hinge"]
    energy = lambda W: jnp.sum(loss(kappa - W @ patterns.T), -1)
    size = lambda v: jnp.sqrt(jnp.sum(v**2, -1, keepdims=True))

    def kick(W, v, time):
        gap = jnp.maximum(kappa - W @ patterns.T, 0.0)
        return _tangent(v + time * beta * (gap @ patterns), W)

    def flight(W, v):
        """Geodesic of duration dt."""
        speed = jnp.maximum(size(v), 1e-300)
        c, s = jnp.cos(speed * dt / math.sqrt(N)), jnp.sin(speed * dt / math.sqrt(N))
        return W * c + v * (math.sqrt(N) / speed) * s, v * c - W * (speed / math.sqrt(N)) * s

    def leap(state, _):
        W, v = state
        W, v = flight(W, kick(W, v, 0.5 * dt))
        return (W, kick(W, v, 0.5 * dt)), None

    def sweep(W, t):
        velocity, test = jax.random.split(jax.random.fold_in(key, t))
        v = _tangent(jax.random.normal(velocity, W.shape), W)
        (new, end), _ = jax.lax.scan(leap, (W, v), None, leaps)
        new = new * math.sqrt(N) / size(new)
        total = lambda W, v: beta * energy(W) + 0.5 * jnp.sum(v**2, -1)
        gain = total(W, v) - total(new, end)
        accept = jnp.log1p(-jax.random.uniform(test, (chains,))) <= gain
        W = jnp.where(accept[:, None], new, W)
        return W, (_measure(W, W @ patterns.T, kappa, "squared-hinge", teacher), accept * 1.0)

    _, out = jax.lax.scan(sweep, W, jnp.arange(sweeps))
    return jax.tree.map(lambda s: jnp.moveaxis(s, 0, -1), out)
