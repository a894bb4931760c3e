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


class Word(str):
    """A word in the place of a number (y = star), as a pytree without leaves."""

    def __reduce__(self):
        return (_WORDS.get, (str(self),))


jax.tree_util.register_pytree_node(Word, lambda w: ((), str(w)), lambda w, _: _WORDS[w])

STAR = Word("star")
_WORDS = {"star": STAR}


def is_concrete(x) -> bool:
    """True for anything with known numbers (no tracer, no placeholder of a tree transformation)."""
    return isinstance(x, (bool, int, float, np.ndarray, np.generic)) or (
        isinstance(x, jax.Array) and not isinstance(x, jax.core.Tracer)
    )


def number(x):
    """A parameter as the user gave it: sequences become float arrays, known words and a concrete scalar +inf their own objects."""
    if isinstance(x, (list, tuple)):
        x = np.asarray(x, float)
    if isinstance(x, str):
        return _WORDS.get(x, x)
    if is_concrete(x) and np.ndim(x) == 0 and np.asarray(x) == np.inf:
        return INFINITE
    return x
