"""Limits are functionals, not large numbers: a concrete infinity in a parameter is part of the *structure* of a model."""

import jax
import numpy as np


class Infinite(float):
    """float('inf') as a pytree without leaves, so that beta = inf selects its own terms also under jit and vmap."""

    def __new__(cls) -> "Infinite":
        return super().__new__(cls, "inf")

    def __repr__(self) -> str:
        return "inf"

    def __reduce__(self):
        return (Infinite, ())


jax.tree_util.register_pytree_node(Infinite, lambda _: ((), None), lambda _, __: INFINITE)

INFINITE = Infinite()


def is_concrete(x) -> bool:
    """True for anything with known numbers (no tracer, no placeholder of a tree transformation)."""
    return isinstance(x, (bool, int, float, np.ndarray, np.generic)) or (
        isinstance(x, jax.Array) and not isinstance(x, jax.core.Tracer)
    )


def structural_infinity(x):
    """x, with a concrete scalar +inf replaced by `INFINITE`."""
    if is_concrete(x) and np.ndim(x) == 0 and np.asarray(x) == np.inf:
        return INFINITE
    return x
