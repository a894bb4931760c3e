"""Instances in blocks of one fixed size: bounded memory, few compilations, all cores."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

_THREADS = min(16, os.cpu_count() or 1)  # XLA runs a scan of small steps on one core; blocks run side by side


def in_blocks(function: Callable, arrays: tuple[np.ndarray, ...], size: int) -> Any:
    """numpy results of ``function(*arrays)``, called on at most ``size`` leading entries at a time.

    The last block is padded by repeating its last entry, so that all blocks have the same shape.
    """
    samples = arrays[0].shape[0]
    size = min(size, samples)

    def run(start: int) -> Any:
        rows = np.minimum(np.arange(start, start + size), samples - 1)
        return jax.tree.map(np.asarray, function(*(a[rows] for a in arrays)))

    first = run(0)  # alone: it compiles
    with ThreadPoolExecutor(_THREADS) as threads:
        results = [first, *threads.map(run, range(size, samples, size))]
    return jax.tree.map(lambda *parts: np.concatenate(parts)[:samples], *results)


def each_instance(count: int) -> Callable[[Callable], Callable]:
    """Map a function over the leading entries of its first ``count`` arguments; the others are shared.

    On a CPU one instance after another: batches of products of a vector with its own matrix are compiled to slow loops, and each
    instance ends at its own last step. Elsewhere all side by side.
    """

    def mapped(function: Callable) -> Callable:
        @functools.wraps(function)
        def run(*args):
            arrays, shared = args[:count], args[count:]
            one = lambda rows: function(*rows, *shared)
            return jax.lax.map(one, arrays) if jax.default_backend() == "cpu" else jax.vmap(one)(arrays)

        return run

    return mapped
