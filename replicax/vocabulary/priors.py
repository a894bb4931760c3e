r"""Weight priors: the site term of a free entropy.

A prior is one function, the log-partition of a weight in a field,

    f(h, b) = log sum_w P(w) exp(h w + b w^2 / 2).

`norm` says what is known of Q = <w^2>:  "unit": w^2 = 1, so b only adds a constant (leave it out);  "free": Q is an order
parameter with its conjugate b;  "spherical": flat measure with the constraint sum_i w_i^2 = N (b is its multiplier).
"""

import abc
from typing import ClassVar, Literal, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jax import Array

from replicax.numerics.special import log_2cosh
from replicax.vocabulary.levels import Bends, Level, Moments, Quadratic, Terminal, is_frozen, tower


class Site(NamedTuple):
    """The site at given coordinates: conjugates v_hat_i (increments of q_hat), the field b on w^2, and what they produce.

    overlaps: increments q_0, q_1 - q_0, .. (behind an m = inf level lim m (q_1 - q_0)); complement V = Q - q_k = <var w>; norm Q;
    curvature2 = <(var w)^2>; fluctuation: of the maxima behind an m = inf level (`Moments`).  With a teacher: its conjugate R_hat, the
    overlap R with it, and rest = q_0 - R^2.
    """

    conjugates: tuple[Array, ...]
    b: Array
    overlaps: tuple[Array, ...]
    complement: Array
    norm: Array
    curvature2: Array
    R_hat: Array | None = None
    R: Array | float = 0.0
    rest: Array | float = 0.0
    fluctuation: Array | float = 0.0


class Prior(eqx.Module):
    """A weight prior; subclasses give `log_partition` (and `norm`, `bends`, `slope` where they differ)."""

    norm: ClassVar[Literal["unit", "free", "spherical"]] = "unit"
    even: ClassVar[bool] = True
    #: log of the coordinate at which 1 - q is about 1e-8: the end of the map, still resolved with twice the nodes
    saturated: ClassVar[float] = 34.0

    @abc.abstractmethod
    def log_partition(self, h: Array, b: Array) -> Array:
        """f(h, b), elementwise."""

    def bends(self) -> tuple[tuple, tuple]:
        """Positions and widths of the bends of f in h."""
        return (0.0,), (1.0,)

    def slope(self) -> float:
        """A bound on |f'| = |<w>|: the largest weight."""
        return 1.0

    def value(
        self, conjugates: tuple[Array, ...], b: Array, ms: tuple, n: int, R_hat: Array | None = None
    ) -> Array:
        """The site term of the functional at given increments of the conjugates, field b and field R_hat along the teacher."""
        return self._tower(conjugates, b, ms, n, R_hat).value

    def site(
        self, coordinates: tuple[Array, ...], b: Array, ms: tuple, n: int, R_hat: Array | None = None
    ) -> Site:
        """What the site makes of its coordinates (here the increments of the conjugates, and R_hat, themselves)."""
        out = self._tower(coordinates, b, ms, n, R_hat)
        overlaps, complement = increments(out), out.curvature[0]
        total = sum((o for o, m in zip(overlaps, ms) if not is_frozen(m)), jnp.zeros(()))
        norm = complement + total
        if self.norm == "unit":  # to all digits, whatever the rule: phi feels q^ (q + complement - 1)
            few = total < 0.5
            scale = jnp.where(few, 1.0, (1.0 - complement) / jnp.where(few, 1.0, total))
            complement = jnp.where(few, 1.0 - total, complement)
            overlaps = tuple(o if is_frozen(m) else scale * o for o, m in zip(overlaps, ms))
            norm = jnp.ones(())
        rest = out.gap[0][0] if overlaps else jnp.zeros(())
        return Site(
            coordinates,
            b,
            overlaps,
            complement,
            norm,
            out.curvature2[0],
            R_hat,
            out.score[0],
            rest,
            out.fluctuation,
        )

    def _tower(
        self, conjugates: tuple[Array, ...], b: Array, ms: tuple, n: int, R_hat: Array | None
    ) -> Moments:
        levels = tuple(Level((v,), m) for v, m in zip(conjugates, ms))
        return tower(self.terminal(b), levels, n, None if R_hat is None else (R_hat,))

    def terminal(self, b: Array) -> Terminal:
        """h -> f(h, b) as the terminal of a tower."""
        return _PriorTerminal(self, b)


def increments(out: Moments, component: int = 0) -> tuple[Array, ...]:
    """Increments of the overlaps level by level: <f_0'^2> of the outermost, then the gaps."""
    if not out.overlap:
        return ()
    return (out.overlap[0][component], *(gap[component] for gap in out.gap[1:]))


class _PriorTerminal(Terminal):
    prior: Prior
    b: Array

    @property
    def even(self) -> bool:  # type: ignore[override]
        return self.prior.even

    def __call__(self, *h: Array) -> Array:
        return self.prior.log_partition(h[0], self.b)

    def bends(self, component: int, m):
        return Bends(*self.prior.bends())

    def slope(self, component: int) -> float:
        return self.prior.slope()


class Binary(Prior):
    """w = +-1 with counting measure: f(h) = log 2cosh h."""

    def log_partition(self, h: Array, b: Array) -> Array:
        return log_2cosh(h)


class Spherical(Prior):
    """w on the sphere |w|^2 = N with the uniform normalised measure.

    The multiplier of the constraint is Lambda = -b > 0: f(h) = h^2/(2 Lambda).  Coordinates are the increments in units of Lambda,
    s_i = v_hat_i/Lambda, because then Lambda is explicit (<w^2> = 1) and every tower closes in closed form.
    """

    norm: ClassVar[Literal["unit", "free", "spherical"]] = "spherical"
    saturated: ClassVar[float] = 12.0

    def log_partition(self, h: Array, b: Array) -> Array:
        return -0.5 * h * h / b - 0.5 * jnp.log(-b) - 0.5 * (1.0 + b)

    def value(
        self, conjugates: tuple[Array, ...], b: Array, ms: tuple, n: int, R_hat: Array | None = None
    ) -> Array:
        levels = tuple(Level((v,), m) for v, m in zip(conjugates, ms))
        field = None if R_hat is None else (R_hat,)
        return tower(Quadratic(-1.0 / b), levels, n, field).value - 0.5 * jnp.log(-b) - 0.5 * (1.0 + b)

    def site(
        self, coordinates: tuple[Array, ...], b: Array, ms: tuple, n: int, R_hat: Array | None = None
    ) -> Site:
        """The coordinate of R_hat is R_hat/sqrt(Lambda); behind a level with m > 0 that of an increment is c with a v = c/(1 + m c)
        (m = inf: c/(1 + c)), so that every c > 0 is allowed.
        """
        scaled, own, a, loose = [], [], jnp.ones(()), jnp.zeros(())
        for c, m in zip(reversed(coordinates), reversed(ms)):
            frozen = is_frozen(m)
            gain = 1.0 + (c if frozen else m * c)
            scaled.append(c / (a * gain))
            # the increment of the overlap: the tower of a quadratic, without its cancellations
            own.append(a * c)
            loose = loose + (0.5 * jnp.log(gain) if frozen else 0.0)
            a = a * gain
        along = jnp.zeros(()) if R_hat is None else a * R_hat
        rest = own[-1] if own else jnp.zeros(())
        overlaps = (rest + along**2, *reversed(own[:-1])) if own else ()
        plain = tuple(o for o, m in zip(overlaps, ms) if not is_frozen(m))
        multiplier = 1.0 + sum(plain, jnp.zeros(()))
        root = jnp.sqrt(multiplier)
        return Site(
            tuple(multiplier * s for s in reversed(scaled)),
            -multiplier,
            tuple(o / multiplier for o in overlaps),
            1.0 / multiplier,
            jnp.ones(()),
            1.0 / multiplier**2,
            None if R_hat is None else root * R_hat,
            along / root,
            rest / multiplier,
            loose,
        )
