"""Exact enumeration of the fixed points of recurrent networks (recurrent_network.md, sections 0 and 1).

A state s in {-1,+1}^N violates site i unless s_i (J_D s_i + h_i + field xi_i) > 0, h_i = sum_{j != i} J_ij
s_j; the energy is 2 per violated site. All fields are exact integers (see `constraints`), and the fields
of a state are computed once for all J_D.
"""

from __future__ import annotations

import math
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .arguments import choice, integer, real
from .blocks import in_blocks
from .constraints import threshold
from .enumeration import spin_states
from .instances import NetworkInstances, network_instances
from .statistics import Statistic

MAX_N = 20
TIES = ("violated", "satisfied")
_LOW_BITS = 12


class ViolationHistograms(eqx.Module):
    """All states of each network, sorted by their number of violated sites.

    counts   (samples, J_D, N + 1) int64: number of states with v violated sites; v = 0 are the fixed points
    overlap  (samples, J_D, N + 1) int64: sum over these states of xi . s (0 without a field)
    """

    counts: np.ndarray
    overlap: np.ndarray

    @property
    def N(self) -> int:
        return self.counts.shape[-1] - 1

    @property
    def number(self) -> np.ndarray:
        """Number of fixed points (samples, J_D)."""
        return self.counts[..., 0]

    def weights(self, beta: float) -> np.ndarray:
        """exp(-beta E), E = 2 v, of the N + 1 levels."""
        levels = np.arange(self.N + 1)
        return (levels == 0).astype(float) if beta == math.inf else np.exp(-2.0 * beta * levels)

    def z(self, beta: float = math.inf) -> np.ndarray:
        """Z = sum_s exp(-beta E(s)) (samples, J_D)."""
        return self.counts @ self.weights(beta)


def enumerate_violations(
    instances: NetworkInstances, *, J_D, field: float = 0.0, ties: str = "violated"
) -> ViolationHistograms:
    """Violated sites of all 2^N states of every network, N <= 20, for each J_D (a number or a sequence).

    The external field is field xi_i with xi random +-1. It is gauged away: s_i -> xi_i s_i, J_ij -> xi_i
    J_ij xi_j leaves the law of J unchanged, so that xi = (1, ..., 1) here. Without field E(-s) = E(s):
    half of the states are visited. A site whose total field is zero is violated (ties="violated") or not
    (ties="satisfied").
    """
    N = integer("N", instances.N, 2, MAX_N)
    field = real("field", field)
    choice("ties", ties, TIES)
    # J_D + s_i h_i + s_i field > 0 fails where the integer s_i h_i sqrt(N) scale is below T(s_i)
    margin = lambda kappa: threshold("margin", kappa, N, instances.scale, ties == "violated")
    J = [real("J_D", value) for value in np.ravel(J_D)]
    T = jnp.array([[margin(-value - sign * field) for sign in (1.0, -1.0)] for value in J], jnp.int32)
    low_bits = min(N - 1, _LOW_BITS)
    count = lambda couplings: _count_violations(couplings, T, low_bits, field == 0.0)
    counts, overlap = in_blocks(count, (instances.couplings,), max(4, 2**16 >> low_bits))
    return ViolationHistograms(counts.astype(np.int64), overlap.astype(np.int64))


def list_fixed_points(instances: NetworkInstances, *, J_D: float, ties: str = "violated") -> list[np.ndarray]:
    """All fixed points (number, N) int8 of every network, N <= 20, without a field."""
    N = integer("N", instances.N, 2, MAX_N)
    choice("ties", ties, TIES)
    T = threshold("margin", -real("J_D", J_D), N, instances.scale, ties == "violated")
    states = np.asarray(spin_states(N), np.float64)  # products of integers below 2^53: exact
    return [
        states[np.all(states * (states @ J.T.astype(np.float64)) >= T, 1)].astype(np.int8)
        for J in instances.couplings
    ]


def enumerate_fixed_points(
    *,
    N: int,
    J_D,
    beta: float = math.inf,
    eta: float = 0.0,
    field: float = 0.0,
    couplings: str = "gaussian",
    samples: int = 100,
    key=0,
    ties: str = "violated",
) -> dict[str, Statistic]:
    """Exact counts of fixed points of ``samples`` networks, N <= 20.

    J_D is a number, or a sequence: then every Statistic holds arrays, one entry per J_D.
    Z = sum_s exp(-beta E), E = 2 per violated site; beta = inf counts fixed points.

    number        number of fixed points of a network
    first_moment  Z
    second_moment Z^2
    phi           (1/N) log of the mean of Z: annealed, as in theory (error to first order)
    energy        <E>/N in the annealed measure: sum of E exp(-beta E) / sum of Z, over all networks
    entropy       phi + beta energy
    phi_typical   (1/N) log Z, mean over the networks with Z > 0
    overlap       mean xi . s / N in the annealed measure (0 without a field)
    solved        fraction of networks with at least one fixed point
    """
    beta = real("beta", beta, 0.0, infinite=True)
    integer("N", N, 2, MAX_N)
    instances = network_instances(N=N, samples=samples, eta=eta, couplings=couplings, key=key)
    histograms = enumerate_violations(instances, J_D=J_D, field=field, ties=ties)
    columns = [_summary(histograms, j, beta) for j in range(histograms.counts.shape[1])]
    if np.ndim(J_D) == 0:
        return columns[0]
    return {name: jax.tree.map(lambda *x: np.array(x), *(c[name] for c in columns)) for name in columns[0]}


def _summary(histograms: ViolationHistograms, j: int, beta: float) -> dict[str, Statistic]:
    """Statistics of the j-th J_D."""
    N, counts = histograms.N, histograms.counts[:, j]
    weights = histograms.weights(beta)
    z = counts @ weights
    first, mean_z = Statistic.from_samples(z), z.mean()
    if mean_z > 0.0:
        per_site = 2.0 * np.arange(N + 1) / N
        energy, d_energy = _ratio(counts @ (weights * per_site), z)
        overlap, d_overlap = _ratio(histograms.overlap[:, j] @ weights / N, z)
        phi, d_phi = math.log(mean_z) / N, z / mean_z / N
        slope = 0.0 if beta == math.inf else beta
        annealed = {
            "phi": _annealed(phi, d_phi),
            "energy": _annealed(energy, d_energy),
            "entropy": _annealed(phi + slope * energy, d_phi + slope * d_energy),
            "overlap": _annealed(overlap, d_overlap),
        }
    else:
        none = Statistic(math.nan, math.nan, len(z))
        annealed = {
            "phi": Statistic(-math.inf, math.nan, len(z)),
            "energy": none,
            "entropy": none,
            "overlap": none,
        }
    return {
        "number": Statistic.from_samples(histograms.number[:, j]),
        "first_moment": first,
        "second_moment": Statistic.from_samples(z**2),
        **annealed,
        "phi_typical": Statistic.from_samples(np.log(z[z > 0]) / N),
        "solved": Statistic.from_counts(int((counts[:, 0] > 0).sum()), len(z)),
    }


def _ratio(x: np.ndarray, z: np.ndarray) -> tuple[float, np.ndarray]:
    """mean(x) / mean(z), and its first-order change with each sample (up to a constant and the factor
    1/samples)."""
    value = x.mean() / z.mean()
    return float(value), (x - value * z) / z.mean()


def _annealed(value: float, influence: np.ndarray) -> Statistic:
    """A function of sample means, with the error of its first-order expansion."""
    return Statistic(value, Statistic.from_samples(influence).error, len(influence))


@partial(jax.jit, static_argnums=(2, 3))
@partial(jax.vmap, in_axes=(0, None, None, None))
def _count_violations(
    couplings: jax.Array, T: jax.Array, low_bits: int, even: bool
) -> tuple[jax.Array, jax.Array]:
    """couplings (N, N), T (J_D, 2) for s_i = +1, -1 -> counts and sums of magnetisation (J_D, N + 1), int32.

    States are s = (high, low). s_i h_i = s_i (A[high, i] + B[i, low]).
    """
    N = couplings.shape[0]
    high_bits = N - low_bits
    high, low = spin_states(high_bits), spin_states(low_bits)
    high = high[: high.shape[0] // 2] if even else high
    A = high @ couplings[:, :high_bits].T
    B = couplings[:, high_bits:] @ low.T
    levels = jnp.arange(N + 1, dtype=jnp.int32)

    def step(_, row):
        a, spins = row
        s = jnp.concatenate([jnp.broadcast_to(spins[:, None], (high_bits, low.shape[0])), low.T])
        x = s * (a[:, None] + B)
        limits = jnp.where(s[None] > 0, T[:, :1, None], T[:, 1:, None])
        violations = jnp.sum(x[None] < limits, 1, dtype=jnp.int32)  # (J_D, low)
        hit = violations[:, None, :] == levels[None, :, None]
        magnetisation = jnp.sum(s, 0, dtype=jnp.int32)[None, None, :]
        counts = jnp.sum(hit, -1, dtype=jnp.int32)
        return _, (counts, jnp.sum(jnp.where(hit, magnetisation, 0), -1, dtype=jnp.int32))

    _, (counts, overlap) = jax.lax.scan(step, None, (A, high))
    counts, overlap = jnp.sum(counts, 0, dtype=jnp.int32), jnp.sum(overlap, 0, dtype=jnp.int32)
    return (2 * counts, jnp.zeros_like(overlap)) if even else (counts, overlap)
