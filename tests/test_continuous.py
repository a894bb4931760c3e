"""Full replica symmetry breaking on the sphere, and the acceleration that solves it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import replicax as rx
from replicax.numerics.anderson import fixed_point
from replicax.theory.continuous import (
    closed,
    coordinates,
    finer,
    lengthened,
    placed,
    resampled,
    strengths,
    wanted,
)
from replicax.theory.steps import GroundStates, Solutions
from replicax.vocabulary.ladder import Ladder


def test_acceleration_of_a_slow_map():
    """x -> A x + b with rates up to .99: a thousand steps of the bare map."""
    rates = jnp.asarray([0.99, 0.9, 0.5, -0.7])
    rotation = jnp.linalg.qr(jnp.asarray(np.random.default_rng(0).normal(size=(4, 4))))[0]
    matrix, b = rotation @ jnp.diag(rates) @ rotation.T, jnp.arange(4.0)

    def move(x):
        f = matrix @ x + b - x
        return f, jnp.max(jnp.abs(f))

    found = fixed_point(move, jnp.zeros(4), tol=1e-10, cap=1e3)
    exact = jnp.linalg.solve(jnp.eye(4) - matrix, b)
    assert found.converged and found.steps <= 12
    np.testing.assert_allclose(found.x, exact, rtol=1e-7)
    lost = fixed_point(lambda x: (x * jnp.nan, jnp.nan), jnp.zeros(2), tol=1e-10, max_steps=5)
    assert not lost.converged and lost.steps == 5 and np.all(lost.x == 0)


def test_grids_keep_their_shape():
    values = jnp.asarray([0.0, 1.0, 2.0, 4.0, 9.0, 9.0, 9.0])
    sizes = lambda old, new, keep: tuple(map(jnp.asarray, (old, new, keep)))
    np.testing.assert_allclose(resampled(values, *sizes(4, 7, 0), ends=True), [0, 0.5, 1, 1.5, 2, 3, 4])
    np.testing.assert_allclose(resampled(values, *sizes(4, 6, 1), ends=True)[:6], [0, 1, 1.5, 2, 3, 4])
    power = jnp.append(jnp.log(1.0 - (jnp.arange(3) + 0.5) / 3), jnp.zeros(2))
    np.testing.assert_allclose(
        resampled(power, *sizes(3, 5, 0), ends=False), jnp.log(1.0 - (jnp.arange(5) + 0.5) / 5)
    )


def two_steps(kind):
    landscape = kind(rx.SphericalPerceptron(alpha=10.0, kappa=-1.0), 3)
    if landscape.bounded:
        return landscape, Ladder(*map(jnp.asarray, (0.6, [0.1, 0.2], [0.3, 0.2], 0.1, 2)))
    return landscape, Ladder(*map(jnp.asarray, (0.6, [0.1, 0.3], [9.0, 2.0], 0.05, 2)))


@pytest.mark.parametrize("kind", [Solutions, GroundStates])
def test_the_equations_close(kind):
    """Any ladder is that of its own T, and its coordinates lead back to it, in longer arrays too."""
    landscape, short = two_steps(kind)
    for ladder in (short, lengthened(short, 5)):
        again = closed(landscape, ladder, wanted(ladder))
        back = placed(landscape, coordinates(landscape, ladder), ladder)
        for other in (again, back):
            np.testing.assert_allclose(other.overlaps, ladder.overlaps, rtol=1e-12)
            np.testing.assert_allclose(other.responses, ladder.responses, rtol=1e-12)
            assert np.all(other.steps[2:] == 0)


@pytest.mark.parametrize("kind", [Solutions, GroundStates])
def test_absent_levels_are_the_outermost(kind):
    landscape, short = two_steps(kind)
    long = lengthened(short, 5)
    at = jax.jit(lambda ladder: strengths(landscape, ladder, 24))
    for few, many in ((at(short), at(long)), (wanted(short), wanted(long))):
        np.testing.assert_allclose(many[3:], few, rtol=1e-12)
        np.testing.assert_allclose(many[:3], few[0], rtol=1e-12)


@pytest.mark.parametrize("kind", [Solutions, GroundStates])
@pytest.mark.parametrize("keep", [0, 1])
def test_finer_grids_lie_along_coarser_ones(kind, keep):
    """As many levels: the same ladder; more: still ordered, with the same ends, and the first step where it is a gap."""
    landscape, ladder = two_steps(kind)
    ladder = finer(landscape, lengthened(ladder, 9), jnp.asarray(4), jnp.asarray(0))
    same, more = (finer(landscape, ladder, jnp.asarray(n), jnp.asarray(keep)) for n in (4, 7))
    for ours, other in zip(same, ladder):
        np.testing.assert_allclose(ours, other, rtol=1e-12)
    assert np.all(np.diff(more.ms[:7]) < 0) and np.all(more.ms[7:] == 0) and np.all(more.steps[:7] > 0)
    whole = float(jnp.sum(more.steps) + more.outer) + (float(more.rest) if landscape.bounded else 0.0)
    assert whole == pytest.approx(1.0, abs=1e-14)
    kept = [(more.outer, ladder.outer), (more.rest, ladder.rest)]
    kept += [(more.ms[6], ladder.ms[3]), (more.steps[6], ladder.steps[3])] if keep else []
    for ours, other in kept:
        np.testing.assert_allclose(ours, other, rtol=1e-12)


def test_one_step_is_stationary():
    """q0, q1 and m of one step, from the minimum of its free entropy, satisfy T = G (alpha = 10, kappa = -1)."""
    model = rx.SphericalPerceptron(alpha=10.0, kappa=-1.0)
    one = rx.solve(model, rx.KRSB(k=1))
    q0, q1, m = (float(getattr(one, name)) for name in ("q0", "q1", "m"))
    ladder = Ladder(*map(jnp.asarray, (q0, [q1 - q0], [m], 1.0 - q1, 1)))
    G, T = strengths(Solutions(model, 1), ladder, 64), wanted(ladder)
    np.testing.assert_allclose(G, T, rtol=1e-6)


@pytest.mark.slow
def test_full_breaking():
    """Solutions (continuous; below an overlap gap), ground states, and where one step or none are stable."""
    kappa, alpha = np.array([-1.0, -2.0, 0.0, -2.5, -0.5]), np.array([10.0, 105.0, 6.0, 361.57988, 2.0])
    model = rx.SphericalPerceptron(alpha=alpha, kappa=kappa)
    full = rx.solve(model, rx.KRSB(k=float("inf")))
    assert np.all(full.converged), full.status
    steps = [rx.solve(rx.SphericalPerceptron(alpha=alpha[:3], kappa=kappa[:3]), rx.KRSB(k=k)) for k in (2, 3)]
    # a minimum in the overlaps, approached from above and fast
    gained = [np.asarray(s.phi - full.phi[:3]) for s in steps]
    assert np.all(gained[1] > 0) and np.all(gained[0] > 2.5 * gained[1])
    assert np.all(gained[1] < np.array([1e-6, 1e-6, 2e-4]))
    assert np.all(full.quadrature_error[:3] < np.array([1e-7, 1e-6, 1e-5]))
    # the limits of k = 1, .., 7 steps, and a number of an outside code
    extrapolated = np.array([-2.3572792236, -2.8130112454, -0.805380999])
    error = np.asarray(full.quadrature_error[:3]) + np.array([4e-10, 4e-10, 1e-6])
    assert np.all(np.abs(full.phi[:3] - extrapolated) < error)
    assert abs(full.energy[2] - 0.8054) < 1e-4
    assert np.all(full.marginality[:3] < np.array([1e-3, 1e-2, 5e-2]))
    assert np.all(full.x_m[:3] < full.x_M[:3]) and np.all(full.q_m[:3] < full.q_M[:3])
    assert abs(full.phi[3] + 2.3066508) < 1e-7 and full.x_m[3] == full.x_M[3] and full.replicon[3] > 0
    symmetric = rx.solve(rx.SphericalPerceptron(alpha=2.0, kappa=-0.5))
    assert abs(full.phi[4] - symmetric.phi) < 1e-12 and full.q_m[4] == full.q_M[4]
