"""The frozen phase and the annealed number of pairs: closed checks and values of independent programs."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

import replicax as rx

#: (alpha, kappa): ground state energy per weight, overlap (independent program)
GROUND_STATES = {
    (0.9, 0.0): (0.008799237122, 0.550270130809),
    (1.0, 0.0): (0.026267679715, 0.541439121905),
    (4.0, 0.0): (0.967014713681, 0.516106277833),
    (1.0, 0.5): (0.186041867187, 0.547720123477),
    (2.0, -0.5): (0.029077182565, 0.479925757296),
}


def test_ground_states_of_the_frozen_phase():
    alpha, kappa = np.array([*GROUND_STATES, (0.8, 0.0)]).T
    solution = rx.solve(rx.BinaryPerceptron(alpha=alpha, kappa=kappa), rx.Frozen())
    wanted = np.array(list(GROUND_STATES.values()))
    np.testing.assert_allclose(solution.energy[:-1], wanted[:, 0], atol=1e-11)
    np.testing.assert_allclose(solution.order.q0[:-1], wanted[:, 1], atol=1e-11)
    assert solution.status[-1] == "no solution" and np.isnan(solution.energy[-1])  # below capacity


def pairs(alpha, kappa, d, rectangle):
    """S_pair with scipy: h(d) + alpha log(P2/p)."""
    rho, spread = 1 - 2 * d, 2 * np.sqrt(d * (1 - d))
    p = 1 - 2 * norm.sf(kappa)
    inner = lambda x: norm.sf((-kappa - rho * x) / spread) - norm.sf((kappa - rho * x) / spread)
    both = quad(lambda x: norm.pdf(x) * inner(x), -kappa, kappa, epsabs=1e-14, limit=400)[0]
    if not rectangle:
        p, both = 1 - p, 1 - 2 * p + both
    return -d * np.log(d) - (1 - d) * np.log1p(-d) + alpha * np.log(both / p)


@pytest.mark.parametrize("constraint", ["rectangle", "u"])
def test_pairs_against_scipy(constraint):
    alpha, kappa, d = (
        np.array([1.0, 1.5, 0.4, 0.6]),
        np.array([1.0, 0.8, 0.5, 0.6]),
        np.array([0.01, 0.1, 0.3, 0.5]),
    )
    model = rx.SymmetricPerceptron(alpha=alpha, kappa=kappa, constraint=constraint)
    solution = rx.solve(model, rx.Pair(d=d))
    wanted = [pairs(a, k, x, constraint == "rectangle") for a, k, x in zip(alpha, kappa, d)]
    np.testing.assert_allclose(solution.entropy, wanted, atol=1e-12)
    np.testing.assert_allclose(
        solution.entropy[-1], rx.solve(model).phi[-1], atol=1e-14
    )  # d = 1/2: all of them
    assert np.max(solution.quadrature_error) < 1e-12


def test_pairs_at_tiny_distance_follow_the_square_root_law():
    """1 - P2/p ~ 4 G(kappa) sqrt(d)/(sqrt(2 pi) p): all digits of S - h at d = 1e-8, where P2/p itself has lost half of them."""
    d, kappa = 1e-8, 1.0
    solution = rx.solve(rx.SymmetricPerceptron(alpha=1.5, kappa=kappa), rx.Pair(d=d))
    p = 1 - 2 * norm.sf(kappa)
    law = 1.5 * np.log1p(-4 * norm.pdf(kappa) * np.sqrt(d) / (np.sqrt(2 * np.pi) * p))
    entropy = -d * np.log(d) - (1 - d) * np.log1p(-d)
    assert abs(float(solution.entropy) - entropy - law) < 1e-3 * abs(law) * np.sqrt(d) + 1e-12


def test_missing_arguments():
    with pytest.raises(ValueError, match="d is missing"):
        rx.solve(rx.SymmetricPerceptron(alpha=1.0, kappa=1.0), rx.Pair())
    with pytest.raises(ValueError, match="labels"):
        rx.solve(rx.BinaryPerceptron(alpha=1.0, labels="teacher"), rx.Pair(d=0.1))
    with pytest.raises(ValueError, match="random labels"):
        rx.solve(rx.BinaryPerceptron(alpha=1.0, labels="teacher"), rx.Frozen())
