"""One step of replica symmetry breaking with m or q1 given: identities, stationarity, and what each is otherwise known as."""

import numpy as np
import pytest

import replicax as rx

pytestmark = pytest.mark.slow  # two levels of integration compile for a minute


def at(model, **given):
    solution = rx.solve(model, rx.OneRSB(**given))
    assert np.all(solution.converged), solution.status
    return solution


def test_given_m_and_q1_are_replicas():
    model = rx.BinaryPerceptron(alpha=0.6)
    step = at(model, m=3.0, q1=0.9)
    replicas = rx.solve(model, rx.LocalEntropy(y=3.0, q1=0.9))
    assert step.m == 3 and step.phi == replicas.phi and step.S_E == replicas.S_E
    one = at(model, m=1.0, q1=0.7)  # identity: phi_RS for every q1
    assert one.phi == pytest.approx(float(rx.solve(model).phi), abs=1e-12)


@pytest.mark.parametrize(
    "model, q1",
    [(rx.RecurrentNetwork(J_D=0.1), 0.94), (rx.RandomFeatures(alpha=0.5, alpha_T=3.0, labels="random"), 0.9)],
    ids=["recurrent-network", "random-features"],
)
def test_other_models(model, q1):
    """Given m and q1 they are m replicas; at given q1 alone m has no complexity, changes its sign there, and phi is least."""
    step = at(model, m=3.0, q1=q1)
    replicas = rx.solve(model, rx.LocalEntropy(y=3.0, q1=q1))
    assert step.m == 3 and step.phi == replicas.phi and step.S_I == replicas.S_I
    star = at(model, q1=q1)
    assert star.S_E == 0 and star.phi == star.S_I and star.m > 1
    sides = at(model, q1=q1, m=float(star.m) * np.array([0.98, 1.0, 1.02]))
    assert sides.S_E[0] > 0 > sides.S_E[2]
    assert sides.S_E[1] == pytest.approx(0.0, abs=1e-8)
    assert sides.phi[1] == pytest.approx(float(star.phi), abs=1e-11)
    assert sides.phi[1] < min(sides.phi[0], sides.phi[2])


def test_the_network_at_m_2_counts_pairs():
    """2 phi(m=2) = (1/N) log E[pairs of fixed points at overlap q1]."""
    model, d = rx.RecurrentNetwork(J_D=0.3), np.array([0.05, 0.3])
    pairs = rx.solve(model, rx.Pair(d=d)).entropy + rx.solve(model).phi
    np.testing.assert_allclose(2 * at(model, m=2.0, q1=1 - 2 * d).phi, pairs, rtol=0, atol=1e-12)
    assert at(model, m=2.0, q1=0.9).table()["q1"] == 0.9


def test_stationary_m_has_no_complexity():
    model = rx.BinaryPerceptron(alpha=0.7)
    star = at(model, q1=0.95)
    assert star.S_E == 0 and star.phi == pytest.approx(star.S_I)
    sides = at(model, q1=0.95, m=float(star.m) * np.array([0.99, 1.01]))
    assert sides.S_E[0] > 0 > sides.S_E[1]


def test_clusters_of_one_solution():
    """Below capacity a solution is its own cluster: phi = phi_RS/m, complexity phi_RS; above, beta m = beta_c is stationary."""
    below = at(rx.BinaryPerceptron(alpha=0.6), m=np.array([0.5, 1.0]))
    entropy = float(rx.solve(rx.BinaryPerceptron(alpha=0.6)).entropy)
    np.testing.assert_allclose(below.phi, entropy / np.array([0.5, 1.0]), rtol=1e-12)
    np.testing.assert_allclose(below.S_E, entropy, rtol=1e-12)
    assert np.all(below.order.q1 == 1) and np.all(below.S_I == 0)

    model = rx.BinaryPerceptron(alpha=1.0, beta=8.0)
    frozen = rx.solve(model, rx.OneRSB())
    near = at(model, m=float(frozen.m) * np.array([0.99, 1.0, 1.01]))
    assert near.phi[1] == pytest.approx(float(frozen.phi), abs=1e-11)
    assert near.S_E[1] == pytest.approx(0.0, abs=1e-10) and near.S_E[0] > 0 > near.S_E[2]
    assert near.energy[1] == pytest.approx(float(frozen.energy), abs=1e-11)


def test_clusters_have_stationary_overlaps():
    """Dense clusters of many replicas below capacity: d phi/d q1 = 0 on the curve of y replicas."""
    model = rx.BinaryPerceptron(alpha=0.78)
    cluster = at(model, m=20.0)
    assert cluster.order.q1 < 1 and cluster.S_I > 0
    replicas = rx.solve(model, rx.LocalEntropy(y=20.0, q1=float(cluster.order.q1)))
    assert replicas.phi == pytest.approx(float(cluster.phi), abs=1e-11)
    assert replicas.slope == pytest.approx(0.0, abs=1e-8)


def test_the_sphere_at_its_own_m():
    model = rx.SphericalPerceptron(alpha=12.0, kappa=-1.0)
    best = rx.solve(model, rx.OneRSB())
    given = at(model, m=float(best.m))
    assert given.order.q1 == pytest.approx(float(best.order.q1), abs=1e-7)
    assert given.phi == pytest.approx(float(best.phi), abs=1e-9)
    assert given.S_E == pytest.approx(0.0, abs=1e-7)


def test_what_is_not_known():
    with pytest.raises(ValueError, match="q1 is missing"):
        rx.solve(rx.RandomFeatures(alpha=0.5, alpha_T=3.0), rx.OneRSB(m=2.0))
    with pytest.raises(ValueError, match="labels"):
        rx.solve(rx.BinaryPerceptron(alpha=0.5, labels="teacher"), rx.OneRSB(m=2.0))
