"""Compile once per user: what XLA compiled in one process is loaded by the next ones."""

import os
import warnings
from pathlib import Path

import jax


def keep_compilations() -> None:
    """Turn on JAX's persistent cache in $REPLICAX_CACHE, $XDG_CACHE_HOME or ~/.cache, if it is writable.

    A folder that is configured already is left alone.  jaxlib 0.10 logs an error about the features of the
    processor whenever it loads from the cache, without consequence: the log is kept quiet.
    """
    jax.config.update("jax_logging_level", "CRITICAL")
    warnings.filterwarnings("ignore", message=".*persistent compilation cache.*")
    if jax.config.jax_compilation_cache_dir:  # type: ignore[attr-defined]
        return
    try:
        root = os.environ.get("REPLICAX_CACHE") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(root) / "replicax" / "xla"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return
    if os.access(folder, os.W_OK):
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
