"""Jamming of the spherical perceptron: the k-step thresholds, and their limit k -> inf on grids of c(q).

What the steps extrapolate to stands beside the grids: the error of the limit is the step of the grids to it, or how far both ways lie apart.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from replicax.answers.solve import batched
from replicax.answers.thresholds import NODES, Explicit, Options, Threshold, define
from replicax.numerics.minimise import Minimum
from replicax.theory.full_jamming import Full, full
from replicax.theory.hierarchy import Hierarchy, Parisi
from replicax.theory.jamming import Jamming
from replicax.theory.models import SphericalPerceptron
from replicax.vocabulary.ladder import Ladder
from replicax.vocabulary.limits import is_concrete

#: the most steps; the grids of k = inf are made from all of them
MOST = 8
#: what twice the nodes may change of a threshold
_SHARP = 1e-7


def limit(values: Array) -> tuple[Array, Array]:
    """The limit of alpha^(k), k = 1, .., and its error.

    The differences fall like (k + 1/2)^-p: with p = 5, the exponent of the limit, and with p of the last two differences; the middle of
    both, and half their distance (twice, as long as the last differences are above rounding).
    """
    differences = values[:-1] - values[1:]
    last, before = differences[-1], differences[-2]
    k = values.shape[0] - 1.0
    local = jnp.log(before / last) / jnp.log((k + 0.5) / (k - 0.5))
    known = (last > 0) & (before > last)
    local = jnp.clip(jnp.where(known, local, 5.0), 3.5, 6.5)
    later = k + 1.0 + jnp.arange(4000.0)

    def rest(p: Array | float) -> Array:
        """The sum of all later differences."""
        tail = (later[-1] + 1.0) ** (1.0 - p) / (p - 1.0)
        return jnp.abs(last) * (k + 0.5) ** p * (jnp.sum((later + 0.5) ** -p) + tail)

    ends = rest(5.0), rest(local)
    return values[-1] - 0.5 * (ends[0] + ends[1]), jnp.abs(ends[0] - ends[1])


def _jamming(model: SphericalPerceptron, options: Options, n: int):
    if model.labels != "random":
        raise ValueError(f"labels = {model.labels}: jamming is that of random labels")
    kappa = jnp.asarray(model.kappa, float)
    k = jnp.asarray(options["k"], float)
    forever = jnp.isinf(k)
    count = jnp.where(forever, MOST, k).astype(int)
    negative = jnp.minimum(kappa, -1e-6)
    landscape = Jamming(negative, MOST, extended=options["extended"], finer=1 if n <= NODES else 2)
    rows = landscape.climb(jax.lax.stop_gradient(count))

    def at(row: Array) -> tuple[Array, Array, Array]:
        ladder = landscape.ladder(landscape.stationary(rows.x[row], row + 1), row + 1)
        value, sharper = (landscape.value(ladder, n * landscape.fine) for n in (1, 2))
        return value, landscape.contacts(ladder, landscape.fine), jnp.abs(sharper - value)

    last = jnp.maximum(count - 1, 0)
    needed = last[None] if "k" in options["finite"] else jnp.where(forever, jnp.arange(MOST), last)
    values, contacts, blurred = jax.lax.map(at, needed)
    blurred = jnp.max(blurred)
    used = jnp.where(forever, True, jnp.arange(MOST) == last)
    best = values[-1]
    error, slope = (jnp.max(jnp.where(used, x, 0.0)) for x in (rows.predicted, rows.slope / rows.value))
    converged = jnp.all(rows.converged | ~used) & (blurred < _SHARP * best)
    touching, broken = contacts[-1], (kappa < 0) & (count > 0)
    if "k" not in options["finite"]:
        whole = _limiting(landscape, rows, values, broken & forever)
        best, error = jnp.where(forever, whole.value, best), jnp.where(forever, whole.step, error)
        touching, slope = jnp.where(forever, 1.0, touching), jnp.maximum(slope, whole.slope)
        if options["extended"]:  # no limit is known
            converged = converged & ~forever
    symmetric = Jamming(kappa, MOST).symmetric()
    value = jnp.where(broken, best, symmetric)
    error = jnp.where(broken, error + blurred, 0.0) + 1e-10 * value
    touching = jnp.where(broken, touching, symmetric * Jamming(kappa, MOST).below())
    columns, residual = dict(error=error, contacts=touching), jnp.where(broken, slope, 0.0)
    count = jnp.where(broken, count, 0)
    ladder = landscape.ladder(rows.x[last], count)
    found = jnp.concatenate([ladder.outer[None], ladder.steps, ladder.ms, count[None].astype(float)])
    return value, columns, residual, converged | ~broken, jax.lax.stop_gradient(found)


def _limiting(landscape: Jamming, rows: Minimum, values: Array, wanted: Array) -> Full:
    """The limit of grids, or (where they are not solved) that of the values of 1, 2, .. steps; step: its error; 0 slope where it is not `wanted`."""
    # a finite k asks for no limit: its derivative must not be one of equal values
    extrapolated, bracket = limit(jnp.where(wanted, values, (jnp.arange(MOST) + 1.0) ** -2.0))
    grids = nothing = Full(extrapolated, bracket, jnp.zeros(()), jnp.zeros((), bool))
    if not landscape.extended:
        steps = landscape.ladder(rows.x[MOST - 1], jnp.asarray(MOST))
        solvable = jax.lax.stop_gradient(wanted & jnp.all(rows.converged))
        grids = jax.lax.cond(solvable, lambda: full(landscape, steps), lambda: nothing)
    limiting = jnp.where(grids.converged, grids.value, extrapolated)
    apart = jnp.maximum(jnp.abs(grids.step), jnp.abs(limiting - extrapolated))
    return Full(limiting, jnp.where(grids.converged, apart, bracket), grids.slope, grids.converged)


def parisi(found: Threshold) -> Parisi:
    return _read(found, "parisi")


def gaps(found: Threshold, x: Array) -> Array:
    return _read(found, "gaps", x)


def forces(found: Threshold, f: Array) -> Array:
    return _read(found, "forces", f)


def _read(found: Threshold, what: str, *where: Array) -> Any:
    """`what` of the ladders at jamming, with axes (.., *shape of `where`) or (.., steps); NaN where none was found."""
    if found.coordinates is None:
        raise ValueError(f"{what}: known for threshold 'jamming', not for {found.name!r}")
    batch, counts = jnp.shape(found.converged), found.coordinates[..., -1]
    steps = int(jnp.max(counts)) if is_concrete(counts) else MOST
    grids = tuple(jnp.broadcast_to(jnp.ravel(h), (*batch, jnp.size(h))) for h in where)
    kappa = jnp.asarray(found.model.kappa, float)
    answer = batched(
        _reader(what, steps), jnp.broadcast_to(kappa, batch), (found.coordinates, *grids), largest=1
    )
    keep = lambda a: jnp.where(jnp.expand_dims(found.converged, tuple(range(len(batch), a.ndim))), a, jnp.nan)
    answer = jax.tree.map(keep, answer)
    return answer.reshape((*batch, *jnp.shape(where[0]))) if where else answer


@functools.cache
def _reader(what: str, steps: int) -> Callable:
    def kernel(kappa: Array, coordinates: tuple[Array, ...], refinement: int) -> Any:
        x, *where = coordinates
        count = x[-1].astype(int)
        landscape = Jamming(kappa, MOST)
        n = landscape.fine * refinement
        ladder = Ladder(x[0], x[1 : MOST + 1], x[MOST + 1 : -1], jnp.ones(()), count)

        def answer(hierarchy: Hierarchy, touching: tuple[Array, Array]) -> Any:
            if what == "parisi":
                return hierarchy.parisi()
            if what == "gaps":
                return hierarchy.distributions(n).gaps(where[0])
            share, mean = touching
            scale, f = mean / share, where[0]
            fields = hierarchy.distributions(n)(-scale * f)[0]
            return jnp.where(f > 0, fields * scale / share, 0.0)

        return jax.lax.cond(
            count > 0,
            lambda: answer(landscape.hierarchy(ladder, steps, n), landscape.touching(ladder, n)),
            lambda: answer(landscape.unbroken(steps), landscape.untouched()),
        )

    return kernel


define(
    "jamming",
    SphericalPerceptron,
    Explicit(
        "alpha",
        _jamming,
        options=dict(
            k=dict(
                default=1.0,
                low=0,
                high=MOST,
                infinite=True,
                integer=True,
                numeric=True,
                doc="steps of breaking",
            ),
            extended=dict(
                default=False,
                choices=(False, True),
                numeric=False,
                doc="c_1, c_2, .. in any order (finite k)",
            ),
        ),
        largest_block=1,
        error="error",
        failure="not converged",
    ),
)
