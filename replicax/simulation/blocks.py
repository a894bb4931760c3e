"""Instances in blocks of one fixed size: bounded memory, few compilations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np


def in_blocks(function: Callable, arrays: tuple, size: int) -> Any:
    """numpy results of ``function(*arrays)``, called on at most ``size`` leading entries of the arrays at
    a time.

    The last block is padded by repeating its last entry, so that all blocks have the same shape.
    """
    samples = arrays[0].shape[0]
    size = min(size, samples)
    results = []
    for start in range(0, samples, size):
        rows = np.minimum(np.arange(start, start + size), samples - 1)
        results.append(jax.tree.map(np.asarray, function(*(a[rows] for a in arrays))))
    return jax.tree.map(lambda *parts: np.concatenate(parts)[:samples], *results)
