"""Largest margin and capacity of the sphere, of random labels and of those of a teacher: both equations integrated by scipy."""

import numpy as np
from scipy.integrate import quad
from scipy.special import ndtr
from scipy.stats import norm

import replicax as rx

Sphere = rx.SphericalPerceptron


def by_hand(alpha, kappa, R):
    """alpha <(kappa - h)_+^2> - (1 - R^2), alpha <(kappa - h)_+ score> - R; the label says y t > 0 of the teacher's field t."""
    d = np.sqrt(1 - R * R)
    at = dict(points=[0.0], epsabs=1e-13)
    norms = quad(lambda z: norm.pdf(z) * ndtr(R * z / d) * (kappa - z) ** 2, -12, kappa, **at)[0]
    along = quad(lambda z: norm.pdf(z) * norm.pdf(R * z / d) * (kappa - z), -12, kappa, **at)[0]
    return 2 * alpha * norms - (1 - R * R), 2 * alpha / d * along - R


def test_a_teacher():
    """Public figures at alpha = 1 and 2 (1e-7); the two thresholds are inverse; without patterns there is none."""
    alpha = np.array([0.01, 0.1, 1.0, 2.0, 5.0, 50.0, 0.0])
    line = rx.threshold(Sphere(alpha=alpha, labels="teacher"), "kappa-max")
    assert line.status.tolist() == ["ok"] * 6 + ["no solution"]
    np.testing.assert_allclose(line.value[2:4], [0.7865498417, 0.4545775610], atol=1e-8)
    np.testing.assert_allclose(line.R[2:4], [0.6713576435, 0.8297576116], atol=1e-7)
    np.testing.assert_allclose(line.eps[2:4], [0.2657114720, 0.1884786283], atol=1e-7)
    for a, kappa, R in zip(alpha[:6], np.asarray(line.value), np.asarray(line.R)):
        np.testing.assert_allclose(by_hand(a, kappa, R), 0.0, atol=1e-10)
    back = rx.threshold(Sphere(kappa=np.append(line.value[:6], [0.0, -0.5]), labels="teacher"), "capacity")
    np.testing.assert_allclose(back.value[:6], alpha[:6], rtol=1e-12)
    assert back.status.tolist() == ["ok"] * 6 + ["no solution"] * 2


def test_random_labels():
    kappa = np.array([-3.0, -0.5, 0.0, 1.0, 20.0])
    line = rx.threshold(Sphere(kappa=kappa), "capacity")
    wanted = 1 / ((1 + kappa**2) * ndtr(kappa) + kappa * norm.pdf(kappa))
    np.testing.assert_allclose(line.value, wanted, rtol=1e-11)
    assert line.status.tolist() == ["upper bound"] * 2 + ["ok"] * 3
    np.testing.assert_allclose(rx.threshold(Sphere(alpha=wanted), "kappa-max").value, kappa, atol=1e-12)
