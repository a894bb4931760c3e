r"""Channels: what one pattern tells about its stability, seen through a Gaussian cavity field.

A channel is log f(om, V) = log E_{x ~ N(om, V)} exp(-beta l(x)). Message passing needs its score g = d log f / d om, the slope dg / d om,
and the energy -d log f / d beta: all three follow from `log_f` by differentiation, so that a channel is one formula. The derivatives of
log H that are used (`numerics.special`) neither overflow nor cancel for x << 0.
"""

from __future__ import annotations

import abc
import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

from replicax.numerics.special import log_add_exp, log_diff_H, log_H

from .arguments import integer

_NEVER = -1e300


class Channel(eqx.Module):
    """A loss l(x) of the stability with margin kappa; ``beta`` None stands for infinity.

    Parameters are numbers, or arrays of shape (columns, 1).
    """

    #: preactivations that one pattern joins, and whether each has inputs of its own
    units = 1
    tree = False

    kappa: Array | float = 0.0
    beta: Array | float | None = None

    @property
    def groups(self) -> int:
        """Groups of inputs: one for each unit of a tree, otherwise a single one."""
        return self.units if self.tree else 1

    @abc.abstractmethod
    def log_f(self, om: Array, V: Array, beta: Array | float | None) -> Array:
        """log f(om, V), elementwise, at this inverse temperature."""

    def __call__(self, om: Array, V: Array) -> tuple[Array, Array]:
        """g = d log f/d om and dg/d om <= 0, elementwise."""
        score = lambda x: jax.jvp(lambda x: self.log_f(x, V, self.beta), (x,), (jnp.ones_like(x),))[1]
        return jax.jvp(score, (om,), (jnp.ones_like(om),))

    def value(self, om: Array, V: Array) -> Array:
        """log f(om, V)."""
        return self.log_f(om, V, self.beta)

    def energy(self, om: Array, V: Array) -> Array:
        """Mean loss in the tilted cavity, -d log f/d beta; 0 at beta = inf."""
        if self.beta is None:
            return jnp.zeros_like(om)
        beta = jnp.broadcast_to(self.beta, om.shape)
        return -jax.jvp(lambda b: self.log_f(om, V, b), (beta,), (jnp.ones_like(beta),))[1]


def _soften(inside: Array, outside: Array, beta: Array | float | None) -> Array:
    """log( p + e^-beta (1 - p) ) from log p and log(1 - p): the number of errors."""
    return inside if beta is None else log_add_exp(inside, outside - beta)


class Margin(Channel):
    """l = 1 where Delta < kappa: f = H(u) + e^-beta H(-u), u = (kappa - om)/sqrt(V)."""

    def log_f(self, om, V, beta):
        u = (self.kappa - om) / jnp.sqrt(V)
        return log_H(u) if beta is None else _soften(log_H(u), log_H(-u), beta)


class Rectangle(Channel):
    """l = 1 where |Delta| > kappa."""

    def log_f(self, om, V, beta):
        low, high = ((s * self.kappa - om) / jnp.sqrt(V) for s in (-1.0, 1.0))
        return _soften(log_diff_H(low, high), log_add_exp(log_H(high), log_H(-low)), beta)


class UFunction(Channel):
    """l = 1 where |Delta| < kappa."""

    def log_f(self, om, V, beta):
        low, high = ((s * self.kappa - om) / jnp.sqrt(V) for s in (-1.0, 1.0))
        return _soften(log_add_exp(log_H(high), log_H(-low)), log_diff_H(low, high), beta)


class SquaredHinge(Channel):
    """l = (kappa - Delta)_+^2/2: f = H(u) + exp(-beta (kappa - om)^2/(2 s)) H(-u/sqrt(s)) / sqrt(s), s = 1 + beta V."""

    def log_f(self, om, V, beta):
        u = (self.kappa - om) / jnp.sqrt(V)
        if beta is None:
            return log_H(u)
        s = 1.0 + beta * V
        gap = self.kappa - om
        below = -0.5 * beta * gap**2 / s - 0.5 * jnp.log(s) + log_H(-u / jnp.sqrt(s))
        return log_add_exp(log_H(u), below)


def majority(yes: Array, no: Array) -> tuple[Array, Array]:
    """Log-probabilities (1, P) that most of an odd number of independent units vote yes, or no, from those of each (units, P)."""
    votes = jnp.zeros((1, yes.shape[1]), yes.dtype)
    none = jnp.full_like(votes, _NEVER)
    for p, q in zip(yes[:, None], no[:, None]):
        # votes[j]: log-probability of j units in favour, among those so far
        votes = jnp.logaddexp(jnp.concatenate([votes + q, none]), jnp.concatenate([none, votes + p]))
    half = (yes.shape[0] + 1) // 2
    inside, outside = (jax.nn.logsumexp(v, 0, keepdims=True) for v in (votes[half:], votes[:half]))
    return inside, outside


class Committee(Channel):
    """The majority of ``units`` units, an odd number, has Delta_k >= kappa: l = 1 where it has not.

    tree: every unit has its own inputs; otherwise all have the same. om and V are (units, P), and so are g and its slope d g_k / d om_k.
    `value` and `energy` give each unit its share, 1/units of the pattern's. f is a Poisson-binomial probability, by convolution in
    logarithms: exact and O(units^2). It is linear in the H of each unit alone, so that d g/d om = -(om - kappa) g/V - g^2.
    """

    units: int = eqx.field(static=True, default=3)
    tree: bool = eqx.field(static=True, default=True)

    def __check_init__(self):
        if integer("units", self.units, 1) % 2 == 0:
            raise ValueError(
                f"units = {self.units} is not allowed: units must be odd, so that no vote is a tie"
            )

    def log_f(self, om, V, beta):
        u = (self.kappa - om) / jnp.sqrt(V)
        inside, outside = majority(log_H(u), log_H(-u))
        return jnp.broadcast_to(_soften(inside, outside, beta), om.shape) / self.units

    def __call__(self, om, V):
        g = jax.grad(lambda om: jnp.sum(self.log_f(om, V, self.beta)))(om)
        return g, -(om - self.kappa) * g / V - g**2


def of_one_unit(channel: Channel) -> Channel:
    """The channel, refused if it joins several units."""
    if channel.units > 1:
        raise ValueError(f"channel = {channel} is not allowed: only gamp and focus know committees")
    return channel


def finite(beta: float) -> float | None:
    """beta as channels take it: None for infinity."""
    return None if beta == math.inf else beta
