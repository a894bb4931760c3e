"""Around fixed points of recurrent networks: their distances, violated spins near them and on straight paths between them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .arguments import real
from .constraints import threshold
from .instances import NetworkInstances, sample_seeds


def distances(points: np.ndarray) -> np.ndarray:
    """Distances (pairs,) of all pairs of fixed points (P, N); s and -s are one point, taken with a random sign each."""
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (len(points), 1))
    s = points * signs
    q = s @ s.T / s.shape[1]
    return 0.5 - 0.5 * q[np.triu_indices(len(s), 1)]


def partners(points: Sequence[np.ndarray], N: int) -> np.ndarray:
    """Ordered pairs (networks, N + 1) of the fixed points of every network at each Hamming distance."""
    counts = np.zeros((len(points), N + 1), np.int64)
    for row, s in zip(counts, points):
        s = s.astype(np.int64)
        for block in np.array_split(s, max(1, len(s) // 512)):
            row += np.bincount(((N - block @ s.T) // 2).ravel(), minlength=N + 1)
    return counts


def violated_spins(instances: NetworkInstances, network: int, states: np.ndarray, J_D: float) -> np.ndarray:
    """Fraction of violated spins of states (.., N) of one network; ties are violated."""
    T = threshold("margin", -real("J_D", J_D), instances.N, instances.scale, True)
    s = np.asarray(states, np.float64)  # products of integers below 2^53: exact
    return (s * (s @ instances.couplings[network].T.astype(np.float64)) < T).mean(-1)


def near(
    instances: NetworkInstances, points: Sequence[np.ndarray], flips: np.ndarray, *, J_D: float, key=0
) -> tuple[np.ndarray, np.ndarray]:
    """Violated spins after k = `flips` random spins of a fixed point are flipped: mean over all points of all networks, and its error.

    The error is that over networks, or over points where there is one network.
    """
    rows = []
    for network, (s, seed) in enumerate(zip(points, sample_seeds(key, len(points), "flips"))):
        rank = np.random.default_rng(seed).random(s.shape).argsort(1).argsort(1)
        states = (np.where(rank < k, -s, s) for k in flips)
        rows.append(np.stack([violated_spins(instances, network, x, J_D) for x in states], 1))
    if len(rows) == 1:
        return rows[0].mean(0), rows[0].std(0, ddof=1) / np.sqrt(len(rows[0]))
    total, weight = np.stack([r.sum(0) for r in rows]), np.array([len(r) for r in rows], float)
    mean = total.sum(0) / weight.sum()
    influence = (total - weight[:, None] * mean) / weight.mean()
    return mean, influence.std(0, ddof=1) / np.sqrt(len(rows))


def paths(
    instances: NetworkInstances, points: np.ndarray, shares: np.ndarray, *, J_D: float, key=0
) -> tuple[np.ndarray, np.ndarray]:
    """Violated spins between the fixed points (P, N) of network 0, on paths that flip the differing spins in random order: mean and error.

    Disjoint pairs, points 1 and 2, 3 and 4, ..: one path a pair.  shares: fractions of the differing spins flipped.
    """
    half = len(points) // 2
    (seed,) = sample_seeds(key, 1, "paths")
    begin, end = points[0 : 2 * half : 2], points[1 : 2 * half : 2]
    differ = begin != end
    order = np.where(differ, np.random.default_rng(seed).random(begin.shape), np.inf)
    rank = order.argsort(1).argsort(1)
    number = differ.sum(1, keepdims=True)
    states = (np.where(rank < np.rint(x * number), end, begin) for x in shares)
    violated = np.stack([violated_spins(instances, 0, s, J_D) for s in states], 1)
    return violated.mean(0), violated.std(0, ddof=1) / np.sqrt(half)
