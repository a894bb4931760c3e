"""Exact enumeration of all 2^N weights of the binary perceptron.

A weight is split in two, W = (high, low), so that its fields are sums of two table entries, F = A[high] +
B[low]: per weight and pattern one addition and one comparison, all in integers (see `constraints`). One
pass gives the histogram of the number of errors E(W) and, for every E, the sum of the weights with E
errors; every temperature follows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import logsumexp

from .arguments import integer, real
from .blocks import in_blocks
from .constraints import is_symmetric, threshold, violated
from .instances import PerceptronInstances, perceptron_instances
from .statistics import Statistic

MAX_N = 25
_LOW_BITS = 13  # 2^13 low halves: the tables of one step stay in the cache


class ErrorHistograms(eqx.Module):
    """All weights of each instance, sorted by their number of errors.

    counts         (samples, P + 1) int64: number of W in {-1,+1}^N with E errors
    magnetisation  (samples, P + 1, N) int64: sum of these W
    """

    counts: np.ndarray
    magnetisation: np.ndarray

    @property
    def N(self) -> int:
        return self.magnetisation.shape[-1]

    @property
    def levels(self) -> np.ndarray:
        """E = 0..P."""
        return np.arange(self.counts.shape[1])

    def log_z(self, beta: float = math.inf) -> np.ndarray:
        """log sum_W exp(-beta E(W)) (samples,); -inf without solutions at beta = inf."""
        if beta == math.inf:
            with np.errstate(divide="ignore"):
                return np.log(self.counts[:, 0])
        return np.asarray(logsumexp(-beta * self.levels[None, :], b=self.counts, axis=1))

    def probabilities(self, beta: float = math.inf) -> np.ndarray:
        """exp(-beta E)/Z of each single weight with E errors (samples, P + 1); nan where Z = 0."""
        if beta == math.inf:
            solutions = np.where(self.counts[:, :1] > 0, self.counts[:, :1], np.nan)
            return (self.levels == 0) / solutions
        return np.exp(-beta * self.levels - self.log_z(beta)[:, None])

    def energy(self, beta: float = math.inf) -> np.ndarray:
        """<E>/N (samples,): errors per weight; nan where Z = 0."""
        return (self.counts * self.probabilities(beta)) @ self.levels / self.N

    def mean_weight(self, beta: float = math.inf) -> np.ndarray:
        """<W> (samples, N) in the Gibbs measure; nan where Z = 0."""
        return np.einsum("se,sei->si", self.probabilities(beta), self.magnetisation)

    def overlap(self, beta: float = math.inf, *, distinct: bool = False) -> np.ndarray:
        """Mean overlap of two weights drawn from the Gibbs measure, |<W>|^2 / N (samples,); nan where Z = 0.

        The two are independent, as replicas are: a weight may be paired with itself. ``distinct`` leaves
        these pairs out: (|<W>|^2 / N - sum_W p(W)^2) / (1 - sum_W p(W)^2); nan where there is one solution.
        """
        q = (self.mean_weight(beta) ** 2).sum(1) / self.N
        if not distinct:
            return q
        same = (self.counts * self.probabilities(beta) ** 2).sum(1)
        different = np.where(same < 1.0, 1.0 - same, np.nan)
        return (q - same) / different

    def ground_energy(self) -> np.ndarray:
        """min_W E(W) / N (samples,)."""
        return np.argmax(self.counts > 0, axis=1) / self.N


def enumerate_histograms(
    instances: PerceptronInstances, *, kappa: float = 0.0, constraint: str = "margin", strict: bool = False
) -> ErrorHistograms:
    """Errors of all 2^N weights of every instance, N <= 25.

    constraint: margin Delta >= kappa | rectangle |Delta| <= kappa | u |Delta| >= kappa; ties satisfied
    unless ``strict``. rectangle and u are even in W: half of the weights are visited and counted twice. A
    margin needs all of them (the errors of W and -W are those of two different margins, kappa and -kappa).
    """
    N = integer("N", instances.N, 1, MAX_N)
    T = threshold(constraint, kappa, N, instances.scale, strict)
    low_bits = min(N - 1, _LOW_BITS)
    count = lambda patterns: _count_errors(patterns, T, low_bits, constraint)
    counts, magnetisation = in_blocks(count, (instances.patterns,), _block_size(low_bits))
    return ErrorHistograms(counts.astype(np.int64), magnetisation.astype(np.int64))


def enumerate_perceptron(
    *,
    N: int,
    alpha: float,
    kappa: float = 0.0,
    beta: float = math.inf,
    samples: int = 100,
    key=0,
    patterns: str = "gaussian",
    constraint: str = "margin",
    labels: str = "random",
    strict: bool = False,
) -> dict[str, Statistic]:
    """Exact thermodynamics of ``samples`` instances of the binary perceptron, per weight, natural logs.

    Z = sum_W exp(-beta E(W)), E = number of violated patterns; beta = inf counts solutions.
    P = round(alpha N).

    phi            (1/N) log Z, mean over the instances with Z > 0
    energy         <E>/N (0 at beta = inf)
    entropy        phi + beta energy
    q              mean overlap of two weights of the Gibbs measure, |<W>|^2/N: independent pairs, so a
                   weight may be paired with itself (see `ErrorHistograms.overlap`)
    q_distinct     the same without these self-pairs
    R              <W>.W_T/N (labels="teacher")
    first_moment   Z itself, mean over all instances (dominated by rare ones: compare phi, not Z, with theory)
    solved         fraction of instances with a solution. At beta = inf the averages above, first_moment
                   excepted, are conditioned on it; unsolved instances stay in this denominator
    ground_energy  min_W E(W)/N, all instances
    """
    N = integer("N", N, 1, MAX_N)
    beta = real("beta", beta, 0.0, infinite=True)
    instances = perceptron_instances(
        N=N, alpha=alpha, samples=samples, key=key, patterns=patterns, labels=labels
    )
    histograms = enumerate_histograms(instances, kappa=kappa, constraint=constraint, strict=strict)
    log_z = histograms.log_z(beta)
    kept = np.isfinite(log_z)
    energy = histograms.energy(beta)
    entropy = (log_z if beta == math.inf else log_z + beta * N * energy) / N
    distinct = histograms.overlap(beta, distinct=True)
    results = {
        "phi": Statistic.from_samples(log_z[kept] / N),
        "energy": Statistic.from_samples(energy[kept]),
        "entropy": Statistic.from_samples(entropy[kept]),
        "q": Statistic.from_samples(histograms.overlap(beta)[kept]),
        "q_distinct": Statistic.from_samples(distinct[np.isfinite(distinct)]),
        "first_moment": Statistic.from_samples(np.exp(log_z)),
        "solved": Statistic.from_counts(int((histograms.counts[:, 0] > 0).sum()), len(log_z)),
        "ground_energy": Statistic.from_samples(histograms.ground_energy()),
    }
    if instances.teacher is not None:
        R = np.einsum("si,si->s", histograms.mean_weight(beta), instances.teacher) / N
        results["R"] = Statistic.from_samples(R[kept])
    return results


def enumerate_stabilities(
    *,
    N: int,
    alpha: float,
    kappa: float = 0.0,
    samples: int = 100,
    key=0,
    patterns: str = "gaussian",
    constraint: str = "margin",
    labels: str = "random",
    strict: bool = False,
    edges: Sequence[float] | np.ndarray | None = None,
) -> tuple[np.ndarray, Statistic]:
    """Distribution P(Delta) of the stabilities of all solutions: (edges, density).

    density holds, per bin edges[b] <= Delta < edges[b+1], the fraction of (solution, pattern) pairs
    divided by the bin width, averaged over the instances that have solutions. With pm1 patterns Delta
    lives on a lattice of step 2/sqrt(N): choose the bins accordingly. Default edges: 40 bins on [-4, 4].
    """
    edges = np.linspace(-4.0, 4.0, 41) if edges is None else np.asarray(edges, dtype=np.float64)
    if edges.ndim != 1 or len(edges) < 2 or not np.all(np.diff(edges) > 0.0):
        raise ValueError(f"edges = {edges} is not allowed: edges must be at least two increasing numbers")
    integer("N", N, 1, MAX_N)
    instances = perceptron_instances(
        N=N, alpha=alpha, samples=samples, key=key, patterns=patterns, labels=labels
    )
    T = threshold(constraint, kappa, N, instances.scale, strict)
    # Delta < edge  <=>  F < threshold of the margin `edge`
    field_edges = jnp.array(
        [threshold("margin", edge, N, instances.scale, False) for edge in edges], jnp.int32
    )
    low_bits = min(N - 1, _LOW_BITS)
    count = lambda x: _count_below(x, T, field_edges, low_bits, constraint)
    solutions, below = in_blocks(count, (instances.patterns,), _block_size(low_bits))
    kept = (solutions > 0) & (instances.P > 0)
    fractions = np.diff(below[kept], axis=1) / np.maximum(solutions[kept, None] * instances.P, 1)
    return edges, Statistic.from_samples(fractions / np.diff(edges))


def _block_size(low_bits: int) -> int:
    """Instances enumerated at once: more of them where each is small."""
    return max(4, 2**17 >> low_bits)


def spin_states(bits: int) -> jax.Array:
    """All +-1 vectors (2^bits, bits) int32; the first half has its first entry +1."""
    index = jnp.arange(2**bits, dtype=jnp.int32)[:, None]
    return 1 - 2 * ((index >> (bits - 1 - jnp.arange(bits, dtype=jnp.int32))[None, :]) & 1)


def _tables(patterns: jax.Array, low_bits: int, constraint: str) -> tuple[jax.Array, ...]:
    """Fields A (high, P), B (P, low), and states (high, high_bits), (low, low_bits), of the parts of W.

    For constraints even in W only the high parts with first weight +1 are listed.
    """
    high_bits = patterns.shape[1] - low_bits
    high, low = spin_states(high_bits), spin_states(low_bits)
    if is_symmetric(constraint):
        high = high[: high.shape[0] // 2]
    return high @ patterns[:, :high_bits].T, patterns[:, high_bits:] @ low.T, high, low


@partial(jax.jit, static_argnums=(2, 3))
@partial(jax.vmap, in_axes=(0, None, None, None))
def _count_errors(patterns: jax.Array, T, low_bits: int, constraint: str) -> tuple[jax.Array, jax.Array]:
    """patterns (P, N) -> number (P + 1,) and sum (P + 1, N) of the weights with E errors, int32."""
    A, B, high, low = _tables(patterns.astype(jnp.int32), low_bits, constraint)
    levels = jnp.arange(patterns.shape[0] + 1, dtype=jnp.int32)

    def step(by_low, a):
        errors = jnp.sum(violated(a[:, None] + B, T, constraint), 0, dtype=jnp.int32)
        hit = errors[None, :] == levels[:, None]
        return by_low + hit.astype(jnp.int32), jnp.sum(hit, 1, dtype=jnp.int32)

    # how many weights of each low part (levels, low), of each high part (high, levels) have E errors
    by_low, by_high = jax.lax.scan(step, jnp.zeros((len(levels), B.shape[1]), jnp.int32), A)
    counts = jnp.sum(by_high, 0, dtype=jnp.int32)
    if is_symmetric(constraint):
        return 2 * counts, jnp.zeros((len(levels), patterns.shape[1]), jnp.int32)
    return counts, jnp.concatenate([by_high.T @ high, by_low @ low], axis=1)


@partial(jax.jit, static_argnums=(3, 4))
@partial(jax.vmap, in_axes=(0, None, None, None, None))
def _count_below(patterns: jax.Array, T, edges: jax.Array, low_bits: int, constraint: str):
    """patterns (P, N) -> number of solutions (), and of their fields below each edge (edges,), int64."""
    A, B, _, _ = _tables(patterns.astype(jnp.int32), low_bits, constraint)

    def step(total, a):
        fields = a[:, None] + B
        solution = ~jnp.any(violated(fields, T, constraint), 0)
        below = jnp.sum(
            (fields[None] < edges[:, None, None]) & solution[None, None, :], (1, 2), dtype=jnp.int32
        )
        return (total[0] + jnp.sum(solution, dtype=jnp.int32), total[1] + below), None

    start = (jnp.zeros((), jnp.int64), jnp.zeros(len(edges), jnp.int64))
    (solutions, below), _ = jax.lax.scan(step, start, A)
    return solutions, below
