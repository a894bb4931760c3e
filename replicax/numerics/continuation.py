"""Curves of solutions of F(u, p) = 0, u in R^n, through their folds: pseudo-arclength continuation.

With x = (u, p) and a diagonal metric |dx|^2 = sum_i (dx_i / d_i)^2, a curve of solutions is followed by its
arclength s instead of by p, so that a fold (dp/ds = 0) is a point like any other (H. B. Keller, in
Applications of Bifurcation Theory (1977), p. 359; E. L. Allgower & K. Georg, Introduction to Numerical
Continuation Methods, SIAM 2003, chapters 2-6). One step of length ds from x with unit tangent t:

    predictor   y = x + ds t
    corrector   Newton on   F(y) = 0,   <t, y - x - ds t> = 0         (bordered: regular at folds)
    tangent     J(y) t' = 0,   <t', t> > 0                            (last column of Q in J^T = Q R)

The metric is d_u = sqrt(n) max(scale_u, |u|), d_p = max(scale_p, |p|), frozen during a step: unknowns of very
different sizes count alike, and one that spans decades is followed in its logarithm. The step adapts to the
number of corrections and to the angle between tangents. It is refused when the corrector fails, when the
curve turns too far, and when it may have jumped to another branch: the chord y - x leaves the mean direction
t + t' (a smooth curve does so at third order in ds), or det [J; t] changes sign. That sign is constant along
a curve up to simple bifurcations (Allgower & Georg, chapter 8), so steps shrink to sqrt(ds_min) before a
change is believed; the curve goes straight on through a bifurcation. The record of settings and the table
with labelled special points follow BifurcationKit.jl (R. Veltz, 2020, hal-02902346).
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike
from scipy.optimize import brentq

__all__ = ["ContinuationSettings", "Curve", "SpecialPoint", "continue_branch"]


@dataclass(frozen=True)
class ContinuationSettings:
    """Settings of a continuation. Lengths are arclengths in the metric of the module docstring.

    ds, ds_min, ds_max  first, smallest, largest step
    tol                 largest |F| (undamped, max norm) of an accepted point
    max_points          the curve stops once it has this many rows, special points included
    max_corrections     most Newton corrections of a step
    target_corrections  the step grows below this number of corrections and shrinks above it
    max_angle           largest angle between successive tangents, in radians
    scale_u, scale_p    sizes below which u (one number, or one for each component) and p count as absolute;
                        lower them for unknowns that live far below 1
    """

    ds: float = 0.02
    ds_min: float = 1e-9
    ds_max: float = 0.25
    tol: float = 1e-11
    max_points: int = 1000
    max_corrections: int = 10
    target_corrections: int = 4
    max_angle: float = 0.3
    scale_u: float | tuple[float, ...] = 1.0
    scale_p: float = 1.0


@dataclass(frozen=True, eq=False)
class SpecialPoint:
    """A labelled row of a curve. kind: "fold", "bifurcation", "event:NAME" or "end"; u: (n,); index: row."""

    kind: str
    u: np.ndarray
    p: float
    index: int


@dataclass(frozen=True, eq=False)
class Curve:
    """A curve of solutions, one row a point, in order of arclength.

    u            (K, n)
    p            (K,)
    tangent      (K, n + 1)  d(u, p)/ds, of unit length in the metric at the row
    s            (K,)        arclength from the first row (an arc of a circle from row to row)
    residual     (K,)        max |F|, undamped
    corrections  (K,)        Newton corrections of the row
    special      labelled rows, in order; the last is the "end"
    status       "reached p_max", "reached p_min", "closed loop", "max points" or "corrector failed" (no
                 acceptable step down to ds_min: the solution ends, or F has a corner)
    """

    u: np.ndarray
    p: np.ndarray
    tangent: np.ndarray
    s: np.ndarray
    residual: np.ndarray
    corrections: np.ndarray
    special: tuple[SpecialPoint, ...]
    status: str

    def __len__(self) -> int:
        return len(self.p)

    def labelled(self, kind: str) -> tuple[SpecialPoint, ...]:
        """The special points of one kind, for example "fold"."""
        return tuple(point for point in self.special if point.kind == kind)


class _Point(NamedTuple):
    """What the compiled step returns. x: (n + 1,); conditions: dp/ds, det [J; t], events."""

    x: Any
    tangent: Any
    residual: Any
    corrections: Any
    conditions: Any
    turn: Any  # angle between the tangents
    bend: Any  # angle between the chord and the mean of the tangents


class _Refused(Exception):
    """The corrector failed while a special point was being located."""


def continue_branch(
    F: Callable[..., ArrayLike],
    u0: ArrayLike,
    p0: float,
    *,
    p_min: float = -np.inf,
    p_max: float = np.inf,
    direction: int = 1,
    settings: ContinuationSettings = ContinuationSettings(),
    events: Mapping[str, Callable[..., ArrayLike]] | None = None,
    args: tuple = (),
) -> Curve:
    """Follow the curve of F(u, p, *args) = 0 through the solution at p0 near u0.

    F maps u of shape (n,) and p of shape () to (n,). The curve starts with p rising (direction = 1) or
    falling (-1) and runs, through folds, until p reaches p_min or p_max (the last row is exactly there; no
    predictor is outside), returns to its start, fails or fills max_points: see `Curve.status`.

    Folds (sign changes of dp/ds) and events (sign changes of g(u, p, *args), a scalar, for each name: g in
    `events`) become rows of the curve, located by a bracketed root in arclength with the corrector inside,
    and are labelled in `Curve.special`. Two folds within one step are looked for, with smaller steps; two
    sign changes of an event, or three folds, within one step are missed: lower ds_max. Simple bifurcations
    (another curve crosses) are labelled too, but the corrector is singular there: expect 1e-6.

    The step compiles once for each (F, events, shape of u), if the same function objects are passed again:
    vary parameters through `args`, any pytree. ValueError if there is no solution at p0 near u0.
    """
    if direction not in (1, -1):
        raise ValueError(f"direction must be 1 or -1, got {direction}")
    if not p_min <= p0 <= p_max:
        raise ValueError(f"p0 = {p0} is outside [p_min, p_max] = [{p_min}, {p_max}]")
    events = dict(events or {})
    walk = _Walk(F, events, np.atleast_1d(np.asarray(u0, float)), settings, args)
    first = walk.start(float(p0), direction)
    rows, labels, status = _follow(walk, first, float(p_min), float(p_max))
    kinds = ["fold", "bifurcation", *(f"event:{name}" for name in events)]
    x = np.stack([row.x for row in rows])
    arcs = [walk.arc(a, b) for a, b in itertools.pairwise(rows)]
    special = [SpecialPoint(kinds[k], x[i, :-1], float(x[i, -1]), i) for i, k in labels]
    special.append(SpecialPoint("end", x[-1, :-1], float(x[-1, -1]), len(x) - 1))
    return Curve(
        u=x[:, :-1],
        p=x[:, -1],
        tangent=np.stack([row.tangent for row in rows]),
        s=np.concatenate([[0.0], np.cumsum(arcs)]),
        residual=np.array([row.residual for row in rows]),
        corrections=np.array([row.corrections for row in rows]),
        special=tuple(special),
        status=status,
    )


def _follow(walk: _Walk, first: _Point, p_min: float, p_max: float):
    """The host loop: rows, labels (row, condition) and status."""
    settings, here, ds = walk.settings, first, walk.settings.ds
    rows, labels, signs = [first], [], np.sign(first.conditions)
    while True:
        p, slope = here.x[-1], here.tangent[-1]
        if (p >= p_max and slope > 0) or (p <= p_min and slope < 0):
            return rows, labels, "reached p_max" if slope > 0 else "reached p_min"
        if len(rows) >= settings.max_points:
            return rows, labels, "max points"
        if ds < settings.ds_min:
            return rows, labels, "corrector failed"

        there, length = walk.advance(here, ds, p_min, p_max)
        closed = len(rows) > 3 and walk.closing(here, there, first)
        there = first if closed else there
        found = None if there is None else walk.special(here, there, signs, p_min, p_max)
        if there is None or found is None:
            ds = 0.5 * min(ds, length)
            continue
        for k, point in found:
            if rows[-1] is not point:
                rows.append(point)
            labels.append((len(rows) - 1, k))
        if rows[-1] is not there:
            rows.append(there)
        if closed:
            return rows, labels, "closed loop"
        now = np.sign(there.conditions)  # an event at zero has happened; dp/ds or det at zero not yet
        signs = np.where((now == 0.0) & (np.arange(len(now)) < 2), signs, now)
        ease = 2.0 ** ((settings.target_corrections - there.corrections) / 4)
        ds *= np.clip(min(ease, 0.6 * settings.max_angle / max(there.turn, 1e-9)), 0.5, 1.5)
        ds, here = min(max(ds, settings.ds_min), settings.ds_max), there


class _Walk:
    """The corrector and what is built from it, for one F; every method but `start` begins at a point."""

    def __init__(self, F, events, u0, settings: ContinuationSettings, args):
        n = len(u0)
        shape = jax.eval_shape(lambda a: F(jnp.asarray(u0), jnp.zeros(()), *a), args).shape
        if shape != (n,):
            raise ValueError(f"F must map u of shape {(n,)} to the same shape, got {shape}")
        self.u0, self.settings, self.args = u0, settings, args
        self.floor = np.append(np.broadcast_to(np.asarray(settings.scale_u, float), (n,)), settings.scale_p)
        try:
            self.step = _compiled(F, tuple(events.values()))
        except TypeError:  # unhashable, for example a module that holds arrays
            self.step = _compile(F, tuple(events.values()))

    def metric(self, x) -> np.ndarray:
        return _metric(x, self.floor, np)

    def length(self, x, dx) -> float:
        return float(np.linalg.norm(dx / self.metric(x)))

    def arc(self, here: _Point, there: _Point) -> float:
        """chord (a/2) / sin(a/2), with a the angle between the tangents: an arc of a circle."""
        d = self.metric(here.x)
        half = 0.5 * _angle(here.tangent / d, there.tangent / d, np)
        return self.length(here.x, there.x - here.x) / float(np.sinc(half / np.pi))

    def correct(self, here: _Point, guess, landing=False, least=1) -> _Point | None:
        """Newton from guess in the plane through it normal to the tangent, or at its p; None if it fails.

        At least one correction: near a bifurcation bare predictors follow |F| < tol onto the other curve.
        """
        of = self.settings
        limits = (least, of.max_corrections, of.tol)
        point = self.step(here.x, here.tangent, guess, landing, limits, self.floor, self.args)
        point = jax.device_get(point)
        return point if point.residual <= of.tol and np.isfinite(point.tangent).all() else None

    def start(self, p0, direction) -> _Point:
        x = np.append(self.u0, p0)
        tangent = np.zeros_like(x)
        tangent[-1] = direction * self.metric(x)[-1]
        blank = _Point(x, tangent, *[None] * 5)
        first = self.correct(blank, x, landing=True, least=0)
        if first is None:
            raise ValueError(f"no solution of F(u, p0) = 0 at p0 = {p0} near u0 = {self.u0}")
        return first

    def advance(self, here: _Point, ds, p_min, p_max) -> tuple[_Point | None, float]:
        """A step of length ds, or onto the boundary if it would cross it: (point or None, length tried)."""
        x, t = here.x, here.tangent
        bound = p_max if t[-1] > 0 else p_min
        landing = bool((x[-1] + ds * t[-1] - bound) * t[-1] >= 0 and np.isfinite(bound))
        guess = x + ((bound - x[-1]) / t[-1] if landing else ds) * t
        point = None if landing else self.correct(here, guess)
        if point is not None and not p_min <= point.x[-1] <= p_max:  # bent across: aim at the crossing
            bound = p_max if point.x[-1] > p_max else p_min
            guess = x + (bound - x[-1]) / (point.x[-1] - x[-1]) * (point.x - x)
            landing = True
        if landing:
            guess[-1] = bound
            point = self.correct(here, guess, landing=True)
            if point is not None:  # once more: it ends the curve
                point = self.correct(here, point.x, landing=True)
            if point is not None and (point.tangent[-1] if bound == p_max else -point.tangent[-1]) < 0:
                point = None  # arrives from outside
        length = self.length(x, guess - x)
        widest = self.settings.max_angle
        if point is None or not (point.turn <= widest and point.bend <= widest / 3):
            return None, length
        return point, length

    def between(self, here: _Point, there: _Point):
        """delta -> a guess at projection delta on the tangent, quadratic from here to there; delta there."""
        d, chord = self.metric(here.x), there.x - here.x
        reach = float((here.tangent / d) @ (chord / d))
        sag = chord - reach * here.tangent
        return lambda delta: here.x + delta * here.tangent + (delta / reach) ** 2 * sag, reach

    def grazes(self, here: _Point, there: _Point) -> bool:
        """Whether p may turn twice on the way: the slope of its cubic interpolant nearly vanishes between.

        From slopes a, b at the ends and m on average, q(t) = a + 2 l t + 3 k t^2 with l = 3 m - 2 a - b and
        k = a + b - 2 m is extremal at t = -l/(3 k), where q = a - l^2/(3 k).
        """
        d = self.metric(here.x)
        _, reach = self.between(here, there)
        a, b = here.tangent[-1], there.tangent[-1] / ((here.tangent / d) @ (there.tangent / d))
        mean = (there.x[-1] - here.x[-1]) / reach
        l, k = 3 * mean - 2 * a - b, a + b - 2 * mean
        inside = a * b > 0 and 0 < -l * k < 3 * k * k
        return bool(inside and (a - l * l / (3 * k)) * np.sign(a) < 0.2 * max(abs(a), abs(b)))

    def closing(self, here: _Point, there: _Point | None, first: _Point) -> bool:
        """Whether the step from here to there passes through the first point, in its direction."""
        if there is None:
            return False
        d = self.metric(here.x)
        guess, reach = self.between(here, there)
        delta = float((here.tangent / d) @ ((first.x - here.x) / d))
        if not 0 < delta <= (1 + 1e-6) * reach or (here.tangent / d) @ (first.tangent / d) <= 0:
            return False
        if self.length(here.x, first.x - guess(delta)) > 0.5 * reach:
            return False
        point = self.correct(here, guess(delta))
        return point is not None and self.length(here.x, point.x - first.x) <= 1e-6

    def special(self, here: _Point, there: _Point, signs, p_min, p_max) -> list[tuple[int, _Point]] | None:
        """The folds and events of a step in their order, as (condition, point); None if one is lost."""
        found = []
        long = self.length(here.x, there.x - here.x) > np.sqrt(self.settings.ds_min)
        if long and self.grazes(here, there):
            return None
        for k, (last, now) in enumerate(zip(signs, there.conditions)):
            if not (last * now < 0 or (k > 1 and now == 0 and last != 0)):
                continue
            if k == 1 and long:
                return None  # perhaps a jump: look closer
            try:
                delta, point = self.locate(here, there, k)
            except _Refused:
                if k != 1:
                    return None
                delta, point = np.inf, there  # the corrector may well fail at a bifurcation
            slack = 1e-12 * self.metric(point.x)[-1]  # a fold on the boundary, to rounding
            if k == 0 and not p_min - slack <= point.x[-1] <= p_max + slack:
                return None  # the curve has left and come back: land on the boundary instead
            found.append((delta, k, point))
        return [(k, point) for _, k, point in sorted(found, key=lambda entry: entry[0])]

    def locate(self, here: _Point, there: _Point, k: int) -> tuple[float, _Point]:
        """(delta, point) where condition k changes sign on the curve between here and there."""
        guess, reach = self.between(here, there)
        ends = {0.0: here, reach: there}

        def at(delta) -> _Point:
            point = ends.get(delta) or self.correct(here, guess(delta), least=2)
            if point is None or np.isnan(point.conditions[k]):
                raise _Refused
            return point

        for delta, end in ends.items():
            if end.conditions[k] == 0.0:
                return delta, end
        condition = lambda delta: float(at(delta).conditions[k])
        delta = cast(float, brentq(condition, 0.0, reach, xtol=1e-15 * reach, maxiter=200))
        return delta, at(delta)


def _compile(F, events):
    """The corrector as one compiled function of the point, its tangent, the guess and the metric d.

    In y/d the bordered system of a correction dy is  [J d; row] (dy/d) = -[F; row . (y - guess)/d]  with
    row = t/d (the plane normal to the tangent), or the unit vector of p when landing on a boundary (p then
    stays what it is in the guess, to the last bit). Stops on |F| of the current y, never on |dy|.
    """

    def step(x, tangent, guess, landing, limits, floor, args):
        least, most, tol = limits
        d = _metric(x, floor)
        along = tangent / d
        row = jnp.where(landing, jnp.zeros_like(x).at[-1].set(1.0), along)

        def linear(y):
            def both(y):
                value = F(y[:-1], y[-1], *args)
                return value, value

            jacobian, value = jax.jacfwd(both, has_aux=True)(y)
            return value, jacobian * d[None]

        def correct(carry):
            y, (value, jacobian), count = carry
            matrix = jnp.concatenate([jacobian, row[None]])
            rest = jnp.append(value, row @ ((y - guess) / d))
            dy = -d * jnp.linalg.solve(matrix, rest)
            y = y + dy.at[-1].set(jnp.where(landing, 0.0, dy[-1]))
            return y, linear(y), count + 1

        def unfinished(carry):
            _, (value, _), count = carry
            size = jnp.abs(value).max()
            return ((size > tol) | (count < least)) & (count < most) & jnp.isfinite(size)

        y, (value, jacobian), count = jax.lax.while_loop(unfinished, correct, (guess, linear(guess), 0))
        ahead = jnp.linalg.qr(jacobian.T, mode="complete")[0][:, -1]
        ahead = jnp.where(ahead @ along < 0.0, -ahead, ahead)
        stretch = jnp.linalg.norm(ahead * d / _metric(y, floor))
        new = ahead * d / stretch
        rows = jnp.concatenate([jacobian, ahead[None]])
        det = jnp.linalg.det(rows / jnp.abs(rows).max(axis=1, keepdims=True))
        conditions = jnp.stack([new[-1], det, *(jnp.asarray(g(y[:-1], y[-1], *args)) for g in events)])
        return _Point(
            x=y,
            tangent=new,
            residual=jnp.abs(value).max(),
            corrections=count,
            conditions=conditions,
            turn=_angle(ahead, along),
            bend=_angle((y - x) / d, ahead + along),
        )

    return jax.jit(step)


_compiled = functools.lru_cache(maxsize=64)(_compile)


def _metric(x, floor, xp: Any = jnp):
    """d of shape (n + 1,): sqrt(n) max(scale_u, |u|) and max(scale_p, |p|)."""
    n = len(x) - 1
    return xp.maximum(floor, xp.abs(x)) * np.append(np.full(n, np.sqrt(n)), 1.0)


def _angle(a, b, xp: Any = jnp):
    """The angle between two vectors, accurate when small (W. Kahan): 2 atan(|a^ - b^| / |a^ + b^|)."""
    a, b = a / xp.linalg.norm(a), b / xp.linalg.norm(b)
    return 2.0 * xp.arctan2(xp.linalg.norm(a - b), xp.linalg.norm(a + b))
