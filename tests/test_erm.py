"""Random features fitted by convex losses: against equations written by hand, other minimisers, simulations, and limits."""

import dataclasses

import jax
import numpy as np
import pytest
from jax import numpy as jnp
from scipy import integrate, optimize
from scipy.special import expit, ndtr

import replicax as rx
from replicax.simulation.regression import fit, regression
from replicax.theory.erm import explained, separable
from replicax.top import cli
from replicax.top.simulate import plain_parameters, simulate
from replicax.top.validate import validate
from replicax.vocabulary.features import coefficients
from replicax.vocabulary.losses import LOSSES, MaxMargin, as_loss

ERM = rx.RandomFeaturesERM

#: loss, parameters, values: computed once with scipy from the equations of the specification
CATALOGUE = [
    ("square", dict(activation="tanh", task="linear", noise=0.1, alpha=0.5, alpha_D=0.5, lam=0.01),
     dict(V=7.575297345579, Q=0.905662753110, M=0.704894561049, test=0.495873631012)),
    ("square", dict(activation="tanh", task="linear", noise=0.1, alpha=4.0, alpha_T=3.0, lam=1e-4), dict(test=0.532850306156)),
    ("logistic", dict(alpha=1.5, alpha_D=0.5, lam=0.01), dict(V=23.0389515997, Q=20.8617841878, M=2.7731017594, test=0.2923160168)),
    ("margin", dict(alpha=1.0, alpha_D=0.5, rho=0.8), dict(test=0.397156053012, eps=0.370094, q=0.498305**-2)),
]  # fmt: skip
SLOW = [
    ("square", dict(alpha=1.0, alpha_D=0.3, lam=0.01), dict(V=6.582284238399, Q=1.989326256501, M=0.627800717388)),
    ("hinge", dict(alpha=2.0, alpha_D=0.5, lam=0.1, rho=0.9), dict(V=1.70210935271, Q=3.49527709554, M=1.08088246292)),
]  # fmt: skip


def check(loss, parameters, values):
    solution = rx.solve(ERM(loss=loss, **parameters))
    assert solution.status == "ok"
    for name, value in values.items():
        assert float(getattr(solution, name)) == pytest.approx(value, abs=2e-6 if name in "eps q" else 1e-9)


@pytest.mark.parametrize("loss, parameters, values", CATALOGUE)
def test_catalogue(loss, parameters, values):
    check(loss, parameters, values)


@pytest.mark.slow
@pytest.mark.parametrize("loss, parameters, values", SLOW)
def test_catalogue_of_further_losses(loss, parameters, values):
    check(loss, parameters, values)


@pytest.mark.slow
def test_published_errors_of_logistic_regression():
    """Loureiro et al. 2021: one sample of covariances at p = 2000, an error of some 1e-4."""
    alpha = np.array([0.559184, 1.047347, 2.084694, 3.0])
    model = ERM(
        alpha=alpha, alpha_D=0.5, lam=0.01, activation="erf", loss="logistic", rho=float(np.sqrt(2 / np.pi))
    )
    np.testing.assert_allclose(rx.solve(model).test, [0.370659, 0.332680, 0.295983, 0.281400], atol=6e-4)


# ---------------------------------------------------------------- equations written by hand


def marchenko_pastur(alpha_D, n=20000):
    theta = (np.arange(n) + 0.5) * np.pi / n
    c = 1 / alpha_D
    x = (1 - np.sqrt(c)) ** 2 + 4 * np.sqrt(c) * np.sin(theta / 2) ** 2
    w = (2 * np.sqrt(c) * np.sin(theta)) ** 2 / (2 * np.pi * c * x) * np.pi / n
    return np.append(x, 0.0), np.append(w, max(0.0, 1 - alpha_D))


def weights_by_hand(conjugates, alpha_D, lam, activation):
    Vh, qh, mh = conjugates
    mu, (x, w) = coefficients(activation), marchenko_pastur(alpha_D)
    linear, omega = mu.mu1**2, mu.mustar**2 + mu.mu1**2 * x
    A = lam + Vh * omega
    V, M = w @ (omega / A), mh * linear / alpha_D * (w @ (x / A))
    Q = w @ ((qh * omega**2 + mh**2 * linear / alpha_D * x * omega) / A**2)
    return V, Q, M


def logistic_by_hand(V, Q, M, alpha, rho):
    """Conjugates by adaptive quadrature, the proximal point by bracketing."""

    def score(h):
        x = optimize.brentq(lambda x: x - h - V * expit(-x), h - 1, h + V + 1, xtol=1e-13, rtol=1e-14)
        bend = expit(x) * expit(-x)
        return expit(-x), -bend / (1 + V * bend)

    def mean(f):
        g = lambda t: np.exp(-t * t / 2) / np.sqrt(2 * np.pi) * f(t)
        return integrate.quad(g, -9, 9, epsabs=1e-11, limit=300, points=[-2, 0, 1, 2, 4])[0]

    label = lambda t: 2 * ndtr(rho * M * t / np.sqrt(Q - rho**2 * M**2))
    Vh = -alpha * mean(lambda t: label(t) * score(np.sqrt(Q) * t)[1])
    qh = alpha * mean(lambda t: label(t) * score(np.sqrt(Q) * t)[0] ** 2)
    mh = alpha * rho * np.sqrt(2 / np.pi) * mean(lambda t: score(np.sqrt(Q - rho**2 * M**2) * t)[0])
    return Vh, qh, mh


@pytest.mark.parametrize("alpha, alpha_D, lam, rho", [(0.3, 2.0, 1e-5, 1.0), (20.0, 0.1, 1e-3, 0.7)])
def test_logistic_satisfies_the_equations_written_by_hand(alpha, alpha_D, lam, rho):
    s = rx.solve(ERM(alpha=alpha, alpha_D=alpha_D, lam=lam, rho=rho, loss="logistic"))
    by_hand = logistic_by_hand(float(s.V), float(s.Q), float(s.M), alpha, rho)
    np.testing.assert_allclose(by_hand, (s.V_hat, s.Q_hat, s.M_hat), rtol=1e-8)
    np.testing.assert_allclose(weights_by_hand(by_hand, alpha_D, lam, "sign"), (s.V, s.Q, s.M), rtol=1e-7)


def test_ridge_satisfies_the_equations_written_by_hand():
    """Over twelve orders of magnitude of the penalty, from narrow to wide."""
    rng = np.random.default_rng(1)
    alpha, alpha_D = 10.0 ** rng.uniform(-2, 2, 30), 10.0 ** rng.uniform(-3, 3, 30)
    lam, noise = 10.0 ** rng.uniform(-8, 4, 30), 10.0 ** rng.uniform(-3, 1, 30)
    s = rx.solve(ERM(alpha=alpha, alpha_D=alpha_D, lam=lam, noise=noise, activation="tanh", task="linear"))
    assert np.all(s.converged)
    for i in range(30):
        V, Q, M = (float(x[i]) for x in (s.V, s.Q, s.M))
        gain = alpha[i] / (1 + V)
        conjugates = (gain, gain / (1 + V) * (1 + noise[i] + Q - 2 * M), gain)
        found = weights_by_hand(conjugates, alpha_D[i], lam[i], "tanh")
        np.testing.assert_allclose(found, (V, Q, M), rtol=1e-8)
        assert float(s.test[i]) == pytest.approx(1 + Q - 2 * M, rel=1e-6, abs=1e-12)


def test_phi_is_minus_the_objective_and_stationary():
    """phi = -(loss + lam q/2), d phi/d lam = -q/2 and d phi/d alpha by the envelope theorem, along solutions."""
    lam = 0.01 + 1e-4 * np.array([-1.0, 0.0, 1.0])
    s = rx.solve(ERM(alpha=1.5, alpha_D=0.5, lam=lam, loss="logistic"))
    np.testing.assert_allclose(s.phi, -(s.energy + 0.5 * lam * s.q), rtol=1e-12)
    assert float(s.phi[2] - s.phi[0]) / 2e-4 == pytest.approx(-0.5 * float(s.q[1]), rel=1e-4)
    assert np.all(s.replicon > 0)


def test_perfect_learning_loses_no_digits():
    """Linear features beyond the interpolation threshold of a noiseless linear teacher: excess risk ~ lam^2, far below rounding of Q and M."""
    lam = np.array([1e-4, 1e-6, 1e-8])
    s = rx.solve(ERM(alpha=4.0, alpha_D=0.5, lam=lam, activation="identity", task="linear"))
    test = np.asarray(s.test)
    np.testing.assert_allclose(test[1:] / test[:-1], 1e-4, rtol=1e-3)
    assert test[2] < 1e-15 and float(s.M[2]) == pytest.approx(1.0, abs=1e-7)


def test_no_patterns():
    s = rx.solve(ERM(alpha=0.0, alpha_D=1.0, lam=1.0, loss="logistic"))
    assert s.status == "ok" and float(s.test) == 0.5 and float(s.q) == 0.0


@pytest.mark.slow
def test_derivative_in_the_penalty():
    risk = lambda lam: rx.solve(ERM(alpha=0.8, alpha_D=0.5, lam=lam, noise=0.1, task="linear")).test
    difference = (risk(0.0101) - risk(0.0099)) / 2e-4
    assert float(jax.grad(risk)(0.01)) == pytest.approx(float(difference), rel=1e-4)


# ---------------------------------------------------------------- existence


@pytest.mark.parametrize("alpha_D, tau2, capacity", [(0.5, 0.695606, 3.388615), (1.0, 0.477779, 2.643120)])
def test_separable_patterns(alpha_D, tau2, capacity):
    """Candes & Sur: the least over b of E (Z - b U)_+^2, minimised by hand."""
    assert float(explained(ERM(alpha=1.0, alpha_D=alpha_D))) == pytest.approx(tau2, abs=1e-6)
    u = np.linspace(-9, 9, 2001)
    density = (
        2 * np.exp(-u * u / 2) / np.sqrt(2 * np.pi) * ndtr(np.sqrt(tau2 / (1 - tau2)) * u) * (u[1] - u[0])
    )
    tail = lambda m: (1 + m * m) * ndtr(-m) - m * np.exp(-m * m / 2) / np.sqrt(2 * np.pi)
    least = optimize.minimize_scalar(lambda b: density @ tail(b * u), bounds=(0, 20), method="bounded").fun
    assert 1 / least == pytest.approx(capacity, abs=1e-5)
    assert bool(separable(capacity - 1e-4, tau2)) and not bool(separable(capacity + 1e-4, tau2))


def test_margin_exists_up_to_capacity():
    s = rx.solve(ERM(alpha=[3.3, 3.388, 3.389, 4.0], alpha_D=0.5, loss="margin"))
    assert list(s.status) == ["ok", "ok", "no solution", "no solution"]
    assert np.all(np.isnan(s.test[2:])) and float(s.q[1]) > float(s.q[0])


def test_without_penalty():
    s = rx.solve(ERM(alpha=[0.9, 2.0], alpha_D=1.0, lam=0.0, noise=0.1, task="linear", activation="tanh"))
    assert list(s.status) == ["no solution", "ok"]
    assert float(s.V[1]) == pytest.approx(1.0, abs=1e-12)  # <omega/(Vh omega)> = 1/Vh, Vh = alpha/(1 + V)


@pytest.mark.slow
def test_largest_margin_is_the_limit_of_weak_penalties():
    at = dict(alpha=1.0, alpha_D=0.5, rho=0.8)
    margin = rx.solve(ERM(loss="margin", **at))
    for loss, distance in (("hinge", 1e-6), ("logistic", 2e-2)):
        assert float(rx.solve(ERM(loss=loss, lam=1e-8, **at)).test) == pytest.approx(
            float(margin.test), abs=distance
        )


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(lam=-1.0), "lam = -1 is outside the allowed range"),
        (dict(noise=-0.1), "noise = -0.1"),
        (dict(rho=1.5), "rho = 1.5"),
        (dict(lam=None), "lam is missing"),
        (dict(loss="hing"), "loss = 'hing' is not one of square, logistic, hinge, margin"),
        (dict(loss="hinge", task="linear"), "loss = hinge is a loss of labels"),
        (dict(alpha_T=1.0), "alpha_D, alpha_T: give exactly one"),
        (dict(alpha_D=0.0), "alpha_D = 0"),
        (dict(alpha=None), "alpha is missing"),
    ],
)
def test_bad_arguments(changes, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        rx.solve(ERM(**(dict(alpha=1.0, alpha_D=1.0, lam=1.0) | changes)))


def test_only_named_things_are_simulated():
    with pytest.raises(ValueError, match=r"loss = .* is not simulated"):
        plain_parameters(ERM(alpha=1.0, alpha_D=1.0, lam=1.0, loss=jnp.abs, task="linear"))
    with pytest.raises(ValueError, match=r"spectrum = .* is not simulated"):
        plain_parameters(ERM(alpha=1.0, alpha_D=1.0, lam=1.0, spectrum=rx.Orthogonal()))


# ---------------------------------------------------------------- envelopes


@pytest.mark.parametrize("V", [1e-3, 1.0, 30.0, 1e7])
@pytest.mark.parametrize("name", ["square", "logistic", "hinge"])
def test_envelopes_against_the_general_solver(name, V):
    loss = LOSSES[name]
    h = jnp.asarray([-1.3 * V - 2.0, -0.6 * V - 0.3, -2.1, 0.1, 0.93, 1.2, 3.0, 9.0, 40.0])
    ours, general = loss.moreau(h, jnp.asarray(V)), as_loss(lambda x: loss(x)).moreau(h, jnp.asarray(V))
    np.testing.assert_allclose(ours.score, general.score, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(ours.curvature, general.curvature, rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(ours.value, general.value, rtol=1e-9, atol=1e-12)
    step = 1e-4
    slope = (loss.moreau(h + step, jnp.asarray(V)).score - loss.moreau(h - step, jnp.asarray(V)).score) / (
        2 * step
    )
    np.testing.assert_allclose(ours.curvature, slope, atol=1e-6)
    np.testing.assert_allclose(ours.score, (ours.point - h) / V, rtol=1e-6, atol=1e-9)


def test_logistic_point_at_any_field():
    h, V = np.meshgrid(np.linspace(-300, 300, 601), 10.0 ** np.linspace(-8, 12, 81))
    x = np.asarray(LOSSES["logistic"].moreau(jnp.asarray(h), jnp.asarray(V)).point)
    mismatch = np.abs(x - h - V * expit(-x)) / (np.abs(x) + np.abs(h) + V * expit(-x))
    assert mismatch.max() < 1e-14


@pytest.mark.parametrize(
    "function, kinks",
    [
        (lambda x: jnp.maximum(1.0 - x, 0.0), (1.0,)),
        (lambda x: jnp.where(jnp.abs(x) < 1, 0.5 * x * x, jnp.abs(x) - 0.5), (-1.0, 1.0)),
        (lambda x: 0.5 * jnp.maximum(0.3 - x, 0.0) ** 2, (0.3,)),
        (jnp.abs, (0.0,)),
        (lambda x: jnp.exp(-x), ()),
        (lambda x: jnp.logaddexp(0.0, -x), ()),
        (lambda x: x**4, ()),
    ],
)
def test_kinks_of_a_function_are_found(function, kinks):
    assert as_loss(function).kinks == pytest.approx(kinks, abs=1e-9)


@pytest.mark.slow
def test_a_function_alone_is_enough():
    at = dict(alpha=2.0, alpha_D=1.0, lam=0.1)
    functions = {"hinge": lambda x: jnp.maximum(1.0 - x, 0.0), "logistic": lambda x: jnp.logaddexp(0.0, -x)}
    for name, function in functions.items():
        named, given = rx.solve(ERM(loss=name, **at)), rx.solve(ERM(loss=function, **at))
        for column in ("test", "V", "Q", "M", "phi", "train_error"):
            assert float(getattr(given, column)) == pytest.approx(float(getattr(named, column)), rel=1e-10)


# ---------------------------------------------------------------- simulations


@pytest.mark.parametrize("loss, lam", [("square", 0.1), ("logistic", 1e-2), ("logistic", 1e-6), ("hinge", 0.1), ("hinge", 5.0)])  # fmt: skip
def test_fits_are_minima(loss, lam):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 12))
    y = np.sign(X[:, 0] + 0.5 * rng.standard_normal(40))
    losses = {
        "square": lambda d: 0.5 * ((y - d) ** 2).sum(),
        "logistic": lambda d: np.logaddexp(0.0, -y * d).sum(),
        "hinge": lambda d: np.maximum(1.0 - y * d, 0.0).sum(),
    }
    value = lambda w: losses[loss](X @ w / np.sqrt(12)) + 0.5 * lam * w @ w
    found = fit(X, y, loss=loss, lam=lam)
    assert found.solved
    here = value(found.w)
    for _ in range(200):  # a minimum in every direction and distance
        step = rng.standard_normal(12) * 10.0 ** rng.uniform(-4, 0)
        assert value(found.w + step) >= here - 1e-9 * abs(here)


def test_largest_margin_of_a_fit():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((50, 30))
    y = np.sign(X[:, 0])
    found = fit(X, y, loss="margin")
    margins = lambda w: y * (X @ w) / np.sqrt(30)
    other = optimize.minimize(
        lambda w: 0.5 * w @ w, 1.5 * found.w, jac=lambda w: w, method="SLSQP",
        constraints=dict(type="ineq", fun=lambda w: margins(w) - 1.0),
    )  # fmt: skip
    assert margins(found.w).min() == pytest.approx(1.0, abs=1e-9)
    assert found.w @ found.w == pytest.approx(2 * other.fun, rel=1e-6)
    assert not fit(rng.standard_normal((90, 30)), np.sign(rng.standard_normal(90)), loss="margin").solved


def test_regression_columns():
    model = ERM(alpha=1.0, alpha_T=2.0, lam=0.1, loss="hinge")
    found = simulate(model, "regression", N=30, samples=4, tests=200)
    assert set(found) == {"test", "eps", "train_error", "energy", "Q", "M", "q", "solved"}
    again = regression(N=30, alpha=1.0, alpha_T=2.0, lam=0.1, loss="hinge", samples=4, tests=200)
    assert found["Q"].mean == again["Q"].mean and found["solved"].mean == 1.0
    beyond = simulate(ERM(alpha=4.0, alpha_D=0.5, loss="margin"), "regression", N=40, samples=3)
    assert beyond["solved"].mean == 0.0 and np.isnan(beyond["test"].mean)


@pytest.mark.slow
@pytest.mark.parametrize(
    "parameters",
    [
        dict(alpha=2.0, alpha_D=0.5, lam=0.01, noise=0.1, task="linear", activation="relu"),
        dict(alpha=1.5, alpha_T=3.0, lam=0.01, loss="logistic"),
        dict(alpha=1.0, alpha_D=0.5, rho=0.8, loss="margin"),
    ],
)
def test_validation(parameters):
    found = validate(ERM(**parameters), N=200, samples=16)
    limits = [row for row in found.rows if row.extrapolated]
    assert len(limits) >= 5 and found.worst < 4
    wrong = validate(dataclasses.replace(ERM(**parameters), rho=0.3), N=60, samples=4)
    assert any(row.theory != other.theory for row, other in zip(wrong.rows, found.rows))


@pytest.mark.slow
def test_orthogonal_features():
    """Ridge on features of orthogonal F, N = D: X = 1."""
    rng = np.random.default_rng(2)
    N, D, P, samples, lam = 200, 200, 600, 24, 0.01
    risks = []
    for _ in range(samples):
        F = np.linalg.qr(rng.standard_normal((D, N)))[0] * np.sqrt(D)
        teacher = rng.standard_normal(D)
        teacher /= np.linalg.norm(teacher)
        x, fresh = rng.standard_normal((P, D)), rng.standard_normal((3000, D))
        A, B = (np.tanh(z @ F / np.sqrt(D)) / np.sqrt(N) for z in (x, fresh))
        y = x @ teacher + np.sqrt(0.1) * rng.standard_normal(P)
        w = np.linalg.solve(A.T @ A + lam * np.eye(N), A.T @ y)
        risks.append(np.mean((fresh @ teacher - B @ w) ** 2))
    at = dict(alpha=P / N, alpha_D=D / N, lam=lam, noise=0.1, activation="tanh", task="linear")
    orthogonal = float(rx.solve(ERM(**at, spectrum=rx.Orthogonal())).test)
    independent = float(rx.solve(ERM(**at)).test)
    error = np.std(risks, ddof=1) / np.sqrt(samples)
    assert abs(np.mean(risks) - orthogonal) < 4 * error + 0.003 < abs(orthogonal - independent)


def test_command_line(tmp_path, capsys):
    points = tmp_path / "points.csv"
    points.write_text(
        "alpha,alpha_D,alpha_T,lam,loss\n1.0,0.5,,,margin\n1.0,,2.0,,margin\n9.0,0.5,,,margin\n"
    )
    out = tmp_path / "out.csv"
    assert cli.main(["solve", "random-features-erm", "--points", str(points), "-o", str(out)]) == 3
    rows = out.read_text().splitlines()
    columns = rows[0].split(",")
    first, second, third = (dict(zip(columns, row.split(","))) for row in rows[1:])
    assert first["test"] == second["test"] and third["status"] == "no solution"
    assert {"energy", "train_error", "V", "Q", "M", "q", "tau2", "mu1", "eps"} <= set(columns)
    assert isinstance(ERM(alpha=1.0, alpha_D=1.0, loss="margin").loss, MaxMargin)


@pytest.mark.slow
def test_the_figure(tmp_path):
    image, data = rx.figure("double-descent", tmp_path, quick=True)
    loaded = rx.load_dataset(data)
    peak = loaded["width"][int(np.argmax(np.asarray(loaded["ridge_lam_0.0001_test"])))]
    assert float(peak) == pytest.approx(1.0, rel=0.05) and image.stat().st_size > 10_000
    for curve in ("ridge_lam_0.0001", "labels_logistic", "labels_max_margin"):
        there = np.interp(loaded["simulated"], loaded["width"], loaded[f"{curve}_test"])
        off = (loaded[f"{curve}_test_sim"] - there) / loaded[f"{curve}_test_sim_err"]
        assert np.nanmedian(np.abs(off)) < 4
