"""Roots followed along a deformation: from place to place, what lies between, and where there are no more."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from replicax.numerics.homotopy import between, follow, walk

PLACES = jnp.linspace(0.0, 3.0, 7)


def circle(x, t):
    """x_0 = cos t, x_1 = t x_0; seen: x_1 and x_0^2."""
    return jnp.stack([x[0] - jnp.cos(t), x[1] - t * x[0]]), (x[1], x[0] ** 2)


def test_a_walk_finds_the_roots_and_what_is_seen_there():
    found = walk(circle, jnp.array([0.9, 0.1]), PLACES, tol=1e-3)
    t = np.asarray(PLACES)
    assert np.all(found.found)
    np.testing.assert_allclose(found.x, np.stack([np.cos(t), t * np.cos(t)], 1), atol=1e-12)
    np.testing.assert_allclose(found.seen[0], t * np.cos(t), atol=1e-12)
    np.testing.assert_allclose(found.seen[1], np.cos(t) ** 2, atol=1e-6)


def test_a_walk_takes_a_place_on_the_way_where_newton_fails():
    """x = tanh(20 (t - 1)) turns between two places: beyond |x| = 1 arctanh x = 20 (t - 1) has no Newton steps."""
    root = lambda x, t: (jnp.arctanh(x) - 20.0 * (t - 1.0), x[0])
    places = jnp.array([0.9, 0.95, 1.08, 1.1])
    found = walk(root, jnp.array([-0.96]), places, tol=1e-3)
    assert np.all(found.found)
    np.testing.assert_allclose(found.seen, np.tanh(20 * (np.asarray(places) - 1)), atol=1e-6)


def test_a_walk_ends_where_there_are_no_more_roots():
    """x^2 = 1.2 - t: the branch turns back at t = 1.2; the number of evaluations is bounded."""
    root = lambda x, t: (x**2 - 1.2 + t, x[0])
    found = walk(root, jnp.array([1.0]), PLACES, tol=1e-6)
    assert list(np.asarray(found.found)) == [True, True, True, False, False, False, False]
    np.testing.assert_allclose(found.seen[:3], np.sqrt(1.2 - np.asarray(PLACES)[:3]), atol=1e-9)


@pytest.mark.parametrize("start", [jnp.nan, 1e300])
def test_a_walk_without_a_first_root_is_over(start):
    found = walk(lambda x, t: (x**2 + 1.0 + t, x[0]), jnp.array([start]), PLACES, tol=1e-6)
    assert not np.any(found.found)


def test_a_walk_may_be_skipped_in_a_batch():
    skip = jnp.array([True, False])
    found = jax.vmap(lambda s: walk(circle, jnp.array([0.9, 0.1]), PLACES, tol=1e-3, skip=s))(skip)
    assert not np.any(found.found[0]) and np.all(found.found[1])


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("turn", [0.9, 1.24, 1.4])
def test_two_zeros_between_two_places_are_seen(sign, turn):
    """(t - turn)^2 - 1e-4 and its mirror image have no sign change between the places 0, 0.5, .., but between those `between` adds."""
    root = lambda x, t: (x - t**2, sign * (x[0] - 2.0 * turn * t + turn**2 - 1e-4))
    places = jnp.linspace(0.0, 3.0, 7)
    found = walk(root, jnp.array([0.0]), places, tol=1e-6)
    assert np.all(sign * np.asarray(found.seen) > 0)
    more, dense = between(places, found, lambda seen: seen)
    values = sign * np.asarray(dense.seen)
    assert np.sum(values < 0) == 1 and abs(more[int(np.argmin(values))] - turn) < 1e-9
    np.testing.assert_allclose(more[::2], places)
    np.testing.assert_allclose(dense.x[2:-2, 0], np.asarray(more)[2:-2] ** 2, atol=1e-9)
    assert np.all(np.diff(np.asarray(more)) > 0) and np.all(dense.found)


def test_nothing_is_known_beside_a_place_that_was_not_reached():
    root = lambda x, t: (x**2 - 1.2 + t, x[0])
    found = walk(root, jnp.array([1.0]), PLACES, tol=1e-6)
    more, dense = between(PLACES, found, lambda seen: seen)
    assert list(np.asarray(dense.found)) == [True] * 5 + [False] * 8
    np.testing.assert_allclose(more[5], 1.25)


def test_following_a_root_past_a_bad_start():
    """arctan(50 x) = t (pi/2 - .02): Newton from 0 diverges at t = 1."""
    root = follow(lambda x, t: jnp.arctan(50.0 * x) - t * (0.5 * jnp.pi - 0.02), jnp.zeros(1), tol=1e-12)
    assert root.converged
    np.testing.assert_allclose(root.x[0], np.tan(0.5 * np.pi - 0.02) / 50, rtol=1e-9)
