"""Fixed points around a quenched centre, against maxima and averages of one's own and against many replicas."""

import jax
import numpy as np
import pytest
from scipy.special import log_ndtr

import replicax as rx

pytestmark = pytest.mark.slow


def around(J, q1, **more):
    return rx.solve(rx.RecurrentNetwork(J_D=J), rx.LocalEntropy(q1=q1, centre="quenched", **more))


def by_magnetisation(J, q1, r0, Dr, delta):
    """phi at given order parameters: the maximum over the magnetisation u on a grid, at the best raw field for each u, on plain nodes.

    max_{y, x} = max_u [entropy(u) + u Z + Dr u^2/2 + max_x sum_s (1 + s u)/2 log Phi((J + s x)/sqrt(1-q1)) - (x - X)^2/(2 delta)].
    """
    scale, h = np.sqrt(1 - q1), 0.05
    t = np.arange(-7.5, 7.5 + h / 2, h)
    weight = h * np.exp(-0.5 * t * t) / np.sqrt(2 * np.pi)
    u = np.tanh(np.linspace(-8, 8, 1001))
    up, down = 0.5 * (1 + u), 0.5 * (1 - u)
    entropy = -up * np.log(up) - down * np.log(np.maximum(down, 1e-300))
    Z, total = np.sqrt(r0) * t[::4], 0.0
    for X, w in zip(np.sqrt(q1) * t, weight):
        pull = lambda x, s: (
            np.exp(-0.5 * ((J + s * x) / scale) ** 2 - log_ndtr((J + s * x) / scale)) / np.sqrt(2 * np.pi)
        )
        # decreasing in x: bisection between what either spin alone would do
        slope = lambda x: (up * pull(x, 1) - down * pull(x, -1)) / scale - (x - X) / delta
        lo = X - delta * down * pull(X, -1) / scale - 1e-9
        hi = X + delta * up * pull(X, 1) / scale + 1e-9
        for _ in range(45):
            middle = 0.5 * (lo + hi)
            lo, hi = np.where(slope(middle) > 0, middle, lo), np.where(slope(middle) > 0, hi, middle)
        x = 0.5 * (lo + hi)
        rest = entropy + 0.5 * Dr * u * u - 0.5 * (x - X) ** 2 / delta
        rest = rest + up * log_ndtr((J + x) / scale) + down * log_ndtr((J - x) / scale)
        value = rest + u * Z[:, None]
        k = np.clip(value.argmax(1), 1, len(u) - 2)[:, None]
        a, b, c = (np.take_along_axis(value, k + i, 1)[:, 0] for i in (-1, 0, 1))
        best = b + (a - c) ** 2 / (8 * np.maximum(2 * b - a - c, 1e-300))  # the parabola through three points
        total += w * np.sum(4 * weight[::4] * best)
    return total - 0.5 * (q1 * Dr + r0 * delta + (1 - q1) * r0)


J = np.array([0.1, 0.1, 0.3, 1.0, 0.0, 0.6, 1.5, 0.1])
Q1 = np.array([0.4, 0.7, 0.6, 0.8, 0.2, 0.92, 0.1, 0.2])


@pytest.fixture(scope="module")
def solved():
    solution = around(J, Q1)
    assert np.all(solution.converged) and np.all(solution.quadrature_error < 1e-8)
    return solution


@pytest.mark.parametrize("k", [1, 2, 3])
def test_functional_across_jumps(solved, k):
    """The maximum jumps at one to three places: plain nodes miss the kinks of its value by less than 1e-5."""
    x = (float(solved.order.r0[k]), float(solved.order.Dr[k]), float(solved.order.delta[k]))
    assert by_magnetisation(J[k], Q1[k], *x) == pytest.approx(float(solved.phi[k]), abs=1e-5)


def test_functional_and_its_stationary_point(solved):
    """Where the maximum is unique."""
    x = np.array([solved.order.r0[0], solved.order.Dr[0], solved.order.delta[0]])
    value = by_magnetisation(J[0], Q1[0], *x)
    assert value == pytest.approx(float(solved.phi[0]), abs=1e-7)
    step = 0.1
    for i in range(3):
        plus, minus = (by_magnetisation(J[0], Q1[0], *(x * np.exp(s * step * np.eye(3)[i]))) for s in (1, -1))
        vertex = 0.5 * step * (minus - plus) / (plus + minus - 2 * value)
        assert abs(vertex) < 0.2 * step  # of a logarithm: third order


def test_many_replicas(solved):
    """phi(q0, q1, r0, r1; m) at q0 = q1 - delta/m, r1 = r0 + Dr/m is phi + S_E/m + O(1/m^2): four integrals, good to 1e-6,
    against the maxima."""
    k, m = 7, np.array([20.0, 40.0, 80.0])
    q1, r0, Dr, delta = (
        float(x) for x in (Q1[k], solved.order.r0[k], solved.order.Dr[k], solved.order.delta[k])
    )
    model = rx.RecurrentNetwork(J_D=J[k])
    phi = [
        float(rx.free_entropy(model, rx.LocalEntropy(q1=q1, y=y), q0=q1 - delta / y, r0=r0, r1=r0 + Dr / y))
        for y in m
    ]
    first = m * (np.array(phi) - float(solved.phi[k]))
    S_E = (8 * first[2] - 6 * first[1] + first[0]) / 3
    assert S_E == pytest.approx(float(solved.S_E[k]), abs=5e-4) and S_E > 0.008


def test_without_q0_the_general_functional_is_that_of_clusters():
    model, ansatz = rx.RecurrentNetwork(J_D=0.3), rx.LocalEntropy(q1=0.8, y=4.0)
    r1 = float(rx.solve(model, ansatz).order.r1)
    at = lambda **order: float(rx.free_entropy(model, ansatz, r1=r1, **order))
    assert at(q0=0.0, r0=0.0) == pytest.approx(at(), abs=1e-6)


def test_against_the_annealed_centre(solved):
    """Lower, the same for q1 -> 0 and J_D >> sqrt(1-q1); below S* (annealed too, no complexity) at q1 < 1/2, above it at large q1."""
    annealed = rx.solve(rx.RecurrentNetwork(J_D=J), rx.LocalEntropy(q1=Q1))
    gap = np.asarray(annealed.phi - solved.phi)
    assert np.all(gap > 0)
    close = around(np.array([0.3, 1.4]), np.array([0.02, 0.89]))
    limit = rx.solve(rx.RecurrentNetwork(J_D=[0.3, 1.4]), rx.LocalEntropy(q1=[0.02, 0.89])).phi
    assert np.all(np.abs(limit - close.phi) < 5e-5)
    star = rx.solve(rx.RecurrentNetwork(J_D=[0.1, 1.0]), rx.LocalEntropy(q1=[0.4, 0.8], y="star"))
    assert solved.phi[0] < star.S_I[0] and solved.phi[3] > star.S_I[1]


def test_derivatives(solved):
    """The slope is the derivative at the stationary point; that in J_D against a difference."""
    by_q1 = jax.grad(lambda q1: around(0.3, q1).phi)(0.6)
    assert float(by_q1) == pytest.approx(float(solved.slope[2]), rel=1e-8)
    sides = around(np.array([0.3, 0.3]), np.array([0.599, 0.601])).phi
    assert float(by_q1) == pytest.approx(float(sides[1] - sides[0]) / 0.002, rel=1e-4)


def test_what_is_not_known():
    lost = around(0.0, 0.95)  # r0 has vanished
    assert not lost.converged and np.isnan(lost.phi) and lost.status == "not converged"
    with pytest.raises(ValueError, match="centre = quenched"):
        around(0.3, 0.5, y=4.0)
    with pytest.raises(ValueError, match="centre = quenched"):
        rx.solve(rx.RecurrentNetwork(J_D=0.3, beta=2.0), rx.LocalEntropy(q1=0.5, centre="quenched"))
    with pytest.raises(ValueError, match="centre = annealed"):
        rx.solve(rx.BinaryPerceptron(alpha=0.5), rx.LocalEntropy(q1=0.5, centre="annealed"))
    with pytest.raises(ValueError, match="ensemble"):
        rx.LocalEntropy(d=0.1, ensemble="reference", centre="quenched")
