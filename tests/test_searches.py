"""Searches for fixed points beside the dynamics: what they return, their budgets, and who is better."""

import numpy as np
import pytest

import replicax as rx
from replicax.simulation.dynamics import sequential
from replicax.simulation.instances import network_instances
from replicax.simulation.network_messages import reinforced_messages
from replicax.simulation.searches import (
    _log_satisfied,
    entropic_greedy,
    greedy,
    replicated_dynamics,
    stochastic_spins,
)

SEARCHES = (greedy, entropic_greedy, replicated_dynamics, stochastic_spins)


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("couplings", ["pm1", "gaussian"])
def test_solved_means_fixed_point(search, couplings):
    instances = network_instances(N=14, samples=16, couplings=couplings, key=3)
    found = search(instances, J_D=0.6, sweeps=50, key=2)
    J = instances.couplings / (instances.scale * np.sqrt(14))
    delta = 0.6 + found.s * np.einsum("sij,sj->si", J, found.s)
    assert np.all(delta[found.solved] > -1e-9) and np.all((delta[~found.solved] < 1e-9).any(1))
    assert found.solved.any() and np.all(found.steps <= found.budget) and found.budget <= 50
    again = search(instances, J_D=0.6, sweeps=50, key=2)
    assert np.array_equal(found.s, again.s)


def test_likelihood_of_smoothed_states():
    """Against the fraction of satisfied spins in samples: s_i flipped independently, N = 400."""
    rng, N, p, J_D = np.random.default_rng(2), 400, 0.8, 0.5
    J = rng.standard_normal(N) / np.sqrt(N)
    for own in (1.0, -1.0):
        mean = 0.35 * p  # the spins lean so that the field has this mean
        s = np.sign(J) * np.where(rng.random((20000, N)) < 0.5 * (1 + mean / np.abs(J).sum()), 1, -1)
        spin = np.where(rng.random(20000) < 0.5 * (1 + own * p), 1, -1)
        seen = np.mean(J_D + spin * (s @ J) > 0)
        sigma = np.sqrt(np.sum(J**2))
        exact = float(np.exp(_log_satisfied(own * p, mean, sigma, J_D)))
        assert seen == pytest.approx(exact, abs=4 * 0.5 / np.sqrt(20000) + 2e-3)


def test_who_is_better():
    """+-1 couplings, N = 80, J_D = 0.5, 300 sweeps: nearly all but greedy descent succeed."""
    instances = network_instances(N=80, samples=16, couplings="pm1", key=2)
    rate = lambda search, **how: search(instances, J_D=0.5, sweeps=300, **how).statistics()["solved"].mean
    assert rate(greedy) < 0.3
    for search in (sequential, reinforced_messages, entropic_greedy, replicated_dynamics, stochastic_spins):
        assert rate(search) >= 0.8, search


def test_budget_of_copies():
    """Copies share the sweeps."""
    instances = network_instances(N=30, samples=8, key=1)
    found = replicated_dynamics(instances, J_D=0.05, copies=4, sweeps=41)
    assert found.budget == 40 and np.all(found.steps % 4 == 0) and found.steps.max() == 40


def test_faces_of_searches():
    model = rx.RecurrentNetwork(J_D=0.8)
    for name in ("greedy", "entropic-greedy", "replicated-dynamics", "stochastic-spins"):
        runs = rx.simulate(model, name, N=20, samples=4, sweeps=20)
        assert {"solved", "steps", "energy", "stability", "budget"} <= set(runs)
    with pytest.raises(ValueError, match="field"):
        rx.simulate(rx.RecurrentNetwork(J_D=0.8, field=0.2), "greedy", N=20)
    with pytest.raises(ValueError, match="sweeps"):
        rx.simulate(model, "replicated-dynamics", N=20, copies=5, sweeps=4)
