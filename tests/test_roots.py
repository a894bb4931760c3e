"""Damped Newton and its implicit derivatives against optimistix, closed forms and finite differences."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import lambertw

from replicax.numerics.roots import (
    chord,
    climb,
    implicit_root,
    modulus,
    newton,
    solve_linear,
    value_and_jacobian,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import optimistix as optx


def rosenbrock(x):
    return jnp.stack([10.0 * (x[1] - x[0] ** 2), 1.0 - x[0]])


def powell(x):
    """Badly scaled (Powell): x y = 1e-4, e^-x + e^-y = 1.0001."""
    return jnp.stack([1e4 * x[0] * x[1] - 1.0, jnp.exp(-x[0]) + jnp.exp(-x[1]) - 1.0001])


def broyden(x):
    """Tridiagonal."""
    left, right = jnp.concatenate([jnp.zeros(1), x[:-1]]), jnp.concatenate([x[1:], jnp.zeros(1)])
    return (3.0 - 2.0 * x) * x - left - 2.0 * right + 1.0


def kepler(x):
    return x - 0.9 * jnp.sin(x) - 0.7


PROBLEMS = [
    (rosenbrock, np.array([-1.2, 1.0])),
    (powell, np.array([0.0, 1.0])),
    (broyden, -np.ones(7)),
    (kepler, np.array([0.5])),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("problem, start", PROBLEMS, ids=lambda x: getattr(x, "__name__", ""))
def test_against_optimistix(problem, start):
    root = jax.jit(lambda s: newton(problem, s, max_steps=200))(jnp.asarray(start)[None])
    assert bool(root.converged) and root.residual <= 1e-12
    assert np.max(np.abs(problem(root.x)) / np.maximum(1, np.abs(root.x))) <= 1e-12
    solver = optx.Newton(rtol=1e-13, atol=1e-13)
    other = optx.root_find(lambda x, _: problem(x), solver, root.x + 1e-3, max_steps=500, throw=False)
    assert np.max(np.abs(root.x - other.value) / (1e-3 + np.abs(root.x))) < 1e-10
    assert root.steps == np.round(root.steps) and root.steps.dtype == float


@pytest.mark.parametrize("problem, start", PROBLEMS, ids=lambda x: getattr(x, "__name__", ""))
def test_steps_without_derivatives(problem, start):
    """From next to a root, with the Jacobian of another place: the root, in a few evaluations of the residual alone."""
    root = newton(problem, jnp.asarray(start)[None], max_steps=200)
    blind = lambda x: jax.lax.stop_gradient(problem(x))
    near = root.x * (1.0 + 1e-3 * jnp.arange(1, start.size + 1))
    jacobian = 1.05 * value_and_jacobian(problem, near)[1]
    found = jax.jit(lambda x, j: chord(blind, x, j, tol=1e-10, max_steps=12))(near, jacobian)
    assert bool(found.converged) and found.residual <= 1e-10 and found.steps <= 9
    np.testing.assert_allclose(found.x, root.x, rtol=1e-10)
    # not evaluated, a Jacobian of the wrong sign, a root too far away: as it was, and said
    for steps, sign, x in ((0, 1.0, near), (12, -1.0, near), (12, 1.0, near + 30.0)):
        lost = chord(blind, x, sign * jacobian, max_steps=steps)
        assert not bool(lost.converged) and bool(jnp.all(lost.x == x)) and lost.steps <= 2


def test_no_step_along_what_the_residual_does_not_feel():
    """Next to a root the second coordinate is hardly felt: the step to its zero, 1e4 long, is not taken, and the root is one."""
    residual = lambda x: jnp.stack([x[0] ** 2 - 2.0, 1e-12 * (x[1] - 1e4)])
    x = jnp.asarray([np.sqrt(2.0), 0.0])
    found = chord(residual, x, jax.jacfwd(residual)(x), tol=1e-7)
    assert bool(found.converged) and np.all(found.x == x)


def lambert(a):
    """W(a) as the root of x e^x = a, through log x + x = log a."""
    residual = lambda x: x + jnp.exp(x) - jnp.log(a)
    return jnp.exp(implicit_root(residual, lambda x0: newton(residual, x0[None]), jnp.zeros(1)).x[0])


def exact_lambert(a):
    w = lambertw(a).real
    first = w / (a * (1 + w))
    second = -(w**2) * (2 + w) / (a**2 * (1 + w) ** 3)
    return w, first, second


@pytest.mark.parametrize("a", [1e-3, 0.5, 3.0, 1e4])
def test_derivatives_of_a_closed_form(a):
    """W(a): value, grad, grad of grad, jacfwd, mixed; and all of them under vmap and jit."""
    value, first, second = exact_lambert(a)
    grad = jax.grad(lambert)
    for found, exact in (
        (lambert(a), value),
        (grad(a), first),
        (jax.jacfwd(lambert)(a), first),
        (jax.grad(grad)(a), second),
        (jax.jacfwd(grad)(a), second),
        (jax.grad(jax.jacfwd(lambert))(a), second),
        (jax.jacfwd(jax.jacfwd(lambert))(a), second),
    ):
        assert abs(found / exact - 1) < 1e-10
    everything = jax.jit(jax.vmap(lambda a: (lambert(a), grad(a), jax.grad(grad)(a))))
    batch = everything(jnp.asarray([a, 2 * a, 5 * a]))
    for i, scale in enumerate((1, 2, 5)):
        for found, exact in zip(batch, exact_lambert(scale * a)):
            assert abs(found[i] / exact - 1) < 1e-10


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_derivatives_of_systems(n):
    """x = b + eps A tanh(x): its Jacobian in b and eps by the implicit function theorem."""
    random = np.random.default_rng(n)
    A, b = random.normal(size=(n, n)) / np.sqrt(n), random.normal(size=n)

    def solve(b, eps):
        residual = lambda x: x - b - eps * (A @ jnp.tanh(x))
        return implicit_root(residual, lambda x0: newton(residual, x0[None]), jnp.zeros(n))

    x = solve(b, 0.4).x
    inverse = np.linalg.inv(np.eye(n) - 0.4 * A * (1 - np.tanh(x) ** 2))
    for jacobian in (jax.jacrev, jax.jacfwd):
        by_b, by_eps = jacobian(lambda b, eps: solve(b, eps).x, (0, 1))(b, 0.4)
        assert np.max(np.abs(by_b - inverse)) < 1e-11
        assert np.max(np.abs(by_eps - inverse @ (A @ np.tanh(x)))) < 1e-11
    # what is not the root carries no derivative
    for part in ("residual", "steps"):
        assert jax.grad(lambda e, part=part: getattr(solve(b, e), part))(0.4) == 0.0


def test_the_start_carries_no_derivative():
    residual = lambda x: x - jnp.cos(x)
    root = lambda x0: implicit_root(residual, lambda x: newton(residual, x[None]), jnp.asarray(x0)[None]).x[0]
    assert jax.grad(root)(0.3) == 0.0
    assert abs(root(0.3) - 0.7390851332151607) < 1e-12


FAILURES = {
    "no root": lambda x: jnp.exp(x) + x * x + 1.0,
    "nan everywhere": lambda x: x * jnp.nan,
    "nan at the start": lambda x: jnp.log(x),
    "flat": lambda x: 1.0 + 0.0 * x,
    "infinite": lambda x: x + jnp.inf,
}


@pytest.mark.parametrize("name", FAILURES)
def test_failures_are_flagged(name):
    """Never an exception, never a root that is none; a neighbour in the batch is not disturbed."""
    residual = FAILURES[name]
    solve = lambda shift: newton(lambda x: jnp.where(shift > 0, residual(x), x - 2.0), jnp.full((1, 1), -1.0))
    root = jax.jit(jax.vmap(solve))(jnp.asarray([1.0, 0.0]))
    assert not root.converged[0] and (np.isnan(root.residual[0]) or root.residual[0] > 1e-12)
    assert root.converged[1] and abs(root.x[1, 0] - 2.0) < 1e-12
    assert np.all(np.isfinite(root.x))


def test_budget():
    """max_steps evaluations a start, no more; too few of them is a failure that says so."""
    slow = lambda x: x - 100.0
    for steps in (3, 20):
        root = newton(slow, jnp.zeros((1, 1)), max_steps=steps)
        assert not root.converged and root.steps == steps
    assert newton(slow, jnp.zeros((1, 1)), max_steps=60).converged
    assert newton(slow, jnp.zeros((1, 1)), max_steps=5, cap=200.0).converged


def test_limit():
    """A coordinate beyond `limit` ends the start early."""
    runaway = lambda x: jnp.exp(-x)
    root = newton(runaway, jnp.zeros((1, 1)), max_steps=40, limit=5.0)
    assert not root.converged and root.steps < 15


def test_several_starts():
    """Tried in turn, the first success wins; `steps` counts all; one trace for all."""
    traces = []

    def residual(x):
        traces.append(1)
        return jnp.where(x < 0, jnp.exp(x) + 1.0, x - 3.0)

    count = []
    for starts in ([[-1.0]], [[-1.0], [1.0]], [[-1.0], [-2.0], [-30.0], [5.0]]):
        traces.clear()
        root = newton(residual, jnp.asarray(starts), max_steps=10)
        assert bool(root.converged) == (len(starts) > 1)
        count.append(len(traces))
        if len(starts) > 1:
            assert abs(root.x[0] - 3.0) < 1e-12
            assert 10 * (len(starts) - 1) < root.steps <= 10 * len(starts)
    assert count[0] == count[1] == count[2]
    both = lambda x: (x - 1.0) * (x + 1.0)
    assert abs(newton(both, jnp.asarray([[2.0], [-2.0]])).x[0] - 1.0) < 1e-12
    assert abs(newton(both, jnp.asarray([[-2.0], [2.0]])).x[0] + 1.0) < 1e-12
    assert not newton(residual, jnp.asarray([[-1.0], [1.0]]), max_steps=10, tries=1).converged


def test_steps_leave_a_region_without_numbers():
    """log x from x = 30: full Newton steps lead to x < 0, quarter steps come back."""
    root = newton(lambda x: jnp.log(x), jnp.full((1, 1), 30.0), cap=1000.0)
    assert root.converged and abs(root.x[0] - 1.0) < 1e-11


def test_no_unknowns():
    root = implicit_root(lambda x: x, lambda x: newton(lambda y: y, x[None]), jnp.zeros(0))
    assert root.x.shape == (0,) and root.converged and root.residual == 0.0


@pytest.mark.parametrize("n", [0, 1, 2, 3, 6])
def test_linear_algebra(n):
    """The closed forms for n <= 2 against numpy, batched; value_and_jacobian against jacfwd."""
    random = np.random.default_rng(n)
    M, rhs = random.normal(size=(50, n, n)), random.normal(size=(50, n))
    x = jax.vmap(solve_linear)(M, rhs)
    exact = np.linalg.solve(M, rhs[..., None])[..., 0]
    condition = np.linalg.cond(M)[:, None] if n else np.ones((50, 1))
    assert np.all(
        np.abs(x - exact) <= 1e-14 * condition * np.max(np.abs(exact), -1, keepdims=True, initial=1.0)
    )
    if n:
        f = lambda x: jnp.sin(M[0] @ x) + x**3
        value, jacobian = value_and_jacobian(f, rhs[0])
        assert np.allclose(value, f(rhs[0]), rtol=1e-14)
        assert np.allclose(jacobian, jax.jacfwd(f)(rhs[0]), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("gap", [-0.5, -1e-3, 1e-3, 0.5])
def test_climb_to_the_first_root_or_past_the_gap(gap):
    """x -> x - R(x) flows upward from -1 to the smaller root of (x - 1)^2 = -gap, or past the bottleneck at 1 to the root at 3."""

    def residual(x):
        return (x - 3.0) * ((x - 1.0) ** 2 + gap), x[0] > 10.0

    found = climb(residual, jnp.array([-1.0]), tol=1e-10)
    expected = 1.0 - np.sqrt(-gap) if gap < 0 else 3.0
    assert bool(found.found) and not bool(found.passed)
    np.testing.assert_allclose(float(found.x[0]), expected, atol=1e-7)


def test_climb_past_the_last_root():
    """1 + (x - 2)^2 has no root: the climb ends beyond it, and knows where it was closest."""
    gone = climb(lambda x: (-(1.0 + (x - 2.0) ** 2), x[0] > 8.0), jnp.array([0.0]), tol=1e-10)
    assert bool(gone.passed) and not bool(gone.found)
    assert abs(float(gone.x[0]) - 2.0) < 0.8 and float(gone.size) < 0.8  # in units of x


def test_modulus_of_a_matrix():
    vectors = np.array([[1.0, 0.3], [0.2, 1.0]])
    matrix = vectors @ np.diag([-2.0, 0.5]) @ np.linalg.inv(vectors)
    np.testing.assert_allclose(
        modulus(jnp.array(matrix)), vectors @ np.diag([2.0, 0.5]) @ np.linalg.inv(vectors), atol=1e-14
    )
    turned = jnp.array([[0.1, -1.0], [1.0, 0.1]])  # complex eigenvalues
    np.testing.assert_array_equal(modulus(turned), turned)
    np.testing.assert_array_equal(modulus(jnp.array([[-3.0]])), [[3.0]])
