"""Local entropies around a reference that is any configuration: limits, derivatives, enumeration, and y* (figures of the specification)."""

from math import comb

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import replicax as rx


def around(**control):
    return rx.LocalEntropy(ensemble="reference", **control)


def entropy(d):
    return -d * np.log(d) - (1 - d) * np.log1p(-d)


def test_one_replica_is_a_solution_and_its_neighbours():
    """y = 1: Phi = phi_RS + h(d), any alpha and kappa."""
    alpha, kappa, d = np.array([0.4, 0.2, 0.7]), np.array([0.0, 0.5, -0.4]), np.array([0.2, 0.1, 0.3])
    model = rx.BinaryPerceptron(alpha=alpha, kappa=kappa)
    solution = rx.solve(model, around(d=d, y=1.0))
    assert np.all(solution.converged)
    assert np.max(np.abs(solution.phi - rx.solve(model).phi - entropy(d))) < 1e-11
    assert np.max(np.abs(solution.S_E + solution.S_I - solution.phi)) < 1e-11


@pytest.mark.slow
def test_without_patterns_it_is_the_ball():
    d = np.array([0.05, 0.3])
    for y in (4.0, np.inf):
        solution = rx.solve(rx.BinaryPerceptron(alpha=0.0), around(d=d, y=y))
        assert np.all(solution.converged)
        assert np.max(np.abs(solution.S_I - entropy(d))) < 1e-12
        assert np.max(np.abs(solution.S_E - np.log(2.0))) < 1e-10


@pytest.mark.slow
def test_balls_between_the_constraints():
    """y = inf: a ball so small that no pattern reaches it, and one that they just reach: the same curve, below h(d)."""
    model, d = rx.BinaryPerceptron(alpha=0.2, kappa=0.6), np.array([1.6e-4, 1e-3, 0.01, 0.03])
    solution = rx.solve(model, around(d=d))
    assert np.all(solution.converged)
    below = entropy(d) - np.asarray(solution.phi)
    assert np.all(np.abs(below[:2]) < 1e-14) and 0 < below[3]
    np.testing.assert_allclose(solution.slope[:2], np.log(1 / d[:2] - 1), rtol=1e-12)


@pytest.mark.slow
def test_many_replicas_approach_the_limit():
    """phi(y) = phi(inf) + S_E(inf)/y + O(1/y^2), also for references so far away that every solution has one."""
    d, y = np.array([0.2, 0.45]), np.array([1000.0, 2000.0])
    model = rx.BinaryPerceptron(alpha=0.4)
    limit, many = (
        rx.solve(model, around(d=d, y=np.inf)),
        rx.solve(model, around(d=np.repeat(d, 2), y=np.tile(y, 2))),
    )
    assert np.all(limit.converged) and np.all(many.converged)
    for quantity in (many.S_E.reshape(2, 2), y * np.asarray(many.phi.reshape(2, 2) - limit.phi[:, None])):
        assert np.max(np.abs(2 * quantity[:, 1] - quantity[:, 0] - limit.S_E)) < 2e-5
    assert limit.slope[1] == 0.0 and abs(limit.phi[1] - rx.solve(model).phi) < 1e-13
    assert abs(limit.phi[0] - 0.37265494) < 1e-8 and abs(limit.order.q1[0] - 0.3886121) < 1e-7


def test_enumeration():
    """(1/N) <log sum_W~ n(W~)^y> over Gaussian patterns of N = 10 and 14, extrapolated in 1/N (alpha = 0.5, d = 1/10 .. not a multiple: d = 0.2)."""
    rng, d, y = np.random.default_rng(5), 0.2, 2
    means = {}
    for N, samples in ((10, 600), (15, 60)):
        W = 1.0 - 2.0 * ((np.arange(2**N)[:, None] >> np.arange(N)) & 1)
        values = []
        for _ in range(samples):
            X = rng.standard_normal((2 * N // 5, N))
            solutions = np.all(W @ X.T >= 0, axis=1)
            count = np.zeros(2**N)
            for s in W[solutions]:
                count += np.abs(W @ s - N * (1 - 2 * d)) < 0.5
            values.append(np.log(np.sum(count**y)) / N if count.any() else np.nan)
        values = np.asarray(values)
        shift = np.log(2) + y * np.log(comb(N, round(d * N))) / N
        means[N] = (np.nanmean(values) - shift, np.nanstd(values) / np.sqrt(samples))
    (a, ea), (b, eb) = means[10], means[15]
    theory = rx.solve(rx.BinaryPerceptron(alpha=0.4), around(d=d, y=float(y)))
    excess = float(y * theory.phi - np.log(2) - y * entropy(d))
    linear = b + (b - a) * 10 / 5  # 1/N -> 0 through N = 10 and 15
    assert abs(linear - excess) < 4 * np.hypot(3 * eb, 2 * ea) + 0.01
    assert abs(b - excess) < 0.03


@pytest.mark.slow
def test_zero_complexity():
    """y* and S_I there (specification), and S_E of a solution at that y."""
    alpha = np.array([0.4, 0.6, 0.6, 0.7, 0.75, 0.75, 0.77, 0.75])
    d = np.array([0.05, 0.01, 0.1, 0.04, 0.01, 0.05, 0.06, 0.0055])
    star = rx.solve(rx.BinaryPerceptron(alpha=alpha), around(d=d, y="star"))
    assert np.all(star.converged)
    expected = np.array([40.730, 20.797, 44.760, 10.222, 6.1419, 15.319, 24.515, 6.5857])
    assert np.max(np.abs(star.y / expected - 1)) < 1e-4
    inner = np.array([0.184112, 0.048992, 0.177984, 0.067756, 0.016536, 0.045506, 0.035916, 0.011657])
    assert np.max(np.abs(star.S_I - inner)) < 1e-6
    again = rx.solve(rx.BinaryPerceptron(alpha=alpha), around(d=d, y=star.y))
    assert np.max(np.abs(again.S_E)) < 1e-8 and np.max(np.abs(again.S_I - star.S_I)) < 1e-9


@pytest.mark.slow
def test_no_zero_complexity():
    """Far away S_E > 0 even for y -> inf; next to the capacity S_E < 0 down to the fold (its zero lies on the unstable branch)."""
    model, d = rx.BinaryPerceptron(alpha=np.array([0.65, 0.81])), np.array([0.28, 0.02])
    star = rx.solve(model, around(d=d, y="star"))
    assert (
        list(star.status) == ["no solution", "no solution"]
        and not np.any(star.converged)
        and np.all(np.isnan(star.y))
    )
    assert rx.solve(model, around(d=d)).S_E[0] > 0.4


@pytest.mark.slow
def test_zero_complexity_of_very_many():
    """y* of 10^2 next to a fold and of some 10^4, which the refined rules find: S_E changes its sign there."""
    model = rx.BinaryPerceptron(alpha=np.array([0.3074, 0.4676]), kappa=np.array([0.693, -0.19]))
    d = np.array([0.0012, 0.0071])
    star = rx.solve(model, around(d=d, y="star"))
    assert np.all(star.converged) and 300 < star.y[0] < 330 and 4e4 < star.y[1] < 5e4
    for factor, sign in ((0.98, 1), (1.02, -1)):
        assert np.all(sign * rx.solve(model, around(d=d, y=factor * star.y)).S_E > 1e-4)


@pytest.mark.slow
def test_zero_complexity_that_is_out_of_reach():
    """S_E falls like log y: there is a y*, but no double precision number tells S_E there; a fold with S_E < 0 and limits S_E > 0: none."""
    model = rx.BinaryPerceptron(
        alpha=np.array([0.023, 0.2322, 0.4432545, 0.535506]),
        kappa=np.array([0.741, 0.1773, 0.5138743, -0.12425]),
    )
    star = rx.solve(model, around(d=np.array([0.0215, 0.00152, 0.02036754, 0.28852]), y="star"))
    assert list(star.status) == ["not converged", "not converged", "no solution", "no solution"]


@pytest.mark.slow
def test_slope_along_zero_complexity():
    model = rx.BinaryPerceptron(alpha=0.6)
    d = 0.05 + 1e-4 * np.array([-1.0, 0.0, 1.0])
    curve = rx.solve(model, around(d=d, y="star"))
    assert abs((curve.S_I[2] - curve.S_I[0]) / 2e-4 - curve.slope[1]) < 1e-6


@pytest.mark.slow
def test_gradient():
    """d phi/d alpha by implicit differentiation against a difference."""
    phi = lambda a: rx.solve(rx.BinaryPerceptron(alpha=a), around(d=0.1, y=3.0)).phi
    difference = (phi(jnp.asarray(0.5 + 1e-5)) - phi(jnp.asarray(0.5 - 1e-5))) / 2e-5
    assert abs(jax.grad(phi)(0.5) - difference) < 1e-7


def test_the_solution_of_most_weight():
    """Where two coexist, the larger Phi at y > 1: 4 % apart, found wrongly by an integral along the scan."""
    model, d, y = (
        rx.BinaryPerceptron(alpha=1.076, kappa=-0.2218),
        0.1273,
        np.array([29.8, 40.25, 54.34, 73.37]),
    )
    answer, core, large = (rx.solve(model, around(d=d, y=y, branch=b)) for b in (None, "core", "large-d"))
    assert np.all(answer.converged & core.converged & large.converged)
    assert np.min(core.phi - large.phi) > 5e-4
    np.testing.assert_allclose(answer.phi, np.maximum(core.phi, large.phi), rtol=1e-10)


def test_more_solutions_around_a_reference_than_there_are():
    """Next to capacity replica symmetry of the references breaks: S_E > 0, but S_I > phi_RS.  Said, and the value kept; S_E < 0 says it itself."""
    alpha, kappa = np.array([2.412, 1.861, 1.076, 1.03047]), np.array([-0.7319, -0.56957, -0.2218, -0.1649])
    model = rx.BinaryPerceptron(alpha=alpha, kappa=kappa)
    around_it = around(d=np.array([0.24, 0.206, 0.1273, 0.01127]), y=np.array([8.0, 8.0, 40.25, 16.0]))
    answer, most = rx.solve(model, around_it), rx.solve(model).entropy
    np.testing.assert_array_equal(answer.S_I > most, [True, True, False, True])
    np.testing.assert_array_equal(answer.S_E > 0, [True, True, True, False])
    assert list(answer.status) == ["unstable (replicon)", "unstable (replicon)", "ok", "ok"]
    assert np.all(answer.converged)


def test_groups_of_one_solution():
    """y < 1: where pairs of y = 1 have few solutions around them; y > 1: where the groups freeze at once."""
    model = rx.BinaryPerceptron(
        alpha=np.array([0.3015, 0.42202, 0.95788]), kappa=np.array([0.3045, 0.152, -0.1115])
    )
    d = np.array([0.01095, 0.0001454, 0.0001021])
    frozen = rx.solve(model, around(d=d, y=np.array([0.0484, 0.06808, 2.728])))
    assert np.all(frozen.converged) and np.all(frozen.S_I == 0)
    np.testing.assert_allclose(frozen.S_E, rx.solve(model).entropy + entropy(d), rtol=1e-10)


@pytest.mark.slow
def test_many_replicas_near_capacity():
    """Fields on the reference of order 1/y."""
    model = rx.BinaryPerceptron(alpha=0.57391, kappa=0.2714)
    few, many, most = rx.solve(model, around(d=0.02061, y=np.array([1000.0, 2000.0, 4000.0]))).phi.tolist()
    assert most - many == pytest.approx(0.5 * (many - few), rel=0.05)


@pytest.mark.slow
def test_dense_groups_away_from_the_reference():
    """y = inf beyond alpha_LE: the maximum of the curve of replicas, and what finite y tend to as 1/y."""
    model, d = rx.BinaryPerceptron(alpha=0.78), np.array([0.012, 0.02, 0.05])
    limit = rx.solve(model, around(d=d))
    assert np.all(limit.converged) and np.all(limit.order.S_hat == 0)
    replicas = rx.solve(model, rx.LocalEntropy(q1=float(limit.order.q1[0])))
    assert replicas.slope == pytest.approx(0.0, abs=1e-6)
    np.testing.assert_allclose(limit.phi, replicas.phi, rtol=1e-10)
    y = np.array([[800.0], [1600.0]])
    finite = rx.solve(model, around(d=d[1:], y=y))
    for name, close in (("phi", 2e-6), ("S_E", 3e-5)):
        half, full = getattr(finite, name)
        np.testing.assert_allclose(2 * full - half, getattr(limit, name)[1:], atol=close)
    # continuous where the core ends
    core = rx.solve(model, around(d=np.array([0.0095, 0.0098, 0.0101])))
    assert np.all(core.order.S_hat > 0)
    assert np.all(np.diff(core.phi) > 0) and core.phi[-1] < limit.phi[0] < core.phi[-1] + 1e-6


@pytest.mark.slow
def test_no_more_solutions_than_there_are():
    """Next to capacity the dense groups of replica symmetry would have more solutions than there are: they are not given."""
    model = rx.BinaryPerceptron(alpha=0.82)
    total = rx.solve(model).entropy
    answer = rx.solve(model, around(d=np.array([0.01, 0.03, 0.2])))
    assert list(answer.converged) == [False, False, True] and answer.phi[2] <= total + 1e-12


@pytest.mark.parametrize(
    "alpha, d, S_E",
    [
        (0.4709896565643348, 0.0025803025300057836, -0.55731550253965),
        (0.4507837401121, 0.0029863243431795263, -0.52874798534191),
        (0.6145157292198639, 0.001630176112683813, -0.66193908556032),
    ],
)
def test_references_that_hardly_feel_the_patterns(alpha, d, S_E):
    """q0^ of 1e-20 to 1e-15 at y = inf; S_E as 1024 nodes around one bend give it (128 missed it by 3e-5)."""
    solution = rx.solve(rx.BinaryPerceptron(alpha=alpha), around(d=d))
    assert solution.converged and abs(solution.S_E - S_E) < 1e-10
