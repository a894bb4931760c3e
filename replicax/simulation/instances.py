"""Seeded random instances: patterns of perceptrons and couplings of recurrent networks.

Sample s of a key is the same whatever the number of samples.
"""

from __future__ import annotations

import math
import zlib
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .arguments import choice, integer, real
from .constraints import lattice_scale, to_lattice

PATTERNS = ("gaussian", "pm1")
LABELS = ("random", "teacher")


class PerceptronInstances(NamedTuple):
    """patterns (samples, P, N) int32: y^mu xi^mu_i times scale, labels absorbed; teacher (samples, N) +-1
    int32 or None.

    Stabilities: Delta^mu = patterns^mu . W / (scale sqrt(N)).
    """

    patterns: jax.Array
    scale: int
    teacher: jax.Array | None = None

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

        Integers are taken as they are, floats rounded to the lattice of 2^-16. teacher: (samples, N) or None.
        """
        x = np.asarray(patterns)
        if x.ndim not in (2, 3):
            raise ValueError(
                f"patterns.ndim = {x.ndim} is not allowed: patterns must be (P, N) or (samples, P, N)"
            )
        x = x if x.ndim == 3 else x[None]
        if np.issubdtype(x.dtype, np.integer):
            scale, lattice = 1, x.astype(np.int32)
        else:
            scale = lattice_scale(x.shape[-1])
            if not np.all(np.abs(x) < 8.0):
                raise ValueError(
                    f"max |patterns| = {np.abs(x).max()} is not allowed: float patterns must be in (-8, 8)"
                )
            lattice = to_lattice(x, scale)
        if teacher is not None:
            teacher = jnp.asarray(np.asarray(teacher).reshape(x.shape[0], x.shape[-1]), jnp.int32)
        return cls(jnp.asarray(lattice), scale, teacher)


class NetworkInstances(NamedTuple):
    """couplings (samples, N, N) int32, zero diagonal: J_ij = couplings_ij / (scale sqrt(N))."""

    couplings: jax.Array
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


def sample_keys(key, samples: int, *streams: str) -> tuple[jax.Array, ...]:
    """One array of keys (samples,) for each named, independent stream of random numbers."""
    keys = []
    for name in streams:
        stream = jax.random.fold_in(as_key(key), zlib.crc32(name.encode()))
        keys.append(jax.vmap(partial(jax.random.fold_in, stream))(jnp.arange(samples)))
    return tuple(keys)


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
    P, N = number_of_patterns(N, alpha), integer("N", N, 1)
    pattern_keys, teacher_keys = sample_keys(key, integer("samples", samples, 1), "patterns", "teacher")
    x = _patterns(pattern_keys, N, P, patterns)
    scale = 1 if patterns == "pm1" else lattice_scale(N)
    if labels == "random":
        return PerceptronInstances(x, scale)
    teacher = jax.vmap(lambda k: jax.random.rademacher(k, (N,), jnp.int32))(teacher_keys)
    fields = jnp.einsum("spi,si->sp", x, teacher)
    return PerceptronInstances(jnp.where(fields[:, :, None] >= 0, x, -x), scale, teacher)


@partial(jax.jit, static_argnums=(1, 2, 3))
def _patterns(keys: jax.Array, N: int, P: int, kind: str) -> jax.Array:
    if kind == "pm1":
        return jax.vmap(lambda k: jax.random.rademacher(k, (P, N), jnp.int32))(keys)
    return to_lattice(jax.vmap(lambda k: jax.random.normal(k, (P, N), jnp.float32))(keys), lattice_scale(N))


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
    keys = sample_keys(key, samples, "couplings", "symmetry")
    if couplings == "pm1":
        return NetworkInstances(_pm1_couplings(*keys, N, eta), 1)
    return NetworkInstances(_gaussian_couplings(keys[0], N, eta), lattice_scale(N))


@partial(jax.jit, static_argnums=1)
def _gaussian_couplings(keys: jax.Array, N: int, eta) -> jax.Array:
    g = jax.vmap(lambda k: jax.random.normal(k, (N, N), jnp.float32))(keys)
    symmetric = (g + g.mT) / math.sqrt(2.0)
    antisymmetric = (g - g.mT) / math.sqrt(2.0)
    J = jnp.sqrt((1.0 + eta) / 2.0) * symmetric + jnp.sqrt((1.0 - eta) / 2.0) * antisymmetric
    return to_lattice(J * (1.0 - jnp.eye(N)), lattice_scale(N))


@partial(jax.jit, static_argnums=2)
def _pm1_couplings(keys: jax.Array, symmetry_keys: jax.Array, N: int, eta) -> jax.Array:
    signs = jax.vmap(lambda k: jax.random.rademacher(k, (N, N), jnp.int32))(keys)
    same = jax.vmap(lambda k: jax.random.uniform(k, (N, N)))(symmetry_keys) < (1.0 + eta) / 2.0
    upper = jnp.triu(signs, 1)
    return upper + (upper * jnp.where(same, 1, -1)).mT
