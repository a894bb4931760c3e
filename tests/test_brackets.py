"""Bracketed roots: against scipy, optimistix and closed forms; implicit derivatives; flags."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize
from scipy.special import lambertw

from replicax.numerics.brackets import bracketed_root, halved, rising_root

# name, f, lo, hi: smooth, flat, steep, badly scaled, falling, reversed bracket
CATALOGUE = [
    ("cosine", lambda x: jnp.cos(x) - x, 0.0, 1.0),
    ("cubic", lambda x: x**3 - 2 * x - 5, 2.0, 3.0),
    ("cubic, reversed bracket", lambda x: x**3 - 2 * x - 5, 3.0, 2.0),
    ("falling", lambda x: 2.0 - jnp.exp(x), -4.0, 9.0),
    ("steep", lambda x: jnp.expm1(40 * (x - 0.9)), -1.0, 1.0),
    ("sigmoid", lambda x: jnp.tanh(300 * (x - 0.123456789)), -7.0, 11.0),
    ("flat at one end", lambda x: x**11 - 0.5, 0.0, 4.0),
    ("ninth power", lambda x: (x - 0.3) ** 9, -1.0, 2.1),
    ("small root", lambda x: jnp.log(x) + 30.0, 1e-20, 1.0),
    ("large root", lambda x: x**2 - 1e12, 0.0, 1e9),
    ("huge values", lambda x: 1e200 * (x**2 - 2), 0.0, 5.0),
    ("infinite end", lambda x: jnp.log(x), 0.0, 3.0),
]


@pytest.mark.parametrize("name, f, lo, hi", CATALOGUE, ids=[c[0] for c in CATALOGUE])
def test_catalogue_against_brentq(name, f, lo, hi):
    answer = jax.jit(lambda: bracketed_root(f, lo, hi, tol=1e-26))()
    if name == "infinite end":
        expected = 1.0
    else:
        expected = optimize.brentq(lambda x: float(f(x)), lo, hi, xtol=1e-27, rtol=1e-15, maxiter=1000)
    assert answer.converged
    accuracy = 1e-13 if name != "ninth power" else 1e-10
    np.testing.assert_allclose(answer.value, expected, rtol=accuracy)
    scale = max(abs(float(f(lo))), 1.0) if np.isfinite(f(lo)) else 1.0
    np.testing.assert_allclose(answer.residual, f(answer.value), atol=1e-14 * scale, rtol=0)
    assert answer.steps <= 80


def test_against_optimistix():
    optimistix = pytest.importorskip("optimistix")

    def f(x, c):
        return jnp.exp(x) * x - c

    for c in (0.3, 2.0, 50.0):
        c = jnp.asarray(c)
        newton = optimistix.root_find(f, optimistix.Newton(1e-12, 1e-12), jnp.asarray(1.0), c)
        answer = bracketed_root(f, 0.0, 10.0, c)
        np.testing.assert_allclose(answer.value, newton.value, rtol=1e-12)


def test_a_thousand_at_once():
    generator = np.random.default_rng(0)
    c = jnp.asarray(np.exp(generator.uniform(-8, 8, 1000)))  # w e^w = c
    lo, hi = jnp.zeros(1000), 1.0 + jnp.log1p(c)
    swap = jnp.arange(1000) % 2 == 0
    lo, hi = jnp.where(swap, hi, lo), jnp.where(swap, lo, hi)
    answer = jax.jit(jax.vmap(lambda a, b, c: bracketed_root(lambda w: w * jnp.exp(w) - c, a, b)))(lo, hi, c)
    assert answer.converged.all()
    np.testing.assert_allclose(answer.value, lambertw(c).real, rtol=1e-13, atol=2e-15)
    assert answer.steps.max() <= 30
    assert answer.steps.dtype == jnp.float64
    # one lane alone takes exactly as many steps: finished lanes stand still
    alone = bracketed_root(lambda w: w * jnp.exp(w) - c[7], lo[7], hi[7])
    assert alone.steps == answer.steps[7]


def test_root_at_an_end_counts():
    for lo, hi in ((0.0, 2.0), (-2.0, 0.0), (0.0, 0.0)):
        answer = bracketed_root(lambda x: jnp.sin(x), lo, hi)
        assert answer.converged and answer.value == 0.0 and answer.steps == 0.0


def test_what_is_not_a_root_is_flagged():
    solve = jax.jit(lambda shift: bracketed_root(lambda x: x**2 + shift, 0.5, 3.0))
    none = solve(1.0)
    assert not none.converged and jnp.isnan(none.value) and none.residual == 1.25 and none.steps == 0
    assert not solve(jnp.nan).converged and jnp.isnan(solve(jnp.nan).value)
    assert solve(-4.0).converged
    pole = bracketed_root(lambda x: 1 / (x - 0.3), -1.0, 1.0)
    assert not pole.converged and jnp.isnan(pole.value)
    hole = bracketed_root(lambda x: jnp.where(jnp.abs(x) < 0.5, jnp.nan, x), -1.0, 1.0)
    assert not hole.converged and jnp.isnan(hole.value)
    hurried = bracketed_root(lambda x: jnp.cos(x) - x, 0.0, 1.0, max_steps=2)
    assert not hurried.converged and jnp.isnan(hurried.value) and hurried.steps == 2
    with pytest.raises(ValueError, match="scalars"):
        bracketed_root(lambda x: x, jnp.zeros(3), jnp.ones(3))


def lambert(c):
    """W(c): W' = W/(c (1 + W)), W'' = - W^2 (2 + W)/(c^2 (1 + W)^3)."""
    return bracketed_root(lambda w, c: w * jnp.exp(w) - c, 0.0, 5.0, c).value


def test_derivatives_to_third_order():
    c = jnp.asarray(1.7)
    w = lambert(c)
    first, second = w / (c * (1 + w)), -(w**2) * (2 + w) / (c**2 * (1 + w) ** 3)
    modes = (jax.grad, jax.jacfwd)
    once = jax.jit(lambda c: [d(lambert)(c) for d in modes])(c)
    np.testing.assert_allclose(once, [first] * 2, rtol=1e-13)
    twice = jax.jit(lambda c: [dd(d(lambert))(c) for d in modes for dd in modes])(c)
    np.testing.assert_allclose(twice, [second] * 4, rtol=1e-12)
    difference, step = jax.jit(jax.grad(jax.grad(lambert))), 1e-4
    third = jax.jit(jax.grad(jax.grad(jax.grad(lambert))))(c)
    np.testing.assert_allclose(third, (difference(c + step) - difference(c - step)) / (2 * step), rtol=1e-6)
    batch = jnp.linspace(0.1, 4.0, 17)
    w = jax.vmap(lambert)(batch)
    np.testing.assert_allclose(jax.vmap(jax.grad(lambert))(batch), w / (batch * (1 + w)), rtol=1e-12)
    np.testing.assert_allclose(jax.grad(lambda b: jax.vmap(lambert)(b).sum())(batch), w / (batch * (1 + w)))


def test_derivatives_through_a_closure_of_several_parameters():
    def root(theta):
        quadratic = lambda x: theta["a"] * x**2 + theta["b"][0] * x + theta["b"][1]
        return bracketed_root(quadratic, 0.0, 10.0).value

    theta = {"a": jnp.asarray(1.5), "b": jnp.asarray([0.7, -3.0])}
    a, (b, c) = 1.5, (0.7, -3.0)
    x = (-b + np.sqrt(b * b - 4 * a * c)) / (2 * a)
    slope = 2 * a * x + b
    for derivative in (jax.grad(root), jax.jacfwd(root)):
        got = derivative(theta)
        np.testing.assert_allclose(got["a"], -(x**2) / slope, rtol=1e-13)
        np.testing.assert_allclose(got["b"], [-x / slope, -1 / slope], rtol=1e-13)
    hessian = jax.jit(jax.hessian(root))(theta)
    mixed = hessian["b"]["b"]
    np.testing.assert_allclose(mixed, mixed.T, rtol=1e-12)
    # x_cc = - 2 a / slope^3
    np.testing.assert_allclose(mixed[1, 1], -2 * a / slope**3, rtol=1e-12)


def test_ends_carry_no_derivative_and_stats_are_harmless():
    def all_of_it(lo, c):
        answer = bracketed_root(lambda x: x**2 - c, lo, 3.0)
        return answer.value + answer.residual + answer.steps

    d_lo, d_c = jax.grad(all_of_it, argnums=(0, 1))(0.1, 2.0)
    assert d_lo == 0.0
    np.testing.assert_allclose(d_c, 0.5 / np.sqrt(2.0), rtol=1e-13)


def test_a_lane_without_a_root_does_not_poison_the_gradient():
    def total(scale):
        c = jnp.asarray([2.0, -1.0, 3.0])
        answer = jax.vmap(lambda c: bracketed_root(lambda x: x**2 - scale * c, 0.0, 3.0))(c)
        return jnp.where(answer.converged, answer.value, 0.0).sum()

    np.testing.assert_allclose(jax.grad(total)(1.0), (np.sqrt(2) + np.sqrt(3)) / 2, rtol=1e-13)


def test_many_rising_roots():
    """Newton's method alone leaves arctan and creeps along a cube; a root at an end counts."""
    shift = jnp.linspace(-2.9, 3.0, 60)
    arctan = lambda x: (jnp.arctan(30.0 * (x - shift)), 30.0 / (1.0 + (30.0 * (x - shift)) ** 2))
    np.testing.assert_allclose(rising_root(arctan, -3.0 + 0 * shift, 3.0 + 0 * shift), shift, atol=1e-13)
    cube = lambda x: ((x - shift) ** 3, 3.0 * (x - shift) ** 2)
    np.testing.assert_allclose(rising_root(cube, -5.0 + 0 * shift, 9.0 + 0 * shift), shift, atol=1e-5)
    np.testing.assert_allclose(
        halved(lambda x: x**3 - shift**3, -5.0 + 0 * shift, 9.0 + 0 * shift), shift, atol=1e-14
    )
