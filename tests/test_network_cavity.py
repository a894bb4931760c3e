"""Belief propagation for fixed points of one network: enumeration, stationarity of the Bethe entropy, quenched averages by hand."""

import numpy as np
import pytest
from scipy.special import log_ndtr, logsumexp

import replicax as rx
from replicax.simulation.fixed_points import list_fixed_points
from replicax.simulation.instances import network_instances
from replicax.simulation.network_cavity import count_around, network_belief_propagation


def test_all_fixed_points_of_a_network():
    """f = 0: N log 2 + sum_j log Phi(J_D/|J_j|), messages zero."""
    instances = network_instances(N=30, samples=3, key=1)
    run = network_belief_propagation(instances, J_D=0.7)
    rows = instances.couplings / (instances.scale * np.sqrt(30))
    expected = np.log(2.0) + log_ndtr(0.7 / np.sqrt((rows**2).sum(2))).mean(1)
    np.testing.assert_allclose(run.phi, expected, atol=1e-12)
    assert run.converged.all() and np.abs(run.magnetisation).max() < 1e-12


def test_bethe_entropy_is_stationary():
    """d phi/d(strength) = m . reference/N at a solution, by differences: up to O(1/N), fields being Gaussian with and without a spin."""
    instances = network_instances(N=40, samples=3, couplings="pm1", key=2)
    reference = np.random.default_rng(0).choice([-1.0, 1.0], (3, 40))
    run = lambda f: network_belief_propagation(instances, J_D=0.6, field=f * reference, tol=1e-12)
    e = 1e-4
    slope = (run(0.6 + e).phi - run(0.6 - e).phi) / (2 * e)
    here = run(0.6)
    np.testing.assert_allclose(slope, (here.magnetisation * reference).mean(1), atol=2e-3)
    np.testing.assert_allclose(here.entropy, here.phi - 0.6 * slope, atol=2e-3)


@pytest.mark.parametrize("strength", [0.3, 1.0])
def test_fixed_points_around_one_against_enumeration(strength):
    """N = 16, J_D = 1, around one of all fixed points: (1/N) log sum exp(f . s) of every network, up to O(1/N), and less on average."""
    instances = network_instances(N=16, samples=16, key=3)
    points = [p.astype(float) for p in list_fixed_points(instances, J_D=1.0)]
    reference = np.stack([p[len(p) // 3] for p in points])
    run = network_belief_propagation(instances, J_D=1.0, field=strength * reference)
    exact = np.array([logsumexp(strength * (p @ r)) / 16 for p, r in zip(points, reference)])
    assert run.converged.all()
    assert np.abs(run.phi - exact).max() < 0.08 and abs((run.phi - exact).mean()) < 0.025
    weights = [np.exp(strength * (p @ r)) for p, r in zip(points, reference)]
    overlap = [w @ p @ r / w.sum() / 16 for w, p, r in zip(weights, points, reference)]
    assert abs(np.mean((run.magnetisation * reference).mean(1) - overlap)) < 0.06


@pytest.mark.slow
def test_fixed_points_around_a_random_state():
    """The quenched replica-symmetric average of log sum exp(f . s), from an integral of one's own: at strength 1, J_D = 0.6, phi = 0.7457062
    and d = 0.1967661 (the annealed average has 0.8062 and 0.1192)."""
    found = rx.simulate(rx.RecurrentNetwork(J_D=0.6), "bp", N=200, samples=8, strength=1.0, around="random")
    assert found["phi"].mean == pytest.approx(0.7457062, abs=4 * found["phi"].error)
    assert found["d"].mean == pytest.approx(0.1967661, abs=4 * found["d"].error)
    assert found["phi"].error < 0.012 and found["d"].error < 0.008


def test_neighbours_of_what_is_found():
    """A found fixed point has more neighbours than a typical one."""
    network = network_instances(N=100, samples=6, couplings="pm1", key=5)
    numbers = count_around(network, J_D=0.6, strength=1.0)
    typical = rx.solve(rx.RecurrentNetwork(J_D=0.6), rx.Pair(d=numbers["d"].mean)).entropy
    assert numbers["solved"].mean == 1.0 and numbers["entropy"].mean > float(typical) + 0.01
    with pytest.raises(ValueError, match="around"):
        count_around(network, J_D=0.6, around="nothing")
    with pytest.raises(ValueError, match="field"):
        rx.simulate(rx.RecurrentNetwork(J_D=0.6, field=0.1), "bp", N=20)
