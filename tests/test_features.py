"""Gaussian equivalence of activations, against closed forms, mpmath and finite differences."""

import math

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from replicax.vocabulary.features import (
    NAMED,
    Activation,
    apply,
    as_activation,
    check_activation,
    coefficients,
)

PI = math.pi
#: activation, mu0, mu1, mustar: closed forms; tanh from mpmath with 30 digits
CLOSED = [
    ("identity", 0.0, 1.0, 0.0),
    ("sign", 0.0, math.sqrt(2 / PI), math.sqrt(1 - 2 / PI)),
    ("relu", 1 / math.sqrt(2 * PI), 0.5, math.sqrt(1 / 4 - 1 / (2 * PI))),
    ("erf", 0.0, 2 / math.sqrt(3 * PI), math.sqrt(2 / PI * math.asin(2 / 3) - 4 / (3 * PI))),
    ("tanh", 0.0, 0.6057055096021589, 0.16557574108374165),
]


def _step(g):
    return jnp.where(g > 1 / 3, 1.0, -1.0)


@pytest.mark.parametrize("name, mu0, mu1, mustar", CLOSED, ids=[row[0] for row in CLOSED])
def test_closed_forms(name, mu0, mu1, mustar):
    np.testing.assert_allclose(coefficients(name), (mu0, mu1, mustar), rtol=0, atol=1e-14)


def test_gelu_against_mpmath():
    with mpmath.workdps(25):
        mean = lambda f: mpmath.quad(lambda g: f(g) * mpmath.npdf(g), [-14, -4, -1, 1, 4, 14])
        s = lambda g: g * mpmath.ncdf(g)
        mu0, mu1 = mean(s), mean(lambda g: g * s(g))
        mustar = mpmath.sqrt(mean(lambda g: (s(g) - mu0 - mu1 * g) ** 2))
    np.testing.assert_allclose(coefficients("gelu"), [float(x) for x in (mu0, mu1, mustar)], atol=1e-14)


def test_function_of_the_user():
    expected = (0.0, 1 / math.sqrt(PI), math.sqrt(1 / 3 - 1 / PI))
    found = coefficients(lambda g: jax.scipy.special.erf(g / math.sqrt(2)))
    np.testing.assert_allclose(found, expected, atol=1e-13)


def test_a_step_is_found():
    mu0 = math.erfc(1 / 3 / math.sqrt(2)) - 1
    mu1 = math.sqrt(2 / PI) * math.exp(-1 / 18)
    np.testing.assert_allclose(
        coefficients(_step), (mu0, mu1, math.sqrt(1 - mu0**2 - mu1**2)), rtol=0, atol=1e-13
    )


class _Slope(Activation):
    """tanh(a g)."""

    a: jax.Array

    def __call__(self, g):
        return jnp.tanh(self.a * g)


def test_shape_is_differentiable():
    of = lambda a: jnp.stack(coefficients(_Slope(a)))
    a, step = jnp.asarray(1.3), 1e-5
    np.testing.assert_allclose(of(jnp.asarray(1.0)), coefficients("tanh"), atol=1e-14)
    slope = jax.jit(jax.jacfwd(of))(a)
    np.testing.assert_allclose(slope, (of(a + step) - of(a - step)) / (2 * step), atol=1e-9)


def test_arrays_of_shapes_are_a_batch():
    shapes = jnp.array([[0.5, 1.0, 2.0]])
    batch = coefficients(_Slope(shapes))
    for i, a in enumerate(shapes[0]):
        np.testing.assert_array_equal([x[0, i] for x in batch], coefficients(_Slope(a)))
    with pytest.raises(ValueError, match="mu1 = mu"):
        check_activation(_Slope(jnp.array([1.0, 0.0])))


def test_names_survive_transformations():
    name = as_activation("sign")
    assert jax.tree.leaves(name) == [] and jax.tree.map(lambda x: x, name) == "sign"
    assert jax.jit(lambda x: coefficients(name).mu1 * x)(2.0) == pytest.approx(2 * math.sqrt(2 / PI))


@pytest.mark.parametrize("name", NAMED)
def test_apply_is_the_function(name):
    g = jnp.linspace(-2, 2, 5)
    np.testing.assert_allclose(apply(name, g), NAMED[name][0](g))


@pytest.mark.parametrize(
    "bad, words",
    [
        (lambda g: 0.0 * g + 3.0, "mu1 = mu"),
        (lambda g: jnp.sum(g), "elementwise"),
        (lambda g: 1 / jnp.where(g > 1, 0.0, 1.0), "not finite"),
    ],
)
def test_useless_activations_are_refused(bad, words):
    with pytest.raises(ValueError, match=words):
        check_activation(as_activation(bad))
