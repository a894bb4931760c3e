"""Thresholds of recurrent networks: isolation, the code of fixed points, fixed points as attractors, stable aligned states."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from replicax.answers.thresholds import Explicit, Options, define
from replicax.numerics.brackets import bracketed_root
from replicax.numerics.quadrature import gaussian_rule
from replicax.numerics.special import H, binary_entropy, log_H
from replicax.theory.ansatz import Pair
from replicax.theory.models import RateNetwork, RecurrentNetwork
from replicax.theory.rate_network import aligned_edge

LOG2 = float(np.log(2.0))
_SCAN = 400


def isolation(model: Any, options: Options, n: int):
    """The smallest distance d at which the entropy of pairs (S_2 - S_1) vanishes: below it a typical solution has no neighbour.

    S_2 - S_1 ~ -c sqrt(d) at d -> 0; the first sign change on a logarithmic grid, then a bracketed root in log d.
    """

    def entropy(log_d: Array) -> Array:
        (problem,) = Pair(d=jnp.exp(log_d)).problems(model)
        return problem.phi(problem.state(jnp.zeros(0), n), n)

    grid = jnp.linspace(np.log(1e-14), np.log(0.5), _SCAN)
    positive = jax.vmap(entropy)(grid) > 0
    first = jnp.argmax(positive)
    root = bracketed_root(entropy, grid[jnp.maximum(first - 1, 0)], grid[first])
    return jnp.exp(root.value), {}, root.residual, root.converged & jnp.any(positive)


def _shannon(model: RecurrentNetwork, options: Options, n: int):
    """The flip rate p with h2(p) = log 2 - S_1 = -log Phi(J_D): Shannon bound and Gilbert-Varshamov distance of the rate S_1/log 2."""
    lost = -log_H(-jnp.asarray(model.J_D, float))
    root = bracketed_root(
        lambda x, lost: jnp.log(binary_entropy(jnp.exp(x))) - jnp.log(lost),
        -700.0,
        -LOG2,
        jnp.minimum(lost, LOG2),
    )
    return jnp.exp(root.value), {}, root.residual, root.converged


def attractor_capacity(J: Array, n: int) -> tuple[Array, Array, Array]:
    r"""1/alpha_c = min_t E (t V + Z)_+^2 of typical fixed points, V ~ N(0,1) conditioned on V > -J_D.

    With one Gaussian average: E (t V + Z)_+^2 = (1 + t^2 V^2) Phi(t V) + t V phi(t V).  Returns alpha_c, residual of the stationarity
    in t and success; t < 0 (attractors repel where V has a positive mean).  Random labels (J_D = inf): Gardner's 2.
    """
    J = jnp.asarray(J, float)
    inside = H(-J)
    x = gaussian_rule((-J,), (0.5 * jnp.ones_like(J),), 8 * n, moving=True)
    weight = jnp.where(x.nodes > -J, x.weights, 0.0) / inside

    def cost(t: Array, J: Array) -> Array:
        u = t * x.nodes
        density = jnp.exp(-0.5 * u * u) / np.sqrt(2.0 * np.pi)
        return jnp.sum(weight * ((1.0 + u * u) * H(-u) + u * density))

    root = bracketed_root(jax.grad(cost), -1e3, 1e-3, J)
    return 1.0 / cost(root.value, J), root.residual, root.converged


def _attractors(model: RecurrentNetwork, options: Options, n: int):
    value, residual, converged = attractor_capacity(model.J_D, n)  # type: ignore[arg-type]
    return value, {}, residual, converged


def _aligned(model: Any, options: Options, n: int):
    value, root = aligned_edge(model.s)
    return value, {}, root.residual, root.converged & (jnp.asarray(model.s) > 1.0)


define("d-iso", RecurrentNetwork, Explicit("d", isolation, needs=("J_D",)))
define("shannon", RecurrentNetwork, Explicit("p", _shannon, needs=("J_D",)))
define("attractor-capacity", RecurrentNetwork, Explicit("alpha", _attractors, needs=("J_D",)))
define("g-star", RateNetwork, Explicit("g", _aligned))
