"""Every test runs in float64, with strict rank promotion; compiled programs are dropped before the process has too many memory maps."""

import gc
from pathlib import Path

import jax
import pytest

import replicax  # noqa: F401  (turns on float64)

jax.config.update("jax_numpy_rank_promotion", "raise")

#: Linux allows 65530 memory maps a process; every compiled program takes some, and beyond it LLVM ends in a segmentation fault
_MAPS, _MOST = Path("/proc/self/maps"), 30_000


@pytest.fixture(autouse=True)
def _drop_programs():
    yield
    if _MAPS.exists() and _MAPS.read_bytes().count(b"\n") > _MOST:
        jax.clear_caches()
        gc.collect()
