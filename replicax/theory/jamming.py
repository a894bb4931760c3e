r"""Jamming: where the solutions of the spherical perceptron vanish, within k steps of replica symmetry breaking.

q_k -> 1, m_i = c_i (1 - q_k), and f_k = -h^2/2 below the margin:

    alpha_J^(k)(kappa) = min over q_i, c_i of  entropic / (- energetic)          (vocabulary/ladder.py, with l_k = 1).

k = 0 is the capacity of Gardner, J. Phys. A 21 (1988) 257, exact for kappa >= 0.  The number of contacts, constraints with Delta = kappa
per weight, is alpha_J times the part of the gap distribution P_k that lies below 0; it tends to 1 for k -> inf.  Franz, Parisi, Sevelev,
Urbani & Zamponi, SciPost Phys. 2 (2017) 019, arXiv:1702.06919.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

from replicax.numerics.brackets import vertex
from replicax.numerics.special import H, log_add_exp, log_H, log_hinge
from replicax.theory.breaking import Landscape, quadratic_tilt
from replicax.theory.hierarchy import Hierarchy
from replicax.vocabulary.ladder import Absorbing, Ladder, Pattern, energetic, entropic, stabilities


class Contact(Absorbing):
    """f_k = -h^2/(2 (l_k + offset)) + nudge for h < 0, else 0, with the first step in closed form.

    Jamming: l_k = 1, offset 0; squared hinge at T = 0: l_k = chi, offset 1.
    """

    nudge: Array | float = 0.0
    offset: float = eqx.field(static=True, default=0.0)

    def __call__(self, h: Array, ladder: Ladder) -> Array:
        """(1/c) log[ H(-u) + e^(c nudge - h^2 b/(2(1 + bD))) (1 + bD)^(-1/2) H(u/(1 + bD)^(1/2)) ],  u = h/sqrt(D), b = c/(l_k + offset)."""
        c, variance = ladder.ms[0], ladder.steps[0]
        b = c / (ladder.rest + self.offset)
        u, stretch = h / jnp.sqrt(variance), 1.0 + b * variance
        touching = c * self.nudge - 0.5 * b * h**2 / stretch - 0.5 * jnp.log(stretch)
        return log_add_exp(log_H(-u), touching + log_H(u / jnp.sqrt(stretch))) / c

    def bare(self, h: Array, ladder: Ladder) -> Array:
        return jnp.where(h < 0, self.nudge - 0.5 * h**2 / (ladder.rest + self.offset), 0.0)

    def moved(self, x: Array, ladder: Ladder) -> tuple[Array, Array]:
        """x = h offset/(l_k + offset) for h < 0: at jamming these are contacts, x = 0."""
        if self.offset == 0:
            return x, jnp.where(x > 0, 1.0, 0.0)
        squeeze = jnp.where(x < 0, (ladder.rest + self.offset) / self.offset, 1.0)
        return squeeze * x, squeeze

    def bends(self, ladder: Ladder) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        return (jnp.zeros(()),), (jnp.sqrt(ladder.innermost),)

    def below(self, energetic: Callable[[Pattern], Array]) -> tuple[Array, Array]:
        """The energetic term, and the part of the gaps below 0: its answer to a nudge of what lies there."""
        nudged = lambda nudge: energetic(Contact(nudge, self.offset))
        return jax.jvp(nudged, (jnp.zeros(()),), (jnp.ones(()),))

    def sharpness(self, energetic: Callable[[Pattern], Array], ladder: Ladder) -> Array:
        return self.below(energetic)[1] / (ladder.rest + self.offset) ** 2

    def tilt(self, h: Array, variance: Array, m: Array, response: Array) -> tuple[Array, Array, Array, Array]:
        return quadratic_tilt(h, variance, m, response + self.offset)


class Jamming(Landscape):
    """alpha over the ladders that end at q_k = 1."""

    kappa: Array
    most: int = eqx.field(static=True)

    def ladder(self, x: Array, count: Array) -> Ladder:
        steps, ms = self.increments(x, count)
        outer = 1.0 / (1.0 + jnp.sum(steps))
        return Ladder(outer, steps * outer, ms, jnp.ones(()), count)

    def value(self, ladder: Ladder, n: int) -> Array:
        return entropic(ladder) / -energetic(ladder, Contact(), self.kappa, n)

    def contacts(self, ladder: Ladder, n: int) -> Array:
        """alpha <theta(-h)>_{P_k}."""
        value, share = Contact().below(lambda p: energetic(ladder, p, self.kappa, n))
        return entropic(ladder) / -value * share

    def hierarchy(self, ladder: Ladder, steps: int, n: int) -> Hierarchy:
        """x_i = c_i = lim m_i/(1 - q_k)."""
        squares = stabilities(ladder, Contact(), self.kappa, n)
        stable = 1.0 - self.value(ladder, n) * ladder.responses**2 * squares
        stable = stable[jnp.minimum(jnp.arange(self.most + 1), ladder.count)]
        return Hierarchy(ladder, Contact(), self.kappa, stable[::-1], steps)

    def touching(self, ladder: Ladder, n: int) -> tuple[Array, Array]:
        """<theta(-h)>_{P_k} and <-h theta(-h)>_{P_k}: forces are what the field is worth, f_k' = -h."""
        share = Contact().below(lambda p: energetic(ladder, p, self.kappa, n))[1]
        return share, -jax.grad(lambda kappa: energetic(ladder, Contact(), kappa, n))(self.kappa)

    def symmetric(self) -> Array:
        """1/E(kappa - z)_+^2: Gardner, J. Phys. A 21 (1988) 257."""
        return jnp.exp(-log_hinge(self.kappa))

    def below(self) -> Array:
        """The part of the gaps that lies below 0 without steps."""
        return H(-jnp.asarray(self.kappa, float))

    def unbroken(self, steps: int) -> Hierarchy:
        """No steps: q_0 = 1 alone."""
        one, none = jnp.ones(()), jnp.zeros(0)
        ladder = Ladder(one, none, none, one, jnp.zeros((), int))
        return Hierarchy(ladder, Contact(), self.kappa, 1.0 - self.symmetric()[None] * self.below(), steps)

    def untouched(self) -> tuple[Array, Array]:
        """`touching` without steps."""
        return self.below(), 0.5 * jax.grad(lambda kappa: jnp.exp(log_hinge(kappa)))(self.kappa)

    def first(self) -> Array:
        """The lowest point of a wide scan of q_0 and c_1 (1 - q_0), compared between the points of c_1: next to those, q_0 hardly matters."""
        one = Jamming(self.kappa, 1)
        places, gains = jnp.linspace(-13.0, 17.0, 46), jnp.linspace(-2.0, 9.0, 23)

        def least(place: Array) -> tuple[Array, Array]:
            points = jnp.stack([jnp.full(gains.size, place), gains - jnp.log(jax.nn.sigmoid(place))], axis=1)
            values = jax.vmap(lambda x: one.value(one.ladder(x, 1), self.nodes))(points)
            best = jnp.nanargmin(values)
            return -vertex(-values, best), points[best]

        values, points = jax.vmap(least)(places)
        best = points[jnp.nanargmin(values)]
        return jnp.zeros(2 * self.most).at[0].set(best[0]).at[self.most].set(best[1])
