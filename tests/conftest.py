"""Every test runs in float64, with strict rank promotion."""

import jax

import replicax  # noqa: F401  (turns on float64)

jax.config.update("jax_numpy_rank_promotion", "raise")
