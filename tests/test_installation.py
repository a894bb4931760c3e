"""The environment: float64 is on, and the jaxlib at hand multiplies batches of small matrices correctly."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import replicax as rx


def test_importing_turns_on_float64():
    assert jnp.zeros(()).dtype == jnp.float64


def test_theory_refuses_float32():
    code = (
        "import replicax as rx\n"
        "try:\n    rx.solve(rx.BinaryPerceptron(alpha=0.5))\n"
        "except RuntimeError as error:\n    print(error)"
    )
    environment = {**os.environ, "REPLICAX_ENABLE_X64": "0"}
    out = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert "float64" in out.stdout and "jax_enable_x64" in out.stdout


def test_this_jaxlib_is_not_one_that_returns_wrong_numbers():
    """jaxlib 0.10.2 and 0.11.0 on the CPU: 23617 of these 40001 entries are wrong."""
    rng = np.random.default_rng(0)
    matrices, vectors = rng.normal(size=(3, 3)), rng.normal(size=(40001, 3))
    got = jax.jit(jax.vmap(lambda r: jnp.sum((matrices @ r) ** 2)))(vectors)
    np.testing.assert_allclose(got, ((vectors @ matrices.T) ** 2).sum(1), rtol=1e-12)


def test_unknown_attribute_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = rx.Nonsense  # type: ignore[attr-defined]


def test_every_public_name_can_be_imported():
    for name in rx.__all__:
        assert getattr(rx, name) is not None
