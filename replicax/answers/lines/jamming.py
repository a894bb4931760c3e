"""Jamming of the spherical perceptron: the k-step thresholds, and their limit k -> inf by extrapolation."""

import jax
import jax.numpy as jnp
from jax import Array

from replicax.answers.thresholds import Explicit, Options, define
from replicax.theory.jamming import Jamming
from replicax.theory.models import SphericalPerceptron

#: the most steps; k = inf is extrapolated from all of them
MOST = 8


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
    landscape = Jamming(negative, MOST)
    rows = landscape.climb(jax.lax.stop_gradient(count))

    def at(row: Array) -> tuple[Array, Array]:
        ladder = landscape.ladder(landscape.stationary(rows.x[row], row + 1), row + 1)
        return landscape.value(ladder, landscape.fine), landscape.contacts(ladder, landscape.fine)

    needed = jnp.where(forever, jnp.arange(MOST), jnp.maximum(count - 1, 0))
    values, contacts = jax.lax.map(at, needed)
    # a finite k asks for no limit: its derivative must not be one of equal values
    extrapolated, bracket = limit(jnp.where(forever, values, (jnp.arange(MOST) + 1.0) ** -2.0))
    broken = (kappa < 0) & (count > 0)
    symmetric = Jamming(kappa, MOST).symmetric()
    value = jnp.where(broken, jnp.where(forever, extrapolated, values[-1]), symmetric)
    used = jnp.where(forever, jnp.arange(MOST) < MOST, jnp.arange(MOST) == count - 1)
    predicted = jnp.max(jnp.where(used, rows.predicted, 0.0))
    error = jnp.where(broken, jnp.where(forever, bracket, predicted), 0.0) + 1e-10 * value
    touching = jnp.where(forever, 1.0, contacts[-1])
    touching = jnp.where(broken, touching, symmetric * Jamming(kappa, MOST).below())
    slope = jnp.max(jnp.where(used, rows.slope / rows.value, 0.0))
    converged = jnp.all(rows.converged | ~used) | ~broken
    return value, dict(error=error, contacts=touching), jnp.where(broken, slope, 0.0), converged


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
            )
        ),
        largest_block=1,
        failure="not converged",
    ),
)
