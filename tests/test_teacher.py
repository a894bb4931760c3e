"""Labels of a teacher: values of independent programs, the Nishimori line, branches, and the lines of first-order learning."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import log_ndtr

import replicax as rx

LOG_2PI = np.log(2 * np.pi)

#: (alpha, kappa): q, R, phi, eps, eps_bary of the branch of small R, from an independent program (quadrature in the teacher's field)
BINARY = {
    (0.5, 0.0): (0.293089030054, 0.293089030054, 0.372132777745, 0.405316763526, 0.317903195312),
    (1.0, 0.0): (0.560714737095, 0.560714737095, 0.106108267775, 0.310526438905, 0.230626086742),
    (1.4, 0.0): (0.789699039502, 0.789699039502, -0.056426630915, 0.210236693559, 0.151643839300),
    (1.0, -0.5): (0.258433480388, 0.368413652031, 0.388540629123, 0.379901020462, 0.241975986360),
    (2.0, -0.5): (0.523388197809, 0.671186562407, 0.208608593584, 0.265784942013, 0.121739658538),
    (0.5, 0.3): (0.447734545902, 0.359062767875, 0.226627144475, 0.383096396954, 0.319704035570),
    (1.3, -0.1): (0.626411611207, 0.669305817755, 0.070902474191, 0.266591610716, 0.179208383340),
}
SPHERE = {
    (1.0, 0.0): (0.4862636370, 0.4862636370, -0.5964412557, 0.3383594684, 0.25437297),
    (2.0, -0.5): (0.4275105873, 0.5542609531, -0.5152497289, 0.3130009659, 0.17798833),
    (3.0, -1.0): (0.2830956640, 0.4787093294, -0.3398696189, 0.3411047769, 0.14377379),
    (2.0, 0.2): (0.8540357409, 0.7869924554, -1.4603703587, 0.2116370368, 0.17563635),
}


def points(table):
    alpha, kappa = np.array(list(table)).T
    return dict(alpha=alpha, kappa=kappa, labels="teacher"), np.array(list(table.values()))


@pytest.fixture(scope="module")
def low():
    parameters, wanted = points(BINARY)
    return rx.solve(rx.BinaryPerceptron(**parameters), rx.RS(branch="low")), wanted


@pytest.mark.slow
def test_binary_weights_against_an_independent_program(low):
    solution, wanted = low
    assert np.all(solution.converged) and np.max(solution.residual) < 1e-11
    found = solution.table()
    for i, name in enumerate(("q", "R", "phi", "eps", "eps_bary")):
        np.testing.assert_allclose(found[name], wanted[:, i], atol=1e-8, rtol=0, err_msg=name)
    assert np.max(solution.quadrature_error) < 1e-12


@pytest.mark.slow
def test_the_nishimori_line_is_found_without_being_imposed(low):
    solution, _ = low
    matched = np.asarray(solution.model.kappa) == 0
    np.testing.assert_allclose(solution.order.q[matched], solution.order.R[matched], atol=1e-12)
    np.testing.assert_allclose(solution.order.q_hat[matched], solution.order.R_hat[matched], atol=1e-11)
    assert np.all(np.abs(solution.order.q - solution.order.R)[~matched] > 1e-3)


@pytest.mark.slow
def test_the_sphere_against_an_independent_program():
    parameters, wanted = points(SPHERE)
    solution = rx.solve(rx.SphericalPerceptron(**parameters))
    assert np.all(solution.converged)
    for i, name in enumerate(("q", "R", "phi", "eps", "eps_bary")):
        np.testing.assert_allclose(solution.table()[name], wanted[:, i], atol=1e-8, rtol=0, err_msg=name)


def test_many_patterns_of_a_teacher_at_negative_margin():
    """Around the teacher, where the map does not arrive: the equations of the specification by `quad`, on a scale of the teacher's field."""
    alpha, kappa = np.meshgrid([300.0, 1500.0, 1e5], [-0.02, -0.368, -1.2], indexing="ij")
    found = rx.solve(rx.SphericalPerceptron(alpha=alpha, kappa=kappa, labels="teacher"))
    assert np.all(found.converged)
    for a, k, q, R in zip(*(np.asarray(x).ravel() for x in (alpha, kappa, found.order.q, found.order.R))):
        rest, d = 1.0 - q, np.sqrt(q - R * R)
        log_mills = lambda z: (
            -0.5 * ((k - np.sqrt(q) * z) ** 2 / rest + LOG_2PI)
            - log_ndtr(-(k - np.sqrt(q) * z) / np.sqrt(rest))
        )
        score = lambda z: 2 * log_mills(z) + log_ndtr(R * z / d) - 0.5 * (z * z + LOG_2PI)
        signal = lambda z: log_mills(z) - 0.5 * ((R * z / d) ** 2 + z * z) - LOG_2PI
        ends = np.sqrt(rest) * np.array([-60.0, -5.0, 0.0, 5.0, 60.0])
        mean = lambda f: sum(
            quad(lambda z: np.exp(f(z)), x, y, epsrel=1e-11, epsabs=0)[0] for x, y in zip(ends[:-1], ends[1:])
        )
        np.testing.assert_allclose(q - R * R, rest * 2 * a * mean(score), rtol=1e-6)
        np.testing.assert_allclose(R, 2 * a * np.sqrt(rest * q) / d * mean(signal), rtol=1e-6)


def test_nothing_breaks_the_symmetry_of_students():
    """The replicon stays above 1/2, its limit at margin 0: the line does not exist; without a teacher it does."""
    kappa = np.array([-2.0, -0.1, 0.0, 0.3])
    line = rx.threshold(rx.SphericalPerceptron(kappa=kappa, labels="teacher"), "dat")
    assert list(line.status) == ["no solution"] * 4
    alpha = np.geomspace(0.1, 1e4, 16)[:, None]
    students = rx.solve(rx.SphericalPerceptron(alpha=alpha, kappa=kappa[:3], labels="teacher"))
    assert np.all(students.converged) and np.min(students.replicon) > 0.5


def test_the_sphere_always_has_students_of_a_teacher_that_breaks_nothing():
    """R grows with the number of patterns, at any of them; at positive margins there is an end."""
    alpha = np.array([1.0, 8.0, 20.0, 50.0, 200.0])
    near = rx.solve(rx.SphericalPerceptron(alpha=alpha, kappa=-0.5, labels="teacher"))
    assert np.all(near.converged) and np.max(near.residual) < 1e-11
    assert np.all(np.diff(near.order.R) > 0) and near.order.R[-1] > 0.97
    matched = rx.solve(rx.SphericalPerceptron(alpha=alpha, labels="teacher"))
    np.testing.assert_allclose(matched.order.R, matched.order.q, atol=1e-11)
    none = rx.solve(rx.SphericalPerceptron(alpha=[10.0, 100.0], kappa=0.3, labels="teacher"))
    assert list(none.status) == ["no solution"] * 2


@pytest.mark.slow
def test_the_dominant_branch_is_the_one_of_largest_phi():
    """Margin 0: perfect learning, phi = 0, wins where the entropy of the other branch is negative; alpha = 0 has no information."""
    alphas = np.array([0.0, 1.24, 1.25, 1.48, 1.6])
    model = rx.BinaryPerceptron(alpha=alphas, labels="teacher")
    best, low, high = (rx.solve(model, rx.RS(branch=b)) for b in (None, "low", "high"))
    assert list(best.table()["branch"][:4]) == ["low", "low", "high", "high"]
    np.testing.assert_allclose(best.order.R[2:], 1.0)
    np.testing.assert_allclose(best.phi[2:], 0.0)
    assert float(best.order.R[0]) == 0.0 and abs(float(best.phi[0]) - np.log(2)) < 1e-15
    assert np.all(low.order.R[:4] < 0.9) and np.all(np.asarray(high.order.R) == 1.0)


#: (alpha, kappa): R, phi of the only solution, as found by scans of starts
FAR = {
    (72.241698625013, -0.26503810747064604): (0.9960182675366406, 0.01220235061110769),
    (1.6903945857501546, 0.03689404983464926): (0.886887566038789, -0.20780090944919383),
}


@pytest.mark.slow
def test_solutions_that_no_map_from_no_overlap_reaches():
    """Many patterns, where the first step from R = 0 overshoots; a margin that the teacher violates, where the map itself is unstable."""
    parameters, wanted = points(FAR)
    solution = rx.solve(rx.BinaryPerceptron(**parameters))
    assert np.all(solution.converged)
    np.testing.assert_allclose(solution.order.R, wanted[:, 0], atol=1e-9)
    np.testing.assert_allclose(solution.phi, wanted[:, 1], atol=1e-9)
    alpha, kappa = list(FAR)[1]  # followed from where the map arrives
    path = rx.branch(rx.BinaryPerceptron(kappa=kappa, labels="teacher"), vary="alpha", start=1.0, stop=alpha)
    np.testing.assert_allclose(path.table()["phi"][-1], solution.phi[1], atol=1e-9)


@pytest.mark.slow
def test_without_noise_the_matched_student_stays_on_the_nishimori_line():
    """Beyond the spinodal at margin 0 there are roots with q != R that nothing flows to: perfect learning is the only solution."""
    beyond = rx.solve(rx.BinaryPerceptron(alpha=[1.5, 2.1, 2.3], labels="teacher"))
    assert list(beyond.table()["branch"]) == [""] * 3 and np.all(np.asarray(beyond.order.R) == 1.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kappa", "value", "R"),
    [
        ("teacher-transition", 0.0, 1.24468398985, 0.69376021965),
        ("teacher-transition", -0.1, 1.5334111383, 0.80465268),
        ("spinodal", 0.0, 1.49263181823, 0.89366142),
    ],
)
def test_lines_of_first_order_learning(name, kappa, value, R):
    """1.245: Gyorgyi (1990); 1.493: commonly quoted; digits from an independent program."""
    found = rx.threshold(rx.BinaryPerceptron(kappa=np.array([kappa, -0.3]), labels="teacher"), name)
    np.testing.assert_allclose(found.value[0], value, atol=1e-8)
    np.testing.assert_allclose(found.R[0], R, atol=1e-7)
    assert list(found.status) == ["ok", "no solution"]  # beyond the critical end there is one branch


@pytest.mark.slow
def test_the_critical_end_is_where_the_spinodals_meet():
    end = rx.threshold(rx.BinaryPerceptron(labels="teacher"), "critical-end")
    assert bool(end.converged) and abs(float(end.value) + 0.16625) < 1e-5
    near = rx.BinaryPerceptron(
        kappa=np.array([float(end.value) + 1e-4, float(end.value) - 2e-3]), labels="teacher"
    )
    spinodal = rx.threshold(near, "spinodal")
    assert list(spinodal.converged) == [True, False]
    assert abs(float(spinodal.R[0]) - float(end.R)) < 0.02


def test_bad_arguments():
    with pytest.raises(ValueError, match="labels = random"):
        rx.threshold(rx.BinaryPerceptron(), "spinodal")
    with pytest.raises(ValueError, match="branch = low"):
        rx.solve(rx.BinaryPerceptron(alpha=0.5), rx.RS(branch="low"))
    with pytest.raises(ValueError, match="labels = 'student' is not one of random, teacher"):
        rx.BinaryPerceptron(alpha=0.5, labels="student")
