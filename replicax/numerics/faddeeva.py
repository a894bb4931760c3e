r"""The scaled tail of the complex plane, as a rational function.

    R(x) = sqrt(pi/2) erfcx(x/sqrt(2)) = sqrt(pi/2) w(i x/sqrt(2)),    on the real axis H(x)/G(x), the inverse of `special.mills`.

J. A. C. Weideman, SIAM J. Numer. Anal. 31 (1994) 1497, with 40 terms.
"""

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

_TERMS = 40
_SCALE = 2.0**-0.25 * np.sqrt(_TERMS)


def _coefficients() -> np.ndarray:
    """Of the expansion of exp(-t^2) (L^2 + t^2) in powers of (L + i t)/(L - i t), by a discrete Fourier transform."""
    points = 2 * _TERMS
    t = _SCALE * np.tan(0.5 * np.pi * np.arange(1 - points, points) / points)
    values = np.append(0.0, np.exp(-(t**2)) * (_SCALE**2 + t**2))
    return np.fft.fft(np.fft.fftshift(values)).real[1 : _TERMS + 1][::-1] / (2 * points)


_POLYNOMIAL = _coefficients()


def _right(x: Array) -> Array:
    """R(x) for Re x >= 0."""
    z = 1j * x / np.sqrt(2.0)
    below = _SCALE - 1j * z
    ratio = (_SCALE + 1j * z) / below
    series = jnp.polyval(jnp.asarray(_POLYNOMIAL), ratio)
    return np.sqrt(np.pi / 2) * (2.0 * series / below**2 + np.pi**-0.5 / below)


def log_scaled_tail(x: ArrayLike) -> Array:
    """A logarithm of R(x), elementwise and complex; the relative error of R is below 1e-12 away from its zeros (|arg x| near 3 pi/4)."""
    x = jnp.asarray(x, complex)
    left = x.real < 0
    reflected = jnp.log(_right(jnp.where(left, -x, x)))
    # R(x) = sqrt(2 pi) exp(x^2/2) - R(-x)
    growing = 0.5 * x * x + 0.5 * np.log(2 * np.pi)
    top = jnp.maximum(growing.real, reflected.real)
    both = top + jnp.log(jnp.exp(growing - top) - jnp.exp(reflected - top))
    return jnp.where(left, both, reflected)
