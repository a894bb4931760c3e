"""Averages over the spectrum of features: against sampled matrices, quadrature, and each other."""

import jax.numpy as jnp
import numpy as np
import pytest

from replicax.vocabulary.spectra import Empirical, MarchenkoPastur, Orthogonal


def _quadrature(t, alpha_D, n=20000):
    """The Marchenko-Pastur averages by the midpoint rule in theta, x = mid - half cos(theta)."""
    c = 1 / alpha_D
    theta = (np.arange(n) + 0.5) * np.pi / n
    x = 1 + c - 2 * np.sqrt(c) * np.cos(theta)
    weight = (2 * np.sqrt(c) * np.sin(theta)) ** 2 / (2 * np.pi * c * x) * np.pi / n
    w, rest = 1 / (1 + t * x), max(0.0, 1 - alpha_D)
    mean = lambda y: np.sum(weight * y)
    E = c * mean(w) + max(0.0, 1 - c)  # over the inputs
    S = c * mean((w - E) ** 2) + max(0.0, 1 - c) * (1 - E) ** 2
    return mean(w) + rest, mean(x * w), mean(w * w) + rest, mean(x * w * w), mean((x * w) ** 2), E, S


@pytest.mark.parametrize("alpha_D, a, value", [(0.5, 0.3, 2.0), (0.25, 0.3, 2.5737782208928093)])
def test_resolvent(alpha_D, a, value):
    found = MarchenkoPastur().averages(jnp.asarray(1 / a), jnp.asarray(alpha_D)).G / a
    assert found == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("alpha_D", [1e-3, 0.3, 1.0, 4.0, 1e3])
@pytest.mark.parametrize("t", [0.0, 0.2, 30.0])
def test_marchenko_pastur_against_quadrature(alpha_D, t):
    found = MarchenkoPastur().averages(jnp.asarray(t), jnp.asarray(alpha_D))
    np.testing.assert_allclose(found, _quadrature(t, alpha_D), rtol=1e-10, atol=1e-20)


def test_sampled_matrix():
    F = np.random.default_rng(0).normal(size=(300, 600))
    x = np.linalg.eigvalsh(F.T @ F / 300)
    at = (jnp.asarray(2.0), jnp.asarray(0.5))
    np.testing.assert_allclose(Empirical(x).averages(*at), MarchenkoPastur().averages(*at), rtol=0.03)


@pytest.mark.parametrize("alpha_D, x", [(2.0, [1.0, 1.0]), (0.5, [0.0, 2.0])])
def test_orthogonal(alpha_D, x):
    at = (jnp.asarray(1.7), jnp.asarray(alpha_D))
    np.testing.assert_allclose(
        Orthogonal().averages(*at), Empirical(jnp.asarray(x)).averages(*at), rtol=1e-14, atol=1e-30
    )
