"""Local entropies around a reference that is a solution itself: values of an independent program, derivatives, both limits of y."""

import numpy as np
import pytest

import replicax as rx


def around(**control):
    return rx.LocalEntropy(ensemble="constrained", **control)


@pytest.mark.slow
def test_values_and_exchange():
    """Phi and S_I of an independent program; at y = 1 replica and reference may be exchanged."""
    y = np.array([4.0, 8.0, 2.0, 1.0])
    solution = rx.solve(rx.BinaryPerceptron(alpha=0.4), around(d=0.2, y=y))
    excess = solution.phi * y - np.log(2) + y * (0.2 * np.log(0.2) + 0.8 * np.log(0.8))
    np.testing.assert_allclose(excess[:3], [-0.95103, -1.53912, -0.63559], atol=6e-6)
    np.testing.assert_allclose(solution.S_I[:2], [0.347168, 0.358247], atol=1e-6)
    order = solution.order
    np.testing.assert_allclose([order.t[3], order.q[3]], [order.q0[3]] * 2, atol=1e-8)
    assert np.max(np.abs(solution.S_E + y * (solution.S_I - solution.phi))) < 1e-11


@pytest.mark.slow
def test_derivatives():
    model = rx.BinaryPerceptron(alpha=0.6, kappa=0.1)
    at = lambda d, y: rx.solve(model, around(d=d, y=y, kappa_ref=0.05))
    y, d = 6.0 + np.array([0.0, -1e-4, 1e-4]), 0.05 + np.array([-3e-5, 3e-5])
    here, beside = at(0.05, y), at(d, 6.0)
    assert abs((y[2] * here.phi[2] - y[1] * here.phi[1]) / 2e-4 - here.S_I[0]) < 1e-7
    assert abs(np.diff(beside.phi)[0] / 6e-5 - here.slope[0]) < 1e-6


@pytest.mark.slow
def test_few_replicas_are_franz_parisi():
    """y -> 0: S_I(y) = S(d) + O(y) around typical solutions of the margin of the reference, whose entropy is S_E."""
    model, d = rx.BinaryPerceptron(alpha=0.4), np.array([0.3, 0.1])
    few = rx.solve(model, around(d=d, y=1e-3, kappa_ref=0.3))
    fewer = rx.solve(model, around(d=d, y=5e-4, kappa_ref=0.3))
    typical = rx.solve(model, rx.FranzParisi(d=d, kappa_ref=0.3))
    np.testing.assert_allclose(2 * fewer.S_I - few.S_I, typical.entropy, atol=1e-7)
    np.testing.assert_allclose(2 * fewer.slope - few.slope, typical.slope, atol=1e-6)
    np.testing.assert_allclose(fewer.S_E, rx.solve(rx.BinaryPerceptron(alpha=0.4, kappa=0.3)).phi, atol=1e-8)


@pytest.mark.slow
def test_many_replicas():
    """y = inf from finite y (up to a violated reference's log(y)/2 y), and below the curve of any reference."""
    model = rx.BinaryPerceptron(alpha=0.4)
    limit, many = rx.solve(model, around(d=0.2)), rx.solve(model, around(d=0.2, y=np.array([500.0, 2000.0])))
    assert abs(many.S_I[1] - limit.S_I) < 0.3 * abs(many.S_I[0] - limit.S_I) < 3e-5
    free = rx.solve(model, rx.LocalEntropy(ensemble="reference", d=0.2))
    assert 0 < free.phi - limit.phi < 1e-5 and limit.S_E == -np.inf


@pytest.mark.slow
def test_many_replicas_around_references_that_feel_no_pattern():
    """y = inf where the references of many replicas satisfy the patterns anyway: phi(y) = phi(inf) + (a - b log y)/y at three y."""
    model, point = rx.BinaryPerceptron(alpha=0.312, kappa=-0.222), dict(d=0.136, kappa_ref=-0.002)
    limit, y = rx.solve(model, around(**point)), np.array([800.0, 1600.0, 3200.0])
    phi = np.asarray(rx.solve(model, around(**point, y=y)).phi)
    design = np.stack([np.ones(3), 1 / y, np.log(y) / y], axis=1)
    assert limit.converged and abs(np.linalg.solve(design, phi)[0] - limit.phi) < 3e-6
    free = rx.solve(model, rx.LocalEntropy(ensemble="reference", d=0.136))
    assert abs(free.phi - limit.phi) < 1e-9


@pytest.mark.slow
def test_references_that_see_typical_solutions():
    """y = inf far away: phi = phi_RS, and the number of references is finite: phi_RS(kappa_ref) at most, next to the overlap of typical solutions."""
    model, kappa_ref = rx.BinaryPerceptron(alpha=0.4), np.array([0.0, 0.0, 0.3])
    typical = rx.solve(rx.BinaryPerceptron(alpha=0.4, kappa=np.array([0.0, 0.3])))
    limit = rx.solve(model, around(d=np.array([0.3675, 0.33, 0.33]), kappa_ref=kappa_ref))
    assert np.max(np.abs(limit.phi - typical.phi[0])) < 1e-12
    assert 0 < typical.phi[0] - limit.S_E[0] < 1e-3  # d = 0.37208 would be that of typical solutions
    assert np.all(limit.S_E[1:] < np.asarray(typical.phi)) and np.all(limit.S_E[1:] > 0)


@pytest.mark.slow
def test_zero_complexity():
    """S_E of a solution at y* vanishes; the curve lies below that of any reference (y* = 14.670, S_I = 0.126245)."""
    model = rx.BinaryPerceptron(alpha=0.6)
    star = rx.solve(model, around(d=0.05, y="star"))
    again = rx.solve(model, around(d=0.05, y=star.y))
    assert star.converged and abs(again.S_E) < 1e-8 and 1e-5 < 0.126245 - star.S_I < 2e-4


def test_the_margin_of_a_reference_needs_one():
    with pytest.raises(ValueError, match=r"kappa_ref = 0\.1"):
        rx.LocalEntropy(d=0.1, kappa_ref=0.1)
    with pytest.raises(ValueError, match="beta = 2"):
        rx.solve(rx.BinaryPerceptron(alpha=0.5, beta=2.0), around(d=0.1))


@pytest.mark.slow
def test_the_start_on_the_sphere():
    """References that begin to feel the patterns lead to the solution at once (from cold starts: 36 steps and more)."""
    alpha, kappa = np.array([1.1, 0.815, 1.381]), np.array([-0.2, -0.172, -0.109])
    d, y = np.array([0.2486, 0.0073, 0.0797]), np.array([89.55, 0.35, 2.97])
    solution = rx.solve(rx.SphericalPerceptron(alpha=alpha, kappa=kappa), around(d=d, y=y))
    assert np.all(solution.converged) and np.all(solution.steps < 8)


TAUGHT = {
    "binary": (rx.BinaryPerceptron(alpha=0.8, labels="teacher"), 0.12),
    "sphere": (rx.SphericalPerceptron(alpha=1.2, labels="teacher"), 0.15),
}


@pytest.mark.slow
@pytest.mark.parametrize("weights", TAUGHT)
def test_a_teacher(weights):
    """y = 1 is a pair of students (ensemble replicas, y = 2); S_I and the slope are derivatives; without a margin to keep the reference is any."""
    model, d = TAUGHT[weights]
    y = 3.0 + np.array([0.0, -1e-3, 1e-3])
    here, pair = rx.solve(model, around(d=d, y=y)), rx.solve(model, around(d=d, y=1.0))
    two = rx.solve(model, rx.LocalEntropy(d=d, y=2.0))
    assert abs(pair.phi - 2 * two.phi) < 1e-12
    np.testing.assert_allclose([pair.order.R, pair.order.R_ref], [two.order.R] * 2, atol=1e-9)
    assert abs(pair.eps - two.eps) < 1e-9
    assert abs((y[2] * here.phi[2] - y[1] * here.phi[1]) / 2e-3 - here.S_I[0]) < 1e-8
    beside = rx.solve(model, around(d=d + np.array([-1e-4, 1e-4]), y=3.0))
    assert abs(np.diff(beside.phi)[0] / 2e-4 - here.slope[0]) < 1e-6
    loose = rx.solve(model, around(d=d, y=3.0, kappa_ref=-8.0))
    any_ = rx.solve(model, rx.LocalEntropy(ensemble="reference", d=d, y=3.0))
    np.testing.assert_allclose([loose.phi, loose.S_I, loose.eps], [any_.phi, any_.S_I, any_.eps], atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("weights", TAUGHT)
def test_many_replicas_with_a_teacher(weights):
    """y = inf: close by below the curve of any reference; far away phi_RS, where the teacher, one more typical solution (Nishimori), has
    the overlap with the reference that the replicas have, and all references exist at the overlap of typical solutions.
    """
    model, d = TAUGHT[weights]
    typical = rx.solve(model)
    far = 0.5 * (1.0 - np.array([1.0 - 1e-7, 0.8]) * float(typical.order.R))
    limit = rx.solve(model, around(d=np.array([d, *far])))
    free = rx.solve(model, rx.LocalEntropy(ensemble="reference", d=d))
    assert np.all(limit.converged) and 0 < free.phi - limit.phi[0] < 1e-3
    np.testing.assert_allclose(limit.phi[1:], typical.phi, atol=1e-12)
    np.testing.assert_allclose(limit.order.R_ref[1:], limit.order.S[1:], atol=1e-9)
    assert abs(limit.S_E[1] - typical.phi) < 1e-6 and limit.S_E[2] < limit.S_E[1]
    many = rx.solve(model, around(d=d, y=np.array([500.0, 2000.0])))
    assert abs(many.phi[1] - limit.phi[0]) < 0.5 * abs(many.phi[0] - limit.phi[0]) < 1e-2
