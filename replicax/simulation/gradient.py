r"""Gradient methods for perceptrons, on optax: stochastic binary weights, sharpness-aware steps, negative margins on the sphere.

Stochastic binary weights: W_i independent with means m_i in [-1, 1]; the log-likelihood of the patterns is that of a Gaussian field,

    L(m) = sum_mu log H((kappa s - a_mu)/s),   a = X m,   s^2 = sum_i (1 - m_i^2),

(of a committee machine, log of the probability that most units are right), and m climbs it, m <- clip(m + eta grad L, -1, 1); sign m is
tested at every step. The norm of m grows to 1 by itself and steers the search
into dense regions. Baldassi et al., PRL 120 (2018) 268103, arXiv:1710.09825.

SAM takes the gradient where L is smallest within a distance rho, to first order: at m - rho grad L/|grad L|, cut to [-1, 1]^N because L is
defined there (Foret et al., arXiv:2010.01412, who minimise -L and cut nothing).

Sphere, Delta >= kappa: momentum steps on (1/2) sum_mu (kappa + eps - Delta_mu)_+^2, projected on |W|^2 = N. The step is 2.7/lam with
lam = (1 + sqrt(P/N))^2 the largest eigenvalue of X^T X/N (Marchenko-Pastur); above 2 (1 + momentum)/lam it is unstable.
"""

from __future__ import annotations

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from .arguments import integer, real
from .blocks import each_instance, in_blocks
from .channels import Channel
from .gamp import Task, as_patterns, fields, product, task, unsolved
from .instances import sample_seeds
from .learning import Solutions, binary_solutions, is_signs, learnable, spherical_solutions

_START = 0.02


def likelihood(m: jax.Array, x: jax.Array, channel: Channel) -> jax.Array:
    """L(m) of m (units, N), with x / sqrt(N) the patterns and V = mean(1 - m^2) of each unit."""
    V = jnp.maximum(jnp.mean(1.0 - m**2, -1, keepdims=True), 1e-12)
    return jnp.sum(channel.value(fields(m, x), V))


def small_means(problem: Task, key) -> np.ndarray:
    """Where stochastic weights start: |m| <= 0.02, uniform; (samples, units, N)."""
    seeds = sample_seeds(key, problem.instances.samples, "means")
    rngs = [np.random.Generator(np.random.PCG64(s)) for s in seeds]
    return np.stack([rng.uniform(-_START, _START, (problem.channel.units, problem.N)) for rng in rngs])


def worst(m: jax.Array, slope: jax.Array, rho) -> jax.Array:
    """Where SAM takes its gradient: rho along ``slope``, that of the loss -L, cut to the cube."""
    return jnp.clip(m + rho * slope / jnp.maximum(jnp.linalg.norm(slope), 1e-30), -1.0, 1.0)


def stochastic_weights(
    X,
    y=None,
    *,
    steps: int = 500,
    rate: float = 1.0,
    momentum: float = 0.0,
    rho: float = 0.0,
    kappa: float = 0.0,
    units: int = 1,
    tree: bool = False,
    key=0,
) -> Solutions:
    """Gradient ascent of L, from |m| <= 0.02 at random; rho > 0: sharpness-aware. units, tree: as in `focus`.

    rate is the eta of the formula above, with sums over patterns and fields X m as they stand: 1 solves alpha = 0.5 in about 20 steps.
    """
    problem = task(X, y, kappa, units, tree)
    instances, channel, _, T = problem
    real("rate", rate, 0.0)
    real("momentum", momentum, 0.0, 0.999)
    real("rho", rho, 0.0)
    run = lambda x, m: _stochastic(
        x, m, channel, T, 1.0 / instances.scale, rate, momentum, rho, integer("steps", steps, 1), is_signs(instances)
    )  # fmt: skip
    W, used, finite = in_blocks(run, (instances.patterns, small_means(problem, key)), 4)
    return binary_solutions(instances, W, used, steps, ~finite, kappa, tree=tree)


@partial(jax.jit, static_argnums=(9,))
@each_instance(2)
def _stochastic(x, m, channel, T, unit, rate, momentum, rho, steps, signs: bool):
    patterns = as_patterns(x, signs, unit, jnp.float32, channel.groups).x
    asks = unsolved(patterns, (T - 0.5) * unit / np.sqrt(m.shape[1]))
    optimizer = optax.sgd(rate, momentum=momentum)
    descent = jax.grad(lambda m: -likelihood(m, patterns, channel))
    sharp = lambda m: descent(worst(m, descent(m), rho))
    slope = lambda m: jax.lax.cond(rho > 0.0, sharp, descent, m)

    def step(state):
        m, memory, _, _, t = state
        change, memory = optimizer.update(slope(m), memory)
        m = jnp.clip(optax.apply_updates(m, change), -1.0, 1.0)
        W = jnp.where(m >= 0, 1.0, -1.0)
        return m, memory, W, asks(W), t + 1

    going = lambda state: state[3] & (state[4] < steps) & jnp.all(jnp.isfinite(state[0]))
    first = (m, optimizer.init(m), jnp.ones_like(m), jnp.asarray(True), jnp.zeros((), jnp.int32))
    m, _, W, _, t = jax.lax.while_loop(going, step, first)
    return W, t, jnp.all(jnp.isfinite(m))


def spherical_gradient(
    X,
    y=None,
    *,
    kappa: float,
    steps: int = 2500,
    eps: float = 0.0,
    momentum: float = 0.9,
    rate: float = 2.7,
    key=0,
) -> Solutions:
    """A point of the sphere with all stabilities >= kappa, by projected momentum descent of the squared hinge at kappa + eps.

    rate is in units of 1/lam (stable below 2 (1 + momentum)). eps > 0 ends with a wider margin; with eps = 0 momentum must carry W over
    the boundary. Stops where min Delta >= kappa + eps.
    """
    instances = learnable(X, y, kappa=kappa)
    real("eps", eps, 0.0)
    real("momentum", momentum, 0.0, 0.999)
    real("rate", rate, 0.0)
    eta = rate / (1.0 + math.sqrt(instances.P / instances.N)) ** 2
    rngs = [np.random.Generator(np.random.PCG64(s)) for s in sample_seeds(key, instances.samples, "sphere")]
    W = np.stack([rng.standard_normal(instances.N) for rng in rngs])
    unit = 1.0 / instances.scale
    run = lambda x, W: _sphere(
        x, W, kappa + eps, unit, eta, momentum, integer("steps", steps, 1), is_signs(instances)
    )
    W, used = in_blocks(run, (instances.patterns, W), 4)
    return spherical_solutions(instances, W, used, steps, kappa)


@partial(jax.jit, static_argnums=(7,))
@each_instance(2)
def _sphere(x, W, margin, unit, eta, momentum, steps, signs: bool):
    N = x.shape[1]
    patterns = as_patterns(x, signs, unit, jnp.float64).x
    normal = lambda w: w * jnp.sqrt(N / jnp.sum(w**2))
    optimizer = optax.sgd(eta, momentum=momentum)

    def step(state):
        W, memory, stability, t = state
        gap = jnp.maximum(margin - stability, 0.0)
        change, memory = optimizer.update(-product(gap, patterns), memory)
        W = normal(optax.apply_updates(W, change))
        # the momentum stays tangent to the sphere
        memory = jax.tree.map(lambda v: v - W * (v @ W) / N, memory)
        return W, memory, fields(W, patterns), t + 1

    W = normal(W)
    going = lambda state: jnp.any(state[2] < margin) & (state[3] < steps) & jnp.all(jnp.isfinite(state[0]))
    first = (W, optimizer.init(W), fields(W, patterns), jnp.zeros((), jnp.int32))
    W, _, _, t = jax.lax.while_loop(going, step, first)
    return W, t
