"""`solve`: shapes, flags, derivatives, limits, and the observables that need no other package to check."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

import replicax as rx

LOG2 = np.log(2.0)


def test_arrays_broadcast_and_keep_their_shape():
    answer = rx.solve(rx.BinaryPerceptron(alpha=np.linspace(0.1, 0.8, 3)[:, None], kappa=[-0.5, 0.0]))
    assert answer.phi.shape == answer.order.q.shape == answer.converged.shape == (3, 2)
    assert answer.status.shape == (3, 2)
    single = rx.solve(rx.BinaryPerceptron(alpha=0.8, kappa=-0.5))
    assert single.phi.shape == () and single.status == "ok"
    assert float(single.phi) == pytest.approx(float(answer.phi[2, 0]), abs=1e-14)


def test_python_loops_vmap_and_arrays_agree():
    alphas = jnp.linspace(0.1, 0.8, 5)
    arrays = rx.solve(rx.BinaryPerceptron(alpha=alphas)).entropy
    mapped = jax.vmap(lambda a: rx.solve(rx.BinaryPerceptron(alpha=a)).entropy)(alphas)
    np.testing.assert_allclose(mapped, arrays, atol=1e-13)
    jitted = jax.jit(lambda model: rx.solve(model).entropy)(rx.BinaryPerceptron(alpha=alphas[2]))
    assert float(jitted) == pytest.approx(float(arrays[2]), abs=1e-13)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (rx.BinaryPerceptron(alpha=0.0), dict(phi=LOG2, q=0.0, q_hat=0.0, replicon=1.0)),
        (rx.BinaryPerceptron(alpha=1.3, beta=0.0), dict(phi=LOG2, energy=1.3 * 0.5, q=0.0)),
        (rx.SphericalPerceptron(alpha=0.0, kappa=1.0), dict(phi=0.0, q=0.0)),
        (rx.SphericalPerceptron(alpha=2.0, beta=0.0, loss="squared-hinge"), dict(phi=0.0, q=0.0, energy=0.5)),
        (rx.RecurrentNetwork(J_D=0.0), dict(phi=0.0, energy=0.0)),
        (rx.RecurrentNetwork(J_D=0.0, beta=0.0), dict(phi=LOG2, energy=1.0)),
        (rx.SymmetricPerceptron(alpha=1.0, kappa=0.6744897501960817), dict(phi=0.0)),
    ],
)
def test_exact_points(model, expected):
    answer = rx.solve(model)
    assert bool(answer.converged)
    for name, value in expected.items():
        assert float(getattr(answer, name)) == pytest.approx(value, abs=1e-14), name


def test_finite_beta_becomes_infinite():
    """A large beta in the finite-temperature functional agrees with the hard-margin functional, and beta = inf in an array too."""
    hard = rx.solve(rx.BinaryPerceptron(alpha=0.5, kappa=0.2))
    soft = rx.solve(rx.BinaryPerceptron(alpha=0.5, kappa=0.2, beta=[60.0, np.inf]))
    np.testing.assert_allclose(soft.phi, hard.phi, atol=1e-12)
    np.testing.assert_allclose(soft.entropy, hard.entropy, atol=1e-12)
    np.testing.assert_allclose(soft.q, hard.q, atol=1e-12)


def test_no_temperature_among_temperatures():
    """beta = inf in an array of the squared hinge is the hard margin; a large beta tends to it like beta^(-1/2)."""
    sphere = dict(alpha=1.3, kappa=0.2)
    hard = rx.solve(rx.SphericalPerceptron(**sphere))
    soft = rx.solve(rx.SphericalPerceptron(**sphere, beta=[1.0, 1e8, np.inf], loss="squared-hinge"))
    assert np.all(soft.converged)
    for name in ("phi", "entropy", "q", "replicon"):
        values = np.asarray(getattr(soft, name))
        assert values[2] == pytest.approx(float(getattr(hard, name)), abs=1e-12), name
        assert abs(values[1] - values[2]) < 1e-2, name
    assert float(soft.energy[2]) == 0.0


@pytest.mark.parametrize(
    ("model", "status", "converged"),
    [
        (rx.BinaryPerceptron(alpha=0.5), "ok", True),
        (rx.BinaryPerceptron(alpha=0.9), "negative entropy", True),
        (rx.BinaryPerceptron(alpha=1.2), "unstable (replicon)", True),
        (rx.BinaryPerceptron(alpha=1.4), "no solution", False),
        (rx.SphericalPerceptron(alpha=1.9), "ok", True),
        (rx.SphericalPerceptron(alpha=2.1), "no solution", False),
        (rx.SphericalPerceptron(alpha=4.5, kappa=-0.5), "unstable (replicon)", True),
        (rx.SymmetricPerceptron(alpha=1.9, kappa=1.0), "negative entropy", True),
    ],
)
def test_status_says_why(model, status, converged):
    answer = rx.solve(model)
    assert answer.status == status
    assert bool(answer.converged) is converged
    assert bool(np.isfinite(answer.phi)) is converged
    assert bool(np.isfinite(answer.order.q)) is converged


def test_an_unsolved_point_does_not_disturb_its_neighbours():
    answer = rx.solve(rx.BinaryPerceptron(alpha=[0.5, 3.0, 0.7]))
    assert list(answer.converged) == [True, False, True]
    assert float(answer.phi[0]) == pytest.approx(0.314390066856, abs=1e-11)
    assert np.isnan(answer.phi[1]) and np.isnan(answer.quadrature_error[1])


@pytest.mark.parametrize("kappa", [-0.5, 0.0, 0.4])
def test_implicit_derivatives_against_finite_differences(kappa):
    """d q/d alpha, forwards and backwards, and the second derivative of the entropy, through the root."""
    stencil = np.array([1, -8, 0, 8, -1]) / 12

    def q(a):
        return rx.solve(rx.BinaryPerceptron(alpha=a, kappa=kappa)).order.q

    def entropy(a):
        return rx.solve(rx.BinaryPerceptron(alpha=a, kappa=kappa)).entropy

    a, h = 0.35, 1e-3
    points = jnp.asarray(a + h * np.array([-2, -1, 0, 1, 2.0]))
    both = jax.vmap(lambda x: jax.jvp(lambda y: (q(y), entropy(y)), (x,), (1.0,)))
    (values, _), (q_slopes, slopes) = both(points)
    assert float(q_slopes[2]) == pytest.approx(float(values @ stencil) / h, rel=1e-8)
    assert float(jax.grad(q)(a)) == pytest.approx(float(q_slopes[2]), rel=1e-12)
    assert float(jax.grad(jax.grad(entropy))(a)) == pytest.approx(float(slopes @ stencil) / h, rel=1e-8)


def test_derivatives_at_alpha_zero():
    """q = alpha g(0)^2 + .., phi = log 2 + alpha log H(kappa) + ..: v = 0 is an ordinary point."""
    slope = jax.grad(lambda a: rx.solve(rx.BinaryPerceptron(alpha=a, kappa=0.0)).order.q)(0.0)
    assert float(slope) == pytest.approx(2 / np.pi, rel=1e-9)
    slope = jax.grad(lambda a: rx.solve(rx.BinaryPerceptron(alpha=a, kappa=0.0)).phi)(0.0)
    assert float(slope) == pytest.approx(-LOG2, rel=1e-11)


@pytest.mark.parametrize(
    "build",
    [
        lambda b: rx.BinaryPerceptron(alpha=1.0, beta=b),
        lambda b: rx.SphericalPerceptron(alpha=3.0, beta=b),
        lambda b: rx.SphericalPerceptron(alpha=4.0, beta=b, loss="squared-hinge"),
        lambda b: rx.RecurrentNetwork(J_D=0.5, beta=b),
    ],
    ids=["binary", "sphere, errors", "sphere, squared hinge", "network"],
)
def test_energy_is_minus_the_total_derivative_in_beta(build):
    def phi_and_energy(beta):
        answer = rx.solve(build(beta))
        return answer.phi, answer.energy

    (_, energy), (total, _) = jax.jvp(phi_and_energy, (1.7,), (1.0,))
    assert float(total) == pytest.approx(-float(energy), rel=1e-11)


def test_start_is_used_and_harmless():
    first = rx.solve(rx.SphericalPerceptron(alpha=1.5, kappa=0.1))
    again = rx.solve(rx.SphericalPerceptron(alpha=1.5001, kappa=0.1), start=first)
    cold = rx.solve(rx.SphericalPerceptron(alpha=1.5001, kappa=0.1))
    assert float(again.steps) < float(cold.steps)
    assert float(again.phi) == pytest.approx(float(cold.phi), abs=1e-13)


def test_ground_state_above_capacity_and_rs_below():
    """Squared hinge in closed form: e = (sqrt(alpha/alpha_c) - 1)^2/2, chi = 1/(sqrt(alpha/alpha_c) - 1)."""
    kappas = np.array([-0.5, 0.0, 0.7])[:, None]
    capacities = 1 / ((1 + kappas**2) * norm.cdf(kappas) + kappas * norm.pdf(kappas))  # Gardner (1988)
    alphas = capacities * np.array([0.8, 1.01, 1.5, 4.0, 30.0])
    answer = rx.solve(rx.SphericalPerceptron(alpha=alphas, kappa=kappas, loss="squared-hinge"), rx.KRSB(k=0))
    ratio = np.sqrt(alphas[:, 1:] / capacities)
    np.testing.assert_allclose(answer.energy[:, 1:], 0.5 * (ratio - 1) ** 2, rtol=1e-9)
    np.testing.assert_allclose(answer.chi[:, 1:], 1 / (ratio - 1), rtol=1e-9)
    below = rx.solve(rx.SphericalPerceptron(alpha=alphas[:, 0], kappa=kappas[:, 0]))
    np.testing.assert_allclose(answer.phi[:, 0], below.phi, atol=1e-14)
    assert np.all(answer.energy[:, 0] == 0.0) and np.all(np.isnan(answer.chi[:, 0]))
    errors = rx.solve(rx.SphericalPerceptron(alpha=3.0), rx.KRSB())
    assert float(errors.energy) == pytest.approx(0.09751603, abs=1e-8)


def test_zero_temperature_limit_of_the_ground_state():
    """e at beta -> inf tends to the T = 0 functional (errors: like 1/beta)."""
    cold = rx.solve(rx.SphericalPerceptron(alpha=4.0, beta=[200.0, 400.0], loss="squared-hinge")).energy
    ground = rx.solve(rx.SphericalPerceptron(alpha=4.0, loss="squared-hinge"), rx.KRSB()).energy
    extrapolated = 2 * float(cold[1]) - float(cold[0])
    assert extrapolated == pytest.approx(float(ground), abs=2e-5)


class TestRecurrentNetwork:
    """recurrent_network: first moments and Phi(m, q1)."""

    def test_tanaka_edwards(self):
        """Metastable states of the SK model: 0.1992 (Tanaka & Edwards 1980; Bray & Moore 1980)."""
        assert float(rx.solve(rx.RecurrentNetwork(J_D=0.0, eta=1.0)).phi) == pytest.approx(
            0.199228491035784, abs=1e-12
        )

    def test_two_replicas_are_the_second_moment(self):
        """m = 2: Phi = S_2(q)/2 with the exact pair count (bivariate orthants)."""
        from replicax.numerics.special import binary_entropy, bivariate_orthant

        for J_D, q in ((0.3, 0.5), (0.3, 0.9), (0.0, 0.5), (1.0, 0.99)):
            d = (1 - q) / 2
            same, opposite = (bivariate_orthant(-J_D, -J_D, s * q) for s in (1, -1))
            pairs = LOG2 + binary_entropy(d) + (1 - d) * np.log(same) + d * np.log(opposite)
            answer = rx.solve(rx.RecurrentNetwork(J_D=J_D), rx.LocalEntropy(q1=q, y=2.0))
            assert float(answer.phi) == pytest.approx(float(pairs) / 2, abs=1e-13)

    def test_one_replica_is_the_first_moment(self):
        answer = rx.solve(rx.RecurrentNetwork(J_D=0.3), rx.LocalEntropy(q1=[0.3, 0.9, 0.999], y=1.0))
        np.testing.assert_allclose(answer.phi, rx.solve(rx.RecurrentNetwork(J_D=0.3)).phi, atol=1e-13)

    def test_limit_of_many_replicas_closed_form(self):
        """Phi_inf = h2(d_c) + max_x {(1-d_c) log Phi((J_D+x)/s) + d_c log Phi((J_D-x)/s)}, s^2 = 1 - q1."""
        from scipy.optimize import minimize_scalar

        for J_D, q1 in ((0.3, 0.95), (0.1, 0.9), (0.0, 0.7), (1.0, 0.5)):
            d, s = (1 - np.sqrt(q1)) / 2, np.sqrt(1 - q1)

            def minus(x, J_D=J_D, d=d, s=s):
                return -((1 - d) * norm.logcdf((J_D + x) / s) + d * norm.logcdf((J_D - x) / s))

            best = -minimize_scalar(minus, bounds=(-3, 3), method="bounded", options=dict(xatol=1e-12)).fun
            expected = best - d * np.log(d) - (1 - d) * np.log(1 - d)
            answer = rx.solve(rx.RecurrentNetwork(J_D=J_D), rx.LocalEntropy(q1=q1))
            assert float(answer.phi) == pytest.approx(expected, abs=1e-12)
            assert float(answer.S_E) == -np.inf

    def test_star_is_the_least_over_m(self):
        """S* = min_m Phi(m, q1), where S_E = 0."""
        network = rx.RecurrentNetwork(J_D=0.1)
        star = rx.solve(network, rx.LocalEntropy(d=0.03, y="star"))
        assert float(star.y) == pytest.approx(6.0712186377635975, rel=1e-9)
        around = rx.solve(network, rx.LocalEntropy(d=0.03, y=float(star.y) * np.array([0.99, 1.0, 1.01])))
        assert float(around.S_E[1]) == pytest.approx(0.0, abs=1e-11)
        assert float(around.phi[1]) < min(float(around.phi[0]), float(around.phi[2]))
        assert float(star.S_I) == pytest.approx(0.013361029359705956, abs=1e-11)

    def test_derivatives_in_m_and_control(self):
        network = rx.RecurrentNetwork(J_D=0.3)

        def total(y):
            return y * rx.solve(network, rx.LocalEntropy(q1=0.9, y=y)).phi

        answer = rx.solve(network, rx.LocalEntropy(q1=0.9, y=5.0))
        assert float(answer.S_I) == pytest.approx(float(jax.grad(total)(5.0)), abs=1e-10)
        assert float(answer.S_E) == pytest.approx(5 * float(answer.phi - answer.S_I), abs=1e-12)
        by_distance = rx.solve(network, rx.LocalEntropy(d=0.05, y=5.0))
        slope = jax.grad(lambda d: rx.solve(network, rx.LocalEntropy(d=d, y=5.0)).phi)(0.05)
        assert float(by_distance.slope) == pytest.approx(float(slope), rel=1e-8)
        assert float(by_distance.slope) == pytest.approx(-2 * float(answer.slope), rel=1e-9)

    def test_stability_of_q0(self):
        """q0 = 0 along S*(d): stable for d <= .03, unstable for d >= .1 at J_D <= .2 (the specification's lines)."""
        near = rx.solve(rx.RecurrentNetwork(J_D=[0.05, 0.1, 0.3]), rx.LocalEntropy(d=0.01, y="star"))
        assert np.all(np.asarray(near.replicon) > 0)

    @pytest.mark.slow
    def test_replicated_count_refuses_what_it_cannot_do(self):
        with pytest.raises(ValueError, match="eta: the replicated count"):
            rx.solve(rx.RecurrentNetwork(J_D=0.3, eta=0.1), rx.LocalEntropy(q1=0.9))
        with pytest.raises(ValueError, match="d, q1: give exactly one"):
            rx.LocalEntropy(d=0.1, q1=0.8)
        hidden = jax.vmap(
            lambda e: rx.solve(rx.RecurrentNetwork(J_D=0.3, eta=e), rx.LocalEntropy(q1=0.9, y=2.0)).phi
        )
        assert list(np.isnan(hidden(jnp.array([0.0, 0.1])))) == [False, True]


class TestStabilities:
    """P(Delta): normalised, with the moments that the saddle fixes."""

    @pytest.mark.parametrize(
        "model",
        [
            rx.BinaryPerceptron(alpha=0.5, kappa=0.1),
            rx.BinaryPerceptron(alpha=1.0, kappa=0.1, beta=2.0),
            rx.SphericalPerceptron(alpha=1.5, kappa=0.1),
            rx.SphericalPerceptron(alpha=2.0, kappa=0.1, beta=5.0, loss="squared-hinge"),
            rx.BinaryPerceptron(alpha=0.0, kappa=0.1),
        ],
    )
    def test_normalised_and_consistent_with_the_energy(self, model):
        answer = rx.solve(model)
        x, w = np.polynomial.legendre.leggauss(200)
        total, loss = 0.0, 0.0
        for lo, hi in ((-8.0, 0.1), (0.1, 1.0), (1.0, 9.0)):
            grid, weights = 0.5 * (hi - lo) * x + 0.5 * (hi + lo), 0.5 * (hi - lo) * w
            density = np.asarray(answer.stabilities(grid))
            total += density @ weights
            cost = (
                0.5 * (0.1 - grid) ** 2 if isinstance(model, rx.SphericalPerceptron) else np.ones_like(grid)
            )
            loss += (density * cost * (grid < 0.1)) @ weights
        assert total == pytest.approx(1.0, abs=1e-10)
        assert float(model.alpha) * loss == pytest.approx(float(answer.energy), abs=1e-10)

    def test_recurrent_network(self):
        """Mean J_D + phi/Phi, and P(0+) = phi/Phi."""
        answer = rx.solve(rx.RecurrentNetwork(J_D=0.5))
        x, w = np.polynomial.legendre.leggauss(200)
        grid = 5 * (x + 1)
        density = np.asarray(answer.stabilities(grid))
        assert 5 * density @ w == pytest.approx(1.0, abs=1e-12)
        assert 5 * (density * grid) @ w == pytest.approx(0.5 + norm.pdf(0.5) / norm.cdf(0.5), abs=1e-12)


class TestFunctional:
    """`free_entropy`: off the saddle, and stationary on it."""

    def test_stationary_at_the_solution(self):
        for model in (rx.BinaryPerceptron(alpha=0.6, kappa=0.1), rx.BinaryPerceptron(alpha=1.0, beta=2.0)):
            order = rx.solve(model).order
            slopes = jax.grad(lambda x, model=model: rx.free_entropy(model, rx.RS(), q=x[0], q_hat=x[1]))(
                jnp.array([order.q, order.q_hat])
            )
            np.testing.assert_allclose(slopes, 0.0, atol=1e-12)

    def test_sphere_eliminates_its_conjugate(self):
        model = rx.SphericalPerceptron(alpha=1.0)
        assert float(rx.free_entropy(model, q=0.5853118517910982)) == pytest.approx(
            -0.855820596714761, abs=1e-11
        )
        assert float(jax.grad(lambda q: rx.free_entropy(model, q=q))(0.5853118517910982)) == pytest.approx(
            0, abs=1e-9
        )

    def test_one_rsb_off_the_saddle(self):
        """Independent figures of the specification, and the identities m = 1 and q1 = q0."""
        model = rx.BinaryPerceptron(alpha=0.7, kappa=0.1)
        point = dict(q0=0.2, q1=0.6, q0_hat=0.4, q1_hat=1.2)
        value = rx.free_entropy(model, rx.OneRSB(), **point, m=0.5)
        assert float(value) == pytest.approx(0.06610943335116459, abs=1e-11)
        warm = rx.free_entropy(
            rx.BinaryPerceptron(alpha=0.7, kappa=0.1, beta=2.0), rx.OneRSB(), **point, m=0.5
        )
        assert float(warm) == pytest.approx(0.27576450604017244, abs=1e-11)
        rs = rx.free_entropy(model, rx.RS(), q=0.2, q_hat=0.4)
        assert float(rx.free_entropy(model, rx.OneRSB(), **point, m=1.0)) == pytest.approx(
            float(rs), abs=1e-13
        )
        flat = rx.free_entropy(model, rx.OneRSB(), q0=0.2, q1=0.2, q0_hat=0.4, q1_hat=0.4, m=0.3)
        assert float(flat) == pytest.approx(float(rs), abs=1e-13)

    def test_bad_calls(self):
        with pytest.raises(ValueError, match="q_hat is missing"):
            rx.free_entropy(rx.BinaryPerceptron(alpha=1.0), q=0.3)
        with pytest.raises(TypeError, match="unexpected keyword"):
            rx.free_entropy(rx.BinaryPerceptron(alpha=1.0), q=0.3, q_hat=0.1, R=0.2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rx.BinaryPerceptron(alpha=-1.0), r"alpha = -1 is outside the allowed range \[0, inf\)"),
        (lambda: rx.BinaryPerceptron(alpha=[0.1, np.nan]), "alpha = nan is outside"),
        (lambda: rx.BinaryPerceptron(alpha=np.inf), "alpha = inf is outside"),
        (
            lambda: rx.BinaryPerceptron(alpha=0.5, beta=-0.1),
            r"beta = -0.1 is outside the allowed range \[0, inf\]",
        ),
        (lambda: rx.BinaryPerceptron(alpha="many"), "alpha = 'many': expected a number"),
        (
            lambda: rx.BinaryPerceptron(alpha=0.5, labels="teachers"),
            "labels = 'teachers' is not one of random",
        ),
        (
            lambda: rx.SphericalPerceptron(alpha=0.5, loss="hinge"),
            "loss = 'hinge' is not one of errors, squared-hinge",
        ),
        (
            lambda: rx.SymmetricPerceptron(alpha=0.5, kappa=0.0),
            r"kappa = 0 is outside the allowed range \(0, inf\)",
        ),
        (lambda: rx.RecurrentNetwork(J_D=0.1, eta=1.5), r"eta = 1.5 is outside the allowed range \[-1, 1\]"),
        (lambda: rx.RecurrentNetwork(J_D=0.1, N=10.5), "N = 10.5 is outside the allowed range an integer in"),
        (lambda: rx.LocalEntropy(q1=1.0), "q1 = 0 and 1"),
        (lambda: rx.solve(rx.BinaryPerceptron()), "alpha is missing"),
        (
            lambda: rx.solve(rx.SymmetricPerceptron(alpha=0.5, kappa=1.0), rx.LocalEntropy(q1=0.5)),
            "not available for symmetric-perceptron",
        ),
        (
            lambda: rx.solve(rx.SymmetricPerceptron(alpha=0.5, kappa=1.0), rx.OneRSB()),
            "is not available for symmetric-perceptron",
        ),
    ],
)
def test_bad_parameters_are_one_clear_error(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_results_print_as_a_short_table():
    text = repr(rx.solve(rx.BinaryPerceptron(alpha=0.5)))
    assert text.splitlines()[0] == "binary-perceptron, rs: ok"
    assert "entropy" in text and "0.314390066856" in text
    with pytest.raises(AttributeError, match="has no 'volume'"):
        _ = rx.solve(rx.BinaryPerceptron(alpha=0.5)).volume
