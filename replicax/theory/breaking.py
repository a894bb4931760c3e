r"""Replica symmetry breaking on the sphere, step by step: minima over ladders of overlaps.

The free entropy of k steps is a minimum over the q_i and m_i (vocabulary/ladder.py), with ordered values.  Coordinates are the logarithms of the
increments; the minimum of k steps, with one step interpolated into it, is where the minimum of k+1 steps is looked for.

Extended: the m_i without order, x(q) any function > 0.  Where overlaps have a gap this is lower; its value at jamming is what incremental message
passing is expected to reach: El Alaoui & Sellke, arXiv:2010.15811.
"""

import abc
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array, lax

from replicax.numerics.minimise import Minimum, minimise
from replicax.numerics.quadrature import RANGE
from replicax.numerics.roots import moving_root
from replicax.vocabulary.ladder import Ladder, below_bend

#: nodes with which answers are evaluated
FINE = 64
#: a further step lowers the value by more than this part of what the one before did; a value is known to this part
_WORTH, _NOTHING = 1e-6, 1e-8
#: from the third step on one that lowers the value by less than this part of what the one before did is looked for from all starts
_USUAL = 0.003
_TRIES = 4
#: the least that sharper rules see of what a step lowers (relatively)
_SEEN = 3e-12
#: one step that lowers the value by less (relatively) is none
_NONE = 3e-12


class Landscape(eqx.Module):
    """What is minimised over ladders of at most `most` steps.

    Coordinates (2 most + ends,): logs of D_k, D_{k-1}, .. in units of q_0; logs of the increments of m_k, m_{k-1}, .. (extended: logs of the
    m_i, of m_i/(1 - m_i) where they are bounded); then what else there is.
    """

    most: eqx.AbstractVar[int]
    #: m_1, m_2, .. in any order
    extended: bool = eqx.field(default=False, static=True, kw_only=True)
    #: coordinates beyond the steps
    ends: ClassVar[int] = 0
    #: m_k < 1, or unbounded
    bounded: ClassVar[bool] = False
    #: more steps may lower the value where fewer do not
    onwards: ClassVar[bool] = False
    #: from one step to two: logarithms of how much closer to q_k the second overlap lies, and of how much larger its replica number is
    second: ClassVar[tuple] = ((-2.3, 2.0), (-3.9, 2.3), (-5.5, 2.6), (-7.5, 3.0))
    #: how a step is divided: the inner part of it, and how far apart the logarithms of the two numbers are
    parts: ClassVar[tuple] = ((0.5, 0.05), (0.03, 0.1, 0.3, 1.0))
    #: small steps beside the innermost and the outermost level, as parts of the step there, and how far apart the logarithms of its numbers are
    small: ClassVar[tuple] = ((0.05, 0.015, 0.005, 0.0015, 0.0005), 0.1)

    #: extended: where the outermost step is divided, and the logarithm of the ratio of its numbers
    turns: ClassVar[tuple] = ((0.3, 0.3), (0.5, 0.6))

    #: times the nodes: where steps are narrow (many standard deviations away from the margin, too) coarse grids make minima of their own
    finer: int = eqx.field(default=1, static=True, kw_only=True)
    #: of the search (about 1e-10)
    coarse: ClassVar[int] = 48

    @property
    def nodes(self) -> int:
        return self.finer * self.coarse

    @property
    def fine(self) -> int:
        """Nodes with which answers are evaluated."""
        return self.finer * FINE

    @abc.abstractmethod
    def ladder(self, x: Array, count: Array) -> Ladder:
        """The ladder at coordinates x, of which the innermost `count` steps are there."""

    @abc.abstractmethod
    def value(self, ladder: Ladder, n: int) -> Array:
        """What is minimised."""

    @abc.abstractmethod
    def symmetric(self) -> Array:
        """The value without steps."""

    def plain(self) -> Array:
        """True where it is known that steps lower nothing."""
        return jnp.zeros((), bool)

    @abc.abstractmethod
    def first(self) -> Array:
        """Coordinates from which the minimum of one step is found."""

    def free(self, count: Array) -> Array:
        """Which coordinates there are at `count` steps."""
        present = jnp.arange(self.most) < count
        return jnp.concatenate([present, present, jnp.ones(self.ends, bool)])

    def increments(self, x: Array, count: Array) -> tuple[Array, Array]:
        """(D_i/q_0, m_i), innermost first; absent ones are zero."""
        present = jnp.arange(self.most) < count
        steps = jnp.where(present, jnp.exp(x[: self.most]), 0.0)
        numbers = x[self.most : 2 * self.most]
        if self.extended:
            return steps, jnp.where(present, self.number(numbers), 0.0)
        rises = jnp.where(present, jnp.exp(numbers), 0.0)
        ms = jnp.cumsum(rises[::-1])[::-1]
        return steps, ms / (1.0 + ms[0]) if self.bounded else ms

    def number(self, logarithm: Array) -> Array:
        """m in (0, 1), or m > 0, from a logarithm that keeps it there."""
        return jax.nn.sigmoid(logarithm) if self.bounded else jnp.exp(logarithm)

    def logarithm(self, m: Array) -> Array:
        return _logit(m) if self.bounded else jnp.log(m)

    def minimum(self, start: Array, count: Array) -> Minimum:
        value = lambda x: self.value(self.ladder(x, count), self.nodes)
        steps = jnp.arange(start.shape[0]) < 2 * self.most
        return minimise(value, start, free=self.free(count), linear=steps, tol=1e-11)

    def climb(self, count: Array) -> Minimum:
        """The minima of 1, .., most steps, as far as `count` and as they are found, row by row.

        A step that is worth nothing (where the one before was) is a saddle in which two levels coincide: it is looked for again from other
        starts, and has not converged if it is not found, nor if it is one of the rules of the search only.  Where more steps may lower what fewer
        do not (`onwards`), rows that lower nothing are passed.
        """
        start = self.first()
        size = start.shape[0]
        blank = Minimum(
            start, jnp.inf, jnp.inf, jnp.inf, jnp.zeros((size, size)), jnp.zeros((), int), jnp.zeros((), bool)
        )
        rows = jax.tree.map(lambda x: jnp.broadcast_to(jnp.asarray(x), (self.most, *jnp.shape(x))), blank)

        symmetric = self.symmetric()

        def lower(value: Array) -> Array:
            return value < symmetric - _NONE * (1.0 + jnp.abs(symmetric))

        def going(s: tuple[Array, Array, Minimum]) -> Array:
            k, _, rows = s
            broken = True if self.onwards else lower(rows.value[0])
            return (k < count) & ((k == 0) | (rows.converged[k - 1] & broken))

        def up(s: tuple[Array, Array, Minimum]) -> tuple[Array, Array, Minimum]:
            k, starts, rows = s
            before = jnp.where(k > 0, rows.value[k - 1], symmetric)
            gained = jnp.where(k > 1, rows.value[k - 2], symmetric) - before
            # what lowers nothing yet is no measure
            broken = (k > 0) & lower(before)
            needed = jnp.where(broken, _WORTH * gained, -jnp.inf)

            nothing_left = broken & (gained < _NOTHING * (1.0 + jnp.abs(before)))

            def again(t: tuple[Array, Minimum]) -> tuple[Array, Minimum]:
                i, best = t
                found = self.minimum(starts[i], k + 1)
                better = found.value < best.value
                return i + 1, jax.tree.map(lambda a, b: jnp.where(better, a, b), found, best)

            def wanted(t: tuple[Array, Minimum]) -> Array:
                if self.extended:  # there are several minima
                    return t[0] < jnp.where(k > 0, _TRIES, 1)
                tries = jnp.where((k > 0) & ~nothing_left, _TRIES, 1)
                sharp = t[1].predicted <= 1e-10 * (1.0 + jnp.abs(t[1].value))
                usual = jnp.where(k > 1, _USUAL / _WORTH, 1.0) * needed
                enough = jnp.where((k == 0) | broken, before - t[1].value > usual, lower(t[1].value))
                return (t[0] < tries) & ~(enough & sharp)

            _, found = lax.while_loop(wanted, again, (jnp.zeros((), int), blank))
            sharper = lax.map(
                lambda row: self.value(self.ladder(*row), 2 * self.fine),
                (jnp.stack([rows.x[k - 1], found.x]), jnp.stack([k, k + 1])),
            )
            # next to where a further step sets in it is worth little, which sharper rules still see
            seen = jnp.minimum(needed, _SEEN * (1.0 + jnp.abs(before)))
            worth = (jnp.where(k > 0, sharper[0], symmetric) - sharper[1] > seen) | nothing_left
            passed = self.onwards & ~lower(found.value)
            found = found._replace(converged=(found.converged & worth) | passed)
            rows = jax.tree.map(lambda every, one: every.at[k].set(one), rows, found)
            start = jnp.where(passed, self.tightened(found.x), found.x)
            return k + 1, self.next(start, k + 1, found.hessian), rows

        starts = jnp.broadcast_to(start, (_TRIES, size))
        return lax.while_loop(going, up, (jnp.zeros((), int), starts, rows))[2]

    def tightened(self, x: Array) -> Array:
        """Where steps that lower nothing were left, as something to start from."""
        return x

    def next(self, x: Array, count: Array, hessian: Array) -> Array:
        """Where to look for the minimum of count + 1 steps, given that of `count` and its Hessian: the interpolation of all levels first."""
        if self.most == 1:
            return jnp.broadcast_to(x, (_TRIES, x.shape[0]))
        usual = jnp.stack(
            [self.regrown(x, count, keep, second) for second in self.second[:2] for keep in (0, 1)]
        )
        values = jax.vmap(lambda y: self.value(self.ladder(y, count + 1), self.nodes))(usual)
        values = jnp.where(jnp.isfinite(values), values, jnp.inf)
        # a split next to a saddle starts lower than an interpolation, and creeps
        first = jnp.arange(4) < 2 if self.bounded else jnp.zeros(4, bool)
        whole = jnp.where(count > 1, jnp.arange(4) % 2 == 0, first) & (values < jnp.inf)
        usual = usual[jnp.argsort(jnp.where(whole, -jnp.inf, values))]
        if self.extended:
            inner = self.regrown(x, count, self.most, self.second[1])
            return jnp.stack([usual[0], inner, *(self.turned(x, count, *how) for how in self.turns)])
        close = jnp.stack([self.regrown(x, count, 1, second) for second in self.second[2:]])
        others = jnp.concatenate([usual[:1], usual[2:3], close])
        best, value = self.division(x, count)
        small, other = self.small_step(x, count, hessian)
        lowest = jnp.where(other < value, small, best)
        lowers = jnp.minimum(value, other) < self.value(self.ladder(x, count), self.nodes)
        return jnp.where(lowers, jnp.concatenate([lowest[None], others[:-1]]), others)

    def division(self, x: Array, count: Array) -> tuple[Array, Array]:
        """count + 1 steps that divide one of these, and a value that they come below: that of the lowest division, which is on the right side of
        the saddle if it lowers the value; numbers once farther apart lead to the minimum in fewer steps.
        """
        which, part, by = (
            a.ravel()
            for a in jnp.meshgrid(jnp.arange(self.most), *map(jnp.asarray, self.parts), indexing="ij")
        )
        every = jax.vmap(lambda *how: self.divided(x, count, *how))(which, part, by)

        def at(row: tuple[Array, Array]) -> Array:
            y, known = row
            return lax.cond(known, lambda: self.value(self.ladder(y, count + 1), self.nodes), lambda: jnp.inf)

        values = lax.map(at, (every, which < count))
        values = jnp.where(jnp.isfinite(values), values, jnp.inf)
        lowest = jnp.argmin(values)
        farther = jnp.minimum(lowest + 1, values.size - 1)
        further = (by[farther] > by[lowest]) & (values[farther] < jnp.inf)
        return every[jnp.where(further, farther, lowest)], values[lowest]

    def small_step(self, x: Array, count: Array, hessian: Array) -> tuple[Array, Array]:
        """count + 1 steps, one of them small, and their value.  Where a level has only just become unstable, to -l, its step is of order l and lowers
        the value by l^3: less than the others are off by until they have moved (here by a Newton step).
        """
        free = self.free(count)
        steps = jnp.where(free[:, None] & free[None, :], hessian, jnp.eye(x.shape[0]))
        sizes, by = self.small
        sizes = jnp.asarray(sizes)

        def moved(row: tuple[Array, Array]) -> tuple[Array, Array]:
            grown = lambda y: self.divided(y, count, *row, by)
            value = lambda y: self.value(self.ladder(grown(y), count + 1), self.nodes)
            slope = jnp.where(free, jax.grad(value)(x), 0.0)
            y = x - jnp.linalg.solve(steps, slope)
            return grown(y), value(y)

        which = jnp.repeat(jnp.stack([0 * count, count - 1]), sizes.size)
        every, values = lax.map(moved, (which, jnp.concatenate([sizes, 1.0 - sizes])))
        values = jnp.where(jnp.isfinite(values), values, jnp.inf)
        lowest = jnp.argmin(values)
        return every[lowest], values[lowest]

    def divided(self, x: Array, count: Array, which: Array, part: Array, by: Array) -> Array:
        """count + 1 steps: step `which` (0: the innermost) as two, the inner one `part` of it; their numbers are `by` apart in their logarithms."""
        steps, ms = self.increments(x, count)
        index = jnp.arange(self.most)
        inner, outer = index == which, index == which + 1
        source = index - (index > which)
        steps = steps[source] * jnp.where(inner, part, jnp.where(outer, 1.0 - part, 1.0))
        moved = jnp.where(inner, 1.0 - part, jnp.where(outer, -part, 0.0))
        numbers = self.logarithm(jnp.where(index < count, ms, 0.5))[source] + by * moved
        outwards = jnp.clip(count - index, 0, self.most - 1)
        distance = jnp.cumsum(steps)[outwards] / (1.0 + jnp.sum(steps))
        return self.coordinates(distance, self.number(numbers)[outwards], count + 1, x)

    def regrown(self, x: Array, count: Array, keep: int, second: tuple[float, float]) -> Array:
        """count + 1 steps: the outermost `keep` (fewer if they are all) stay; the others become one more, interpolated in their index, or
        get a `second` one.
        """
        steps, ms = self.increments(x, count)
        kept = jnp.minimum(keep, count - 1)
        outwards = jnp.clip(count - 1 - jnp.arange(self.most), 0, self.most - 1)
        # distances to q_k as parts of q_k, and replica numbers, in logarithms that keep them in their ranges; outermost first
        distance = jnp.cumsum(steps)[outwards] / (1.0 + jnp.sum(steps))
        alone = distance[jnp.clip(kept, 0, self.most - 1)]
        closer = _logit(alone * jnp.exp(second[0])) - _logit(alone)
        places = _interpolated(_logit(distance), count, kept, closer)
        numbers = _interpolated(self.logarithm(ms[outwards]), count, kept, jnp.asarray(second[1]))
        return self.coordinates(jax.nn.sigmoid(places), self.number(numbers), count + 1, x)

    def turned(self, x: Array, count: Array, place: float, by: float) -> Array:
        """count + 1 steps: the outermost one is divided at a part `place` of its logarithmic distances to q_k, the outer half with the larger m:
        e^(by) times that of the inner.
        """
        steps, ms = self.increments(x, count)
        outwards = jnp.clip(count - 1 - jnp.arange(self.most), 0, self.most - 1)
        distance = _logit(jnp.cumsum(steps)[outwards] / (1.0 + jnp.sum(steps)))
        numbers = self.logarithm(ms[outwards])
        # of a single step the inner end is q_k itself
        inner = jnp.where(count > 1, distance[1 % self.most], distance[0] - 4.0)
        between = distance[0] + place * (inner - distance[0])
        shift = lambda values, new: jnp.concatenate([values[:1], new[None], values[1:]])[: self.most]
        distance = shift(distance, between)
        numbers = shift(numbers, numbers[0] - 0.5 * by).at[0].add(0.5 * by)
        return self.coordinates(jax.nn.sigmoid(distance), self.number(numbers), count + 1, x)

    def coordinates(self, distance: Array, ms: Array, count: Array, x: Array) -> Array:
        """Coordinates of `count` steps with these (q_k - q_i)/q_k, i = 0, 1, .., and m_1, m_2, ..; the rest as in x."""
        inside = jnp.where(jnp.arange(self.most) == count - 1, 0.0, jnp.append(distance[1:], 0.0))
        # absent ones have no derivatives either
        present = jnp.arange(self.most) < count
        steps = jnp.log(jnp.where(present, (distance - inside) / (1.0 - distance[0]), 1.0))
        if self.extended:
            rises = self.logarithm(jnp.where(present, ms, 0.5))
        else:
            ms = ms / (1.0 - ms[jnp.clip(count - 1, 0, self.most - 1)]) if self.bounded else ms
            rises = jnp.log(jnp.where(present, ms - jnp.append(0.0, ms[:-1]), 1.0))
        inwards = jnp.clip(count - 1 - jnp.arange(self.most), 0, self.most - 1)
        new = jnp.concatenate([steps[inwards], rises[inwards], x[2 * self.most :]])
        return jnp.where(self.free(count), new, 0.0)

    def stationary(self, x: Array, count: Array) -> Array:
        """x as a function of the parameters: it moves with them (implicit function theorem)."""
        free = self.free(count)
        x = lax.stop_gradient(x)

        def slope(y: Array) -> Array:
            gradient = jax.grad(lambda z: self.value(self.ladder(z, count), self.nodes))(y)
            return jnp.where(free, gradient, y - x)

        return moving_root(slope, x)


def _logit(x: Array) -> Array:
    x = jnp.clip(x, 1e-300, 1.0 - 1e-12)
    return jnp.log(x) - jnp.log1p(-x)


def _interpolated(values: Array, count: Array, keep: Array, shift: Array) -> Array:
    """values[keep:count] at (i + 1/2)/(their number), linearly at one more place; a single one gets a second one at `shift` from it."""
    size = values.shape[0]
    n = count - keep
    index = jnp.arange(size)
    t = (index - keep + 0.5) * n / (n + 1) - 0.5
    i = jnp.clip(jnp.floor(t).astype(int), 0, jnp.maximum(n - 2, 0))
    left = values[jnp.clip(keep + i, 0, size - 1)]
    right = values[jnp.clip(jnp.minimum(keep + i + 1, count - 1), 0, size - 1)]
    spread = left + (t - i) * (right - left)
    single = values[jnp.clip(keep, 0, size - 1)] + shift * (index - keep)
    return jnp.where(index < keep, values, jnp.where(n == 1, single, spread))


def quadratic_tilt(h: Array, variance: Array, m: Array, response: Array) -> tuple[Array, Array, Array, Array]:
    """`Pattern.tilt` of f = -h^2/(2 response) for h < 0, f = 0 for h > 0."""
    gain = m * variance / response
    below = h < 0
    peak = jnp.where(below, -h / jnp.sqrt(variance) * gain / (1.0 + gain), 0.0)
    spread = jnp.where(below, 1.0 / jnp.sqrt(1.0 + gain), 1.0)
    return peak, spread, peak - below_bend(h, variance), peak + RANGE
