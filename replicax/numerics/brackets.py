"""Scalar roots between two signs, with implicit derivatives.

A sign change of a continuous f on [lo, hi] encloses a root; Chandrupatla's rule shrinks the enclosure. Each
step tries inverse quadratic interpolation through the last three points and bisects wherever that quadratic
is not monotone there, so it is superlinear on smooth f and never much slower than bisection (T. R.
Chandrupatla, Adv. Eng. Softw. 28, 145 (1997); P. O. J. Scherer, Computational Physics, section 6.1.7). One
value of f a step, no derivative of f.

The root x(theta) of f(x, theta) = 0 is differentiated by the implicit function theorem, never through the
loop:

    dx/dtheta = - (df/dtheta) / (df/dx)   at the root,

by `jax.lax.custom_root`, to any order and in both modes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike

__all__ = ["Bracketed", "bracketed_root", "halved", "rising_root", "vertex"]


class Bracketed(NamedTuple):
    """A bracketed root and how it was found; every leaf has shape () (the batch shape under `vmap`).

    value      the root; NaN where not converged
    converged  lo and hi enclosed a root and the enclosure shrank to the tolerance
    residual   f at the best abscissa found: value; the better end of the bracket if there is no sign change
    steps      values of f beyond those at lo and hi (a float: integers beside a root break under `grad`)

    Only `value` carries derivatives.
    """

    value: Array
    converged: Array
    residual: Array
    steps: Array


class _Enclosure(NamedTuple):
    """a: newest point, b: the other end of the enclosure, c: the point discarded last; f there; next cut."""

    a: Array
    b: Array
    c: Array
    fa: Array
    fb: Array
    fc: Array
    cut: Array
    steps: Array


def bracketed_root(
    f: Callable[..., ArrayLike],
    lo: ArrayLike,
    hi: ArrayLike,
    *args,
    tol: float = 1e-15,
    max_steps: int = 128,
) -> Bracketed:
    """The root x of f(x, *args) = 0 between lo and hi, to |error| < tol + 4 eps |x|.

    f maps a scalar of shape () to a scalar; lo and hi are scalars, in either order, and f may rise or fall.
    `vmap` for batches (all lanes wait for the slowest). A root exactly at lo or hi counts.

    Not converged, with value NaN and no exception: f has the same sign at both ends, f is NaN at an end or on
    the way, max_steps is used up, or the sign changes at a pole (|f| ends above its value at both ends of the
    bracket). A sign change at a finite jump cannot be told from a root: look at `residual`.

    Derivatives with respect to `args` and to anything f closes over are implicit (module docstring); those
    with respect to lo and hi are zero. A lane without a root adds zero, not NaN, to the gradient of whatever
    is shared by a batch; a double root has no derivative.
    """
    a, b = jax.lax.stop_gradient((jnp.asarray(lo, float), jnp.asarray(hi, float)))
    if a.shape or b.shape:
        raise ValueError(f"lo and hi must be scalars (vmap for batches), got shapes {a.shape} and {b.shape}")

    def function(x):
        return jnp.asarray(f(x, *args), float)

    fa, fb = jax.lax.stop_gradient((function(a), function(b)))
    enclosed = jnp.sign(fa) * jnp.sign(fb) <= 0.0  # False where either is NaN
    middle = 0.5 * a + 0.5 * b

    def guarded(x):  # slope 1 where nothing is enclosed: no 0/0 in that lane's derivative
        return jnp.where(enclosed, function(x), x - middle)

    def solve(fun, _):
        start = _Enclosure(a, b, b, fa, fb, fb, jnp.full_like(a, 0.5), jnp.zeros_like(a))

        def unfinished(e):
            x, fx = _best(e)
            wide = jnp.abs(e.b - e.a) > _width(x, tol)
            return enclosed & wide & (fx != 0.0) & ~jnp.isnan(e.fa) & (e.steps < max_steps)

        end = jax.lax.while_loop(unfinished, lambda e: _shrink(fun, e, tol), start)
        x, fx = _best(end)
        return x, (fx, jnp.abs(end.b - end.a), end.steps)

    def tangent_solve(slope, y):
        return y / slope(jnp.ones_like(y))

    root, aux = jax.lax.custom_root(guarded, middle, solve, tangent_solve, has_aux=True)
    residual, width, steps = jax.lax.stop_gradient(aux)
    x = jax.lax.stop_gradient(root)
    small = jnp.abs(residual) <= jnp.minimum(jnp.abs(fa), jnp.abs(fb))  # a pole ends above both
    converged = enclosed & small & ((width <= _width(x, tol)) | (residual == 0.0))
    return Bracketed(jnp.where(converged, root, jnp.nan), converged, residual, steps)


def _best(e: _Enclosure):
    """The end of the enclosure with the smaller |f|; b where f(a) is NaN."""
    newest = jnp.abs(e.fa) <= jnp.abs(e.fb)
    return jnp.where(newest, e.a, e.b), jnp.where(newest, e.fa, e.fb)


def _width(x, tol):
    """The width at which an enclosure of x is narrow enough."""
    return tol + 4.0 * jnp.finfo(x.dtype).eps * jnp.abs(x)


def _shrink(fun, e: _Enclosure, tol) -> _Enclosure:
    """One step of Chandrupatla's rule: cut at a + cut (b - a), keep the part with the sign change.

    With chi = (a - b)/(c - b) and phi = (f(a) - f(b))/(f(c) - f(b)) the inverse quadratic through the three
    points is monotone on the enclosure if phi^2 < chi and (1 - phi)^2 < 1 - chi; otherwise bisect.
    """
    x = e.a + e.cut * (e.b - e.a)
    fx = fun(x)
    same = jnp.sign(fx) == jnp.sign(e.fa)
    c, fc = jnp.where(same, e.a, e.b), jnp.where(same, e.fa, e.fb)
    b, fb = jnp.where(same, e.b, e.a), jnp.where(same, e.fb, e.fa)
    chi, phi = (x - b) / (c - b), (fx - fb) / (fc - fb)
    monotone = (phi * phi < chi) & ((1.0 - phi) ** 2 < 1.0 - chi)
    cut = fx / (fb - fx) * fc / (fb - fc) + (c - x) / (b - x) * fx / (fc - fx) * fb / (fc - fb)
    cut = jnp.where(monotone & jnp.isfinite(cut), cut, 0.5)
    best = jnp.where(jnp.abs(fx) <= jnp.abs(fb), x, b)
    least = jnp.minimum(0.5 * _width(best, tol) / jnp.abs(b - x), 0.5)
    return _Enclosure(x, b, c, fx, fb, fc, jnp.clip(cut, least, 1.0 - least), e.steps + 1.0)


def vertex(values: Array, top: Array) -> Array:
    """The largest value of the parabola through `values[top]`, the largest of them, and its neighbours (equal spacing)."""
    i = jnp.clip(top, 1, values.shape[0] - 2)
    a, b, c = values[i - 1], values[i], values[i + 1]
    bend = 2.0 * b - a - c
    return jnp.where(
        jnp.isfinite(bend) & (bend > 0), b + 0.125 * (c - a) ** 2 / jnp.where(bend > 0, bend, 1.0), b
    )


def halved(f: Callable[[Array], Array], lo: Array, hi: Array, steps: int = 60) -> Array:
    """Elementwise where f turns positive between lo and hi, by bisection (an end if it does not turn); no derivatives."""

    def halve(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        middle = 0.5 * (ends[0] + ends[1])
        below = f(middle) < 0
        return jnp.where(below, middle, ends[0]), jnp.where(below, ends[1], middle)

    lo, hi = jax.lax.stop_gradient((lo, hi))
    left, right = jax.lax.fori_loop(0, steps, halve, tuple(jnp.broadcast_arrays(lo, hi)))
    return 0.5 * (left + right)


class _Rising(NamedTuple):
    lo: Array
    hi: Array
    x: Array
    step: Array  # the last one
    moving: Array
    count: Array


def rising_root(
    f: Callable[[Array], tuple[Array, Array]], lo: Array, hi: Array, max_steps: int = 100
) -> Array:
    """Elementwise the root between lo and hi of a function that rises there, `f` = (value, slope); no derivatives.

    Newton's method; the enclosure is halved where that would leave it or halves its steps no longer.
    """

    def advance(s: _Rising) -> _Rising:
        value, slope = f(s.x)
        lo, hi = jnp.where(value < 0, s.x, s.lo), jnp.where(value < 0, s.hi, s.x)
        step = -value / slope
        good = (s.x + step >= lo) & (s.x + step <= hi) & (jnp.abs(step) <= 0.5 * jnp.abs(s.step))
        step = jnp.where(good, step, 0.5 * (lo + hi) - s.x)
        return _Rising(
            lo,
            hi,
            jnp.where(s.moving, s.x + step, s.x),
            step,
            s.moving & (jnp.abs(step) > _width(s.x, 1e-15)),
            s.count + 1,
        )

    lo, hi = jnp.broadcast_arrays(*jax.lax.stop_gradient((lo, hi)))
    start = _Rising(lo, hi, 0.5 * (lo + hi), hi - lo, jnp.ones(lo.shape, bool), jnp.zeros((), int))
    going = lambda s: jnp.any(s.moving) & (s.count < max_steps)
    return jax.lax.while_loop(going, advance, start).x
