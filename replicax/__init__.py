"""replicax: the replica theory of neural networks, differentiable and in batches, checked against simulation.

Importing replicax turns on 64-bit floats in JAX (the theory needs them); set ``REPLICAX_ENABLE_X64=0`` to leave the
setting alone.
"""

import os as _os

import jax as _jax

if _os.environ.get("REPLICAX_ENABLE_X64", "1") != "0":
    _jax.config.update("jax_enable_x64", True)
