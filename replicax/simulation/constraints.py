"""Which stabilities satisfy a constraint, decided in integers.

Patterns of the simulations live on a lattice: integers divided by a power of two, `scale` (1 for +-1
patterns). A field F = scale sum_i xi_i W_i is then an exact integer, whatever the order of the sum and the
device, the stability is Delta = F / (scale sqrt(N)), and Delta >= kappa is a comparison of F with one
integer. Ties are therefore exact.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from .arguments import choice, real

CONSTRAINTS = ("margin", "rectangle", "u")


def threshold(constraint: str, kappa: float, N: int, scale: int, strict: bool) -> int:
    """The integer T that `violated` compares a field with.

    constraint   satisfied when        with strict
    margin       Delta >= kappa        Delta > kappa
    rectangle    |Delta| <= kappa      |Delta| < kappa
    u            |Delta| >= kappa      |Delta| > kappa
    """
    choice("constraint", constraint, CONSTRAINTS)
    kappa = real("kappa", kappa, -math.inf if constraint == "margin" else 0.0)
    level = kappa * math.sqrt(N) * scale
    # F satisfies from T on (margin, u), or below T (rectangle): the first integer >= level, or > level
    inclusive = strict if constraint == "rectangle" else not strict
    T = _ceil(level) if inclusive else _floor(level) + 1
    bound = 2**31 - 1
    return max(-bound, min(bound, T))


def violated(fields: jax.Array, T, constraint: str) -> jax.Array:
    """True where the integer ``fields`` violate the constraint with threshold T."""
    if constraint == "margin":
        return fields < T
    if constraint == "rectangle":
        return jnp.abs(fields) >= T
    return jnp.abs(fields) < T


def is_symmetric(constraint: str) -> bool:
    """True if W and -W violate the same patterns."""
    return constraint != "margin"


def lattice_scale(N: int) -> int:
    """Denominator of the lattice of Gaussian numbers: 2^16, less where N is so large that fields reach 2^31.

    A Gaussian rounded to a multiple of 2^-16 has a variance larger by 2e-11, and a field has probability
    about 6e-6 / sqrt(N) to sit on a given lattice point.
    """
    return 2 ** min(16, 28 - math.ceil(math.log2(max(N, 1))))


def to_lattice(x: np.ndarray, scale: int) -> np.ndarray:
    """The lattice point nearest to x, int32; |x| is cut below 8, so that |F| < 8 N scale <= 2^31."""
    return np.rint(np.clip(x * scale, 1 - 8 * scale, 8 * scale - 1)).astype(np.int32)


def _ceil(level: float) -> int:
    return -_floor(-level)


def _floor(level: float) -> int:
    """floor, but a level within rounding of an integer is that integer (kappa = 3 / sqrt(N): F = 3)."""
    nearest = round(level)
    return nearest if abs(level - nearest) <= 1e-9 * max(1.0, abs(level)) else math.floor(level)
