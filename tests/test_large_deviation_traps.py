"""The numerical traps of large deviations, one test for each: what goes wrong silently, and the value that shows it."""

import numpy as np
import pytest
from scipy.special import log_ndtr

import replicax as rx


def around(**control):
    return rx.LocalEntropy(ensemble="reference", **control)


def ball(d):
    return -d * np.log(d) - (1 - d) * np.log1p(-d)


@pytest.mark.slow
def test_1_kink_of_the_site():
    """At y = 100 the outer integral of the site has a kink of width 1/y: a rule blind to it gives .154.  (Around a reference, where it gives
    y* = 17.28 instead of 24.51: `test_reference.test_zero_complexity`.)
    """
    y = np.array([2.0, 10.0, 100.0])
    solution = rx.solve(rx.BinaryPerceptron(alpha=0.6), rx.LocalEntropy(q1=0.8, y=y))
    np.testing.assert_allclose(solution.phi, [0.17767361, 0.13542293, 0.13392021], atol=5e-9)
    np.testing.assert_allclose(solution.S_I, [0.12185691, 0.12911405, 0.13448284], atol=2e-8)
    np.testing.assert_allclose(solution.S_E, [0.111633, 0.063089, -0.056263], atol=1e-6)


@pytest.mark.slow
def test_2_soft_patterns():
    """Finite beta: psi = log(e^-beta + (1 - e^-beta) H) is not concave (sphere, y = 2: specification)."""
    model = rx.SphericalPerceptron(alpha=2.0, kappa=-0.5, beta=np.array([2.0, 5.0, 10.0]))
    phi = rx.solve(model, rx.LocalEntropy(q1=0.7, y=2.0)).phi
    np.testing.assert_allclose(phi, [-0.721805, -0.849188, -0.860030], atol=1e-6)


@pytest.mark.slow
def test_2_the_jump_of_the_score():
    """y = inf: the larger of two maxima, whose score jumps.  phi is the functional with that maximum found on a grid, stationary in dq; slope
    and energy are its derivatives; S_E = lim y (phi(y) - phi(inf)).
    """
    kappa, s, h = -0.5, 0.3, 1e-4
    beta = np.array([1.0, 3.0, 6.0, 3.0, 3.0, 3.0 - h, 3.0 + h])
    q1 = 0.7 + h * np.array([0, 0, 0, -1, 1, 0, 0])
    model = rx.SphericalPerceptron(alpha=2.0, kappa=kappa, beta=beta)
    limit = rx.solve(model, rx.LocalEntropy(q1=q1))
    assert np.all(limit.converged) and np.max(limit.quadrature_error) < 1e-12
    assert abs((limit.phi[4] - limit.phi[3]) / (2 * h) - limit.slope[1]) < 1e-6
    assert abs((limit.phi[6] - limit.phi[5]) / (2 * h) + limit.energy[1]) < 1e-8
    z, x = np.linspace(-9, 9, 4001), np.linspace(-9, 9, 2401)
    weight = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi) * (z[1] - z[0])
    for b, phi, q0_hat in zip(beta[:3], limit.phi, limit.order.q0_hat):
        dq = np.sqrt(0.7 / q0_hat) - s  # alpha <psi'^2> = q1/(s + dq)^2
        psi = np.log(np.exp(-b) + (1 - np.exp(-b)) * np.exp(log_ndtr((x - kappa) / np.sqrt(s))))
        functional = []
        for d in dq * np.array([0.98, 1.0, 1.02]):
            rows = psi - (x - np.sqrt(0.7) * z[:, None]) ** 2 / (2 * d)
            i = np.argmax(rows, axis=1)[:, None] + np.arange(-1, 2)
            left, top, right = np.take_along_axis(rows, i, axis=1).T
            best = top + (right - left) ** 2 / (8 * (2 * top - left - right))
            functional.append(0.5 * (np.log(s) + 0.7 / (s + d)) + 2.0 * np.sum(weight * best))
        assert abs(functional[1] - phi) < 1e-6 and min(functional[0], functional[2]) > functional[1]
    y = np.array([200.0, 400.0])
    many = rx.solve(rx.SphericalPerceptron(alpha=2.0, kappa=kappa, beta=3.0), rx.LocalEntropy(q1=0.7, y=y))
    excess = y * np.asarray(many.phi - limit.phi[1])
    assert abs(2 * excess[1] - excess[0] - limit.S_E[1]) < 1e-5


@pytest.mark.slow
def test_3_unknowns_that_span_decades():
    """Binary weights: the ball without patterns is reached with exponentially small corrections, monotonically in alpha."""
    alpha = np.array([0.0, 1e-9, 1e-3, 0.05, 0.1, 0.2])
    solution = rx.solve(rx.BinaryPerceptron(alpha=alpha), rx.LocalEntropy(q1=0.7))
    assert np.all(solution.converged)
    below = ball(0.5 * (1.0 - np.sqrt(0.7))) - np.asarray(solution.phi)
    assert np.max(np.abs(below[:3])) < 1e-13 and 0 < below[3] < 1e-6 and np.all(np.diff(below[3:]) > 0)


@pytest.mark.slow
def test_3_small_balls_on_the_sphere():
    """From balls that the constraints squeeze to those that fit between them; q1 = 0.99: value of an independent program."""
    model = rx.SphericalPerceptron(alpha=2.0, kappa=-0.5)
    q1 = np.array([0.99, 0.9925, 0.994, 0.9999])
    solution = rx.solve(model, rx.LocalEntropy(q1=q1))
    assert np.all(solution.converged)
    below = 0.5 * np.log1p(-q1) - np.asarray(solution.phi)
    assert (
        abs(solution.phi[0] + 2.3025853115767596) < 1e-10 and abs(solution.slope[0] + 49.99971631356) < 1e-7
    )
    assert below[0] > below[1] > below[2] > 0 and abs(below[3]) < 1e-12
    empty = rx.solve(rx.SphericalPerceptron(alpha=0.0), rx.LocalEntropy(q1=0.7))
    assert abs(empty.phi - 0.5 * np.log(0.3)) < 1e-14 and np.isinf(empty.S_E)


def test_4_frozen_at_small_y_and_d():
    """Beyond the fold at small y and d every reference has one solution: Phi = phi_RS + h(d); also Phi(1), on whatever branch.  Near the fold
    the many are still found but outweighed; below y = 1 groups of many may freeze at S_I = 0, which is not solved.
    """
    alpha = np.array([0.7, 0.7, 0.7, 0.5, 0.7, 0.5664])
    d, y = np.array([0.02, 0.05, 0.1, 0.015, 0.02, 0.0771]), np.array([1.0, 1.5, 1.0, 0.9, 4.0, 0.055])
    model = rx.BinaryPerceptron(alpha=alpha)
    solution = rx.solve(model, around(d=d, y=y))
    assert list(solution.status) == ["ok", "ok", "negative entropy", "ok", "ok", "no solution"]
    assert list(solution.table()["branch"][:5]) == ["frozen", "frozen", "metastable", "frozen", "metastable"]
    excess = y * np.asarray(solution.phi) - np.asarray(rx.solve(model).phi) - ball(d)
    assert np.max(np.abs(excess[:4])) < 1e-11 and -0.03 < excess[4] < -0.01
    frozen = np.array([0, 1, 3])
    assert np.all(solution.order.q1[frozen] == 1) and np.all(solution.S_I[frozen] == 0)
    assert "frozen, metastable" in repr(solution)
    assert np.max(np.abs(solution.slope[frozen] - np.log(1 / d[frozen] - 1) / y[frozen])) < 1e-12


@pytest.mark.slow
def test_5_saddles_that_coexist():
    """alpha = 0.775, d = 0.05: q1 = .937, phi = .02967 at y = 15; at y = 20 also one with q1 = .837 and smaller phi.  Each by its name."""
    model, y = rx.BinaryPerceptron(alpha=0.775), np.array([15.0, 20.0])
    core, far, either = (
        rx.solve(model, around(d=0.05, y=y, branch=name)) for name in ("core", "large-d", None)
    )
    for solution in (core, far, either):
        assert np.all(solution.converged)
    assert (
        np.all(np.abs(core.order.q1 - np.array([0.937, 0.942])) < 1e-3)
        and abs(far.order.q1[1] - 0.8372) < 1e-4
    )
    assert abs(either.phi[0] - 0.02967) < 1e-5 and far.phi[0] == pytest.approx(float(core.phi[0]), abs=1e-11)
    assert either.phi[1] == pytest.approx(float(core.phi[1]), abs=1e-11) and core.phi[1] > far.phi[1] + 1e-3


@pytest.mark.slow
def test_6_two_curves_above_reconnection():
    """S_E = 0 at alpha = 0.775: at d = 0.05 on both curves, each by its name, by default the one of larger Phi; parametrised by q1 the curve of
    large d turns at d = 0.0465, beyond which d(q1) is no function of d.
    """
    model = rx.BinaryPerceptron(alpha=0.775)
    core, far, either = (
        rx.solve(model, around(d=0.05, y="star", branch=name)) for name in ("core", "large-d", None)
    )
    assert core.converged and far.converged and core.order.q1 > far.order.q1 + 0.09
    assert core.S_I > far.S_I + 9e-4 and core.y < far.y
    assert either.S_I == pytest.approx(float(core.S_I), abs=1e-10)
    turn = rx.solve(model, around(q1=np.array([0.82, 0.865, 0.872]), y="star"))
    d = 0.5 * (1 - np.asarray(turn.order.S))
    assert (
        np.all(turn.converged)
        and d[0] > d[1] < d[2]
        and abs(d[1] - 0.0465) < 2e-4
        and np.all(np.diff(turn.y) > 0)
    )
    again = rx.solve(model, around(d=float(d[0]), y="star", branch="large-d"))
    assert again.S_I == pytest.approx(float(turn.S_I[0]), abs=1e-10) and again.y == pytest.approx(
        float(turn.y[0])
    )


@pytest.mark.slow
def test_7_the_trivial_zero_of_the_slope():
    """The slope vanishes at q1 = q_RS for every alpha, with a finite derivative: no onset of anything (`test_local_entropy_lines`)."""
    model = rx.BinaryPerceptron(alpha=0.7)
    near = rx.solve(model, rx.LocalEntropy(q1=rx.solve(model).q + np.array([1e-3, 2e-3])))
    assert np.all(near.converged) and np.all(np.abs(near.slope) < 0.02)
    assert abs(near.slope[1]) > 1.5 * abs(near.slope[0])


def test_8_residuals_prove_little():
    """S_I = dPhi/dy and slope = d phi/dd against finite differences of phi itself."""
    model = rx.BinaryPerceptron(alpha=0.6, kappa=0.1)
    phi = lambda d, y: rx.solve(model, around(d=d, y=y)).phi
    here, h = rx.solve(model, around(d=0.05, y=6.0)), 1e-4
    y, d = 6.0 + np.array([-h, h]), 0.05 + 1e-5 * np.array([-1, 1])
    assert abs(np.diff(y * phi(0.05, y))[0] / (2 * h) - here.S_I) < 1e-8
    assert abs(np.diff(phi(d, 6.0))[0] / 2e-5 - here.slope) < 1e-6
    # the coupling whose soft form has this distance: gamma = d phi/dd around a reference
    assert here.gamma == pytest.approx(float(here.slope), rel=1e-12)


@pytest.mark.slow
def test_9_distances():
    """Of pairs (1-q1)/2, of the centre (1-sqrt(q1))/2, of the reference (1-S)/2.  The best centre of y = inf replicas is a reference at S^2 = q1 on
    the sphere; binary references are signs of the field: S = E|t| < sqrt(q1).
    """
    sphere, d = rx.SphericalPerceptron(alpha=2.0, kappa=-0.5), np.array([0.05, 0.125])
    reference = rx.solve(sphere, around(d=d))
    pairs = rx.solve(sphere, rx.LocalEntropy(d=0.5 * (1 - (1 - 2 * d) ** 2)))
    np.testing.assert_allclose(reference.phi, [-0.992668727, -0.845608466], atol=1e-9)
    np.testing.assert_allclose(reference.phi, pairs.phi, atol=1e-11)
    by_q1 = rx.solve(sphere, rx.LocalEntropy(q1=(1 - 2 * d) ** 2))
    np.testing.assert_allclose(by_q1.phi, pairs.phi, atol=1e-12)
    # d(1-q1)/2 = 2 (1-2d) d(d)
    np.testing.assert_allclose(reference.slope, 2 * (1 - 2 * d) * np.asarray(pairs.slope), rtol=1e-7)
    binary = rx.BinaryPerceptron(alpha=0.6)
    solution = rx.solve(binary, around(d=d))
    np.testing.assert_allclose(solution.order.S, 1 - 2 * d, atol=1e-12)
    assert np.all(solution.order.S**2 < solution.order.q1)
    again = rx.solve(binary, around(q1=solution.order.q1))
    np.testing.assert_allclose(again.order.S, 1 - 2 * d, atol=1e-10)


@pytest.mark.slow
def test_10_which_zero():
    """Without patterns: on the sphere the measure is normalised, S_E = 0 and S_I = log(1-S^2)/2.  (Binary weights are counted, S_E = log 2:
    `test_reference.test_without_patterns_it_is_the_ball`.)
    """
    d = np.array([0.05, 0.3])
    sphere = rx.solve(rx.SphericalPerceptron(alpha=0.0), around(d=d, y=3.0))
    np.testing.assert_allclose(sphere.S_I, 0.5 * np.log(4 * d * (1 - d)), atol=1e-12)
    np.testing.assert_allclose(sphere.S_E, 0.0, atol=1e-10)
    limit = rx.solve(rx.SphericalPerceptron(alpha=0.0), around(d=d))
    assert np.all(limit.converged) and np.all(limit.S_E == 0)
    np.testing.assert_allclose(limit.phi, 0.5 * np.log(4 * d * (1 - d)), atol=1e-14)
