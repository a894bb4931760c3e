"""Franz-Parisi entropies: values of an independent program, exact identities, and what is flagged."""

import numpy as np
import pytest

import replicax as rx
from replicax.numerics.special import binary_entropy

#: (alpha, d, kappa_ref) at kappa = 0: S, q1, t (independent program; uniform grids, Anderson iteration)
BINARY = {
    (0.5, 0.3, 0.0): (0.310639666620, 0.347900848, 0.330825635),
    (0.5, 0.1, 0.0): (0.164659143931, 0.688769584, 0.339365946),
    (0.5, 0.02, 0.0): (0.027603501613, 0.930104324, 0.326590335),
    (0.5, 0.01, 0.2): (0.044008387699, 0.960569228, 0.437452654),
    (0.4, 0.005, 0.3): (0.030972568035, 0.980100634, 0.401782686),
    (0.75, 0.1, 0.0): (0.032485680101, 0.730706840, 0.520740093),
}
#: (alpha, d, kappa_ref) of the rectangle of margin 1: S
RECTANGLE = {
    (1.0, 0.25, 1.0): 0.245751192219,
    (1.0, 0.1, 1.0): 0.120463717956,
    (1.0, 0.02, 1.0): 0.003774263706,
    (1.0, 0.1, 0.8): 0.156915404635,
}


@pytest.fixture(scope="module")
def curve():
    """The table; pairs of points for the slope; a reference at its own overlap; one beyond the largest margin; tiny d beyond isolation."""
    alpha, d, kappa_ref = np.array(list(BINARY)).T
    q = float(rx.solve(rx.BinaryPerceptron(alpha=0.5)).order.q)
    extra = [
        (0.5, 0.1 + 1e-4, 0.0), (0.5, 0.1 - 1e-4, 0.0), (0.4, 0.005 + 1e-5, 0.3), (0.4, 0.005 - 1e-5, 0.3),
        (0.5, 0.5 * (1 - q), 0.0), (0.5, 0.1, 0.45),
    ]  # fmt: skip
    alpha, d, kappa_ref = (np.append(x, y) for x, y in zip((alpha, d, kappa_ref), np.array(extra).T))
    return rx.solve(rx.BinaryPerceptron(alpha=alpha), rx.FranzParisi(d=d, kappa_ref=kappa_ref)), q


def test_binary_weights_against_an_independent_program(curve):
    solution, wanted = curve[0], np.array(list(BINARY.values()))
    np.testing.assert_allclose(solution.entropy[:6], wanted[:, 0], atol=1e-11)
    np.testing.assert_allclose(solution.order.q1[:6], wanted[:, 1], atol=2e-9)
    np.testing.assert_allclose(solution.order.t[:6], wanted[:, 2], atol=2e-9)
    assert np.max(solution.quadrature_error[:11]) < 1e-9


def test_the_slope_is_the_derivative_of_the_entropy(curve):
    solution = curve[0]
    S = np.asarray(solution.entropy)
    np.testing.assert_allclose(solution.slope[1], (S[6] - S[7]) / 2e-4, rtol=1e-6)
    np.testing.assert_allclose(solution.slope[4], (S[8] - S[9]) / 2e-5, rtol=1e-6)


def test_at_the_typical_distance_all_solutions_are_counted(curve):
    """kappa_ref = kappa, p = q: q1 = t = q, S = s_RS and the slope vanishes (v -> 0 is integrated down to 1e-8)."""
    solution, q = curve
    np.testing.assert_allclose([solution.order.q1[10], solution.order.t[10]], q, atol=1e-8)
    np.testing.assert_allclose(
        solution.entropy[10], rx.solve(rx.BinaryPerceptron(alpha=0.5)).entropy, atol=1e-12
    )
    assert abs(float(solution.slope[10])) < 1e-8


def test_a_reference_beyond_the_largest_margin_does_not_exist(curve):
    """kappa_max(alpha = 0.5) = 0.418."""
    solution = curve[0]
    assert solution.status[11] == "no reference" and np.isnan(solution.entropy[11])


def test_the_rectangle_against_an_independent_program():
    alpha, d, kappa_ref = np.array(list(RECTANGLE)).T
    model = rx.SymmetricPerceptron(alpha=alpha, kappa=1.0)
    solution = rx.solve(model, rx.FranzParisi(d=d, kappa_ref=kappa_ref))
    np.testing.assert_allclose(solution.entropy, list(RECTANGLE.values()), atol=1e-10)
    own = kappa_ref == 1.0
    pairs = np.asarray(rx.solve(model, rx.Pair(d=d)).entropy)
    assert np.all(np.asarray(solution.entropy)[own] < pairs[own])  # quenched below annealed (Jensen)


def test_next_to_the_typical_distance():
    """There all solutions are counted, S = phi_RS, and S - phi_RS is quadratic: half the slope times the way."""
    model = rx.BinaryPerceptron(alpha=0.4, kappa=0.2)
    typical = rx.solve(model)
    away = np.array([0.0, 1e-6, -1e-6, 1e-5, 1e-4])
    solution = rx.solve(model, rx.FranzParisi(d=0.5 * (1.0 - float(typical.order.q)) + away))
    assert np.all(solution.converged)
    np.testing.assert_allclose(
        solution.entropy - typical.phi, 0.5 * solution.slope * away, rtol=1e-3, atol=2e-14
    )


def test_bad_arguments():
    with pytest.raises(ValueError, match="d is missing"):
        rx.FranzParisi()
    with pytest.raises(ValueError, match=r"d = 0\.6 is outside"):
        rx.FranzParisi(d=0.6)
    with pytest.raises(ValueError, match="not available for random-features"):
        rx.solve(rx.RandomFeatures(alpha=0.5, alpha_D=1.0), rx.FranzParisi(d=0.1))


def test_small_distances_from_a_cold_start():
    """From d = 1e-4: next to a reference of larger margin every configuration counts (S = h(d), v and lambda vanish); next to one of the
    same margin the saddle exists down to where q1 -> 1, and a few Newton steps lead there.
    """
    d = np.array([1e-4, 1e-3, 1e-2, 0.1])
    wide = rx.solve(rx.BinaryPerceptron(alpha=0.2), rx.FranzParisi(d=d, kappa_ref=1.0))
    assert np.all(wide.converged) and np.max(wide.steps) <= 16
    error = np.abs(wide.entropy - binary_entropy(d))[:2]
    assert np.all(error <= wide.quadrature_error[:2]) and np.all(error < 1e-14)
    assert np.all(wide.entropy <= binary_entropy(d) + wide.quadrature_error)
    near = rx.solve(
        rx.BinaryPerceptron(alpha=[0.1, 0.1, 0.5, 0.5]), rx.FranzParisi(d=[1e-4, 0.4, 1e-3, 1e-4])
    )
    assert list(near.status) == ["ok", "ok", "negative entropy", "inner saddle lost"]
    assert np.max(near.steps[:3]) <= 16 and np.isnan(near.entropy[3])
