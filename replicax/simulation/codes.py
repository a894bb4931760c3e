r"""Fixed points of recurrent networks as a code: error correction, representations of inputs, and how many can be stored as attractors.

A word is a fixed point that `fbp` finds.  It is sent with round(flip N) spins flipped, at random places, and read by

    fbp          messages with the bias strength x_j towards the received word x (see `dynamics`)
    sequential   the network's own dynamics, from x

optionally after J_ij += (hebb/N) s_i s_j of the word s, which adds hebb (N-1)/N to each of its stabilities.  The representation of an input x is
the fixed point that fbp finds with the bias strength x_j.  After R. Zecchina, lecture notes (2023).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.optimize import linprog

from .arguments import choice, integer, real
from .constraints import lattice_scale
from .dynamics import States, sequential
from .instances import NetworkInstances, sample_seeds
from .network_messages import reinforced_messages
from .statistics import Statistic

DECODERS = ("fbp", "sequential")
SEARCHES = {"fbp": reinforced_messages, "sequential": sequential}


class Corrections(NamedTuple):
    """Words sent through a noisy channel, one a network.

    words: the search for a word;  received (samples, N);  read: where the decoder ended;  distances before and after, of the networks with a word
    """

    words: States
    received: np.ndarray
    read: States

    @property
    def distances(self) -> tuple[np.ndarray, np.ndarray]:
        found = self.words.solved
        word = self.words.s[found]
        return (word != self.received[found]).mean(1), (word != self.read.s[found]).mean(1)

    def statistics(self) -> dict[str, Statistic]:
        """solved: read without error, of all runs; corrected: of those with a word (found); d_in, d_out: mean distances from the word."""
        before, after = self.distances
        right = int((after == 0.0).sum())
        return {
            "solved": Statistic.from_counts(right, len(self.words.solved)),
            "found": Statistic.from_counts(len(after), len(self.words.solved)),
            "corrected": Statistic.from_counts(right, len(after)),
            "d_in": Statistic.from_samples(before),
            "d_out": Statistic.from_samples(after),
            "steps": Statistic.from_samples(self.read.steps[self.words.solved]),
            "budget": Statistic(float(self.read.budget), 0.0, len(self.words.solved)),
        }


def _flip(x: np.ndarray, number: int, key, stream: str) -> np.ndarray:
    """x (samples, N) with `number` spins flipped in every row."""
    flipped = np.array(x, np.int8)
    for row, seed in zip(flipped, sample_seeds(key, len(x), stream)):
        row[np.random.default_rng(seed).permutation(len(row))[:number]] *= -1
    return flipped


def _inputs(samples: int, N: int, key) -> np.ndarray:
    rngs = map(np.random.default_rng, sample_seeds(key, samples, "inputs"))
    return np.stack([2 * rng.integers(0, 2, N, dtype=np.int8) - 1 for rng in rngs])


def _stabilised(instances: NetworkInstances, words: np.ndarray, hebb: float) -> NetworkInstances:
    """J_ij + (hebb/N) s_i s_j, without a diagonal, on the lattice of Gaussian couplings."""
    N, scale = instances.N, lattice_scale(instances.N)
    outer = words[:, :, None].astype(float) * words[:, None, :] * (1.0 - np.eye(N))
    J = instances.couplings * (scale / instances.scale) + outer * (hebb * scale / math.sqrt(N))
    return NetworkInstances(np.rint(J).astype(np.int32), scale)


def correct(
    instances: NetworkInstances,
    *,
    J_D: float,
    flip: float,
    strength: float = 0.1,
    hebb: float = 0.0,
    decoder: str = "fbp",
    sweeps: int = 60,
    ties: str = "violated",
    key=0,
) -> Corrections:
    """A word of every network, found by `fbp`, sent with round(flip N) flipped spins and read; `sweeps` bounds both searches."""
    flip, strength = real("flip", flip, 0.0, 1.0), real("strength", strength, 0.0)
    hebb = real("hebb", hebb, 0.0)
    choice("decoder", decoder, DECODERS)
    common = dict(J_D=J_D, sweeps=sweeps, ties=ties)
    words = reinforced_messages(instances, key=key, **common)
    received = _flip(words.s, round(flip * instances.N), key, "channel")
    network = _stabilised(instances, words.s, hebb) if hebb > 0.0 else instances
    if decoder == "sequential":
        return Corrections(words, received, sequential(network, start=received, key=key, **common))
    read = reinforced_messages(network, bias=strength * received, key=key, **common)
    return Corrections(words, received, read)


class Representations(NamedTuple):
    """Two inputs of every network, the second with flipped spins, and the fixed points found for them."""

    inputs: tuple[np.ndarray, np.ndarray]
    found: tuple[States, States]

    def statistics(self) -> dict[str, Statistic]:
        """solved: inputs with a representation; distance: from input to representation; d_in, d_out: between two inputs, two representations."""
        solved = np.concatenate([found.solved for found in self.found])
        apart = np.concatenate([(x != found.s).mean(1) for x, found in zip(self.inputs, self.found)])
        both = self.found[0].solved & self.found[1].solved
        steps = np.concatenate([found.steps for found in self.found])
        # two inputs of one network are one sample
        runs = len(both)
        pairs = np.ma.masked_array(apart.reshape(2, runs), ~solved.reshape(2, runs)).mean(0)
        return {
            "solved": Statistic.from_counts(int(solved.sum()), 2 * runs),
            "distance": Statistic.from_samples(np.ma.compressed(pairs)),
            "d_in": Statistic.from_samples((self.inputs[0] != self.inputs[1]).mean(1)),
            "d_out": Statistic.from_samples((self.found[0].s != self.found[1].s).mean(1)[both]),
            "steps": Statistic.from_samples(steps[solved]),
            "budget": Statistic(float(self.found[0].budget), 0.0, 2 * runs),
        }


def represent(
    instances: NetworkInstances,
    *,
    J_D: float,
    flip: float = 0.05,
    strength: float = 0.1,
    sweeps: int = 60,
    ties: str = "violated",
    key=0,
) -> Representations:
    """A random input of every network, and the same with round(flip N) flipped spins: their representations by `fbp`."""
    flip, strength = real("flip", flip, 0.0, 1.0), real("strength", strength, 0.0)
    first = _inputs(instances.samples, instances.N, key)
    inputs = (first, _flip(first, round(flip * instances.N), key, "channel"))
    look = lambda x: reinforced_messages(
        instances, J_D=J_D, bias=strength * x, sweeps=sweeps, ties=ties, key=key
    )
    return Representations(inputs, (look(inputs[0]), look(inputs[1])))


class Storage(NamedTuple):
    """How many of the fixed points of one network each row of a new network can store.

    words (P, N): distinct fixed points up to s -> -s;  starts: runs that looked for them;  stored (rows,): the largest number of words, taken in
    order, that the row separates;  P where there are no more words
    """

    words: np.ndarray
    starts: int
    stored: np.ndarray

    @property
    def overlap(self) -> float:
        """Mean of |overlap| sqrt(N) over pairs of words: sqrt(2/pi) = 0.80 where they are random."""
        N = self.words.shape[1]
        q = self.words.astype(float) @ self.words.T / math.sqrt(N)
        upper = np.abs(q[np.triu_indices(len(q), 1)])
        return float(upper.mean()) if len(upper) else math.nan


def fixed_points_of(
    couplings: np.ndarray,
    scale: int,
    *,
    J_D: float,
    starts: int,
    search: str = "sequential",
    sweeps: int = 300,
    ties: str = "violated",
    key=0,
) -> np.ndarray:
    """Distinct fixed points (P, N) of one network, up to s -> -s, found from `starts` random states, in the order of their discovery."""
    choice("search", search, tuple(SEARCHES))
    N, starts = couplings.shape[-1], integer("starts", starts, 1)
    one = NetworkInstances(np.broadcast_to(couplings, (starts, N, N)), scale)
    runs = SEARCHES[search](one, J_D=J_D, sweeps=sweeps, ties=ties, key=key)
    found = runs.s[runs.solved]
    found = found * found[:, :1]  # one of s and -s
    _, first = np.unique(found, axis=0, return_index=True)
    return found[np.sort(first)]


def separable(rows: np.ndarray) -> bool:
    """Is there a w with rows @ w > 0? A linear program."""
    if len(rows) == 0:
        return True
    program = linprog(
        np.zeros(rows.shape[1]), A_ub=-rows, b_ub=-np.ones(len(rows)), bounds=(None, None), method="highs"
    )
    return program.status == 0


def store(words: np.ndarray, starts: int, rows: int) -> Storage:
    """Bisection in the number of words, for the first `rows` rows: s_i sum_{j != i} w_j s_j > 0 (no self-coupling) for each word."""
    P, N = words.shape
    rows = integer("rows", rows, 1, N)
    stored = np.empty(rows, int)
    for i in range(rows):
        patterns = np.delete(words * words[:, i : i + 1], i, 1).astype(float)
        low, high = 0, P + 1  # separable; not, or unknown
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if separable(patterns[:middle]) else (low, middle)
        stored[i] = low
    return Storage(words, starts, stored)


def attractors(
    instances: NetworkInstances,
    *,
    J_D: float,
    starts: int = 400,
    rows: int = 8,
    search: str = "sequential",
    sweeps: int = 300,
    ties: str = "violated",
    key=0,
) -> dict[str, Statistic]:
    """Storage of the fixed points of every network; one value a network.

    alpha: words stored per spin, mean of the rows (a lower bound where `complete` < 1: fraction of rows that met one they cannot store);  words:
    distinct fixed points per start;  overlap: mean |overlap| sqrt(N) of two of them
    """
    seeds = [int(seed.generate_state(1)[0]) for seed in sample_seeds(key, instances.samples, "starts")]
    values = []
    for couplings, seed in zip(instances.couplings, seeds):
        words = fixed_points_of(
            couplings, instances.scale, J_D=J_D, starts=starts, search=search, sweeps=sweeps, ties=ties, key=seed
        )  # fmt: skip
        kept = store(words, starts, min(rows, instances.N))
        values.append(
            (kept.stored.mean() / instances.N, (kept.stored < len(words)).mean(), len(words) / starts, kept.overlap)
        )  # fmt: skip
    names = ("alpha", "complete", "words", "overlap")
    results = {name: Statistic.from_samples(x) for name, x in zip(names, np.transpose(values))}
    return results | {"budget": Statistic(float(sweeps), 0.0, instances.samples)}
