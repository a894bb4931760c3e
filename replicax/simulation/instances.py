"""Seeded random instances: patterns of perceptrons and couplings of recurrent networks.

Drawn on the host, sample by sample: sample s of a key is the same on every device, and whatever the number
of samples.
"""

from __future__ import annotations

import math
import zlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .arguments import choice, integer, real
from .constraints import lattice_scale, to_lattice

PATTERNS = ("gaussian", "pm1")
LABELS = ("random", "teacher")


class PerceptronInstances(NamedTuple):
    """Patterns with their labels absorbed: Delta^mu = patterns^mu . W / (scale sqrt(N)).

    patterns  (samples, P, N) integers, scale y^mu xi^mu_i: int8 when +-1 (scale 1), int32 otherwise
    teacher   (samples, N) int8, or None for random labels
    """

    patterns: np.ndarray
    scale: int
    teacher: np.ndarray | None = None

    @property
    def samples(self) -> int:
        return self.patterns.shape[0]

    @property
    def P(self) -> int:
        return self.patterns.shape[1]

    @property
    def N(self) -> int:
        return self.patterns.shape[2]

    @classmethod
    def from_array(cls, patterns, teacher=None) -> PerceptronInstances:
        """Instances from patterns (P, N) or (samples, P, N), labels absorbed.

        +-1, whatever their type, and integers are taken as they are, N max |patterns| < 2^31; floats are rounded to the lattice of 2^-16.
        teacher: (samples, N) or None.
        """
        x = np.asarray(patterns)
        if x.ndim not in (2, 3):
            raise ValueError(f"patterns.ndim = {x.ndim} is not allowed: shape must be ([samples,] P, N)")
        x = x if x.ndim == 3 else x[None]
        if teacher is not None:
            teacher = np.asarray(teacher, np.int8).reshape(x.shape[0], x.shape[-1])
        if np.all((x == 1) | (x == -1)):
            return cls(x.astype(np.int8), 1, teacher)
        if np.issubdtype(x.dtype, np.integer):
            largest = max(abs(int(x.max())), abs(int(x.min())))
            if largest * x.shape[-1] >= 2**31:
                raise ValueError(f"max |patterns| = {largest} is not allowed: fields must be below 2^31")
            return cls(x.astype(np.int32), 1, teacher)
        if not np.all(np.abs(x) < 8.0):
            raise ValueError(f"max |patterns| = {np.abs(x).max()} is not allowed: floats must be in (-8, 8)")
        scale = lattice_scale(x.shape[-1])
        return cls(to_lattice(x, scale), scale, teacher)


class NetworkInstances(NamedTuple):
    """couplings (samples, N, N) int32, zero diagonal: J_ij = couplings_ij / (scale sqrt(N))."""

    couplings: np.ndarray
    scale: int

    @property
    def samples(self) -> int:
        return self.couplings.shape[0]

    @property
    def N(self) -> int:
        return self.couplings.shape[-1]


def as_key(key) -> jax.Array:
    """A jax random key from an integer seed >= 0, or a jax key (typed or raw uint32) as it is."""
    if isinstance(key, (int, np.integer)) and not isinstance(key, bool):
        return jax.random.key(integer("key", key, 0))
    if isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and key.ndim == 0:
        return key
    if isinstance(key, (jax.Array, np.ndarray)) and key.dtype == np.uint32 and key.ndim == 1:
        return jax.random.wrap_key_data(jnp.asarray(key))
    raise ValueError(f"key = {key!r} is not allowed: key must be an integer >= 0 or one jax random key")


def sample_seeds(key, samples: int, stream: str) -> list[np.random.SeedSequence]:
    """One seed per sample; streams of different names are independent."""
    words = np.asarray(jax.random.key_data(as_key(key))).tolist()
    tag = zlib.crc32(stream.encode())
    return [np.random.SeedSequence(words, spawn_key=(tag, s)) for s in range(samples)]


def number_of_patterns(N: int, alpha: float) -> int:
    """P = round(alpha N), halves to the even neighbour. The theory to compare with is that of P / N."""
    return round(real("alpha", alpha, 0.0) * integer("N", N, 1))


def perceptron_instances(
    *, N: int, alpha: float, samples: int = 1, key=0, patterns: str = "gaussian", labels: str = "random"
) -> PerceptronInstances:
    """Perceptron patterns xi ~ N(0, 1) or +-1, with their labels absorbed.

    labels="random" needs no labels: y xi has the law of xi. labels="teacher": W_T uniform in {-1, +1}^N,
    y = sign(W_T . xi) (+1 at a tie), patterns y xi.
    """
    choice("patterns", patterns, PATTERNS)
    choice("labels", labels, LABELS)
    P, N, samples = number_of_patterns(N, alpha), integer("N", N, 1), integer("samples", samples, 1)
    draw = _signs if patterns == "pm1" else _gaussians
    x = np.stack([draw(rng, (P, N)) for rng in _generators(key, samples, "patterns")])
    scale = 1 if patterns == "pm1" else lattice_scale(N)
    if labels == "random":
        return PerceptronInstances(x, scale)
    teacher = np.stack([_signs(rng, (N,)) for rng in _generators(key, samples, "teacher")])
    # products below 2^31 times N: exact in float64, which numpy multiplies fast
    fields = np.einsum("spi,si->sp", x.astype(np.float64), teacher.astype(np.float64), optimize=True)
    return PerceptronInstances(np.where(fields[:, :, None] >= 0, x, -x), scale, teacher)


def network_instances(
    *, N: int, samples: int = 1, eta: float = 0.0, couplings: str = "gaussian", key=0
) -> NetworkInstances:
    """Couplings J_ij of mean 0, variance 1/N, no diagonal, corr(J_ij, J_ji) = eta.

    gaussian: J = sqrt((1 + eta)/2) S + sqrt((1 - eta)/2) A, S symmetric, A antisymmetric, variance 1/N.
    pm1: +-1/sqrt(N), J_ji = J_ij with probability (1 + eta)/2 and -J_ij otherwise.
    """
    choice("couplings", couplings, PATTERNS)
    N, samples = integer("N", N, 2), integer("samples", samples, 1)
    eta = real("eta", eta, -1.0, 1.0)
    generators = _generators(key, samples, "couplings")
    if couplings == "pm1":
        return NetworkInstances(np.stack([_pm1_couplings(rng, N, eta) for rng in generators]), 1)
    return NetworkInstances(
        np.stack([_gaussian_couplings(rng, N, eta) for rng in generators]), lattice_scale(N)
    )


def _generators(key, samples: int, stream: str) -> list[np.random.Generator]:
    return [np.random.Generator(np.random.PCG64(seed)) for seed in sample_seeds(key, samples, stream)]


def _signs(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return 2 * rng.integers(0, 2, shape, dtype=np.int8) - 1


def _gaussians(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Gaussian lattice points, int32, for fields of shape[-1] terms."""
    return to_lattice(rng.standard_normal(shape), lattice_scale(shape[-1]))


def _gaussian_couplings(rng: np.random.Generator, N: int, eta: float) -> np.ndarray:
    g = rng.standard_normal((N, N))
    symmetric, antisymmetric = (g + g.T) / math.sqrt(2.0), (g - g.T) / math.sqrt(2.0)
    J = math.sqrt((1.0 + eta) / 2.0) * symmetric + math.sqrt((1.0 - eta) / 2.0) * antisymmetric
    np.fill_diagonal(J, 0.0)
    return to_lattice(J, lattice_scale(N))


def _pm1_couplings(rng: np.random.Generator, N: int, eta: float) -> np.ndarray:
    upper = np.triu(_signs(rng, (N, N)).astype(np.int32), 1)
    same = rng.random((N, N)) < (1.0 + eta) / 2.0
    return upper + np.where(same, upper, -upper).T
