r"""Beyond the replicon: where and how steeply replica symmetry breaks on the sphere.

Expanding the full-RSB equations around the RS solution at the de Almeida-Thouless line gives the breaking point and the slope of the branch,
with lambda = 1 - q, L = log f(h; lambda) in units L^(n) = lambda^(n/2) d^n log f/dh^n, averages over h ~ N(0, q):

    x = <L'''^2> / (2 <L''^2 (1 + L'')>),
    dx/dq = { alpha [ <L''''^2> - 12 x <L'' L'''^2> + 6 x^2 <L''^4> ] - 6 x^2 } / { 2 lambda (1 + alpha <L''^3>) }.

x < 1 and dx/dq > 0: continuous transition to full RSB; dx/dq < 0: to stable 1-RSB; x > 1: discontinuous (RFOT).  Franz, Parisi, Sevelev,
Urbani & Zamponi, SciPost Phys. 2 (2017) 019, arXiv:1702.06919.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from replicax.numerics.quadrature import gaussian_rule


def breaking_point(model: Any, q: Array, complement: Array, n: int) -> tuple[Array, Array]:
    """(x_break, xdot) at overlap q = 1 - complement of a spherical model with one field."""
    terminal = model.factor.terminal(complement)
    bends = terminal.bends(0, 0.0)
    scale = jnp.sqrt(q)
    rule = gaussian_rule(tuple(b / scale for b in bends.positions), tuple(w / scale for w in bends.widths), n)

    def derivative(f):
        return lambda h: jax.jvp(f, (h,), (jnp.ones_like(h),))[1]

    f, orders = terminal.__call__, []
    for order in range(1, 5):
        f = derivative(f)
        orders.append(complement ** (order / 2) * f(scale * rule.nodes))
    _, second, third, fourth = orders
    mean = lambda values: jnp.sum(rule.weights * values)
    alpha = jnp.asarray(model.weight, float)
    x = mean(third**2) / (2.0 * mean(second**2 * (1.0 + second)))
    above = (
        alpha * (mean(fourth**2) - 12.0 * x * mean(second * third**2) + 6.0 * x**2 * mean(second**4))
        - 6.0 * x**2
    )
    return x, above / (2.0 * complement * (1.0 + alpha * mean(second**3)))
