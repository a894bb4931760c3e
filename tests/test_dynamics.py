"""Dynamics of recurrent networks against enumeration, theorems on cycles, and published success rates; rate networks against mean field."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import ndtr

import replicax as rx
import replicax.simulation.network_messages as messages
from replicax.simulation.dynamics import (
    damage_spreading,
    integrate,
    parallel,
    sequential,
)
from replicax.simulation.fixed_points import enumerate_violations
from replicax.simulation.instances import network_instances
from replicax.simulation.network_messages import reinforced_messages
from replicax.theory.fixed_point_pairs import damage_map
from replicax.top.figures import figure

SEARCHES = pytest.mark.parametrize("search", [parallel, sequential, reinforced_messages])


@SEARCHES
@pytest.mark.parametrize("couplings", ["pm1", "gaussian"])
def test_what_is_found_is_a_fixed_point_and_exists(search, couplings):
    instances = network_instances(N=12, samples=30, couplings=couplings, key=3)
    found = search(instances, J_D=0.2, key=1)
    J = instances.couplings / (instances.scale * np.sqrt(12))
    delta = 0.2 + found.s * np.einsum("sij,sj->si", J, found.s)
    assert np.all(delta[found.solved] > -1e-9) and np.all((delta[~found.solved] < 1e-9).any(1))
    np.testing.assert_allclose(found.stability, delta.mean(1), atol=1e-6)
    number = enumerate_violations(instances, J_D=0.2).number[:, 0]
    assert found.solved.any() and not np.any(found.solved & (number == 0))


def test_cycles_of_parallel_dynamics():
    """Without self-coupling: antisymmetric couplings give cycles only, symmetric ones fixed points or cycles of two.

    Goles-Chacc, Fogelman-Soulie & Pellegrin, Discrete Appl. Math. 12 (1985) 261.
    """
    odd = parallel(network_instances(N=25, samples=20, eta=-1.0, key=5), J_D=0.0)
    assert not odd.solved.any() and np.all(odd.steps < odd.budget)
    even = parallel(network_instances(N=40, samples=20, eta=1.0, key=5), J_D=0.0).statistics()
    assert even["solved"].mean + even["cycles"].mean == pytest.approx(1.0)


def test_success_of_searches():
    """recurrent_network 3.3 and 5, +-1 couplings, N = 100: all solved at J_D = 0.6; messages mostly at 0.4."""
    easy = rx.RecurrentNetwork(J_D=0.6, couplings="pm1")
    for algorithm in ("parallel", "sequential"):
        runs = rx.simulate(easy, algorithm, N=100, samples=20)
        assert runs["solved"].mean >= 0.9
        assert runs["stability"].mean == pytest.approx(1.28, abs=0.1)
    hard = rx.RecurrentNetwork(J_D=0.4, couplings="pm1")
    assert rx.simulate(hard, "fbp", N=100, samples=8)["solved"].mean >= 0.6
    with pytest.raises(ValueError, match="beta = 1"):
        rx.simulate(rx.RecurrentNetwork(J_D=0.4, beta=1.0), "parallel")


def test_polarisations_of_messages():
    """The polynomial and the error functions of float32 against the formula in float64, where each is used."""
    rng = np.random.default_rng(0)
    n, N = 3000, 40
    M, c, unit, p = (
        rng.normal(0, 4, n),
        rng.exponential(1.5, n),
        10 ** rng.uniform(-2, 0, n),
        rng.random(n).round(1),
    )
    w, m = rng.normal(size=(n, N)), np.clip(rng.normal(size=(n, N)), -1, 1)
    at = messages.Field(*(jnp.asarray(x[:, None]) for x in (M, c, unit, p)))
    hard = np.asarray(messages.difficulty(at, np.abs(w).max(1, keepdims=True)))[:, 0]
    assert np.all(np.bincount(hard) > 20)
    A, v = M[:, None] - w * m * unit[:, None], w * unit[:, None]
    F = lambda A: p[:, None] * ndtr(c[:, None] + A) + (1 - p[:, None]) * ndtr(c[:, None] - A)
    exact = (F(A + v) - F(A - v)) / (F(A + v) + F(A - v))
    for rule, numbers, top, error in (
        (messages.near_polarisations, np.float64, 0, 1e-7),
        (messages.near_polarisations, np.float32, 0, 5e-6),
        (messages.polarisations, np.float32, 1, 2e-5),
        (messages.polarisations, np.float64, 2, 1e-12),
    ):
        found = rule(at, jnp.asarray(w, numbers), jnp.asarray(m, numbers))
        assert found.dtype == numbers
        np.testing.assert_allclose(found[hard <= top], exact[hard <= top], rtol=0, atol=error)


def test_rate_networks_in_time():
    """Quiet below g = 1; chaos of the variance of mean field above (finite N lowers it)."""
    quiet = rx.simulate(rx.RateNetwork(g=0.5), "integrate", N=200, samples=2, time=40.0)
    assert quiet["Delta0"].mean < 1e-12 and quiet["lyapunov"].mean == pytest.approx(-0.5, abs=0.1)
    chaos = integrate(g=2.0, N=300, samples=2, time=60.0, warmup=40.0)
    assert chaos["Delta0"].mean == pytest.approx(1.9248, rel=0.12)
    assert chaos["tanh2"].mean == pytest.approx(0.5132, rel=0.06)
    assert 0.0 < chaos["lyapunov"].mean < 0.14


def test_damage_spreading():
    """The exact first step: published figures of the map, f = (2/pi) asin q without self-coupling, and networks within 4 sigma."""
    assert float(damage_map(0.5, 0.5)) == pytest.approx(0.3365853000, abs=1e-10)
    assert float(damage_map(0.9, 0.8)) == pytest.approx(0.7453848454, abs=1e-10)
    assert float(damage_map(-0.3, 0.0)) == pytest.approx(2 / np.pi * np.arcsin(-0.3), abs=1e-13)
    course = damage_spreading(network_instances(N=400, samples=16, key=2), J_D=0.7, q=0.6, steps=2)
    expected = np.array([float(damage_map(q, 0.7)) for q in course[:, 0]])
    deviation = course[:, 1] - expected
    assert abs(deviation.mean()) < 4 * deviation.std(ddof=1) / 4.0
    np.testing.assert_allclose(deviation, 0.0, atol=0.25)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "fixed-points",
        "damage-spreading",
        "liquid-entropy",
        "solvers",
        "rate-chaos",
        "liquid-code",
        "fixed-point-geometry",
    ],
)
def test_figures_of_networks(name, tmp_path):
    image, table = figure(name, tmp_path, quick=True)
    assert image.stat().st_size > 10_000 and table.stat().st_size > 500
