"""Pairs of fixed points at finite N, and states near and between fixed points: enumeration, scipy, brute force."""

import numpy as np
import pytest
from scipy import integrate, special, stats

import replicax as rx
from replicax.simulation.fixed_points import list_fixed_points
from replicax.simulation.instances import network_instances
from replicax.simulation.landscape import distances, near, partners, paths, violated_spins
from replicax.theory.fixed_point_pairs import violated_between, violated_near


def test_pairs_at_finite_N():
    """recurrent_network 1.3 and 1.2: log E[pairs], and the second moment against the first; any d between 1/N and 1."""
    model = rx.RecurrentNetwork(J_D=0.3, N=16)
    total = 16 * (float(rx.solve(model, rx.Pair(d=0.25)).entropy) + float(rx.solve(model).phi))
    assert total == pytest.approx(4.383289854, abs=1e-9)
    for J, ratio in ((0.3, 1.1566082823), (1.0, 1.0569215190)):
        N = 400
        model = rx.RecurrentNetwork(J_D=J, N=N)
        partners = rx.solve(model, rx.Pair(d=np.arange(1, N + 1) / N)).entropy
        second = np.log(np.sum(np.exp(N * np.asarray(partners)))) - N * float(rx.solve(model).phi)
        assert np.exp(second) == pytest.approx(ratio, rel=2e-2)
    far = rx.solve(rx.RecurrentNetwork(J_D=0.3, N=10**6), rx.Pair(d=0.2)).entropy
    assert float(far) == pytest.approx(
        float(rx.solve(rx.RecurrentNetwork(J_D=0.3), rx.Pair(d=0.2)).entropy), abs=2e-5
    )


def test_pairs_at_finite_N_and_temperature():
    """scipy's bivariate normal, weights exp(-2 beta) of violated spins."""
    N, k, beta, J = 9, 3, 0.6, 0.7
    a, u = np.exp(-2 * beta), J * np.sqrt(N / (N - 1))
    one = a + (1 - a) * stats.norm.cdf(u)

    def both(q):
        p = stats.multivariate_normal(cov=[[1, q], [q, 1]]).cdf([u, u])
        return a * a + 2 * a * (1 - a) * stats.norm.cdf(u) + (1 - a) ** 2 * p

    log = np.log(special.comb(N, k)) - N * np.log(one)
    log += (N - k) * np.log(both((N - 2 * k - 1) / (N - 1))) + k * np.log(both((2 * k - 1 - N) / (N - 1)))
    answer = rx.solve(rx.RecurrentNetwork(J_D=J, N=N, beta=beta), rx.Pair(d=k / N))
    assert float(answer.entropy) == pytest.approx(log / N, abs=1e-9)


@pytest.fixture(scope="module")
def small():
    instances = network_instances(N=12, samples=150, key=8)
    return instances, list_fixed_points(instances, J_D=0.6)


def test_partners_of_enumerated_fixed_points(small):
    counts = partners(small[1], 12)
    number = np.array([len(p) for p in small[1]])
    assert np.array_equal(counts.sum(1), number**2) and np.array_equal(counts[:, 0], number)
    exact = 12 * np.asarray(
        rx.solve(rx.RecurrentNetwork(J_D=0.6, N=12), rx.Pair(d=np.arange(1, 12) / 12)).entropy
    )
    ratio = counts.sum(0)[1:12] / number.sum() / np.exp(exact)
    influence = (counts[:, 1:12] - number[:, None] * counts.sum(0)[1:12] / number.sum()) / number.mean()
    error = influence.std(0, ddof=1) / np.sqrt(150) / np.exp(exact)
    assert np.all(np.abs(ratio - 1) < 4 * error) and np.all(error < 0.2)


def test_violated_spins_near_fixed_points(small):
    k = np.array([0, 1, 3, 6, 12])
    mean, error = near(*small, k, J_D=0.6)
    exact = np.asarray(violated_near(k / 12, 0.6, 12))
    np.testing.assert_allclose(exact[[0, -1]], 0.0, atol=1e-12)
    assert np.all(np.abs(mean - exact) <= 4 * error + 1e-12) and mean[0] == mean[-1] == 0.0
    assert float(violated_near(0.5, 0.6)) == pytest.approx(stats.norm.sf(0.6), abs=1e-12)


@pytest.mark.parametrize(("x", "J"), [(0.03, 0.6), (0.7, 1.2)])
def test_violated_spins_between_fixed_points_against_scipy(x, J):
    def g(a, b):
        f = lambda v, u: (
            stats.norm.pdf(u)
            * stats.norm.pdf(v)
            * special.ndtr((J + a * u + b * v) / np.sqrt(1 - a * a - b * b))
        )
        return integrate.dblquad(f, -J, 9, -J, 9, epsabs=1e-9)[0] / stats.norm.cdf(J) ** 2

    expected = 1 - 0.5 * (g(1 - x, x) + (1 - x) * g(1 - x, -x) + x * g(x, x - 1))
    assert float(violated_between(x, J)) == pytest.approx(expected, abs=1e-8)
    assert float(violated_between(1 - x, J)) == pytest.approx(expected, abs=1e-8)
    assert float(violated_between(0.0, J)) == 0.0


def test_paths_and_distances():
    """Ends are fixed points; every state is made of its ends; the count of violated spins by hand; typical pairs near the theory."""
    instances = network_instances(N=16, samples=1, key=21)
    (points,) = list_fixed_points(instances, J_D=1.0)
    half = np.random.default_rng(0).permutation(points[points[:, 0] > 0])
    mean, error = paths(instances, half, np.array([0.0, 0.5, 1.0]), J_D=1.0)
    assert mean[0] == mean[2] == 0.0
    assert mean[1] == pytest.approx(float(violated_between(0.5, 1.0)), abs=0.03 + 4 * error[1])
    J = instances.couplings[0] / (instances.scale * 4)
    s = np.random.default_rng(1).choice([-1, 1], (5, 16))
    np.testing.assert_allclose(violated_spins(instances, 0, s, 0.3), (0.3 + s * (s @ J.T) <= 0).mean(1))
    assert len(distances(half)) == len(half) * (len(half) - 1) // 2
    assert distances(half).mean() == pytest.approx(0.5, abs=0.02)
