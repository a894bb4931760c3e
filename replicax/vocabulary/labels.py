r"""Labels: how they are made, seen through the cavity.

A label y of a pattern tells something of the teacher's field t.  In the gauge y = +1 it multiplies the measure of the fields by

    2 P(y = +1 | t),   t ~ N(h, V)  through the cavity:   w(h; V) = E_{t ~ N(h, V)} 2 P(+1 | t),

and the cavity field of the student is correlated with that of the teacher by the overlap R: at student overlap q the outermost level
z of a tower (field sqrt(q) z) has h = R z/sqrt(q), V = 1 - R^2/q.  Random labels have no teacher, w = 1.
"""

import abc
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from replicax.numerics.special import log_H
from replicax.vocabulary.levels import Tilt

#: a variance below this is taken for it: at alpha = 0 student and teacher know nothing of each other
_LEAST = 1e-20


class Labels(eqx.Module):
    """How labels are made from the field t ~ N(0, 1) of a teacher with norm 1; subclasses give `log_weight` (and `width`)."""

    @abc.abstractmethod
    def log_weight(self, h: Array, V: Array) -> Array:
        """log E_{t ~ N(h, V)} 2 P(y = +1 | t), elementwise; its average over h ~ N(0, 1 - V) is 1."""

    def width(self, V: Array) -> Array:
        """The width in h over which the weight turns from 0 to 2."""
        return jnp.sqrt(V)

    def tilt(self, R: Array, q: Array, rest: Array) -> Tilt:
        """The tilt of the outermost level at overlaps q and R, with rest = q - R^2 given apart (it may be tiny)."""
        rest = jnp.maximum(rest, _LEAST)
        slope, V = R / jnp.sqrt(jnp.maximum(q, _LEAST)), rest / jnp.maximum(q, _LEAST)

        def density(z: Array) -> tuple[Array, Array]:
            h = slope * z
            return jax.jvp(lambda x: self.log_weight(x, V), (h,), (jnp.ones_like(h),))

        return Tilt(density, (jnp.zeros_like(slope),), (self.width(V) / jnp.maximum(jnp.abs(slope), _LEAST),))


class Told(NamedTuple):
    """What a label tells two fields of a pattern with standard normals z and z': that of the teacher is along z + across z' + N(0, V).

    labels = None: nothing.
    """

    labels: Labels | None
    along: Any = 0.0
    across: Any = 0.0
    V: Any = 1.0

    def density(self, z: Array, other: Array) -> tuple[Array, Array]:
        """(log weight, score of the teacher's field)."""
        if self.labels is None:
            return jnp.zeros(()), jnp.zeros(())
        h = self.along * z + self.across * other
        log_weight = self.labels.log_weight
        return jax.jvp(lambda x: log_weight(x, self.V), (h,), (jnp.ones_like(h),))

    def averaged(self, z: Array) -> Array:
        """The log weight once z' is averaged."""
        if self.labels is None:
            return jnp.zeros_like(z)
        return self.labels.log_weight(self.along * z, self.V + self.across**2)

    def first(self) -> tuple[tuple, tuple]:
        """Where the weight bends in z once z' is averaged, and how wide."""
        if self.labels is None:
            return (), ()
        width = self.labels.width(self.V + self.across**2)
        return (jnp.zeros_like(width),), (width / jnp.maximum(jnp.abs(self.along), _LEAST),)

    def second(self, z: Array) -> tuple[tuple, tuple]:
        """The same in z' at given z."""
        if self.labels is None:
            return (), ()
        across = jnp.where(jnp.abs(self.across) < _LEAST, _LEAST, self.across)
        bend, width = -self.along * z / across, self.labels.width(self.V) / jnp.abs(across)
        return (bend,), (width * jnp.ones_like(bend),)


class Teacher(Labels):
    """y = sign(rho t + sqrt(1 - rho^2) noise), weight 2 H(-rho h/sqrt(1 - rho^2 + rho^2 V)); rho = 1: no noise.

    The teacher has weights +-1 (any, by symmetry of the prior), or lies on the sphere of the student.
    """

    rho: Array | float = 1.0

    def _spread(self, V: Array) -> Array:
        rho2 = jnp.asarray(self.rho, float) ** 2
        return jnp.sqrt(1.0 - rho2 + rho2 * V)

    def log_weight(self, h: Array, V: Array) -> Array:
        return float(np.log(2.0)) + log_H(-self.rho * h / self._spread(V))

    def width(self, V: Array) -> Array:
        return self._spread(V) / jnp.maximum(jnp.abs(jnp.asarray(self.rho, float)), _LEAST)
