"""Exact numbers of solutions at every distance from every weight, for all 2^N weights of small binary perceptrons.

With s(W) = 1 for a solution, n_t(W) = sum of s over the sphere of radius t flips is a convolution on the hypercube: one
Walsh-Hadamard transform of s, a Krawtchouk polynomial per distance, one transform back, N 2^N additions each.
Franz-Parisi entropies, pairs of solutions and local entropies are averages of n_t over different references.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import comb, gammaln

from .arguments import integer
from .blocks import in_blocks
from .constraints import threshold, violated
from .enumeration import spin_states
from .instances import PerceptronInstances

MAX_N = 22


class Neighbours(NamedTuple):
    """Solutions at T numbers of flips t (0..N unless asked for others) from the references of each instance; nan or -inf where there is none.

    log_count    (samples, T): mean over the references with n_t > 0 of log n_t
    seen         (samples, T): fraction of the references with n_t > 0
    pairs        (samples, T): sum of n_t over the references
    log_moments  (samples, len(y), T): log sum of n_t^y over the references
    references   (samples,): their number
    log_sphere   (T,): log of the number of weights at t flips
    """

    log_count: np.ndarray
    seen: np.ndarray
    pairs: np.ndarray
    log_moments: np.ndarray
    references: np.ndarray
    log_sphere: np.ndarray


def enumerate_neighbours(
    instances: PerceptronInstances,
    *,
    kappa: float = 0.0,
    kappa_ref: float | None = None,
    any_reference: bool = False,
    y: tuple[float, ...] = (),
    constraint: str = "margin",
    strict: bool = False,
    flips: tuple[int, ...] | None = None,
) -> Neighbours:
    """Count the solutions at each distance (flips: at these only) from each reference, N <= 22.

    Solutions have margin kappa. References are the weights of margin kappa_ref (default: kappa), or with
    any_reference all 2^N of them. y > 0: powers whose sums over the references are wanted.
    """
    N = integer("N", instances.N, 1, MAX_N)
    T = threshold(constraint, kappa, N, instances.scale, strict)
    T_ref = threshold(constraint, kappa if kappa_ref is None else kappa_ref, N, instances.scale, strict)
    t = np.arange(N + 1) if flips is None else np.asarray([integer("flips", f, 0, N) for f in flips])
    powers, polynomials = jnp.asarray(y, float), jnp.asarray(_krawtchouk(N)[t])
    count = lambda x: _count(x, T, T_ref, powers, polynomials, constraint, any_reference)
    log_sphere = gammaln(N + 1) - gammaln(t + 1) - gammaln(N - t + 1)
    return Neighbours(*in_blocks(count, (instances.patterns,), max(1, 2**18 >> N)), log_sphere=log_sphere)


def _krawtchouk(N: int) -> np.ndarray:
    """K[t, k] = sum over the vectors v with t ones of (-1)^(v.u), u with k ones: coefficients of (1 - x)^k (1 + x)^(N - k)."""
    rows = [
        np.polynomial.polynomial.polymul(
            comb(k, np.arange(k + 1)) * (-1.0) ** np.arange(k + 1), comb(N - k, np.arange(N - k + 1))
        )
        for k in range(N + 1)
    ]
    return np.stack(rows, axis=1)


def _transform(x: jax.Array) -> jax.Array:
    """Walsh-Hadamard transform of 2^N numbers, not normalised."""
    N = x.size.bit_length() - 1
    for bit in range(N):
        a = x.reshape(2**bit, 2, -1)
        x = jnp.stack([a[:, 0] + a[:, 1], a[:, 0] - a[:, 1]], axis=1)
    return x.reshape(-1)


@partial(jax.jit, static_argnums=(5, 6))
@partial(jax.vmap, in_axes=(0, None, None, None, None, None, None))
def _count(patterns, T, T_ref, y, krawtchouk, constraint: str, any_reference: bool):
    N = patterns.shape[1]
    states = spin_states(N)
    satisfies = lambda level: (
        ~jnp.any(
            jax.lax.map(lambda x: violated(states @ x, level, constraint), patterns.astype(jnp.int32)), axis=0
        )
    )
    solution = satisfies(T)
    reference = jnp.ones(2**N, bool) if any_reference else satisfies(T_ref)
    ones = jnp.sum(states < 0, axis=1)
    spectrum = _transform(solution.astype(float))
    total = jnp.sum(reference)

    def at(row):
        n = jnp.round(_transform(spectrum * row[ones]) / 2**N)
        hit = reference & (n > 0)
        log_n = jnp.log(jnp.where(hit, n, 1.0))
        found = jnp.sum(hit)
        moments = jax.vmap(lambda power: jax.nn.logsumexp(jnp.where(hit, power * log_n, -jnp.inf)))(y)
        mean = jnp.where(found > 0, jnp.sum(log_n) / found, jnp.nan)
        return mean, found / total, jnp.sum(jnp.where(reference, n, 0.0)), moments

    log_count, seen, pairs, moments = jax.lax.map(at, krawtchouk)
    return log_count, seen, pairs, moments.T, total
