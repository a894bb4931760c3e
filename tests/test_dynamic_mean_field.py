"""The dynamics at N = inf: exact first step, networks, published courses, frozen spins."""

import numpy as np
import pytest
from scipy import stats

from replicax.simulation.dynamics import damage_spreading
from replicax.simulation.instances import network_instances
from replicax.theory.dynamic_mean_field import course
from replicax.theory.fixed_point_pairs import damage_map


def test_first_step_is_exact():
    """C(0, 1) = 2 Phi(J_D) - 1, and Q(1) by the map."""
    for J in (0.0, 0.5, 1.2):
        c = course(J, steps=2, q=0.7, paths=20000, repeats=6, key=3)
        assert c.C[0, 1] == pytest.approx(2 * stats.norm.cdf(J) - 1, abs=5 * c.C_err[0, 1])
        assert c.Q[1] == pytest.approx(float(damage_map(0.7, J)), abs=5 * c.Q_err[1])
    without = course(0.0, steps=3, q=0.7, repeats=6)
    expected = [0.7]
    for _ in range(3):
        expected.append(2 / np.pi * np.arcsin(expected[-1]))
    assert np.all(np.abs(without.Q - expected) < 5 * np.maximum(without.Q_err, 1e-3))


def test_published_courses():
    """recurrent_network 3.2, overlap of two copies from 0.9 at t = 1, 3, and 12 where it does not drift with the sample; C(t, t+1) at 1, 4, 11."""
    for J, overlaps, steps in (
        (0.8, (0.744, 0.552, 0.339), (0.771, 0.905, 0.966)),
        (1.5, (0.828, 0.771, 0.740), ()),
    ):
        c = course(J, steps=12, q=0.9)
        np.testing.assert_allclose(c.Q[[1, 3, 12]], overlaps, atol=0.015)
        for t, value in zip((1, 4, 11), steps):
            assert c.C[t, t + 1] == pytest.approx(value, abs=0.005)


def test_networks_follow():
    """N = 800: within 4 standard errors of both, and 0.03 for the finite size, while the one-step map is far off."""
    c = course(1.0, steps=10, q=0.9)
    seen = damage_spreading(network_instances(N=800, samples=6, key=2), J_D=1.0, q=0.9, steps=10)
    error = np.hypot(c.Q_err, seen.std(0, ddof=1) / np.sqrt(6))
    assert np.all(np.abs(seen.mean(0) - c.Q) < 4 * error + 0.03)
    q = 0.9
    for _ in range(10):
        q = float(damage_map(q, 1.0))
    assert q < 0.1 < 0.4 < c.Q[10]


def test_frozen_and_equal_copies():
    still = course(6.0, steps=8, q=0.5, paths=2000)
    assert np.all(still.C == 1.0) and np.all(still.Q == still.Q[0])
    assert np.all(course(0.3, steps=8, q=1.0, paths=2000).Q == 1.0)
    np.testing.assert_allclose(course(0.3, steps=8, q=-1.0, paths=2000).Q, -1.0)
    with pytest.raises(ValueError, match="q = 2"):
        course(0.3, steps=2, q=2.0)
    with pytest.raises(ValueError, match="steps = 0"):
        course(0.3, steps=0)
