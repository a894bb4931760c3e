"""Perceptrons on random features: published-precision values, an independent iteration of the saddle equations, limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_ndtr, ndtr
from scipy.stats import norm

import replicax as rx
from replicax.vocabulary.features import Activation
from replicax.vocabulary.projections import conjugates, entropy, project

_T, _STEP = np.linspace(-10.0, 10.0, 1201, retstep=True)
_W = norm.pdf(_T) * _STEP
SIGN = (np.sqrt(2 / np.pi), np.sqrt(1 - 2 / np.pi))


def iterated(alpha, alpha_D, *, kappa=0.0, beta=np.inf, rho=1.0, weights="binary", mu=SIGN, teacher=True):
    """The RS equations of the specification, damped from one cold start: q, p, chi, r."""
    mu1, mustar = mu
    a, (q, p, chi, r) = alpha / alpha_D, (0.1, 0.1, 0.9, 0.1)
    rho = rho if teacher else 0.0
    for _ in range(4000):
        c = 1.0 - q
        X, Q, M = mustar**2 * c + mu1**2 * chi, mustar**2 * q + mu1**2 * p, mu1 * r
        rest = np.sqrt(Q - rho**2 * M**2)

        def score(u):
            log_f = np.logaddexp(log_ndtr(-u), log_ndtr(u) - beta)
            return -np.expm1(-beta) * np.exp(norm.logpdf(u) - log_f)

        u = (kappa - np.sqrt(Q) * _T) / np.sqrt(X)
        g, weight = score(u), 2.0 * ndtr(rho * M * _T / rest)
        A, B = (_W * weight * g**2).sum() / X, (_W * weight * g * (g - u)).sum() / X
        C = np.sqrt(2 / np.pi) * (_W * score((kappa - rest * _T) / np.sqrt(X))).sum() / np.sqrt(X)
        new_chi = 1.0 / (1.0 / c + a * mu1**2 * B)
        new_r = a * mu1 * rho * C * new_chi
        new_p = new_r**2 + new_chi**2 * (q / c**2 + a * mu1**2 * A)
        q_hat = alpha * mustar**2 * A + alpha_D * ((q + new_p) / c**2 - 2 * q * new_chi / c**3)
        if weights == "binary":
            new_q = (_W * np.tanh(np.sqrt(q_hat) * _T) ** 2).sum()
        else:
            new_q = 1.0 - 2.0 / (1.0 + np.sqrt(1.0 + 4.0 * q_hat))
        step = np.array([new_q - q, new_p - p, new_chi - chi, new_r - r])
        q, p, chi, r = np.array([q, p, chi, r]) + 0.5 * step
        if np.abs(step).max() < 1e-12:
            break
    return dict(q=q, p=p, chi=chi, r=r)


def close(solution, expected, tolerance=1e-8):
    for name, value in expected.items():
        assert float(getattr(solution.order, name)) == pytest.approx(value, abs=tolerance), name


def test_binary_students_of_a_teacher():
    solution = rx.solve(rx.RandomFeatures(alpha=[0.5, 1.0], alpha_T=3.0))
    assert solution.phi == pytest.approx([0.42347698888, 0.10508810670], abs=1e-9)
    assert solution.eps == pytest.approx([0.30217322822, 0.31484282681], abs=1e-9)
    assert solution.eps_bary == pytest.approx([0.21047324725, 0.26310457730], abs=1e-9)
    mu1, mustar = SIGN
    order = solution.order
    assert order.Q_d == pytest.approx(np.asarray(mustar**2 + mu1**2 * order.p_d), rel=1e-12)
    assert solution.mu1 == pytest.approx(mu1, abs=1e-14) and solution.mustar == pytest.approx(
        mustar, abs=1e-14
    )
    assert solution.eps == pytest.approx(
        np.arccos(np.asarray(order.M) / np.sqrt(order.Q_d)) / np.pi, abs=1e-12
    )
    expected = [iterated(a, a / 3.0) for a in (0.5, 1.0)]
    for name in ("q", "p", "chi", "r"):
        assert getattr(order, name) == pytest.approx([e[name] for e in expected], abs=1e-8), name


@pytest.mark.slow
def test_many_corners_at_once():
    """Over alpha_D from 1e-3 to 1e3 and margins of both signs: solved, or known to have no solution."""
    rng = np.random.default_rng(7)
    alpha, alpha_D = 10 ** rng.uniform(-2, 0.7, 64), 10 ** rng.uniform(-3, 3, 64)
    kappa, rho = rng.uniform(-1.5, 1.5, 64), rng.uniform(0, 1, 64)
    solution = rx.solve(rx.RandomFeatures(alpha=alpha, alpha_D=alpha_D, kappa=kappa, rho=rho))
    assert not np.any(np.isin(solution.status, ["not converged"]))
    assert float(jnp.nanmax(solution.quadrature_error)) < 1e-12
    done = np.flatnonzero(np.asarray(solution.converged) & np.asarray(solution.order.q < 0.9))
    for i in done[:5]:
        expected = iterated(alpha[i], alpha_D[i], kappa=kappa[i], rho=rho[i])
        for name, value in expected.items():
            assert float(getattr(solution.order, name)[i]) == pytest.approx(value, abs=1e-6), name


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["binary", "spherical"])
def test_finite_temperature_and_spherical_students(weights):
    """tanh features, a noisy teacher, a margin; phi is stationary: energy = -d phi/d beta along the solutions."""
    tanh = (0.605705509602159, 0.165575741083742)
    model = lambda beta: rx.RandomFeatures(
        alpha=0.7, alpha_D=0.4, kappa=0.2, beta=beta, rho=0.9, activation="tanh", weights=weights
    )
    solution = rx.solve(model(2.0))
    close(solution, iterated(0.7, 0.4, kappa=0.2, beta=2.0, rho=0.9, weights=weights, mu=tanh))
    slope = jax.grad(lambda beta: rx.solve(model(beta)).phi)(2.0)
    assert float(solution.energy) == pytest.approx(-float(slope), rel=1e-9)


@pytest.mark.slow
def test_the_functional_is_stationary_and_stabilities_add_up_to_the_energy():
    model = rx.RandomFeatures(alpha=0.7, alpha_D=0.4, kappa=0.2, beta=2.0, rho=0.9, activation="tanh")
    solution = rx.solve(model)
    names = ("q", "q_hat", "p", "p_d", "r")
    at = {name: getattr(solution.order, name) for name in names}
    value, slopes = jax.value_and_grad(lambda order: rx.free_entropy(model, rx.RS(), **order))(at)
    assert float(value) == pytest.approx(float(solution.phi), abs=1e-12)
    assert max(abs(float(x)) for x in slopes.values()) < 1e-10
    inner = dict(q1=at["q"], q1_hat=at["q_hat"], p1=at["p"], p_d=at["p_d"], r=at["r"], m=0.5)
    same = rx.free_entropy(model, rx.OneRSB(), q0=at["q"], q0_hat=at["q_hat"], p0=at["p"], **inner)
    assert float(same) == pytest.approx(float(solution.phi), abs=1e-10)
    below = 0.2 - 1e-3 * (np.arange(8000) + 0.5)
    violated = 0.7 * 1e-3 * np.asarray(solution.stabilities(below)).sum()
    assert violated == pytest.approx(float(solution.energy), rel=1e-5)


@pytest.mark.slow
def test_enumeration_of_real_features():
    """All 2^N weights on real sign features agree with the theory, extrapolated in 1/N; phi, q, p, r, test error."""
    checked = rx.validate(rx.RandomFeatures(alpha=1.0, alpha_D=1.0, beta=1.0), samples=300)
    limit = {row.quantity: row for row in checked.rows if row.extrapolated}
    assert set(limit) == {"phi", "q", "p", "r", "eps_bary", "energy", "entropy"}
    assert checked.worst < 4.0 and limit["phi"].error < 0.01


@pytest.mark.slow
def test_plain_storage_where_there_are_many_inputs():
    """alpha_D = inf: Delta has variance mu1^2 + mu*^2 = 1 for sign; also the kernel limit alpha_D -> 0."""
    plain = rx.solve(rx.BinaryPerceptron(alpha=0.5, kappa=0.3))
    features = rx.solve(rx.RandomFeatures(alpha=0.5, alpha_D=[1e8, 1e12], kappa=0.3))
    assert features.phi == pytest.approx([float(plain.phi)] * 2, abs=1e-8)
    assert features.order.q == pytest.approx([float(plain.order.q)] * 2, abs=1e-7)
    assert features.replicon == pytest.approx([float(plain.replicon)] * 2, abs=1e-6)
    nothing = rx.solve(rx.RandomFeatures(alpha=0.0, alpha_D=1.0))
    assert float(nothing.phi) == pytest.approx(np.log(2.0)) and nothing.eps == nothing.eps_bary == 0.5
    kernel = rx.solve(rx.RandomFeatures(alpha=3e-6, alpha_T=3.0))
    assert float(kernel.eps) == pytest.approx(0.2930562650, abs=1e-5)


def test_spectral_term_is_its_own_stationary_point():
    """S(p, r | q) at the projections of given scores: its gradients are these scores, its gradient in q what it asks of q^."""
    ms, mu1, per_input = (0.0, 2.5), 0.8, 1.7
    v, c = (jnp.array(0.3), jnp.array(0.2)), jnp.array(0.5)
    e, signals, signal = per_input * mu1**2, (jnp.array(0.4), jnp.array(0.3)), per_input * mu1 * 0.6
    found = project(v, c, ms, jnp.array(e), jnp.array(-0.4), signals, jnp.array(signal))

    def S(p, r, q):
        (q0, q1, d), (p0, p1, p_d) = q, p
        return entropy((q0, q1 - q0), d - q1, ms, (p0 - r**2, p1 - p0), p_d - p1, r)

    p0 = found.overlaps[0] + found.r**2
    p = (p0, p0 + found.overlaps[1], p0 + found.overlaps[1] + found.complement)
    q = (v[0], v[0] + v[1], v[0] + v[1] + c)
    by_p, by_r, by_q = jax.grad(S, (0, 1, 2))(p, found.r, q)
    # alpha G has d/dp0 = -m <f_0'^2>/2, d/dp1 = -(1-m) <f_1'^2>/2 .. per input e instead of alpha
    g0, g1 = found.gaps[0], found.gaps[0] + found.gaps[1]
    assert float(by_p[0]) == pytest.approx(float(0.5 * ms[1] * e * g0), rel=1e-12)
    assert float(by_p[1]) == pytest.approx(float(0.5 * (1 - ms[1]) * e * g1), rel=1e-12)
    assert float(by_r) == pytest.approx(-signal, rel=1e-12)
    asked = conjugates(
        found, v, found.gaps, jnp.array(mu1), jnp.array(per_input), jnp.array(signal / per_input / mu1)
    )
    total = (asked[0], asked[0] + asked[1])
    assert float(by_q[0]) == pytest.approx(float(-0.5 * ms[1] * per_input * total[0]), rel=1e-12)
    assert float(by_q[1]) == pytest.approx(float(-0.5 * (1 - ms[1]) * per_input * total[1]), rel=1e-12)


def separability(tau):
    """1/alpha_c = min_b E (Z - b U)_+^2 with U of density 2 N(u) H(-tau u/sqrt(1-tau^2)) (Candes & Sur)."""
    density = 2.0 * _W * ndtr(tau * _T / np.sqrt(1.0 - tau**2))
    cost = lambda b: (density * ((1 + (b * _T) ** 2) * ndtr(-b * _T) - b * _T * norm.pdf(b * _T))).sum()
    return 1.0 / minimize_scalar(cost, bounds=(0.0, 10.0), method="bounded", options=dict(xatol=1e-10)).fun


@pytest.mark.slow
def test_capacity_of_the_sphere_is_that_of_separability():
    found = rx.threshold(
        rx.RandomFeatures(alpha_D=[0.5, 1.0, 0.5], rho=[1.0, 1.0, 0.8], weights="spherical"), "capacity"
    )
    tau2 = (0.6956061640402398, 0.4777791700190526, 0.44518794498575354)
    assert found.value == pytest.approx([separability(np.sqrt(t)) for t in tau2], rel=1e-7)
    margin = rx.threshold(
        rx.RandomFeatures(alpha=[0.5, 1.0], alpha_D=0.5, rho=0.8, weights="spherical"), "kappa-max"
    )
    assert margin.value == pytest.approx([1.004686954, 0.498304926], abs=1e-8)
    assert margin.eps == pytest.approx([0.390522, 0.370094], abs=1e-6)
    edge = rx.threshold(rx.RandomFeatures(alpha=5.0, alpha_T=50.0, rho=0.8, weights="spherical"), "dat")
    assert float(edge.value) == pytest.approx(-0.2244653, abs=1e-6)


@pytest.mark.slow
def test_capacity_of_binary_weights():
    teacher = rx.threshold(rx.RandomFeatures(alpha_T=[1.0, 3.0, 10.0]), "capacity")
    assert teacher.value == pytest.approx([0.9418041037, 1.1396215658, 1.617247], abs=1e-6)
    storage = rx.threshold(rx.RandomFeatures(alpha_D=[0.25, 1.0, 1e5], labels="random"), "capacity")
    assert storage.value == pytest.approx([0.7807460841, 0.8125400359, 0.8330783], abs=1e-6)


@pytest.mark.slow
def test_local_entropy():
    """y = inf at the values of the specification; finite y tends to it, and its slope is the derivative."""
    model = rx.RandomFeatures(alpha=1.0, alpha_T=3.0)
    far = rx.solve(model, rx.LocalEntropy(d=[0.1, 0.04]))
    assert far.phi == pytest.approx([0.0592298533, 0.0438474084], abs=1e-9)
    assert far.slope == pytest.approx([0.3433301, 0.1866803], abs=1e-6)
    assert far.eps == pytest.approx([0.3073758, 0.3100797], abs=1e-6)
    assert far.eps_center == pytest.approx([0.2884809, 0.3020398], abs=1e-6)
    many = rx.solve(model, rx.LocalEntropy(d=0.1, y=[400.0, 1600.0]))
    assert float(many.phi[1]) == pytest.approx(float(far.phi[0]), abs=5e-5)
    assert float(2 * many.S_E[1] - many.S_E[0]) == pytest.approx(float(far.S_E[0]), abs=5e-3)
    slope = jax.grad(lambda d: rx.solve(model, rx.LocalEntropy(d=d)).phi)(0.1)
    assert float(slope) == pytest.approx(float(far.slope[0]), rel=1e-8)


@pytest.mark.slow
def test_where_local_entropies_cease_to_be_monotone():
    found = rx.threshold(rx.RandomFeatures(alpha_T=[1.0, 3.0, 10.0]), "alpha-le")
    assert found.value == pytest.approx([0.8529, 1.0320, 1.4668], abs=1e-3)


def test_bad_parameters_are_named():
    for given, words in (
        (dict(alpha=1.0), "alpha_D, alpha_T"),
        (dict(alpha=1.0, alpha_D=1.0, alpha_T=1.0), "alpha_D, alpha_T"),
        (dict(alpha=1.0, alpha_D=0.0), "alpha_D = 0"),
        (dict(alpha=1.0, alpha_D=1.0, rho=1.5), "rho = 1.5"),
        (dict(alpha=1.0, alpha_D=1.0, activation="cos"), "activation = 'cos'"),
        (dict(alpha=1.0, alpha_D=1.0, activation=lambda g: 0.0 * g + 1.0), "activation"),
    ):
        with pytest.raises(ValueError, match=words):
            rx.RandomFeatures(**given)
    for ansatz in (rx.RS(branch="low"), rx.FranzParisi(d=0.1), rx.LocalEntropy(d=0.1, ensemble="reference")):
        with pytest.raises(ValueError):
            rx.solve(rx.RandomFeatures(alpha=1.0, alpha_D=1.0), ansatz)
    with pytest.raises(ValueError, match="must be one of binary"):
        rx.simulate(rx.RandomFeatures(alpha=1.0, alpha_D=1.0, weights="spherical"), "enumeration", N=9)


class _Cubic(Activation):
    """g + weight He3(g)/sqrt(6): mu1 = 1, mu* = weight."""

    weight: jax.Array

    def __call__(self, g):
        return g + self.weight * (g**3 - 3.0 * g) / np.sqrt(6.0)


def test_thresholds_are_differentiable_in_the_shape_of_the_activation():
    """Also in batches of shapes; only mu*/mu1 matters at margin 0."""

    def capacity(weight):
        return rx.threshold(rx.RandomFeatures(alpha_T=1.0, activation=_Cubic(weight)), "capacity").value

    weights = jnp.array([0.3, 0.7, 1.2])
    values, slopes = jax.vmap(jax.value_and_grad(capacity))(weights)
    np.testing.assert_allclose(capacity(weights), values, atol=1e-12)
    step = 1e-4
    np.testing.assert_allclose(
        slopes, (capacity(weights + step) - capacity(weights - step)) / (2 * step), atol=1e-7
    )
    sign = rx.threshold(rx.RandomFeatures(alpha_T=1.0, activation="sign"), "capacity").value
    same = capacity(jnp.sqrt(np.pi / 2 - 1))  # mu*/mu1 of the sign
    np.testing.assert_allclose(same, sign, atol=1e-11)
