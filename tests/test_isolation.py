"""d-iso of perceptrons: published values, independent scans, and what is flagged."""

import numpy as np
import pytest

import replicax as rx

#: (alpha, kappa) of the rectangle: zero of the annealed entropy of pairs (independent program)
PAIRS = {(1.0, 1.0): 0.011369294302676, (1.5, 1.0): 0.055578620046413}
#: alpha at kappa = 0, around typical solutions of margin 0 (independent program)
TYPICAL = {0.3: 0.0011560235965, 0.5: 0.00700286893712, 0.7: 0.036936701518, 0.8: 0.105161400483}


def test_pairs_of_the_rectangle():
    alpha, kappa = np.array(list(PAIRS)).T
    line = rx.threshold(rx.SymmetricPerceptron(alpha=alpha, kappa=kappa), "d-iso", curve="pair")
    np.testing.assert_allclose(line.value, list(PAIRS.values()), rtol=1e-10)


def test_pairs_vanish_at_every_distance_only_beyond_capacity():
    line = rx.threshold(rx.SymmetricPerceptron(alpha=[1.8, 2.6], kappa=1.0), "d-iso", curve="pair")
    assert line.status.tolist() == ["ok", "no solution"] and np.isnan(line.value[1])


@pytest.mark.slow
def test_around_solutions():
    """Typical ones; then alpha = 0.7, kappa_ref = 0.3 kappa_max: S < 0 from below 0.005 to beyond 0.02, d-iso is where the gap ends;
    0.9 kappa_max: no gap.
    """
    top = float(rx.threshold(rx.BinaryPerceptron(alpha=0.7), "kappa-max").value)
    alpha, margin = np.array([*TYPICAL, 0.7, 0.7]), np.array([0.0, 0.0, 0.0, 0.0, 0.3, 0.9]) * top
    line = rx.threshold(rx.BinaryPerceptron(alpha=alpha), "d-iso", kappa_ref=margin)
    np.testing.assert_allclose(line.value[:4], list(TYPICAL.values()), atol=1e-9)
    assert not line.converged[5] and np.isnan(line.value[5])
    gap = float(line.value[4])
    d = np.array([*np.asarray(line.value[:4]), 0.98 * gap, 1.02 * gap])
    around = rx.solve(
        rx.BinaryPerceptron(alpha=np.append(alpha[:5], 0.7)),
        rx.FranzParisi(d=d, kappa_ref=np.append(margin[:5], margin[4])),
    )
    np.testing.assert_allclose(around.entropy[:4], 0.0, atol=1e-9)
    assert gap > 0.02 and np.sign(np.asarray(around.entropy[4:])).tolist() == [-1, 1]


@pytest.mark.slow
@pytest.mark.parametrize("constraint", ["rectangle", "u"])
def test_quenched_isolation_exceeds_the_annealed_one(constraint):
    """The quenched entropy lies below the annealed one (Jensen), so its zero is farther out."""
    kappa = 0.8 if constraint == "u" else 1.0
    model = rx.SymmetricPerceptron(alpha=[0.3, 0.6], kappa=kappa, constraint=constraint)
    quenched, annealed = (rx.threshold(model, "d-iso", curve=c).value for c in ("franz-parisi", "pair"))
    assert np.all(np.asarray(quenched) > np.asarray(annealed)) and np.all(np.asarray(quenched) < 0.1)


def test_bad_options():
    with pytest.raises(ValueError, match="curve = 'quenched' is not one of franz-parisi, pair"):
        rx.threshold(rx.SymmetricPerceptron(alpha=1.0, kappa=1.0), "d-iso", curve="quenched")
    with pytest.raises(ValueError, match="alpha is missing"):
        rx.threshold(rx.BinaryPerceptron(), "d-iso")
