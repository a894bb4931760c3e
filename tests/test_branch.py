"""Branches: special points at the thresholds, ends where the solution ends."""

import numpy as np
import pytest

import replicax as rx


@pytest.fixture(scope="module")
def storage():
    return rx.branch(rx.BinaryPerceptron(), rx.RS(), vary="alpha", start=0.2, stop=1.2)


def test_rows_are_solutions(storage):
    assert storage.status == "reached p_max" and storage.alpha[0] == 0.2 and storage.alpha[-1] == 1.2
    assert np.all(storage.converged) and np.max(storage.residual) < 1e-10
    some = slice(None, None, 7)
    direct = rx.solve(rx.BinaryPerceptron(alpha=storage.alpha[some]))
    np.testing.assert_allclose(storage.q[some], direct.q, atol=1e-12)


def test_special_points_are_the_thresholds(storage):
    at = {point.kind: point.value for point in storage.special}
    assert at["entropy = 0"] == pytest.approx(0.8330785997395679, abs=1e-10)
    assert at["replicon = 0"] == pytest.approx(1.0146536100941, abs=1e-10)
    table = storage.table()
    assert set(table["special"]) == {"", "entropy = 0", "replicon = 0", "end"}


def test_the_branch_ends_where_q_reaches_one():
    """RS of binary weights at kappa = 0 ends at alpha = 4/pi (Gardner & Derrida)."""
    end = rx.branch(rx.BinaryPerceptron(), rx.RS(), vary="alpha", start=0.5, stop=3.0)
    assert end.status != "reached p_max" and end.q[-1] > 1 - 2e-6
    assert end.alpha[-1] == pytest.approx(4 / np.pi, rel=1e-5)


def test_backwards_and_in_an_ansatz_parameter():
    down = rx.branch(
        rx.RecurrentNetwork(J_D=0.3), rx.LocalEntropy(q1=0.9, y=4.0), vary="q1", start=0.9, stop=0.8
    )
    assert down.status == "reached p_min" and np.all(np.diff(down.columns["q1"]) < 0)
    explicit = rx.branch(rx.RecurrentNetwork(), rx.RS(), vary="J_D", start=0.0, stop=1.0)
    assert len(explicit) == 101 and explicit.phi[-1] == pytest.approx(0.5203934015364954, abs=1e-12)


def test_bad_calls():
    with pytest.raises(ValueError, match="vary = 'gamma' is not a parameter"):
        rx.branch(rx.BinaryPerceptron(alpha=0.5), vary="gamma", start=0.0, stop=1.0)
    with pytest.raises(ValueError, match="no solution to start from"):
        rx.branch(rx.BinaryPerceptron(), vary="alpha", start=2.0, stop=0.5)
    with pytest.raises(ValueError, match="alpha = -1 is outside"):
        rx.branch(rx.BinaryPerceptron(), vary="alpha", start=0.5, stop=-1.0)


def test_beyond_a_fold_rows_stay_on_the_branch():
    """Students of a teacher, no margin: q = R along the whole branch, R rises through the spinodal back to small alpha."""
    model = rx.BinaryPerceptron(alpha=0.3, labels="teacher")
    curve = rx.branch(model, rx.RS(branch="low"), vary="alpha", start=0.3, stop=1.6)
    fold = int(np.argmax(curve.alpha))
    assert 0 < fold < len(curve) - 5
    # the map is nearly singular in q - R where solutions with q != R split off
    assert np.all(np.diff(curve.R) > -1e-9) and np.max(np.abs(curve.R - curve.q)) < 1e-6
    assert abs(curve.alpha[fold] - 1.49263182) < 1e-8 and curve.R[-1] > 0.99
    same = np.interp(1.3, curve.alpha[: fold + 1], curve.R[: fold + 1])
    assert (
        abs(same - rx.solve(rx.BinaryPerceptron(alpha=1.3, labels="teacher"), rx.RS(branch="low")).R) < 5e-3
    )
