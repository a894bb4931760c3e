"""The simulation wing, against brute force, exact finite-size formulas and its own error bars."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import log_ndtr
from scipy.stats import multivariate_normal, norm

from replicax.simulation import (
    PerceptronInstances,
    Statistic,
    as_key,
    enumerate_fixed_points,
    enumerate_histograms,
    enumerate_perceptron,
    enumerate_stabilities,
    enumerate_violations,
    metropolis_perceptron,
    metropolis_series,
    network_instances,
    number_of_patterns,
    perceptron_instances,
)

# ------------------------------------------------------------------------------------------------ statistics


def ar1(rng, a, shape):
    """x_t = a x_{t-1} + noise along the last axis, unit stationary variance: tau = (1 + a)/(1 - a)."""
    x = np.empty(shape)
    x[..., 0] = rng.normal(size=shape[:-1])
    for t in range(1, shape[-1]):
        x[..., t] = a * x[..., t - 1] + math.sqrt(1 - a * a) * rng.normal(size=shape[:-1])
    return x


@pytest.mark.parametrize("a", [0.0, 0.6, 0.9])
def test_error_of_correlated_chains(a):
    """The error bar of from_chains is the actual spread of the means of many AR(1) experiments."""
    statistics = [Statistic.from_chains(x) for x in ar1(np.random.default_rng(1), a, (400, 3, 1000))]
    means = np.array([s.mean for s in statistics])
    errors = np.array([s.error for s in statistics])
    tau = np.mean([s.tau for s in statistics])
    assert tau == pytest.approx((1 + a) / (1 - a), rel=0.05)
    assert np.mean((means / errors) ** 2) == pytest.approx(1.0, abs=0.25)  # 400 z^2: standard error 0.07
    assert abs(Statistic.from_samples(means).z(0.0)) < 4
    assert np.mean([1 / s.n for s in statistics]) == pytest.approx((1 + a) / (1 - a) / 3000, rel=0.05)
    assert np.mean([s.r_hat for s in statistics]) == pytest.approx(1.0, abs=0.025)


def test_error_over_instances_holds_the_disorder():
    rng = np.random.default_rng(2)
    x = ar1(rng, 0.5, (300, 20, 2, 200)) + rng.normal(size=(300, 20, 1, 1))
    statistics = [Statistic.from_chains(y) for y in x]
    expected = math.sqrt((1.0 + 3.0 / 400) / 20)
    assert np.mean([s.error for s in statistics]) == pytest.approx(expected, rel=0.05)
    assert np.std([s.mean for s in statistics]) == pytest.approx(expected, rel=0.15)
    assert np.mean([s.tau for s in statistics]) == pytest.approx(3.0, rel=0.1)
    assert all(s.n == 20 for s in statistics)


def test_r_hat_sees_chains_that_disagree():
    x = np.random.default_rng(3).normal(size=(4, 500))
    assert Statistic.from_chains(x).r_hat == pytest.approx(1.0, abs=0.02)
    assert Statistic.from_chains(x + np.arange(4)[:, None]).r_hat > 1.5
    assert Statistic.from_chains(x + np.linspace(0, 3, 500)).r_hat > 1.2  # a drift: the halves disagree


def test_independent_samples_and_fractions():
    x = np.random.default_rng(4).normal(2.0, 3.0, size=(5000, 2))
    s = Statistic.from_samples(x)
    np.testing.assert_allclose(s.error, 3.0 / math.sqrt(5000), rtol=0.05)
    assert np.all(np.abs(s.z(2.0)) < 4)
    assert Statistic.from_counts(30, 100).error == pytest.approx(math.sqrt(0.3 * 0.7 / 100), rel=0.02)
    assert 0.0 < Statistic.from_counts(50, 50).error < 0.02
    assert math.isnan(Statistic.from_samples([1.0]).error)
    assert Statistic(1.0, 0.0, 5).z(0.0) == math.inf and math.isnan(Statistic(1.0, 0.0, 5).z(1.0))
    empty = Statistic.from_samples([])
    assert math.isnan(empty.mean) and empty.n == 0


@pytest.mark.parametrize(
    ("mean", "error", "text"),
    [
        (0.13821, 0.00124, "0.1382(12)"),
        (0.13821, 0.000999, "0.1382(10)"),
        (-3.2, 0.25, "-3.20(25)"),
        (4791.7, 30.3, "4792(30)"),
        (1.2345e9, 3.2e7, "1.234(32)e+09"),
        (0.5, 0.0, "0.5(0)"),
        (0.5, math.nan, "0.5(?)"),
    ],
)
def test_repr(mean, error, text):
    assert repr(Statistic(mean, error, 10)) == text


def test_statistic_is_a_pytree():
    doubled = jax.tree.map(lambda x: 2 * x, Statistic(1.0, 0.5, 3))
    assert (doubled.mean, doubled.error, doubled.n, doubled.tau) == (2.0, 1.0, 6, None)


# ------------------------------------------------------------------------------------------------- instances


def test_instances_are_reproducible_and_nested():
    few = perceptron_instances(N=12, alpha=0.5, samples=3, key=5, labels="teacher")
    many = perceptron_instances(N=12, alpha=0.5, samples=7, key=jax.random.key(5), labels="teacher")
    np.testing.assert_array_equal(few.patterns, many.patterns[:3])
    np.testing.assert_array_equal(few.teacher, many.teacher[:3])
    other = perceptron_instances(N=12, alpha=0.5, samples=3, key=6, labels="teacher")
    assert np.any(np.asarray(few.patterns) != np.asarray(other.patterns))
    assert jnp.all(jax.random.key_data(as_key(jax.random.PRNGKey(5))) == jax.random.key_data(as_key(5)))


def test_pattern_laws():
    gaussian = perceptron_instances(N=50, alpha=2.0, samples=40)
    x = np.asarray(gaussian.patterns).ravel() / gaussian.scale
    n = x.size
    assert abs(x.mean()) < 4 / math.sqrt(n)
    assert abs((x**2).mean() - 1) < 4 * math.sqrt(2 / n)
    assert abs((x**4).mean() - 3) < 4 * math.sqrt(96 / n)
    pm1 = perceptron_instances(N=50, alpha=2.0, samples=40, patterns="pm1")
    assert pm1.scale == 1 and set(np.unique(pm1.patterns)) == {-1, 1}
    assert abs(np.asarray(pm1.patterns).mean()) < 4 / math.sqrt(n)
    teacher = perceptron_instances(N=21, alpha=3.0, samples=40, labels="teacher")
    assert teacher.teacher is not None
    assert np.all(np.einsum("spi,si->sp", teacher.patterns, teacher.teacher) >= 0)
    assert number_of_patterns(21, 0.5) == 10 and number_of_patterns(21, 0.0) == 0


@pytest.mark.parametrize("couplings", ["gaussian", "pm1"])
@pytest.mark.parametrize("eta", [-1.0, -0.5, 0.0, 0.7, 1.0])
def test_coupling_laws(couplings, eta):
    instances = network_instances(N=30, samples=60, eta=eta, couplings=couplings, key=2)
    J = np.asarray(instances.couplings) / instances.scale
    assert np.all(J[:, range(30), range(30)] == 0)
    upper = np.triu_indices(30, 1)
    a, b = J[:, *upper].ravel(), J.transpose(0, 2, 1)[:, *upper].ravel()
    tolerance = 4 / math.sqrt(a.size)
    assert abs(a.mean()) < tolerance and abs(b.mean()) < tolerance
    assert abs((a**2).mean() - 1) < 1.5 * tolerance and abs((b**2).mean() - 1) < 1.5 * tolerance
    assert abs((a * b).mean() - eta) < 1.5 * tolerance
    if abs(eta) == 1.0:
        np.testing.assert_array_equal(a, eta * b)


# ----------------------------------------------------------------------------------- perceptron: enumeration

SATISFIED = {
    ("margin", False): lambda d, k: d >= k,
    ("margin", True): lambda d, k: d > k,
    ("rectangle", False): lambda d, k: abs(d) <= k,
    ("rectangle", True): lambda d, k: abs(d) < k,
    ("u", False): lambda d, k: abs(d) >= k,
    ("u", True): lambda d, k: abs(d) > k,
}


def brute_force(x, level, constraint, strict):
    """Histogram of errors and sums of weights by a plain loop; x.W compared with the number ``level``."""
    P, N = x.shape
    counts, sums = np.zeros(P + 1, int), np.zeros((P + 1, N), int)
    for W in itertools.product([1, -1], repeat=N):
        errors = sum(not SATISFIED[constraint, strict](field, level) for field in (x @ np.array(W)).tolist())
        counts[errors] += 1
        sums[errors] += W
    return counts, sums


@pytest.mark.parametrize("patterns", ["gaussian", "pm1"])
@pytest.mark.parametrize(("constraint", "strict"), list(SATISFIED))
@pytest.mark.parametrize("N", [8, 9])
def test_enumeration_against_a_loop(patterns, constraint, strict, N):
    """Every tie included: kappa = 1/sqrt(N) (N odd) or 2/sqrt(N) (N even) is a tie of +-1 patterns."""
    instances = perceptron_instances(N=N, alpha=0.8, samples=2, patterns=patterns, key=N)
    tie = 1 if N == 9 else 2
    histograms = enumerate_histograms(
        instances, kappa=tie / math.sqrt(N), constraint=constraint, strict=strict
    )
    for s in range(2):
        counts, sums = brute_force(
            np.asarray(instances.patterns[s]), tie * instances.scale, constraint, strict
        )
        np.testing.assert_array_equal(histograms.counts[s], counts)
        np.testing.assert_array_equal(histograms.magnetisation[s], sums)


def test_ties_at_zero_margin():
    """N even, +-1 patterns, kappa = 0: a field is zero for C(N, N/2) weights: >= and > differ."""
    x = perceptron_instances(N=14, alpha=1 / 14, samples=1, patterns="pm1")
    zero = math.comb(14, 7)
    above = (2**14 - zero) // 2
    np.testing.assert_array_equal(enumerate_histograms(x).counts[0], [above + zero, above])
    np.testing.assert_array_equal(enumerate_histograms(x, strict=True).counts[0], [above, above + zero])


def test_histogram_of_a_published_instance():
    """N = 21, P = 8, numpy seed 5000 (figures enum_hist_N21_P8_s5000, enum_logZ_b1_...)."""
    rng = np.random.default_rng(5000)
    x = rng.choice(np.array([-1, 1], np.int8), (8, 21))
    x = x * rng.choice(np.array([-1, 1], np.int8), 8)[:, None]
    histograms = enumerate_histograms(PerceptronInstances.from_array(x))
    expected = [16947, 98857, 257406, 426887, 496958, 426887, 257406, 98857, 16947]
    np.testing.assert_array_equal(histograms.counts[0], expected)
    assert histograms.log_z(1.0)[0] / 21 == pytest.approx(0.5577490250091357, abs=1e-13)


@pytest.mark.slow
def test_means_over_published_instances():
    """The same recipe, seeds 5000..5059 (enum_mean_phi_b1_N21_P8, enum_mean_S_N21_P8)."""
    x = np.empty((60, 8, 21), np.int8)
    for s in range(60):
        rng = np.random.default_rng(5000 + s)
        x[s] = rng.choice(np.array([-1, 1], np.int8), (8, 21))
        x[s] *= rng.choice(np.array([-1, 1], np.int8), 8)[:, None]
    histograms = enumerate_histograms(PerceptronInstances.from_array(x))
    assert histograms.log_z(1.0).mean() / 21 == pytest.approx(0.5484389206300627, abs=1e-12)
    assert histograms.log_z()[histograms.counts[:, 0] > 0].mean() / 21 == pytest.approx(
        0.41573179449774317, abs=1e-12
    )


@pytest.mark.parametrize("beta", [0.0, 0.7, math.inf])
def test_observables_of_a_histogram(beta):
    """phi, energy and overlaps against their definitions, weight by weight."""
    instances = perceptron_instances(N=9, alpha=0.5, samples=3, key=4)
    histograms = enumerate_histograms(instances, kappa=0.1)
    W = np.array(list(itertools.product([1, -1], repeat=9)))
    for s in range(3):
        fields = W @ np.asarray(instances.patterns[s]).T
        E = (fields < 0.1 * 3.0 * instances.scale).sum(1)
        p = (E == 0) * 1.0 if beta == math.inf else np.exp(-beta * E)
        Z = p.sum()
        p /= Z
        pairs, q = np.outer(p, p), W @ W.T / 9
        different = ~np.eye(len(W), dtype=bool)
        assert histograms.log_z(beta)[s] == pytest.approx(math.log(Z), abs=1e-12)
        assert histograms.energy(beta)[s] == pytest.approx(p @ E / 9, abs=1e-12)
        assert histograms.overlap(beta)[s] == pytest.approx((pairs * q).sum(), abs=1e-12)
        distinct = (pairs * q)[different].sum() / pairs[different].sum()
        assert histograms.overlap(beta, distinct=True)[s] == pytest.approx(distinct, abs=1e-12)
        assert histograms.ground_energy()[s] == E.min() / 9


@pytest.mark.parametrize(("N", "P", "kappa"), [(11, 4, 0.0), (12, 4, 0.0), (12, 4, 0.5), (11, 3, -0.6)])
def test_first_moment_of_binary_patterns(N, P, kappa):
    """E Z = 2^N p_N^P exactly, p_N = P(Delta >= kappa) binomial (binary_perceptron.md section 1)."""
    p = sum(math.comb(N, k) for k in range(N + 1) if 2 * k - N >= kappa * math.sqrt(N)) / 2**N
    result = enumerate_perceptron(N=N, alpha=P / N, kappa=kappa, samples=2000, patterns="pm1", key=7)
    assert abs(result["first_moment"].z(2**N * p**P)) < 4
    # at finite beta p is replaced by p + (1 - p) exp(-beta)
    soft = enumerate_perceptron(N=N, alpha=P / N, kappa=kappa, beta=1.0, samples=2000, patterns="pm1", key=8)
    assert abs(soft["first_moment"].z(2**N * (p + (1 - p) * math.exp(-1.0)) ** P)) < 4


@pytest.mark.parametrize(("constraint", "probability"), [("rectangle", 0.6826894921), ("u", 0.3173105079)])
def test_first_moment_of_symmetric_constraints(constraint, probability):
    """Gaussian patterns: E Z = 2^N p^P (section 4), kappa = 1; and q = 0 because of W -> -W."""
    result = enumerate_perceptron(N=12, alpha=0.25, kappa=1.0, samples=2000, constraint=constraint, key=9)
    assert abs(result["first_moment"].z(2**12 * probability**3)) < 4
    assert result["q"].mean == 0.0


PUBLISHED_ENUMERATION = [  # binary_perceptron.md sections 1, 3, 4: quantity, mean, error
    (dict(N=15, alpha=0.4), "phi", 0.3996, 0.0028),
    (dict(N=15, alpha=1.0, kappa=-0.5), "phi", 0.3072, 0.0033),
    (dict(N=14, alpha=1.0, beta=1.0), "phi", 0.3054, 0.0019),
    (dict(N=14, alpha=1.0, beta=1.0), "energy", 0.2886, 0.0031),
    (dict(N=14, alpha=1.0), "ground_energy", 0.064, 0.004),
    (dict(N=13, alpha=1.0, kappa=1.0, constraint="rectangle"), "phi", 0.2993, 0.0031),
    (dict(N=17, alpha=1.0, kappa=-0.5, labels="teacher"), "phi", 0.3888, 0.0040),
    (dict(N=17, alpha=1.0, kappa=-0.5, labels="teacher"), "R", 0.373, 0.008),
    (dict(N=19, alpha=8 / 19), "q", 0.2775, 0.0030),
]


@pytest.mark.parametrize(("arguments", "name", "mean", "error"), PUBLISHED_ENUMERATION)
def test_published_enumeration_means(arguments, name, mean, error):
    samples = 100 if arguments["N"] > 15 else 400
    ours = enumerate_perceptron(**arguments, samples=samples, key=11)[name]
    assert abs(ours.mean - mean) < 4 * math.hypot(ours.error, error)


def test_unsolved_instances_are_counted():
    result = enumerate_perceptron(N=9, alpha=1.2, samples=200, key=12)
    assert 0.0 < result["solved"].mean < 1.0 and result["solved"].n == 200
    assert result["phi"].n == round(200 * result["solved"].mean)
    assert result["first_moment"].n == 200 and result["ground_energy"].n == 200
    impossible = enumerate_perceptron(N=5, alpha=1.0, kappa=50.0, samples=10)
    assert impossible["solved"].mean == 0.0 and math.isnan(impossible["phi"].mean)
    assert enumerate_perceptron(N=5, alpha=0.0, samples=3)["phi"].mean == pytest.approx(math.log(2))


@pytest.mark.parametrize("patterns", ["gaussian", "pm1"])
def test_stabilities_of_solutions(patterns):
    """The histogram of Delta over all (solution, pattern) pairs, against all weights one by one."""
    instances = perceptron_instances(N=9, alpha=0.4, samples=4, patterns=patterns, key=13)
    edges, density = enumerate_stabilities(
        N=9, alpha=0.4, kappa=0.2, samples=4, patterns=patterns, key=13, edges=np.linspace(-0.5, 3.5, 13)
    )
    W = np.array(list(itertools.product([1, -1], repeat=9)))
    expected = []
    for x in np.asarray(instances.patterns):
        delta = W @ x.T / (3.0 * instances.scale)
        delta = delta[np.all(delta >= 0.2, 1)]
        if len(delta):
            expected.append(np.histogram(delta, edges)[0] / delta.size / np.diff(edges))
    np.testing.assert_allclose(density.mean, np.mean(expected, 0), atol=1e-12)


def test_enumeration_is_reproducible():
    arguments = dict(N=10, alpha=0.6, samples=37, beta=2.0, labels="teacher")
    first = enumerate_perceptron(**arguments, key=3)
    assert repr(first) == repr(enumerate_perceptron(**arguments, key=3))
    assert first["phi"].mean != enumerate_perceptron(**arguments, key=4)["phi"].mean


# -------------------------------------------------------------------------- recurrent networks: enumeration


def brute_force_fixed_points(J, J_D, field, ties):
    """Histogram of violated sites over all states, by a plain loop."""
    N = len(J)
    counts = np.zeros(N + 1, int)
    for s in itertools.product([1, -1], repeat=N):
        s = np.array(s)
        total = J_D + s * (J @ s + field)
        counts[int((total <= 0).sum() if ties == "violated" else (total < 0).sum())] += 1
    return counts


@pytest.mark.parametrize("couplings", ["gaussian", "pm1"])
@pytest.mark.parametrize("field", [0.0, 0.5])
@pytest.mark.parametrize("ties", ["violated", "satisfied"])
def test_fixed_points_against_a_loop(couplings, field, ties):
    """N = 9: 1/sqrt(N) = 1/3, so that J_D = 2/3 ties without a field and J_D = 1/2 with one."""
    instances = network_instances(N=9, samples=3, couplings=couplings, eta=0.3, key=1)
    values = [0.25, 0.5, 2 / 3]
    histograms = enumerate_violations(instances, J_D=values, field=field, ties=ties)
    for s, J in enumerate(np.asarray(instances.couplings)):
        for j, J_D in enumerate(values):
            # in units of 1/(6 sqrt(N) scale) all of it is an integer: ties are exact here too
            unit = 18 * instances.scale
            expected = brute_force_fixed_points(6 * J, round(J_D * unit), round(field * unit), ties)
            np.testing.assert_array_equal(histograms.counts[s, j], expected)


def p_binary(N, J_D):
    return sum(
        math.comb(N - 1, b) for b in range(N) if 2 * b - (N - 1) > -J_D * math.sqrt(N) + 1e-12
    ) / 2 ** (N - 1)


def mean_number_eta(N, J_D, eta):
    """2^N int Dz Phi((J_D + sqrt(eta/N) z)/sigma)^N, the real part (recurrent_network.md 1.5)."""
    sigma = math.sqrt((N - 1 - eta) / N)
    shift = np.sqrt(complex(eta) / N)

    def integrand(z):
        return (np.exp(N * log_ndtr((J_D + shift * z) / sigma)) * norm.pdf(z)).real

    return 2**N * quad(integrand, -12, 12, epsabs=1e-14, limit=400)[0]


def test_finite_size_formulas_of_the_specification():
    """The exact figures of recurrent_network.md 1.3 and 1.5."""
    assert (2 * p_binary(16, 0.5)) ** 16 == pytest.approx(200.4595287, abs=1e-6)
    assert (2 * p_binary(13, 1.0)) ** 13 == pytest.approx(497.5222594, abs=1e-6)
    assert mean_number_eta(16, 0.3, 0.0) == pytest.approx(32.60666223, abs=1e-6)
    assert mean_number_eta(14, 0.3, 0.5) == pytest.approx(60.55599715, abs=1e-6)


@pytest.mark.parametrize(("N", "J_D"), [(13, 1.0), (13, 0.3), (12, 0.5)])
def test_mean_number_binary(N, J_D):
    result = enumerate_fixed_points(N=N, J_D=J_D, couplings="pm1", samples=2000, key=21)
    assert abs(result["number"].z((2 * p_binary(N, J_D)) ** N)) < 4


@pytest.mark.parametrize("eta", [0.0, 0.5, -0.5, -0.9])
def test_mean_number_gaussian(eta):
    """One set of networks for several J_D; phi is (1/N) log of the mean."""
    values = [0.3, 1.0]
    result = enumerate_fixed_points(N=13, J_D=values, eta=eta, samples=2000, key=22)
    exact = np.array([mean_number_eta(13, J_D, eta) for J_D in values])
    assert np.all(np.abs(result["number"].z(exact)) < 4)
    np.testing.assert_allclose(result["phi"].mean, np.log(result["number"].mean) / 13)
    assert np.all(np.abs(result["phi"].z(np.log(exact) / 13)) < 4)


def test_mean_number_in_a_field():
    """Rows are independent: E[number] = [Phi((J_D + l) r) + Phi((J_D - l) r)]^N, r = sqrt(N/(N - 1))."""
    N, J_D, l = 13, 0.3, 0.5
    r = math.sqrt(N / (N - 1))
    up, down = norm.cdf((J_D + l) * r), norm.cdf((J_D - l) * r)
    result = enumerate_fixed_points(N=N, J_D=J_D, field=l, samples=2000, key=23)
    assert abs(result["number"].z((up + down) ** N)) < 4
    assert abs(result["overlap"].z((up - down) / (up + down))) < 4


def test_annealed_energy_and_entropy():
    """beta = 1: Z, e and s are those of N independent sites with p = Phi(J_D r) (section 1.1 at finite N)."""
    N, J_D, beta = 12, 0.5, 1.0
    p = norm.cdf(J_D * math.sqrt(N / (N - 1)))
    site = p + (1 - p) * math.exp(-2 * beta)
    energy = 2 * math.exp(-2 * beta) * (1 - p) / site
    result = enumerate_fixed_points(N=N, J_D=J_D, beta=beta, samples=1500, key=24)
    assert abs(result["first_moment"].z((2 * site) ** N)) < 4
    assert abs(result["energy"].z(energy)) < 4
    assert abs(result["entropy"].z(math.log(2 * site) + beta * energy)) < 4


def second_moment(N, J_D):
    """Sum over pairs (section 1.3, Gaussian): the k = 0 and k = N terms are 2 E[number]."""
    J = J_D * math.sqrt(N / (N - 1))

    def p2(r):
        return multivariate_normal(cov=[[1, r], [r, 1]], allow_singular=True).cdf([J, J])

    total = 2 * (2 * norm.cdf(J)) ** N
    for k in range(1, N):
        same, other = p2((N - 2 * k - 1) / (N - 1)), p2(-(N - 2 * k + 1) / (N - 1))
        total += 2**N * math.comb(N, k) * same ** (N - k) * other**k
    return total


def test_second_moment_of_the_number():
    result = enumerate_fixed_points(N=12, J_D=[0.3, 1.0], samples=4000, key=25)
    exact = np.array([second_moment(12, 0.3), second_moment(12, 1.0)])
    assert np.all(np.abs(result["second_moment"].z(exact)) < 4)


def test_networks_without_fixed_points():
    """J_D = 0, N even: E[number] = 1 and P(none) about 0.63 at N = 16 (recurrent_network.md 1.2)."""
    result = enumerate_fixed_points(N=16, J_D=0.0, couplings="pm1", samples=300, key=26)
    assert abs(result["number"].z(1.0)) < 4
    assert abs(result["solved"].mean - 0.37) < 0.12
    assert result["phi_typical"].n == round(300 * result["solved"].mean)
    none = enumerate_fixed_points(N=4, J_D=-50.0, samples=10)
    assert none["phi"].mean == -math.inf and none["solved"].mean == 0.0


PUBLISHED_FIXED_POINTS = [  # section 1.4
    (dict(N=16, J_D=0.3), 32.38, 0.42),
    (dict(N=16, J_D=0.5), 203.25, 1.95),
    (dict(N=13, J_D=0.5, couplings="pm1"), 14.02, 0.13),
]


@pytest.mark.parametrize(("arguments", "mean", "error"), PUBLISHED_FIXED_POINTS)
def test_published_numbers_of_fixed_points(arguments, mean, error):
    number = enumerate_fixed_points(**arguments, samples=500, key=27)["number"]
    assert abs(number.mean - mean) < 4 * math.hypot(number.error, error)


# ------------------------------------------------------------------------------------ perceptron: metropolis


@pytest.mark.parametrize(
    "arguments",
    [
        dict(patterns="gaussian", kappa=0.3),
        dict(patterns="pm1", order="random"),
        dict(patterns="gaussian", constraint="rectangle", kappa=1.0),
        dict(patterns="pm1", ladder=(0.3, 0.8)),
    ],
)
def test_metropolis_against_exact_boltzmann_averages(arguments):
    """N = 9: energy and overlap of each single instance, with the error bars of the chains themselves."""
    common = {k: v for k, v in arguments.items() if k in ("kappa", "constraint")}
    instances = perceptron_instances(N=9, alpha=1.0, samples=6, patterns=arguments["patterns"], key=31)
    exact = enumerate_histograms(instances, **common)
    sampling = {k: v for k, v in arguments.items() if k != "patterns"}
    energy, overlap, _ = metropolis_series(instances, beta=1.5, chains=4, sweeps=4100, key=32, **sampling)
    energies = [Statistic.from_chains(e[:, 100:]) for e in energy]
    overlaps = [Statistic.from_chains(q[None, 100:]) for q in overlap]
    z = [s.z(e) for s, e in zip(energies, exact.energy(1.5))]
    z += [s.z(q) for s, q in zip(overlaps, exact.overlap(1.5))]
    assert np.max(np.abs(z)) < 4.5
    assert np.mean(np.square(z)) < 3.0
    assert all(s.r_hat < 1.05 and s.tau > 1.0 for s in energies)


def test_metropolis_overlap_with_the_teacher():
    instances = perceptron_instances(N=9, alpha=1.0, samples=20, labels="teacher", key=33)
    assert instances.teacher is not None
    exact = np.einsum("si,si->s", enumerate_histograms(instances).mean_weight(1.0), instances.teacher) / 9
    result = metropolis_perceptron(
        N=9, alpha=1.0, beta=1.0, samples=20, sweeps=2000, labels="teacher", key=33
    )
    assert abs(result["R"].mean - exact.mean()) < 0.02
    assert set(result) == {"energy", "q", "R"}


def test_metropolis_is_reproducible_and_independent_of_blocks():
    instances = perceptron_instances(N=21, alpha=1.0, samples=9, key=34)
    one, _, _ = metropolis_series(instances, beta=1.0, chains=3, sweeps=5, key=1)
    two, _, _ = metropolis_series(instances, beta=1.0, chains=3, sweeps=5, key=1)
    np.testing.assert_array_equal(one, two)
    few = PerceptronInstances(instances.patterns[:2], instances.scale)
    np.testing.assert_array_equal(metropolis_series(few, beta=1.0, chains=3, sweeps=5, key=1)[0], one[:2])


def test_metropolis_of_a_large_system_at_high_temperature():
    """RS at (alpha, kappa, beta) = (0.5, 0, 1) (binary_perceptron.md section 1)."""
    result = metropolis_perceptron(
        N=1001, alpha=0.5, beta=1.0, samples=8, chains=2, sweeps=100, patterns="pm1", key=35
    )
    assert abs(result["energy"].mean - 0.138116770672) < 4 * result["energy"].error + 2 / 1001
    assert abs(result["q"].mean - 0.061513098004) < 4 * result["q"].error + 2 / 1001
    assert result["energy"].r_hat < 1.15


RS_ENERGIES = [  # binary_perceptron.md section 1, finite beta: e, q
    (dict(N=1001, alpha=0.5, beta=1.0, samples=16, sweeps=200), 0.138116770672, 0.061513098004),
    (dict(N=1001, alpha=1.0, beta=1.0, samples=12, sweeps=300), 0.282576626767, 0.112796519599),
    (dict(N=1001, alpha=1.0, kappa=0.5, beta=1.0, samples=8, sweeps=300), 0.471548751537, 0.121498381015),
    (
        dict(N=201, alpha=1.0, beta=2.0, samples=16, sweeps=1000, ladder=tuple(np.linspace(0.6, 1.8, 7))),
        0.156091885825,
        0.269647547365,
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(("arguments", "e", "q"), RS_ENERGIES)
def test_metropolis_reaches_replica_symmetric_averages(arguments, e, q):
    result = metropolis_perceptron(**arguments, patterns="pm1", key=36)
    correction = 2 / arguments["N"]
    assert abs(result["energy"].mean - e) < 4 * result["energy"].error + correction
    assert abs(result["q"].mean - q) < 4 * result["q"].error + correction
    assert result["energy"].r_hat < 1.25


# -------------------------------------------------------------------------------------------------- bad input

PERCEPTRON, NETWORK, CHAINS = (
    dict(N=9, alpha=0.5),
    dict(N=9, J_D=0.5),
    dict(N=9, alpha=0.5, beta=1.0),
)


@pytest.mark.parametrize(
    ("function", "good", "bad", "message"),
    [
        (enumerate_perceptron, PERCEPTRON, dict(N=26), r"N = 26 .*\[1, 25\]"),
        (enumerate_perceptron, PERCEPTRON, dict(N=9.5), "N = 9.5"),
        (enumerate_perceptron, PERCEPTRON, dict(alpha=-0.1), "alpha = -0.1"),
        (enumerate_perceptron, PERCEPTRON, dict(alpha=math.inf), "alpha = inf"),
        (enumerate_perceptron, PERCEPTRON, dict(kappa=math.nan), "kappa = nan"),
        (
            enumerate_perceptron,
            PERCEPTRON,
            dict(kappa=-1.0, constraint="rectangle"),
            r"kappa = -1.0 .*\[0, inf",
        ),
        (enumerate_perceptron, PERCEPTRON, dict(beta=-1.0), "beta = -1.0"),
        (enumerate_perceptron, PERCEPTRON, dict(samples=0), "samples = 0"),
        (enumerate_perceptron, PERCEPTRON, dict(key=-3), "key = -3"),
        (enumerate_perceptron, PERCEPTRON, dict(key="a"), "key = 'a'"),
        (enumerate_perceptron, PERCEPTRON, dict(patterns="uniform"), "patterns = 'uniform' .*gaussian, pm1"),
        (enumerate_perceptron, PERCEPTRON, dict(constraint="box"), "constraint = 'box'"),
        (enumerate_perceptron, PERCEPTRON, dict(labels="none"), "labels = 'none'"),
        (enumerate_stabilities, PERCEPTRON, dict(edges=[1.0, 0.0]), "edges = "),
        (enumerate_fixed_points, NETWORK, dict(N=21), "N = 21"),
        (enumerate_fixed_points, NETWORK, dict(N=1), "N = 1"),
        (enumerate_fixed_points, NETWORK, dict(eta=1.5), r"eta = 1.5 .*\[-1, 1\]"),
        (enumerate_fixed_points, NETWORK, dict(J_D=[0.1, math.nan]), "J_D = "),
        (enumerate_fixed_points, NETWORK, dict(field=math.inf), "field = inf"),
        (enumerate_fixed_points, NETWORK, dict(ties="maybe"), "ties = 'maybe'"),
        (enumerate_fixed_points, NETWORK, dict(couplings="sparse"), "couplings = 'sparse'"),
        (metropolis_perceptron, CHAINS, dict(beta=math.inf), "beta = inf"),
        (metropolis_perceptron, CHAINS, dict(chains=0), "chains = 0"),
        (metropolis_perceptron, CHAINS, dict(sweeps=3), "sweeps = 3"),
        (metropolis_perceptron, CHAINS, dict(order="shuffled"), "order = 'shuffled'"),
        (metropolis_perceptron, CHAINS, dict(ladder=(0.5, 2.0)), "ladder = "),
    ],
)
def test_bad_input(function, good, bad, message):
    with pytest.raises(ValueError, match=message):
        function(**{**good, **bad})
