"""Pairs of fixed points, thresholds of recurrent networks, and rate networks against independent integrals."""

import numpy as np
import pytest
from scipy import integrate, optimize, stats

import replicax as rx


def test_pairs_against_scipy():
    """recurrent_network: S_2(q) - S_1 from scipy's bivariate normal, and the published figures of S_2."""
    J, d = np.array([0.3, 0.3, 0.0, 1.0]), np.array([0.25, 0.05, 0.25, 0.005])
    answer = rx.solve(rx.RecurrentNetwork(J_D=J), rx.Pair(d=d))
    S2 = np.array([0.3778000931, 0.2519217979, -0.0164167586, 0.5345503017])
    S1 = np.log(2.0) + stats.norm.logcdf(J)
    np.testing.assert_allclose(answer.entropy, S2 - S1, atol=1e-9)
    for beta in (0.7, 2.0):
        a = np.exp(-2 * beta)
        finite = rx.solve(rx.RecurrentNetwork(J_D=0.4, beta=beta), rx.Pair(d=0.2))
        one = stats.norm.cdf(0.4)

        def both(q, a=a, one=one):
            p = stats.multivariate_normal(cov=[[1, q], [q, 1]]).cdf([0.4, 0.4])
            return np.log(a * a + 2 * a * (1 - a) * one + (1 - a) ** 2 * p)

        h2 = -0.2 * np.log(0.2) - 0.8 * np.log(0.8)
        expected = h2 + 0.8 * both(0.6) + 0.2 * both(-0.6) - np.log(a + (1 - a) * one)
        assert float(finite.entropy) == pytest.approx(expected, abs=1e-8)


def test_pairs_of_other_networks_are_refused():
    with pytest.raises(ValueError, match="eta"):
        rx.solve(rx.RecurrentNetwork(J_D=0.3, eta=0.2), rx.Pair(d=0.1))
    with pytest.raises(ValueError, match="couplings = pm1"):
        rx.solve(rx.RecurrentNetwork(J_D=0.3, N=10, couplings="pm1"), rx.Pair(d=0.1))
    with pytest.raises(ValueError, match="N: "):
        rx.threshold(rx.RecurrentNetwork(J_D=0.3, N=10), "d-iso")
    with pytest.raises(ValueError, match="d is missing"):
        rx.Pair()


def test_isolation_of_typical_fixed_points():
    J = np.array([0.1, 0.3, 0.5, 1.0])
    line = rx.threshold(rx.RecurrentNetwork(J_D=J), "d-iso")
    np.testing.assert_allclose(line.value, [0.0820, 0.0133, 0.00528, 0.00086], rtol=5e-3)
    at = rx.solve(rx.RecurrentNetwork(J_D=J), rx.Pair(d=line.value)).entropy
    np.testing.assert_allclose(at, 0.0, atol=1e-13)


def test_isolation_at_large_self_coupling():
    """h2(d) - c sqrt(d) = 0 with c = 2 phi(J)/(sqrt(2 pi) Phi(J)) and h2 = d (1 - log d), up to d log d."""
    J = np.array([5.0, 7.0])
    d = np.asarray(rx.threshold(rx.RecurrentNetwork(J_D=J), "d-iso").value)
    c = 2.0 * stats.norm.pdf(J) / (np.sqrt(2.0 * np.pi) * stats.norm.cdf(J))
    np.testing.assert_allclose(np.sqrt(d) * (1.0 - np.log(d)), c, rtol=1e-6)


def test_shannon_point():
    line = rx.threshold(rx.RecurrentNetwork(J_D=[0.3, 0.8]), "shannon")
    np.testing.assert_allclose(line.value, [0.1867052793, 0.0640891227], atol=1e-10)


def test_attractor_capacity_against_scipy():
    """1/alpha_c = min_t E (t V + Z)_+^2 by scipy, and Gardner's 2 for large J_D."""

    def cost(t, J):
        f = lambda v: (
            stats.norm.pdf(v) * ((1 + t * t * v * v) * stats.norm.cdf(t * v) + t * v * stats.norm.pdf(t * v))
        )
        parts = ((-J, 0.0), (0.0, min(12.0, 40.0 / abs(t))))
        return sum(integrate.quad(f, *p, epsabs=1e-15, limit=200)[0] for p in parts) / stats.norm.cdf(J)

    J = np.array([0.001, 0.7, 1.5, 7.0, 30.0, 0.0])
    line = rx.threshold(rx.RecurrentNetwork(J_D=J), "attractor-capacity")
    for x, value in zip(J[:3], np.asarray(line.value)):
        log_cost = lambda y, x=x: cost(-np.exp(y), x)
        best = optimize.minimize_scalar(log_cost, bounds=(-4, 9), method="bounded", options=dict(xatol=1e-8))
        assert value == pytest.approx(1 / best.fun, rel=1e-8)
    np.testing.assert_allclose(line.value[3:5], 2.0, atol=1e-9)
    assert np.isposinf(line.value[5])


def test_local_entropy_of_infinitely_many_replicas_where_the_field_is_exponentially_small():
    """h2(d_c) + max_x [(1-d_c) log Phi(u_+) + d_c log Phi(u_-)], J_D far above sqrt(1-q1)."""
    J, d = np.array([0.1, 2.0, 4.5, 1.3]), np.array([0.2, 1e-4, 0.004, 3e-4])
    answer = rx.solve(rx.RecurrentNetwork(J_D=J), rx.LocalEntropy(d=d))
    assert np.all(answer.converged)
    for j, x, phi in zip(J, d, np.asarray(answer.phi)):
        c, s = (1 - np.sqrt(1 - 2 * x)) / 2, np.sqrt(2 * x)
        f = lambda t: -((1 - c) * stats.norm.logcdf((j + t) / s) + c * stats.norm.logcdf((j - t) / s))
        best = optimize.minimize_scalar(f, bounds=(0, j + 6 * s), method="bounded", options=dict(xatol=1e-10))
        h2 = -c * np.log(c) - (1 - c) * np.log1p(-c)
        assert phi == pytest.approx(h2 - best.fun, abs=1e-12)


@pytest.fixture(scope="module")
def chaos():
    return rx.solve(rx.RateNetwork(g=[0.0, 0.4, 1.0, 1.001, 1.1, 2.0, 3.0]))


def test_chaotic_state(chaos):
    """Figures of recurrent_network 4.1; the quiet state for g <= 1; lambda -> (g-1)^2/2 at the transition."""
    np.testing.assert_allclose(chaos.order.Delta0[:3], 0.0)
    np.testing.assert_allclose(chaos.lyapunov[:3], [-1.0, -0.6, 0.0])
    np.testing.assert_allclose(chaos.order.Delta0[4:], [0.1110631894, 1.9248054137, 5.4463260830], rtol=1e-9)
    np.testing.assert_allclose(chaos.tanh2[4:], [0.0920135636, 0.5131780660, 0.6805794811], atol=1e-9)
    np.testing.assert_allclose(chaos.lyapunov[4:], [0.003712406, 0.112458110, 0.235460964], atol=1e-7)
    assert float(chaos.lyapunov[3]) / 1e-6 == pytest.approx(0.5, abs=0.01)


def test_variance_of_the_chaotic_state_against_scipy(chaos):
    """Delta0^2 = 2 g^2 Var log cosh(sqrt(Delta0) z)."""
    for g, Delta0 in ((1.1, chaos.order.Delta0[4]), (3.0, chaos.order.Delta0[6])):
        L = lambda z: np.log(np.cosh(np.sqrt(float(Delta0)) * z))
        mean = lambda f: integrate.quad(lambda z: stats.norm.pdf(z) * f(z), -10, 10, epsabs=1e-13)[0]
        variance = mean(lambda z: L(z) ** 2) - mean(L) ** 2
        assert float(Delta0) ** 2 == pytest.approx(2 * g**2 * variance, rel=1e-9)


def test_aligned_bistable_units():
    """g*(s) of recurrent_network 4.2; no bistable units for s <= 1."""
    line = rx.threshold(rx.RateNetwork(s=[1.05, 1.1, 1.2, 1.3, 0.5]), "g-star")
    np.testing.assert_allclose(line.value[:4], [0.8446, 2.0017, 5.852, 13.02], rtol=2e-4)
    assert not bool(line.converged[4]) and np.isnan(float(line.value[4]))


def test_quiet_state_with_self_coupling():
    """x = 0 is stable below s + g = 1, and lambda is the edge of its spectrum; beyond, nothing is claimed."""
    answer = rx.solve(rx.RateNetwork(g=[0.3, 0.5, 1.5], s=[0.2, 0.7, 0.0]))
    assert list(answer.status) == ["ok", "outside domain", "ok"]
    np.testing.assert_allclose(answer.lyapunov[::2], [-0.5, 0.046746220], atol=1e-8)
    assert np.isnan(answer.Delta0[1]) and float(answer.Delta0[0]) == 0.0
