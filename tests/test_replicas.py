"""y replicas of perceptrons: values of independent programs, limits that are known, and the slope as a derivative."""

import numpy as np
import pytest

import replicax as rx


@pytest.fixture(scope="module")
def dense():
    """Binary weights, y = inf: (alpha, q1) = (0.6, 0.8), (0.7, 0.85), (0.75, 0.9), two neighbours of the first, and a ball."""
    alpha = np.array([0.6, 0.7, 0.75, 0.6, 0.6, 1e-9])
    q1 = np.array([0.8, 0.85, 0.9, 0.8 + 1e-4, 0.8 - 1e-4, 0.7])
    return rx.solve(rx.BinaryPerceptron(alpha=alpha), rx.LocalEntropy(q1=q1))


@pytest.mark.slow
def test_infinitely_many_replicas_of_binary_weights(dense):
    assert np.all(dense.converged)
    np.testing.assert_allclose(dense.phi[:3], [0.13460412, 0.07355589, 0.0422373], atol=5e-9)
    np.testing.assert_allclose(dense.slope[:3], [-0.34215835, -0.1805435, -0.0288482], atol=5e-8)


@pytest.mark.slow
def test_the_slope_is_the_derivative_along_the_curve(dense):
    difference = (dense.phi[3] - dense.phi[4]) / 2e-4
    np.testing.assert_allclose(dense.slope[0], difference, atol=2e-6)


def test_the_complexity_of_very_many_replicas():
    """S_E = -y d phi/d log y, a difference of parts in y of phi: 64 nodes are wrong by 2e-7 at y = 5000, d = .01, where phi is right to 3e-11."""
    step, y = 0.04, np.array([1000.0, 5000.0])
    around = y[:, None] * np.exp(step * np.array([0, -2, -1, 1, 2]))
    answer = rx.solve(rx.BinaryPerceptron(alpha=0.6), rx.LocalEntropy(d=0.01, y=around))
    assert np.all(answer.converged)
    slope = answer.phi[:, 1:] @ np.array([1.0, -8.0, 8.0, -1.0]) / (12.0 * step)
    np.testing.assert_allclose(answer.S_E[:, 0], -y * slope, atol=2e-8)


@pytest.mark.slow
def test_without_patterns_the_replicas_fill_a_ball(dense):
    centre = 0.5 * (1.0 - np.sqrt(0.7))
    ball = -centre * np.log(centre) - (1 - centre) * np.log1p(-centre)
    assert abs(float(dense.phi[5]) - ball) < 1e-8


@pytest.mark.slow
def test_replicas_on_the_sphere():
    model = rx.SphericalPerceptron(alpha=2.0, kappa=-0.5)
    limit = rx.solve(model, rx.LocalEntropy(q1=np.array([0.6, 0.7, 0.9])))
    np.testing.assert_allclose(limit.phi, [-0.85168084, -0.88900523, -1.20880068], atol=5e-9)
    np.testing.assert_allclose(limit.slope, [-0.210135, -0.571721, -3.89649], atol=5e-6)
    finite = rx.solve(model, rx.LocalEntropy(q1=0.7, y=np.array([2.0, 20.0])))
    np.testing.assert_allclose(finite.phi, [-0.86011155, -0.88526502], atol=5e-9)
    np.testing.assert_allclose(finite.S_I, [-0.88187468, -0.88887899], atol=5e-9)
    np.testing.assert_allclose(finite.order.q0, [0.56880475, 0.68002396], atol=5e-9)


@pytest.mark.slow
def test_replicas_that_learn_from_a_teacher():
    model = rx.BinaryPerceptron(alpha=np.array([0.5, 0.8, 1.0]), labels="teacher")
    solution = rx.solve(model, rx.LocalEntropy(q1=np.array([0.6, 0.7, 0.8])))
    np.testing.assert_allclose(solution.phi, [0.29015857, 0.16228182, 0.07422686], atol=1e-7)
    np.testing.assert_allclose(solution.order.R, [0.38119113, 0.52809286, 0.61360533], atol=2e-6)
    np.testing.assert_allclose(solution.eps_center, [0.33622372, 0.28256612, 0.25935116], atol=2e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [rx.BinaryPerceptron(alpha=0.6), rx.SphericalPerceptron(alpha=2.0, kappa=-0.5)],
    ids=lambda m: m.name,
)
def test_external_entropy_of_infinitely_many(model):
    """S_E(inf) = lim y (phi(y) - phi(inf)), by extrapolation from y = 800 and 1600."""
    limit = rx.solve(model, rx.LocalEntropy(q1=0.8))
    many = rx.solve(model, rx.LocalEntropy(q1=0.8, y=np.array([800.0, 1600.0])))
    excess = np.array([800.0, 1600.0]) * np.asarray(many.phi - limit.phi)
    assert abs(2 * excess[1] - excess[0] - limit.S_E) < 1e-5


@pytest.mark.slow
def test_zero_complexity_of_replicas():
    """y* of 10 to 10^5; farther apart than typical pairs, and where S_E has a positive limit, there is none."""
    alpha, kappa = np.array([0.6, 0.9975, 1.4721, 0.5355]), np.array([0.0, -0.5064, -0.561, -0.1242])
    model, d = rx.BinaryPerceptron(alpha=alpha, kappa=kappa), np.array([0.1, 0.0041, 0.3265, 0.2885])
    star = rx.solve(model, rx.LocalEntropy(d=d, y="star"))
    assert list(star.status) == ["ok", "ok", "no solution", "no solution"]
    for factor, sign in ((0.98, 1), (1.02, -1)):
        y = factor * np.nan_to_num(np.asarray(star.y), nan=2.0)
        assert np.all(sign * np.asarray(rx.solve(model, rx.LocalEntropy(d=d, y=y)).S_E)[:2] > 1e-4)
    limit = rx.solve(model, rx.LocalEntropy(d=d, y=np.inf)).S_E
    assert limit[0] < 0 < limit[3]


@pytest.mark.parametrize("y", [5.0, np.inf])
def test_replicas_are_no_farther_than_typical_pairs(y):
    """q0 = q1 at the distance of typical pairs; beyond it q0 would exceed q1."""
    for model in (rx.BinaryPerceptron(alpha=0.5), rx.SphericalPerceptron(alpha=1.0, kappa=0.0)):
        typical = rx.solve(model)
        d = 0.5 * (1.0 - float(typical.order.q))
        answer = rx.solve(model, rx.LocalEntropy(d=d + np.array([-1e-3, 1e-3, 0.05]), y=y))
        assert list(answer.status) == ["ok", "no solution", "no solution"]
        assert abs(answer.order.q0[0] - typical.order.q) < 3e-3
        assert abs(answer.phi[0] - typical.phi) < 1e-4


def test_what_is_not_known_is_said():
    with pytest.raises(ValueError, match="y = star: on the sphere"):
        rx.solve(rx.SphericalPerceptron(alpha=0.5), rx.LocalEntropy(d=0.1, y="star", ensemble="reference"))
    with pytest.raises(ValueError, match="branch = core"):
        rx.LocalEntropy(d=0.1, branch="core")
    with pytest.raises(ValueError, match="d, q1"):
        rx.LocalEntropy()


@pytest.mark.parametrize(
    "model, d, y, ensemble",
    [
        (rx.BinaryPerceptron(alpha=0.5), 0.0034, 11.0, "replicas"),
        pytest.param(rx.BinaryPerceptron(alpha=0.6), 0.0104, 73.0, "replicas", marks=pytest.mark.slow),
        pytest.param(rx.BinaryPerceptron(alpha=0.6), 0.0104, 73.0, "reference", marks=pytest.mark.slow),
        pytest.param(rx.SphericalPerceptron(alpha=1.0), 0.0034, 11.0, "replicas", marks=pytest.mark.slow),
    ],
)
def test_derivatives_are_as_accurate_as_phi(model, d, y, ensemble):
    """S_E = -y^2 d phi/dy and slope = d phi/dd against differences of phi: many replicas or small distances multiply its error."""
    step = 2e-3 * np.array([0, -2, -1, 1, 2])
    number, distance = np.append(y * (1 + step), np.full(5, y)), np.append(np.full(5, d), d * (1 + step))
    found = rx.solve(model, rx.LocalEntropy(d=distance, y=number, ensemble=ensemble))
    phi = np.asarray(found.phi).reshape(2, 5)
    by_y, by_d = phi[:, 1:] @ np.array([1, -8, 8, -1]) / 12 / 2e-3
    np.testing.assert_allclose(found.S_E[0], -y * by_y, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.slope[0], by_d / d, rtol=1e-9, atol=1e-9)
