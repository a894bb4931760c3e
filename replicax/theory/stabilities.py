r"""P(Delta): the distribution of stabilities of a typical configuration, the first plot of every paper.

Perceptrons (RS): with the cavity field h ~ N(0, q) and the weight e^w of the factor,

    P(x) = e^{w(x)} E_h[ N(x; h, V) / f(h; V) ],   V = Q - q (Q = 1 for weights +-1 and on the sphere),

under the tilt of the labels where a teacher made them; random features: with Q and V of the preactivations.

Recurrent network: P(x) = w(x) N(x; J_D, 1)/Z (typical fixed points, no field, eta = 0, N = inf).
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from replicax.numerics.quadrature import gaussian_rule
from replicax.theory.models import RecurrentNetwork
from replicax.vocabulary.levels import Tilt
from replicax.vocabulary.limits import INFINITE
from replicax.vocabulary.recurrent import log_weight

_LOG_SQRT_2PI = 0.5 * np.log(2 * np.pi)
_NODES = 256


def stability_density(model: Any, order: Any, x: Array) -> Array:
    """P(Delta = x) at the order parameters of a solution; x any shape, one solution (vmap for more)."""
    if isinstance(model, RecurrentNetwork):
        return _network(model, x)
    if not hasattr(order, "q") or not hasattr(model, "factor"):
        raise ValueError("P(Delta) is known for replica-symmetric perceptrons and the recurrent network")
    if jnp.ndim(order.q) > 0:
        raise ValueError("P(Delta) is drawn for one solution at a time; use jax.vmap")
    if hasattr(order, "M"):  # preactivations of random features
        q, V, R = order.Q, order.V, order.M
    else:
        q, V, R = order.q, getattr(order, "Q", 1.0) - order.q, getattr(order, "R", 0.0)
    q, V, R = (jnp.asarray(v, float) for v in (q, V, R))
    labels = getattr(model, "labelling", None)
    tilt = None if labels is None else labels.tilt(R, q, q - R**2)
    return jax.vmap(lambda y: _density(model.factor, q, V, tilt, y))(x.ravel()).reshape(x.shape)


def _density(factor: Any, q: Array, V: Array, tilt: Tilt | None, x: Array) -> Array:
    scale = jnp.sqrt(jnp.maximum(q, 1e-30))
    bends = factor.bends(V, 0.0)
    positions = (x / scale, *(b / scale for b in bends.positions))
    widths = (jnp.sqrt(V) / scale, *(w / scale for w in bends.widths))
    if tilt is not None:
        positions, widths = (*positions, *tilt.positions), (*widths, *tilt.widths)
    rule = gaussian_rule(positions, widths, _NODES)
    h = scale * rule.nodes
    exponent = (
        rule.log_weights
        + (0.0 if tilt is None else tilt.density(rule.nodes)[0])
        - 0.5 * (x - h) ** 2 / V
        - 0.5 * jnp.log(V)
        - _LOG_SQRT_2PI
        - factor.log_partition(h, V)
    )
    weight = factor.log_weight(x)
    return jnp.where(jnp.isfinite(weight), jnp.exp(weight + jax.scipy.special.logsumexp(exponent)), 0.0)


def _network(model: RecurrentNetwork, x: Array) -> Array:
    if model.N is not INFINITE or np.any(np.asarray(model.eta) != 0) or np.any(np.asarray(model.field) != 0):
        raise ValueError("P(Delta) of the recurrent network is known for N = inf, eta = 0 and field = 0")
    J_D = jnp.asarray(model.J_D, float)
    violated = -jnp.inf if model.beta is INFINITE else -2.0 * jnp.asarray(model.beta, float)
    weight = jnp.where(x > 0, 0.0, violated)
    return jnp.exp(weight - 0.5 * (x - J_D) ** 2 - _LOG_SQRT_2PI - log_weight(J_D, model.beta))
