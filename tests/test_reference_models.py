"""Local entropies around a reference on the sphere and with a teacher: functionals written out by hand, limits, derivatives."""

import numpy as np
import pytest
from scipy.special import log_ndtr, logsumexp

import replicax as rx

pytestmark = pytest.mark.slow

X, W = np.polynomial.legendre.leggauss(12)


def around(**control):
    return rx.LocalEntropy(ensemble="reference", **control)


def panels(shift=0.0):
    """Gauss-Legendre on panels that shrink geometrically towards `shift`, with Gaussian weights."""
    edges = np.concatenate([-np.geomspace(9, 1e-3, 14), [0], np.geomspace(1e-3, 9, 14)]) + shift
    edges = np.concatenate([[-9], edges[(edges > -9) & (edges < 9)], [9]])
    half, middle = 0.5 * np.diff(edges)[:, None], 0.5 * (edges[1:] + edges[:-1])[:, None]
    z = (middle + half * X).ravel()
    return z, (half * W).ravel() * np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)


def inner(function, reach, n=2001):
    """log E_v exp(function(v)), by the trapezoidal rule."""
    v = np.linspace(-reach, reach, n)
    return logsumexp(function(v) - 0.5 * v**2 - 0.5 * np.log(2 * np.pi) + np.log(v[1] - v[0]), axis=-1)


def patterns(q0, q1, y, kappa, R=0.0):
    """E_z log E_v H^y; with the labels of a teacher at overlap R the measure of z is 2 H(-R z/sqrt(q0-R^2))."""
    z, weight = panels()
    h = lambda v: (np.sqrt(q0) * z[:, None] + np.sqrt(q1 - q0) * v - kappa) / np.sqrt(1 - q1)
    tilt = 2 * np.exp(log_ndtr(R * z / np.sqrt(q0 - R**2)))
    return np.sum(weight * tilt * inner(lambda v: y * log_ndtr(h(v)), 12 + 3 * np.sqrt(y)))


def slopes(function, x, h=1e-4):
    """The gradient, by differences of fourth order."""
    moved = lambda i, k: function(x + k * h * np.eye(len(x))[i])
    return np.array([
        (8 * (moved(i, 1) - moved(i, -1)) - moved(i, 2) + moved(i, -2)) / (12 * h) for i in range(len(x))
    ])  # fmt: skip


@pytest.mark.parametrize("labels", ["random", "teacher"])
def test_the_sphere_by_hand(labels):
    """Phi = y phi_B(q0, q1) + (1/2) log(1 - y S^2/(1 + (y-1) q1)), the reference integrated out: the same value, stationary in q0, q1 (and R)."""
    alpha, kappa = (2.0, -0.5) if labels == "random" else (1.0, 0.0)
    d, y = np.array([0.125, 0.05, 0.1]), np.array([2.0, 20.0, 0.5])
    solution = rx.solve(rx.SphericalPerceptron(alpha=alpha, kappa=kappa, labels=labels), around(d=d, y=y))
    assert np.all(solution.converged)
    names = ("q0", "q1", "R")[: 2 if labels == "random" else 3]
    for i, (S, m) in enumerate(zip(1 - 2 * d, y)):

        def functional(x, S=S, m=m):
            q0, q1, R = x if len(x) == 3 else (*x, 0.0)
            whole = 1 - q1 + m * (q1 - q0)
            site = (m - 1) * np.log(1 - q1) + np.log(whole) + m * (q0 - R**2) / whole
            site = site + np.log(1 - m * S**2 / (1 + (m - 1) * q1))
            return 0.5 * site + alpha * patterns(q0, q1, m, kappa, R)

        x = np.array([float(getattr(solution.order, name)[i]) for name in names])
        assert abs(functional(x) - m * float(solution.phi[i])) < 1e-10
        assert np.max(np.abs(slopes(functional, x))) < 1e-6


def test_a_teacher_by_hand():
    """Binary weights: the functional of q0, q1, their conjugates, S^, R and R^ has this value, and is stationary."""
    alpha, d, y = np.array([0.5, 0.8]), np.array([0.1, 0.05]), np.array([2.0, 8.0])
    solution = rx.solve(rx.BinaryPerceptron(alpha=alpha, labels="teacher"), around(d=d, y=y))
    assert np.all(solution.converged)
    fold = lambda x: np.abs(x) + np.log1p(np.exp(-2 * np.abs(x)))
    for i, (a, S, m) in enumerate(zip(alpha, 1 - 2 * d, y)):

        def functional(x, a=a, S=S, m=m):
            q0, q1, q0_hat, q1_hat, S_hat, R, R_hat = x
            z, weight = panels(-R_hat / np.sqrt(q0_hat))
            field = lambda v: R_hat + np.sqrt(q0_hat) * z[:, None] + np.sqrt(q1_hat - q0_hat) * v
            sides = [
                inner(lambda v, s=s: m * fold(field(v) + s * S_hat), 12 + m * np.sqrt(q1_hat - q0_hat))
                for s in (1, -1)
            ]
            own = -m * S_hat * S - m / 2 * q1_hat * (1 - q1) - m**2 / 2 * (q1 * q1_hat - q0 * q0_hat)
            site = np.sum(weight * np.logaddexp(*sides))
            return own - m * R * R_hat + site + a * patterns(q0, q1, m, 0.0, R)

        names = ("q0", "q1", "q0_hat", "q1_hat", "S_hat", "R", "R_hat")
        x = np.array([float(getattr(solution.order, name)[i]) for name in names])
        assert abs(functional(x) - m * float(solution.phi[i])) < 1e-10
        assert np.max(np.abs(slopes(functional, x))) < 1e-6
        R, q1 = x[5], x[1]
        assert abs(np.cos(np.pi * solution.eps[i]) - R) < 1e-12
        assert abs(np.cos(np.pi * solution.eps_center[i]) - R / np.sqrt(q1)) < 1e-12


@pytest.mark.parametrize("name", ["binary", "sphere"])
def test_derivatives(name):
    """S_I = d Phi/dy and slope = d phi/dd; gamma is that slope."""
    model = dict(
        binary=rx.BinaryPerceptron(alpha=0.8, labels="teacher"),
        sphere=rx.SphericalPerceptron(alpha=2.0, kappa=-0.5),
    )[name]
    d, y = 0.05 + 1e-5 * np.array([0, 0, 0, -1, 1]), 8.0 + 1e-4 * np.array([0, -1, 1, 0, 0])
    solution = rx.solve(model, around(d=d, y=y))
    Phi = y * np.asarray(solution.phi)
    assert abs((Phi[2] - Phi[1]) / 2e-4 - solution.S_I[0]) < 1e-8
    assert abs((solution.phi[4] - solution.phi[3]) / 2e-5 - solution.slope[0]) < 1e-6
    assert solution.gamma[0] == solution.slope[0]
    by_q1 = rx.solve(model, around(q1=solution.order.q1[:1], y=8.0))
    assert by_q1.phi[0] == pytest.approx(float(solution.phi[0]), abs=1e-11)


def test_many_replicas_with_a_teacher():
    """phi(y) = phi(inf) + S_E/y + c/y^2, S_E(y) = S_E + 2c/y, also for references that cost no typical solution; on the way to it y*."""
    model, d = rx.BinaryPerceptron(alpha=0.8, labels="teacher"), np.array([0.05, 0.4])
    limit, many = rx.solve(model, around(d=d)), rx.solve(model, around(d=d, y=2000.0))
    assert np.all(limit.converged) and np.all(many.converged)
    np.testing.assert_allclose(2 * 2000.0 * (many.phi - limit.phi) - many.S_E, limit.S_E, atol=1e-6)
    typical = rx.solve(model, rx.RS(branch="low"))
    assert abs(limit.phi[1] - typical.phi) < 1e-12 and abs(limit.eps[1] - typical.eps) < 1e-10
    assert abs(limit.eps_center[1] - typical.eps_bary) < 1e-10 and limit.slope[1] == 0
    star = rx.solve(model, around(d=0.05, y="star"))
    again = rx.solve(model, around(d=0.05, y=star.y))
    assert abs(again.S_E) < 1e-8 and abs(again.S_I - star.S_I) < 1e-9 and abs(again.eps - star.eps) < 1e-8


def test_the_best_reference_on_the_sphere():
    """y = inf: q1 = S^2 (`replicas` at the distance of the centre); nearer than typical solutions to their barycentre any reference does."""
    model = rx.SphericalPerceptron(alpha=2.0, kappa=-0.5)
    d = np.array([0.01, 0.05, 0.125, 0.2])
    solution, typical = rx.solve(model, around(d=d)), rx.solve(model)
    assert np.all(solution.converged) and np.all(solution.S_E[:3] == -np.inf)
    np.testing.assert_allclose(solution.phi[:3], [-1.619335129, -0.992668727, -0.845608466], atol=1e-9)
    assert (1 - 2 * d[3]) ** 2 < typical.q and abs(solution.phi[3] - typical.phi) < 1e-12
    np.testing.assert_allclose(solution.S_E[3], 0.5 * np.log(1 - 0.36 / float(typical.q)), rtol=1e-10)
    many = rx.solve(model, around(d=0.05, y=np.array([1000.0, 4000.0])))
    # a reference at S^2 = q1 has lost log(y)/2
    np.testing.assert_allclose(np.diff(many.S_E), -0.5 * np.log(4.0), atol=2e-3)


def test_references_that_are_solutions_on_the_sphere():
    """The functional by its two-by-two matrices, derivatives, and y -> 0: Franz-Parisi around solutions of the margin of the reference."""
    model = rx.SphericalPerceptron(alpha=2.0, kappa=-0.5)
    at = lambda d, y: rx.LocalEntropy(ensemble="constrained", kappa_ref=-0.25, d=d, y=y)
    d = 0.1 + 1e-5 * np.array([0, 0, 0, 0, 0, -1, 1])
    y = np.array([1e-3, 5e-4, 4.0, 4.0 - 1e-4, 4.0 + 1e-4, 4.0, 4.0])
    solution = rx.solve(model, at(d, y))
    assert np.all(solution.converged)
    Phi = y * np.asarray(solution.phi)
    assert abs((Phi[4] - Phi[3]) / 2e-4 - solution.S_I[2]) < 1e-8
    assert abs((solution.phi[6] - solution.phi[5]) / 2e-5 - solution.slope[2]) < 1e-6
    typical = rx.solve(model, rx.FranzParisi(d=0.1, kappa_ref=-0.25))
    assert abs(2 * solution.S_I[1] - solution.S_I[0] - typical.entropy) < 1e-7
    assert abs(2 * solution.slope[1] - solution.slope[0] - typical.slope) < 1e-6
    reference = rx.solve(rx.SphericalPerceptron(alpha=2.0, kappa=-0.25))
    assert abs(solution.S_E[1] - reference.phi) < 1e-8
    q0, q1, q, t = (float(getattr(solution.order, name)[2]) for name in ("q0", "q1", "q", "t"))
    off = 2.0 * (0.8 - t)  # sqrt(y) (S - s0)
    C, D = np.array([[1 - q, off], [off, 1 - q1 + 4 * (q1 - q0)]]), np.array([[q, 2 * t], [2 * t, 4 * q0]])
    site = 0.5 * (3 * np.log(1 - q1) + np.log(np.linalg.det(C)) + np.trace(np.linalg.solve(C, D)))
    problem = at(0.1, 4.0).problems(model)[0]
    interaction, value, _ = problem.terms(problem.state(solution.coordinates[0][2], 64), 64)
    assert abs(4 * float(interaction + value) - site) < 1e-12


def test_many_replicas_around_solutions_of_the_sphere():
    """y = inf.  Far away references see typical solutions: S_E = lim S_E(y), at its largest, where they are typical themselves, phi_RS.  Nearer
    the best references satisfy all but 1e-9 of the patterns anyway.
    """
    model = rx.SphericalPerceptron(alpha=2.0, kappa=-0.5)
    solutions = lambda d, y: rx.solve(model, rx.LocalEntropy(ensemble="constrained", d=d, y=y))
    typical = rx.solve(model)
    limit = solutions(np.array([0.3, 0.5 * (1.0 - float(typical.q)), 0.125]), np.inf)
    assert np.all(limit.converged) and limit.S_E[2] == -np.inf
    np.testing.assert_allclose(limit.phi[:2], float(typical.phi), atol=1e-12)
    np.testing.assert_allclose(limit.S_E[1], float(typical.phi), atol=1e-11)
    assert abs(limit.phi[2] - rx.solve(model, around(d=0.125)).phi) < 1e-12
    many = solutions(np.array([0.3, 0.3, 0.125]), np.array([500.0, 2000.0, 2000.0]))
    assert np.all(many.converged) and abs((4 * many.S_E[1] - many.S_E[0]) / 3 - limit.S_E[0]) < 2e-6
    assert 0 < limit.phi[2] - many.S_I[2] < 3e-4
