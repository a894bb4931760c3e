"""Where local entropies cease to be monotone: published values, the curve on both sides, and what is flagged."""

import jax
import numpy as np
import pytest

import replicax as rx

#: kappa: alpha_LE, q1 at the inflection, phi there (independent program)
DENSE = {
    0.0: (0.755302, 0.91962, 0.039470),
    -0.5: (1.481040, 0.89232, 0.051229),
    0.5: (0.421975, 0.94228, 0.029443),
}


@pytest.mark.slow
def test_binary_weights():
    kappa = np.array(list(DENSE))
    line = rx.threshold(rx.BinaryPerceptron(kappa=kappa), "alpha-le")
    alpha, q1, phi = np.array(list(DENSE.values())).T
    np.testing.assert_allclose(line.value, alpha, atol=1e-6)
    np.testing.assert_allclose(line.q1, q1, atol=1e-5)
    np.testing.assert_allclose(line.phi, phi, atol=1e-6)
    # below, the curve falls with q1 everywhere; above, it rises somewhere
    grid = np.array(line.q1)[:, None] + np.linspace(-0.03, 0.03, 7)
    for factor, monotone in ((0.995, True), (1.005, False)):
        model = rx.BinaryPerceptron(alpha=factor * np.array(line.value)[:, None], kappa=kappa[:, None])
        slope = np.asarray(rx.solve(model, rx.LocalEntropy(q1=grid)).slope)
        assert np.all((slope.max(1) < 0) == monotone)


@pytest.mark.slow
def test_reconnection():
    """alpha-u at margin 0 lies in 0.7665(6) (specification).  Below it the curve S_E = 0 leads from the core to large distances, q1 falling
    on the way; above, the core's curve turns back to larger q1 and the dominant solution jumps to the other curve.
    """
    line = rx.threshold(rx.BinaryPerceptron(kappa=0.0), "alpha-u")
    assert bool(line.converged) and abs(line.value - 0.7665) < 6e-4
    d = line.d * np.linspace(0.85, 1.15, 8)
    around = rx.LocalEntropy(d=d, y="star", ensemble="reference")
    below, above = (rx.solve(rx.BinaryPerceptron(alpha=f * line.value), around) for f in (0.997, 1.003))
    assert np.all(below.converged) and np.all(above.converged)
    change = np.diff(below.order.q1)
    assert np.all(change < 0) and np.all(change > -0.02)
    change = np.diff(above.order.q1)
    jump = int(np.argmin(change))
    assert change[jump] < -0.05 and 0 < change[jump - 1] < 0.02


def test_the_sphere_fails_first_at_the_end_of_the_curve():
    """q1 = q_RS, where RS becomes unstable; kappa >= 0: nowhere."""
    line = rx.threshold(rx.SphericalPerceptron(kappa=[-0.5, -1.0, 0.5]), "alpha-le")
    np.testing.assert_allclose(line.value[:2], [3.95070131, 7.87356024], atol=1e-7)
    np.testing.assert_allclose(line.q1[:2], [0.89592273, 0.70185981], atol=1e-7)
    assert line.status[2] == "no solution" and np.isnan(line.value[2])


@pytest.mark.slow
def test_around_solutions_of_the_largest_margin():
    """0.72903(5) at d = 0.0050 (independent program)."""
    line = rx.threshold(rx.BinaryPerceptron(), "alpha-le", reference="kappa-max")
    assert abs(float(line.value) - 0.72903) < 5e-5 and abs(float(line.d) - 0.0050) < 2e-4


def test_bad_options():
    with pytest.raises(ValueError, match="reference = 'centre' is not one of replicas, kappa-max"):
        rx.threshold(rx.BinaryPerceptron(), "alpha-le", reference="centre")
    with pytest.raises(ValueError, match="labels = teacher"):
        rx.threshold(rx.BinaryPerceptron(labels="teacher"), "alpha-le")


@pytest.mark.slow
def test_derivative_of_the_onset_in_the_margin():
    onset = lambda kappa: rx.threshold(rx.BinaryPerceptron(kappa=kappa), "alpha-le").value
    quotient = (onset(1e-4) - onset(-1e-4)) / 2e-4
    assert abs(jax.grad(onset)(0.0) - quotient) < 1e-7
