r"""The solutions around any reference, by a scan of the second coordinate (`AnyReference`): which there are, and which have most weight."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from replicax.numerics.homotopy import between, follow, walk
from replicax.numerics.roots import newton
from replicax.theory.free_entropy import FAR
from replicax.theory.perceptron import TINY

#: where the second coordinate is scanned: below its lower bound, then as part of the way from there to groups that are frozen
_BELOW = (1.0, 0.3, 0.1)
_SCAN = np.linspace(0.0, 1.0, 24) ** 1.5
#: the second coordinate where it vanishes; the share of the patterns from which solutions there are followed
_BOUND, _FEW = -20.0, 1e-3
#: largest step of the scan
_CAP = 2.0
#: the residual to which it solves, and where it ends: beyond, where Newton fails, the second equation cannot be solved either
_SCANNED = 1e-2
_FROZEN = -1.0
#: groups are frozen where (1 - q1)/(1 - S^2) is less than this
_NEAR = 0.1


class Along(NamedTuple):
    """Solutions of all equations but the second: coordinates, what that one is off by, 1 - q1, and where they were found."""

    x: Array
    excess: Array
    complement: Array
    found: Array


class Dense(NamedTuple):
    """Coordinates close to solutions (the dominant first; where there is none where one is closest); whether there are some, or none for
    sure; whether there is one that outweighs groups of single solutions.
    """

    starts: tuple[Array, ...]
    some: Array
    none: Array
    dominant: Array


def along(problem: Any, n: int, skip: Array | bool = False) -> Along:
    """A scan of the second coordinate, from its lower bound (where it vanishes beside what it would have to be) until the groups freeze.

    Newton on the other coordinates from place to place (`walk`), and what it tells of the places `between`; at the bound from many starts.
    """
    alpha, y = jnp.maximum(jnp.asarray(problem.model.weight, float), TINY), problem.number
    others = np.delete(np.arange(problem.size), 1)

    def at(z: Array, second: Array) -> tuple[Array, tuple[Array, Array]]:
        state = problem.state(jnp.insert(z, 1, second), n)
        return state.residual[others], (state.residual[1], state.parts["site"]["complement"])

    def bound(z: Array, share: Array) -> Array:
        fewer = eqx.tree_at(lambda p: p.model.alpha, problem, share * jnp.asarray(problem.model.alpha, float))
        return fewer.state(jnp.insert(z, 1, _BOUND), n).residual[others]

    seeds = lax.stop_gradient(problem.seeds()[:, others])
    tries = jnp.where(skip, 0, seeds.shape[0])
    first = newton(lambda z: bound(z, 1.0), seeds, tol=_SCANNED, max_steps=30, limit=FAR, tries=tries)
    more = follow(
        lambda z, t: bound(z, _FEW + (1.0 - _FEW) * t),
        seeds[0],
        tol=_SCANNED,
        limit=FAR,
        skip=first.converged | skip,
    )
    start = lax.stop_gradient(jnp.where(first.converged, first.x, more.x))
    ready = first.converged | more.converged
    lowest = _BOUND - at(start, jnp.asarray(_BOUND))[1][0]
    highest = jnp.maximum(lowest + 1.0, jnp.log((10.0 * y + 30.0) / ((1.0 + y) * alpha)))
    places = jnp.append(lowest - jnp.asarray(_BELOW), lowest + (highest - lowest) * jnp.asarray(_SCAN))
    # at the bound nothing depends on the second coordinate
    found = walk(at, start, places, tol=_SCANNED, cap=_CAP, over=lambda seen: seen[0] < _FROZEN, skip=~ready)
    places, found = between(places, found, lambda seen: seen[0])
    x = jax.vmap(lambda z, second: jnp.insert(z, 1, second))(found.x, places)
    excess, complement = found.seen
    return Along(x, excess, complement, found.found)


def dense(problem: Any, n: int, skip: Array | bool = False) -> Dense:
    """What `along` says of the solutions.

    At fixed q1 the second equation is d Phi/d q1 = (1/2) (y - 1) (what it would have to be - what it is), times alpha; a solution is
    compared with groups that are frozen by its integral (Maxwell's construction).
    """
    x, excess, left, ok = along(problem, n, skip)
    there = ok[1:] & ok[:-1]
    rises = there & (excess[:-1] < 0) & (excess[1:] >= 0)
    if problem.by == "q1":
        rises = rises | (there & (excess[:-1] >= 0) & (excess[1:] < 0))
    first, last = jnp.argmax(rises), rises.shape[0] - 1 - jnp.argmax(rises[::-1])

    def between(i: Array) -> Array:
        share = excess[i] / (excess[i] - excess[i + 1])
        return x[i] + share * (x[i + 1] - x[i])

    pull = jnp.where(ok, jnp.exp(x[:, 1]) * -jnp.expm1(-excess), 0.0)
    steps = jnp.where(there, 0.5 * (pull[1:] + pull[:-1]) * (left[:-1] - left[1:]), 0.0)
    gain = lambda i, j: jnp.sum(
        jnp.where((jnp.arange(steps.size) >= i) & (jnp.arange(steps.size) < j), steps, 0.0)
    )
    found = jnp.any(rises)
    one, other = between(first), between(last)
    if problem.branch:
        swap = jnp.asarray(problem.branch == "core")
    else:
        both, more = found & (last > first), gain(first + 1, last + 1) < 0.0
        swap = lax.stop_gradient(_outweighs(problem, other, one, both, more, n))
    best = jnp.where(swap, last, first)
    highest = jnp.where(ok, excess, -jnp.inf)
    top = jnp.argmax(highest)
    pair = jnp.where(swap, jnp.stack([other, one]), jnp.stack([one, other]))
    end = jnp.maximum(jnp.sum(jnp.cumprod(ok)) - 1, 0)
    frozen = (
        ok[0] & (left[end] < _NEAR * (1.0 - jnp.asarray(problem.control, float) ** 2)) & (excess[end] < 0)
    )
    none = ~found & frozen & (highest[top] < -0.02 * (32 / n) ** 2)
    starts = jnp.where(found, pair, x[top])
    return Dense(tuple(starts), found, none & (problem.by == "S"), found & (gain(best + 1, steps.size) > 0.0))


def _outweighs(problem: Any, this: Array, that: Array, both: Array, otherwise: Array, n: int) -> Array:
    """Of two solutions close to these coordinates: most replicas y > 1 are where Phi is largest, y < 1 where it is least.

    otherwise: where they are no two, or one is not found.
    """

    half = problem.nodes // 2

    def settled(x: Array) -> tuple[Array, Array]:
        root = newton(lambda z: problem.state(z, n).residual, x[None], tol=1e-5, max_steps=12, limit=FAR)
        return problem.phi(problem.state(root.x, half), half), root.converged

    def compare(_: int, otherwise: Array) -> Array:
        (here, found), (there, known) = settled(this), settled(that)
        return jnp.where(found & known, (here - there) * (problem.number - 1.0) > 0.0, otherwise)

    # a loop, which a batch without any does not enter
    return lax.fori_loop(0, both.astype(int), compare, otherwise)
