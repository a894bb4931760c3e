"""Continuation: curves whose folds, events and ends are known in closed form or from the literature."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from replicax.numerics.continuation import ContinuationSettings, continue_branch

DEFAULT = ContinuationSettings()


def circle(u, p):
    return u**2 + p**2 - 1


def cubic(u, p):
    return u**3 - u - p


def magnet(u, p, coupling):
    """m = tanh(x), x = J m + p: folds where 1 - m^2 = 1/J."""
    return jnp.stack([u[0] - jnp.tanh(u[1]), u[1] - coupling * u[0] - p])


def check(curve, F, settings=DEFAULT, args=()):
    """What holds on every curve."""
    x = np.column_stack([curve.u, curve.p])
    both = jax.jit(lambda x: (F(x[:-1], x[-1], *args), jax.jacfwd(lambda x: F(x[:-1], x[-1], *args))(x)))
    value, jacobian = (
        np.array(rows) for rows in zip(*map(both, x))
    )  # row by row: one shape, one compilation
    assert curve.residual.max() <= settings.tol
    np.testing.assert_allclose(np.abs(value).max(axis=1), curve.residual, atol=settings.tol)
    assert len(curve) == len(curve.u) == len(curve.s) == len(curve.tangent) == len(curve.corrections)
    assert curve.s[0] == 0.0 and (np.diff(curve.s) > 0).all()
    for point in curve.special:
        np.testing.assert_array_equal(point.u, curve.u[point.index])
        assert point.p == curve.p[point.index]
    assert [point.index for point in curve.special] == sorted(point.index for point in curve.special)
    assert curve.special[-1].kind == "end" and curve.special[-1].index == len(curve) - 1
    # tangents are null vectors of the Jacobian and point along the curve
    size = np.abs(jacobian).sum(axis=(1, 2)) * np.abs(curve.tangent).max(axis=1)
    product = np.abs(np.einsum("kij,kj->ki", jacobian, curve.tangent)).max(axis=1)
    assert (product <= 1e-10 * size).all()
    assert (np.einsum("kj,kj->k", np.diff(x, axis=0), curve.tangent[:-1]) > 0).all()


def test_circle_closes_after_two_folds():
    curve = continue_branch(circle, [1.0], 0.0)
    check(curve, circle)
    assert curve.status == "closed loop"
    assert [point.kind for point in curve.special] == ["fold", "fold", "end"]
    np.testing.assert_allclose([f.p for f in curve.labelled("fold")], [1.0, -1.0], atol=1e-14)
    np.testing.assert_allclose([f.u[0] for f in curve.labelled("fold")], [0.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(curve.s[-1], 2 * np.pi, rtol=1e-12)  # rows are joined by arcs
    assert curve.u[-1, 0] == 1.0 and curve.p[-1] == 0.0
    np.testing.assert_allclose(curve.s[curve.labelled("fold")[0].index], np.pi / 2, rtol=1e-12)


@pytest.mark.parametrize("direction", [1, -1])
def test_cubic_folds_to_1e_10(direction):
    curve = continue_branch(
        cubic, [-2.0 * direction], -6.0 * direction, p_min=-6.0, p_max=6.0, direction=direction
    )
    check(curve, cubic)
    folds = curve.labelled("fold")
    u, p = 1 / np.sqrt(3), 2 / (3 * np.sqrt(3))
    np.testing.assert_allclose([f.p for f in folds], [p * direction, -p * direction], rtol=0, atol=1e-14)
    np.testing.assert_allclose([f.u[0] for f in folds], [-u * direction, u * direction], rtol=0, atol=1e-12)
    assert curve.status == ("reached p_max" if direction == 1 else "reached p_min")
    assert curve.p[-1] == 6.0 * direction and curve.p[0] == -6.0 * direction  # exactly
    np.testing.assert_allclose(curve.u[-1], 2.0 * direction, rtol=1e-12)


def test_inflection_is_no_fold():
    curve = continue_branch(lambda u, p: u**3 - p, [-1.0], -1.0, p_max=1.0)
    assert curve.status == "reached p_max" and not curve.labelled("fold")


TWINS = ([-1.2, 0.1, 0.101, 0.9], [-1.25, -0.926, -0.925, 0.907, 1.066, 1.084], [-1.0, -0.97, 0.4, 0.42, 0.9])


@pytest.mark.parametrize("turns", TWINS, ids=len)
def test_folds_close_together_are_all_found(turns):
    """p = P(w) with P' = prod (w - turn), w and two functions of it mixed by a rotation."""
    mix = jnp.asarray(np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0])
    slope = np.poly(turns)
    polynomial = np.polyint(slope)

    def F(u, p):
        w = mix @ u
        return mix.T @ jnp.stack(
            [jnp.polyval(polynomial, w[0]) - p, w[1] - w[0] ** 2, w[2] - jnp.sin(3 * w[0])]
        )

    start, rises = np.array([-2.0, 4.0, np.sin(-6.0)]), np.polyval(slope, -2.0) > 0
    p0 = np.polyval(polynomial, -2.0)
    curve = continue_branch(F, mix.T @ start, p0, p_min=-50.0, p_max=50.0, direction=1 if rises else -1)
    check(curve, F)
    assert curve.status == "reached p_max"
    folds = curve.labelled("fold")
    np.testing.assert_allclose([(mix @ f.u)[0] for f in folds], turns, rtol=0, atol=1e-8)
    np.testing.assert_allclose([f.p for f in folds], np.polyval(polynomial, turns), rtol=0, atol=1e-11)


@pytest.mark.parametrize("coupling", [1.5, 2.0, 4.0])
def test_coupled_folds(coupling):
    curve = continue_branch(magnet, [-1.0, -3.0 - coupling], -3.0, p_max=3.0, args=(coupling,))
    check(curve, magnet, args=(coupling,))
    m = np.sqrt(1 - 1 / coupling)
    p = np.arctanh(m) - coupling * m
    folds = curve.labelled("fold")
    np.testing.assert_allclose([f.p for f in folds], [-p, p], rtol=0, atol=1e-12)
    np.testing.assert_allclose([f.u[0] for f in folds], [-m, m], rtol=0, atol=1e-10)
    assert curve.status == "reached p_max" and curve.p[-1] == 3.0


def test_bratu_fold_of_the_literature():
    """u'' + p exp(u) = 0, u(0) = u(1) = 0 turns at p = 3.513830719125 (R. Buckmire 2003); Chebyshev nodes."""
    n = 28
    x = np.cos(np.pi * np.arange(n + 1) / n)
    c = np.r_[2.0, np.ones(n - 1), 2.0] * (-1.0) ** np.arange(n + 1)
    gap = x[:, None] - x[None, :] + np.eye(n + 1)
    first = np.outer(c, 1 / c) / gap
    first = 2 * (first - np.diag(first.sum(axis=1)))  # on [0, 1]
    second = jnp.asarray((first @ first)[1:-1, 1:-1])
    inverse = jnp.linalg.inv(second)

    def bratu(u, p):
        return u + p * (inverse @ jnp.exp(u))

    events = {"p = 2": lambda u, p: p - 2.0}
    curve = continue_branch(
        bratu, np.zeros(n - 1), 0.0, events=events, settings=ContinuationSettings(max_points=60)
    )
    check(curve, bratu)
    (fold,) = curve.labelled("fold")
    np.testing.assert_allclose(fold.p, 3.51383071912516, rtol=0, atol=1e-10)
    low, high = curve.labelled("event:p = 2")
    assert low.index < fold.index < high.index
    # closed form: u_max = 2 log cosh(theta), theta = sqrt(p/8) cosh(theta)
    for point, bracket in ((low, (0.0, 1.19)), (high, (1.21, 5.0))):
        theta = optimize.brentq(lambda t: t - 0.5 * np.cosh(t), *bracket, xtol=1e-14)
        np.testing.assert_allclose(point.u[n // 2 - 1], 2 * np.log(np.cosh(theta)), rtol=1e-8)


def test_events_are_located_in_order():
    events = {
        "u = 0": lambda u, p: u[0],
        "p = 0.1": lambda u, p: p - 0.1,
        "sometimes": lambda u, p: jnp.where(u[0] > 1.2, u[0] - 1.5, jnp.nan),
        "step": lambda u, p: jnp.where(u[0] > -1.3, 1.0, -1.0),
    }
    curve = continue_branch(cubic, [-2.0], -6.0, p_max=6.0, events=events)
    check(curve, cubic)
    kinds = [point.kind for point in curve.special]
    one, zero = "event:p = 0.1", "event:u = 0"
    assert kinds == ["event:step", one, "fold", one, zero, "fold", one, "event:sometimes", "end"]
    roots = np.sort(np.roots([1.0, 0.0, -1.0, -0.1]).real)
    np.testing.assert_allclose([e.u[0] for e in curve.labelled(one)], roots, rtol=0, atol=1e-12)
    np.testing.assert_allclose([e.p for e in curve.labelled(one)], 0.1, rtol=0, atol=1e-14)
    (zero,), (late,), (step,) = (curve.labelled(k) for k in (zero, "event:sometimes", "event:step"))
    assert abs(zero.u[0]) < 1e-14 and abs(late.u[0] - 1.5) < 1e-13 and abs(step.u[0] + 1.3) < 1e-13


def test_boundaries_are_hit_exactly():
    for p_max in (0.3, 0.99, 1 - 1e-9, 1 / 3):
        curve = continue_branch(circle, [1.0], 0.0, p_max=p_max)
        check(curve, circle)
        assert curve.status == "reached p_max" and curve.p[-1] == p_max and curve.p.max() == p_max
        np.testing.assert_allclose(curve.u[-1, 0], np.sqrt(1 - p_max**2), rtol=1e-6)
    curve = continue_branch(circle, [1.0], 0.0, p_min=-0.7, p_max=1 + 1e-9)  # the fold is just inside
    assert curve.status == "reached p_min" and curve.p[-1] == -0.7 and len(curve.labelled("fold")) == 1
    np.testing.assert_allclose(curve.u[-1, 0], -np.sqrt(1 - 0.49), rtol=1e-10)
    start = continue_branch(circle, [1.0], 0.0, p_max=0.0)
    assert start.status == "reached p_max" and len(start) == 1 and start.special[-1].index == 0
    # p_max may be the end of the domain: nothing outside is ever a predictor
    closed = continue_branch(lambda u, p: u - jnp.where(p <= 1, jnp.sqrt(p), jnp.nan), [0.5], 0.25, p_max=1.0)
    assert closed.status == "reached p_max" and closed.p[-1] == 1.0


def test_a_curve_that_ceases_to_exist_says_so():
    ends = {
        "square root": (lambda u, p: jnp.sqrt(p) - u, [1.0], 1.0, -1, 0.0),
        "domain": (lambda u, p: u - jnp.where(p < 0.7, p**2, jnp.nan), [0.0], 0.0, 1, 0.7),
        "corner": (lambda u, p: u - jnp.abs(p), [1.0], -1.0, 1, 0.0),
    }
    for F, u0, p0, direction, end in ends.values():
        curve = continue_branch(F, u0, p0, direction=direction)
        assert curve.status == "corrector failed"
        assert curve.residual.max() <= 1e-11 and np.isfinite(curve.u).all()
        np.testing.assert_allclose(curve.p[-1], end, rtol=0, atol=1e-8)
        assert curve.special[-1].kind == "end"


def test_max_points():
    curve = continue_branch(lambda u, p: u - p, [0.0], 0.0, settings=ContinuationSettings(max_points=17))
    assert curve.status == "max points" and len(curve) == 17


def test_sizes_that_differ_by_orders_of_magnitude():
    for size in (1e6, 1e-6):
        ellipse = lambda u, p, size: (u / size) ** 2 + p**2 - 1
        curve = continue_branch(
            ellipse, [size], 0.0, args=(size,), settings=ContinuationSettings(scale_u=size)
        )
        assert curve.status == "closed loop" and len(curve) < 60
        np.testing.assert_allclose([f.p for f in curve.labelled("fold")], [1.0, -1.0], rtol=0, atol=1e-12)
    for F, start in (
        (lambda u, p: (u / 1e6) ** 2 + p**2 - 1, 1e6),
        (lambda u, p: u**2 + (p / 1e6) ** 2 - 1, 1.0),
    ):
        curve = continue_branch(F, [start], 0.0)  # nothing told: logarithms above 1
        assert curve.status == "closed loop" and len(curve) < 400 and len(curve.labelled("fold")) == 2
        folds = np.array([f.p for f in curve.labelled("fold")])
        np.testing.assert_allclose(folds / abs(folds[0]), [1.0, -1.0], rtol=1e-12)
    # two unknowns 1e8 apart: u1 = 1e8 u0, p = u0^3 - u0
    both = lambda u, p: jnp.stack([u[0] ** 3 - u[0] - p, u[1] / 1e8 - u[0]])
    for scale in (1.0, (1.0, 1e8)):
        curve = continue_branch(
            both, [-2.0, -2e8], -6.0, p_max=6.0, settings=ContinuationSettings(scale_u=scale)
        )
        assert curve.status == "reached p_max"
        np.testing.assert_allclose(
            [f.p for f in curve.labelled("fold")], [2 / 27**0.5, -2 / 27**0.5], atol=1e-11
        )
    # a curve over thirteen decades
    curve = continue_branch(lambda u, p: jnp.log(u) - p, [1.0], 0.0, p_max=30.0)
    np.testing.assert_allclose(curve.u[:, 0], np.exp(curve.p), rtol=1e-10)
    assert curve.status == "reached p_max" and len(curve) < 200


@pytest.mark.parametrize("gap", [1e-3, 1e-6, 1e-9, -1e-9])
def test_no_jump_across_a_gap(gap):
    """p u - u^3 + gap = 0: the curve from p = -1 ends at u = sign(gap); across the gap lies another."""
    F = lambda u, p, gap: p * u - u**3 + gap
    curve = continue_branch(F, [gap], -1.0, p_max=1.0, args=(gap,))
    assert curve.status == "reached p_max" and len(curve.special) == 1
    np.testing.assert_allclose(curve.u[-1], np.sign(gap), atol=abs(gap))
    assert (np.sign(curve.u) == np.sign(gap)).all()


@pytest.mark.parametrize("distance", [0.5, 0.05, 0.005])
def test_no_jump_to_a_parallel_sheet(distance):
    def F(u, p, d):
        return (u - jnp.sin(3 * p)) * (u - jnp.sin(3 * p) - d) * (u - jnp.sin(3 * p) + d)

    curve = continue_branch(F, [0.0], 0.0, p_max=10.0, args=(distance,))
    assert curve.status == "reached p_max"
    np.testing.assert_allclose(curve.u[:, 0], np.sin(3 * curve.p), atol=1e-5)


def test_straight_on_through_bifurcations():
    F = lambda u, p: (u - p**2) * (u - jnp.sin(p))
    curve = continue_branch(F, [np.sin(-1.0)], -1.0, p_max=1.0)
    np.testing.assert_allclose(curve.u[:, 0], np.sin(curve.p), atol=1e-6)
    assert [point.kind for point in curve.special] == ["bifurcation", "bifurcation", "end"]
    crossing = optimize.brentq(lambda p: p * p - np.sin(p), 0.5, 1.0)
    np.testing.assert_allclose([b.p for b in curve.labelled("bifurcation")], [0.0, crossing], atol=1e-6)
    trivial = continue_branch(lambda u, p: p * u - u**3, [0.0], -1.0, p_max=1.0)
    (pitchfork,) = trivial.labelled("bifurcation")
    assert abs(pitchfork.p) < 1e-12 and (trivial.u == 0.0).all()


def test_compiles_once_and_takes_unhashable_functions():
    traces = []

    def F(u, p, coupling):
        traces.append(None)
        return magnet(u, p, coupling)

    continue_branch(F, [0.0, 0.0], -3.0, p_max=3.0, args=(2.0,))
    before = len(traces)
    other = ContinuationSettings(ds=0.05, tol=1e-10)
    for coupling in (1.5, 3.0):
        continue_branch(F, [0.0, 0.0], 3.0, p_min=-3.0, direction=-1, args=(coupling,), settings=other)
    assert len(traces) == before + 2  # the check of shapes only

    class Module:
        __hash__ = None  # pyright: ignore

        def __call__(self, u, p):
            return circle(u, p)

    assert continue_branch(Module(), [1.0], 0.0).status == "closed loop"


def test_settings_do_what_they_say():
    fine = ContinuationSettings(ds_max=0.05, max_angle=0.1, tol=1e-13)
    curve = continue_branch(cubic, [-2.0], -6.0, p_max=6.0, settings=fine)
    check(curve, cubic, fine)
    assert np.diff(curve.s).max() <= 0.05 * 1.01 and curve.status == "reached p_max"
    unit = curve.tangent / np.maximum(1, np.abs(np.column_stack([curve.u, curve.p])))
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1.0, rtol=1e-12)


def test_bad_questions():
    with pytest.raises(ValueError, match="no solution"):
        continue_branch(circle, [1.0], 2.0)
    with pytest.raises(ValueError, match="outside"):
        continue_branch(circle, [1.0], 0.0, p_min=0.5)
    with pytest.raises(ValueError, match="direction"):
        continue_branch(circle, [1.0], 0.0, direction=0)
    with pytest.raises(ValueError, match="shape"):
        continue_branch(lambda u, p: u[0] - p, [1.0], 0.0)
