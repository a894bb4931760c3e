"""Between solutions of the sphere: sampled means, independent routes to one number, and what is exact."""

import numpy as np
import pytest
from scipy.special import log_ndtr, ndtr, ndtri

import replicax as rx
from replicax.numerics.faddeeva import log_scaled_tail
from replicax.theory.interpolation import mean_below

Sphere = rx.SphericalPerceptron


def test_the_scaled_tail_against_mpmath():
    mp = pytest.importorskip("mpmath")
    x = np.outer([0.01, 0.5, 3.0, 30.0], np.exp(1j * np.deg2rad([0, 50, 89, 95, 125]))).ravel()
    wanted = [
        complex(mp.sqrt(mp.pi / 2) * mp.exp(mp.mpc(z) ** 2 / 2) * mp.erfc(mp.mpc(z) / mp.sqrt(2))) for z in x
    ]
    np.testing.assert_allclose(np.exp(np.asarray(log_scaled_tail(x))), wanted, rtol=1e-12)


def test_means_of_restricted_normals():
    """One of them in closed form; three sampled; far tails stay relative."""
    u, room = np.array([-3.0, 0.0, 2.0, 8.0]), 0.3
    one = -np.expm1(log_ndtr(-u - room) - log_ndtr(-u))
    np.testing.assert_allclose(mean_below(u, 1.0, room), one, rtol=1e-9)
    rng, n = np.random.default_rng(0), 400_000
    drawn = sum(-ndtri(rng.random((n, 4)) * ndtr(-u)) - u for _ in range(3)) / 3
    sampled, exact = np.mean(drawn < room, axis=0), np.asarray(mean_below(u, 3.0, room))
    assert np.all(np.abs(sampled - exact) < 4.5 * np.sqrt(exact * (1 - exact) / n) + 1e-9)


def test_mixed_margins_sampled():
    """W_2 of margin -0.8 < -0.5: fields and stabilities drawn from their joint law."""
    alpha, kappa, other, gamma = 2.0, -0.5, -0.8, 0.3
    solution = rx.solve(Sphere(alpha=alpha, kappa=kappa), rx.Interpolation(gamma=gamma, kappa_ref=other))
    q, p = float(solution.order.q), float(solution.order.p)
    q_2 = float(rx.solve(Sphere(alpha=alpha, kappa=other)).order.q)
    rng, n = np.random.default_rng(1), 400_000
    z = rng.normal(size=n)
    fields = np.sqrt(q) * z, p / np.sqrt(q) * z + np.sqrt(q_2 - p * p / q) * rng.normal(size=n)

    def restricted(h, spread, margin):
        return h - spread * ndtri(rng.random(n) * ndtr((h - margin) / spread))

    first, second = (restricted(h, np.sqrt(1 - o), k) for h, o, k in zip(fields, (q, q_2), (kappa, other)))
    length = np.sqrt(1 - 2 * gamma * (1 - gamma) * (1 - p))
    wrong = gamma * first + (1 - gamma) * second < kappa * length
    assert abs(wrong.mean() - float(solution.train_error)) < 4 * wrong.std() / np.sqrt(n)


@pytest.fixture(scope="module")
def points():
    return np.array([1.0, 3.0, 3.0, 4.69, 0.0]), np.array([-0.5, -0.5, -1.0, -0.5, -1.0])


def test_two_routes_to_the_midpoint(points):
    """The joint law of two solutions, and the contour integral for y = 2; at equal margins p = q.  Public figures at the first three."""
    alpha, kappa = points
    model = Sphere(alpha=alpha, kappa=kappa)
    pair, contour = (
        rx.solve(model, rx.Interpolation(gamma=0.5, kappa_ref=kappa)),
        rx.solve(model, rx.Interpolation()),
    )
    np.testing.assert_allclose(pair.train_error, contour.train_error, atol=3e-10)
    np.testing.assert_allclose(pair.order.p, pair.order.q, atol=1e-10)
    np.testing.assert_allclose(pair.train_error[:3], [0.0100290203, 0.0070707437, 0.0155060748], atol=1e-9)
    assert pair.status.tolist() == ["ok", "ok", "ok", "unstable (replicon)", "ok"]


def test_many_solutions_end_in_the_barycentre(points):
    model = Sphere(alpha=3.0, kappa=-1.0)
    many = rx.solve(model, rx.Interpolation(y=np.array([3.0, 30.0, 1e4, 1e8]))).train_error
    barycentre = float(rx.solve(model, rx.Interpolation(y=np.inf)).train_error)
    assert np.all(np.diff(many) < 0)
    np.testing.assert_allclose(barycentre, 5.160961e-4, rtol=1e-6)
    np.testing.assert_allclose(many[3], barycentre, rtol=1e-5)


def test_convex_solutions_have_no_barrier():
    for ansatz in (
        rx.Interpolation(),
        rx.Interpolation(y=np.inf),
        rx.Interpolation(gamma=0.3, kappa_ref=0.2),
    ):
        solution = rx.solve(Sphere(alpha=[1.0, 3.0], kappa=[0.1, 0.1]), ansatz)
        assert solution.status.tolist() == ["ok", "no solution"] and float(solution.train_error[0]) == 0.0


def test_a_second_solution_that_does_not_exist():
    solution = rx.solve(Sphere(alpha=1.0, kappa=-0.5), rx.Interpolation(gamma=0.5, kappa_ref=1.0))
    assert solution.status == "no reference" and np.isnan(solution.train_error)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: rx.Interpolation(y=3, gamma=0.5), "gamma = 0.5"),
        (lambda: rx.Interpolation(y=np.inf, kappa_ref=0.0), "kappa_ref = 0.0"),
        (lambda: rx.Interpolation(y=1), "y = 1"),
        (lambda: rx.Interpolation(gamma=1.5), "gamma = 1.5"),
        (lambda: rx.solve(Sphere(alpha=1.0, beta=2.0), rx.Interpolation()), "beta = 2.0"),
        (lambda: rx.solve(Sphere(alpha=1.0, labels="teacher"), rx.Interpolation()), "labels = teacher"),
    ],
)
def test_refusals_name_the_argument(call, words):
    with pytest.raises(ValueError, match=words.replace(".", r"\.")):
        call()


@pytest.mark.slow
def test_star_shape():
    """kappa-star: published here to 1e-7 by an independent program; between kappa and kappa p it closes the barrier; none beyond
    alpha-star; kappa itself where solutions are convex.
    """
    alpha, kappa = np.array([1.0, 3.0, 3.7, 1.0]), np.array([-0.5, -1.0, -0.5, 0.3])
    line = rx.threshold(Sphere(alpha=alpha, kappa=kappa), "kappa-star")
    np.testing.assert_allclose(np.asarray(line.value)[[0, 1, 3]], [-0.1710564, -0.4167162, 0.3], atol=1e-7)
    np.testing.assert_allclose(line.value[:2], kappa[:2] * line.p[:2], atol=1e-12)
    assert line.status.tolist() == ["ok", "ok", "no solution", "ok"]
    errors = [
        float(
            rx.solve(
                Sphere(alpha=1.0, kappa=-0.5), rx.Interpolation(kappa_ref=float(line.value[0]) + e)
            ).train_error
        )
        for e in (1e-3, -1e-2)
    ]
    assert errors[0] == 0.0 and errors[1] >= 0.0


@pytest.mark.slow
def test_where_the_star_ends():
    line = rx.threshold(Sphere(kappa=[-0.25, -0.5, -1.0, -2.0, 0.1, -1e-4]), "alpha-star")
    # kappa -> 0: next to the capacity, 2 + 4 (2/pi)^(1/2) |kappa|
    np.testing.assert_allclose((line.value[5] - 2.0) / 1e-4, 4.0 * np.sqrt(2.0 / np.pi), rtol=2e-4)
    np.testing.assert_allclose(line.value[:4], [2.85980801, 3.67838256, 4.19733672, 2.36795385], atol=1e-7)
    assert line.status[4] == "no solution" and set(line.status[:4]) == {"unstable (replicon)"}
    margin = rx.threshold(Sphere(alpha=line.value[:4]), "kappa-max").value
    np.testing.assert_allclose(margin, np.array([-0.25, -0.5, -1.0, -2.0]) * line.p[:4], atol=1e-10)


@pytest.mark.slow
def test_the_figure(tmp_path):
    """The barrier falls with the margin of the second solution and is gone beyond kappa-star; samples of solutions agree."""
    image, table = rx.figure("interpolation", tmp_path, quick=True)
    data = rx.load_dataset(table)
    top = np.asarray(data["train_error"].max("gamma"))
    assert image.exists() and np.all(np.diff(top) < 0) and top[-1] == 0.0 and 0.0083 < top[0] < 0.0085
    points, error = (data[f"train_error_simulated{suffix}"].values for suffix in ("", "_err"))
    line = np.interp(data["gamma_simulated"], data["gamma"], data["train_error"][0])
    assert np.all(np.abs(points[0] - line) < 4 * error[0]) and np.all(error[0] < 0.004)
    assert np.all(points[1] <= 0.001)
