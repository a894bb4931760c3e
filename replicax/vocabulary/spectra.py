r"""Spectra of X = F^T F/D for a feature matrix F of D x N, and the averages that a Gaussian equivalent needs of them,

    G = <1/(1+tx)>,   H = <x/(1+tx)>,   K_j = <x^j/(1+tx)^2>,   j = 0, 1, 2,       t >= 0,

and of the same eigenvalues on the side of the inputs, those of F F^T/D (D x D): E = <1/(1+tx)>_D = 1 - t H/alpha_D and its variance S.

Marchenko-Pastur (independent entries of unit variance, c = N/D): with d = (1 + t(1-sqrt c)^2)(1 + t(1+sqrt c)^2) and u = 1 + t(1-c), both
roots of quadratic equations,

    H = 2/(1 + t(1+c) + sqrt d),   G = 2/(u + sqrt d),   K_0 = G(1 + c t G)/sqrt d,   K_1 = H/sqrt d,
    E = 2/(1 - t(1-c) + sqrt d),   S = c t^2 H E^2/sqrt d.

No form cancels; t = 0 (mu1 = 0) and t = inf (no regularisation, D < N) are approached without loss of digits.
"""

import abc
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

#: eigenvalues below this, relative to the largest, are zero
_ROUNDING = 1e-12


class Averages(NamedTuple):
    G: Array
    H: Array
    K0: Array
    K1: Array
    K2: Array
    E: Array
    S: Array


class Spectrum(eqx.Module):
    """A spectrum of X, normalised to <x> = 1."""

    @abc.abstractmethod
    def averages(self, t: Array, alpha_D: Array) -> Averages:
        """The averages at one t (shape ()), D/N = alpha_D."""


class MarchenkoPastur(Spectrum):
    """Independent entries of zero mean and unit variance."""

    def averages(self, t: Array, alpha_D: Array) -> Averages:
        c = 1.0 / alpha_D
        root = jnp.sqrt(c)
        gap = (1.0 - root) ** 2
        d = jnp.sqrt((1.0 + t * gap) * (1.0 + t * (1.0 + root) ** 2))
        u = 1.0 + t * (1.0 - c)
        H = 2.0 / (1.0 + t * (1.0 + c) + d)
        G, E = _flat(u, d, c * t), _flat(2.0 - u, d, t)
        K2 = H * (2.0 * (1.0 + c) + t * (1.0 - c) ** 2) / (d * (d + 1.0))
        return Averages(G, H, G * (1.0 + c * t * G) / d, H / d, K2, E, c * H * (t * E) ** 2 / d)


def _flat(u: Array, d: Array, s: Array) -> Array:
    """2/(u + d) = (d - u)/(2s), d^2 = u^2 + 4s, for either sign of u."""
    bulk = 2.0 / (jnp.maximum(u, 0.0) + d)
    return jnp.where(u < 0, (d - u) / (2.0 * jnp.where(u < 0, s, 1.0)), bulk)


class Empirical(Spectrum):
    """Given eigenvalues (n,), zeros included, with equal weights; they are scaled to <x> = 1."""

    eigenvalues: ArrayLike

    def averages(self, t: Array, alpha_D: Array) -> Averages:
        x = jnp.asarray(self.eigenvalues, float)
        x = x / jnp.mean(x)
        w = 1.0 / (1.0 + t * x)
        zero = x < _ROUNDING * jnp.max(x)
        share = jnp.where(zero, 0.0, 1.0 / (alpha_D * x.size))  # of the inputs; the others have x = 0
        rest = jnp.maximum(1.0 - jnp.sum(share), 0.0)
        E = jnp.sum(share * w) + rest
        S = jnp.sum(share * (w - E) ** 2) + rest * (1.0 - E) ** 2
        G, H, K0, K1, K2 = (jnp.mean(y) for y in (w, x * w, w * w, x * w * w, (x * w) ** 2))
        return Averages(G, H, K0, K1, K2, E, S)


class Orthogonal(Spectrum):
    """Orthogonal features: X = 1 for N <= D, else x = N/D on a fraction D/N and 0 elsewhere."""

    def averages(self, t: Array, alpha_D: Array) -> Averages:
        mass = jnp.minimum(1.0, alpha_D)
        x = 1.0 / mass
        w = 1.0 / (1.0 + t * x)
        rest = 1.0 - mass
        filled = jnp.minimum(1.0, 1.0 / alpha_D)
        empty = 1.0 - filled
        E, S = filled * w + empty, filled * empty * (1.0 - w) ** 2
        return Averages(mass * w + rest, w, mass * w * w + rest, w * w, x * w * w, E, S)
