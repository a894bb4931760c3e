r"""The number of solutions around a given W, by message passing in the field gamma W.

    phi(gamma) = (1/N) log sum_{W' solution} exp(gamma W.W'),   overlap = d phi/d gamma = sum_i W_i m_i / N,   d = (1 - overlap)/2,
    S_loc(d) = phi - gamma overlap,   dS_loc/dd = 2 gamma;   S_loc <= h(d) (binary), log(1 - overlap^2)/2 (sphere).

gamma rises from 0, each point starting from the one before: a run that starts at large gamma, or from W itself, falls onto m = W, a
second, spurious fixed point of the hard-margin equations. Around isolated solutions the branch ends at a finite gamma; that is a result,
and nothing beyond it is reported. Baldassi et al., PRL 115 (2015) 128101, arXiv:1509.05753.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from replicax.numerics.special import binary_entropy

from .arguments import choice, integer, real
from .blocks import each_instance, in_blocks
from .channels import Channel, Margin, of_one_unit
from .gamp import WEIGHTS, as_patterns, bethe, fixed_point, start
from .learning import is_signs, learnable
from .outcomes import BUDGET, COLLAPSED, CONVERGED, LOST

_COLLAPSED = 1e-5  # a distance this close to 0, from a larger one: the messages fell onto W


class LocalEntropyCurve(NamedTuple):
    """Arrays (samples, gammas): d and entropy = S_loc are nan from the first gamma on that did not converge.

    bound is the volume at distance d: entropy <= bound. outcome: converged; budget, diverged, floor or collapsed where the branch
    ends, lost beyond.
    """

    gamma: np.ndarray
    d: np.ndarray
    entropy: np.ndarray
    bound: np.ndarray
    iterations: np.ndarray
    outcome: np.ndarray


def local_entropy(
    X,
    y=None,
    *,
    around,
    gammas,
    channel: Channel | None = None,
    weights: str = "binary",
    damping: float = 0.0,
    tol: float = 1e-10,
    iterations: int = 1000,
) -> LocalEntropyCurve:
    """S_loc(d) around W = ``around`` ([samples,] N) on patterns X with labels y, for rising ``gammas`` >= 0 (or falling, <= 0).

    W may be any weights (a teacher, a solution, a point of another set); spherical ones with |W|^2 = N. damping: 0.3 on the sphere.
    """
    instances = learnable(X, y)
    choice("weights", weights, tuple(WEIGHTS))
    gammas = np.asarray(gammas, np.float64)
    if (
        gammas.ndim != 1
        or gammas.size == 0
        or not np.all(np.diff(np.abs(gammas), prepend=0.0) >= 0.0)
        or gammas.min() * gammas.max() < 0
    ):
        raise ValueError(f"gammas = {gammas} is not allowed: gammas must move away from 0, on one side")
    W = np.array(np.broadcast_to(np.asarray(around, np.float64), (instances.samples, instances.N)))
    sizes = (W**2).mean(1)
    if not np.allclose(np.abs(W) if weights == "binary" else sizes, 1.0, atol=1e-6):
        raise ValueError(
            "around is not allowed: it must be " + ("-1 or +1" if weights == "binary" else "of |W|^2 = N")
        )
    channel = Margin() if channel is None else of_one_unit(channel)
    run = lambda x, W: _curve(
        x, W, gammas, channel, weights, is_signs(instances), 1.0 / instances.scale,
        real("damping", damping, 0.0, 0.99), real("tol", tol, 0.0), integer("iterations", iterations, 1),
    )  # fmt: skip
    return LocalEntropyCurve(
        np.tile(gammas, (instances.samples, 1)), *in_blocks(run, (instances.patterns, W), 4)
    )


@partial(jax.jit, static_argnums=(4, 5, 9))
@each_instance(2)
def _curve(x, W, gammas, channel, weights: str, signs: bool, unit, damping, tol, iterations: int):
    patterns, kind = as_patterns(x, signs, unit, jnp.float64), WEIGHTS[weights]

    def point(carry, gamma):
        s, alive, before = carry
        field = gamma * W[None]
        new, _, t, outcome = fixed_point(patterns, channel, kind, field, s, damping, tol, iterations)
        overlap = jnp.mean(W * new.m[0])
        d = 0.5 * (1.0 - overlap)
        phi = bethe(patterns, channel, kind, field, new)[0][0]
        outcome = jnp.where((d < _COLLAPSED) & (before > 10 * _COLLAPSED), COLLAPSED, outcome[0])
        entropy = phi - gamma * overlap
        bound = binary_entropy(d) if weights == "binary" else 0.5 * jnp.log1p(-(overlap**2))
        # above the volume bound it is no solution of the equations, whatever the step
        outcome = jnp.where((outcome == CONVERGED) & (entropy > bound + 1e-6), BUDGET, outcome)
        good = alive & (outcome == CONVERGED)
        known = lambda value: jnp.where(good, value, jnp.nan)
        row = known(d), known(entropy), known(bound), t[0], jnp.where(alive, outcome, LOST)
        keep = lambda a, b: jnp.where(good, a, b)
        return (jax.tree.map(keep, new, s), good, jnp.where(good, d, before)), row

    m = 1e-3 * jnp.cos(jnp.arange(W.shape[0]) * 1.7)[None]
    first = start(m, 1.0 - m**2, x.shape[0])
    # from gamma = 0 itself, whether or not it is asked for
    s, _, _, outcome = fixed_point(patterns, channel, kind, 0.0 * W[None], first, damping, tol, iterations)
    carry = (s, outcome[0] == CONVERGED, jnp.asarray(0.5))
    return jax.lax.scan(point, carry, gammas)[1]
