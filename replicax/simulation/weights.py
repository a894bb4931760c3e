r"""Weights of message passing: the measure of one weight in a cavity field h with curvature A, exp(h w - A w^2/2) P(w).

Each gives the mean m and the variance v, and the site term of the Bethe free entropy. Arrays are (columns, N).
"""

from __future__ import annotations

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

from replicax.numerics.special import log_2cosh, sech2

_NEWTON = 16


class BinaryWeights(eqx.Module):
    """w in {-1, +1}, counted: w^2 = 1 takes A out, m = tanh h."""

    def moments(self, h: Array, A: Array) -> tuple[Array, Array]:
        return jnp.tanh(h), sech2(h)

    def site(self, h: Array, A: Array, m: Array, v: Array) -> Array:
        """sum_i [ log Z_i + A (v + m^2)/2 - h m ]: log 2cosh h - h m, (columns,)."""
        return jnp.sum(log_2cosh(h) - h * m, -1)


class SphericalWeights(eqx.Module):
    r"""|W|^2 = N by a multiplier Lam: v = 1/(A + Lam), m = v h, Lam fixed by mean(m^2 + v) = 1; the normalised measure of the sphere.

    For uniform A, v = 2/(1 + sqrt(1 + 4 mean h^2)); otherwise Newton in Lam from the left of the root, where the condition is convex
    and decreasing: monotone.
    """

    def multiplier(self, h: Array, A: Array) -> Array:
        """Lam (columns, 1)."""
        A = jnp.broadcast_to(A, h.shape)
        mean = lambda x: jnp.mean(x, -1, keepdims=True)
        uniform = 0.5 * (1.0 + jnp.sqrt(1.0 + 4.0 * mean(h**2)))
        low = jnp.min(A, -1, keepdims=True)
        start = jnp.maximum(uniform - jnp.max(A, -1, keepdims=True), 1.0 / h.shape[-1] - low)

        def newton(_, lam):
            v = 1.0 / (A + lam)
            return lam + (mean(h**2 * v**2 + v) - 1.0) / mean(2.0 * h**2 * v**3 + v**2)

        return jax.lax.fori_loop(0, _NEWTON, newton, start)

    def moments(self, h: Array, A: Array) -> tuple[Array, Array]:
        v = 1.0 / (A + self.multiplier(h, A))
        return v * h, v

    def site(self, h: Array, A: Array, m: Array, v: Array) -> Array:
        """sum_i [ log(2 pi v)/2 + v h^2/2 + A (v + m^2)/2 - h m ] + N Lam/2 - N log(2 pi e)/2, (columns,)."""
        lam = self.multiplier(h, A)
        terms = 0.5 * jnp.log(v) + 0.5 * v * h**2 + 0.5 * A * (v + m**2) - h * m + 0.5 * (lam - 1.0)
        return jnp.sum(terms, -1)


Weights = BinaryWeights | SphericalWeights
LOG_SPHERE = 0.5 * math.log(2.0 * math.pi * math.e)  # (1/N) log volume of the sphere, left out above
