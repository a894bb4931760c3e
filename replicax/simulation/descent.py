r"""Descents that look for wide minima: entropy-SGD on stochastic weights, and SGD of coupled replicas of binary weights.

Entropy-SGD (Chaudhari et al., arXiv:1611.01838) climbs the local entropy log int exp( L(m') - gamma |m - m'|^2/2 ) dm', L the log-likelihood
of stochastic weights (`gradient.likelihood`), m in [-1, 1]^N. Its gradient is gamma (<m'> - m), the mean taken along Langevin steps

    m' <- clip( m' + eta' [ grad L(m') + gamma (m - m') ] + sqrt(eta') eps N(0, 1) ),   mu <- (1 - a) mu + a m',   a = 3/4,

and m <- m + eta gamma (mu - m); gamma rises geometrically ("scoping"). sign m is tested after every outer step. On
single perceptrons it solves as many instances as plain ascent of L at the same rate (12 of 20 both at alpha = 0.65, N = 1001), not more.

Replicated SGD (Baldassi et al., PNAS 113 (2016) E7655, arXiv:1605.06444): y replicas keep real h^a with W^a = sign h^a. A minibatch moves h^a
along the gradient of the cross entropy at W^a, and towards a centre that is summed out,

    h^a <- h^a - eta grad sum_mu l_mu(W^a) + lam [ tanh(gamma sum_b W^b) - W^a ],   l = log(1 + exp(-2 (Delta - kappa)))/2,

gamma rising by a step every epoch. l = -log(p)/2, where a unit is right with probability p = sigma(2 (Delta - kappa)); of a committee machine p
is the probability that most of its units are. The replicas, and the sign of sum_b W^b, are tested after every epoch.
At alpha = 0.5, N = 501 seven replicas solve 20 of 20 instances in 300 epochs, and 7 of 20 with lam = 0. Committees of 5 units of 321 inputs,
500 epochs, gamma rising by 0.003: trees 3 of 8 at alpha = 0.4 (none with lam = 0), with the same inputs 3 of 8 at alpha = 0.3 (none with
lam = 0) and none at 0.4, where focusing solves all; alpha = 0.5, which the authors reach, was not reached.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .arguments import integer, real
from .blocks import each_instance, in_blocks
from .channels import majority
from .gamp import as_patterns, task, unsolved
from .gradient import likelihood, small_means
from .instances import sample_seeds
from .learning import Solutions, binary_solutions, is_signs

_AVERAGE = 0.75


def entropy_sgd(
    X,
    y=None,
    *,
    steps: int = 200,
    inner: int = 5,
    rate: float = 0.3,
    pull: float = 1.0,
    gammas: tuple[float, float] = (0.01, 1.0),
    noise: float = 1e-3,
    kappa: float = 0.0,
    units: int = 1,
    tree: bool = False,
    key=0,
) -> Solutions:
    """Entropy-SGD: ``steps`` outer steps of ``inner`` gradients each (the cost is their product).

    rate is eta'; pull is eta gamma, the fraction of the way to mu; gammas its first and last value; noise is eps. units, tree: as in `focus`.
    """
    problem = task(X, y, kappa, units, tree)
    instances, channel, _, T = problem
    steps, inner = integer("steps", steps, 1), integer("inner", inner, 1)
    rate, pull, noise = real("rate", rate, 0.0), real("pull", pull, 0.0, 1.0), real("noise", noise, 0.0)
    ends = [real("gammas", g, 1e-12) for g in gammas]
    gamma = np.geomspace(ends[0], ends[1], steps)
    keys = np.stack([s.generate_state(2) for s in sample_seeds(key, instances.samples, "entropy-sgd")])
    run = lambda x, m, k: _entropy_sgd(
        x, m, k, gamma, channel, T, 1.0 / instances.scale, rate, pull, noise, inner, is_signs(instances)
    )
    W, used, finite = in_blocks(run, (instances.patterns, small_means(problem, key), keys), 4)
    return binary_solutions(instances, W, used, steps, ~finite, kappa, tree=tree)


@partial(jax.jit, static_argnums=(10, 11))
@each_instance(3)
def _entropy_sgd(x, m, key, gamma, channel, T, unit, rate, pull, noise, inner: int, signs: bool):
    patterns = as_patterns(x, signs, unit, jnp.float32, channel.groups).x
    asks = unsolved(patterns, (T - 0.5) * unit / np.sqrt(m.shape[1]))
    slope = jax.grad(lambda m: likelihood(m, patterns, channel))
    key = jax.random.wrap_key_data(key)

    def outer(state):
        m, _, _, t = state

        def langevin(state, kick):
            near, mu = state
            force = slope(near) + gamma[t] * (m - near)
            near = jnp.clip(near + rate * force + jnp.sqrt(rate) * noise * kick, -1.0, 1.0)
            return (near, (1.0 - _AVERAGE) * mu + _AVERAGE * near), None

        kicks = jax.random.normal(jax.random.fold_in(key, t), (inner, *m.shape))
        (_, mu), _ = jax.lax.scan(langevin, (m, m), kicks)
        m = m + pull * (mu - m)
        W = jnp.where(m >= 0.0, 1.0, -1.0)
        return m, W, asks(W), t + 1

    going = lambda state: state[2] & (state[3] < gamma.shape[0]) & jnp.all(jnp.isfinite(state[0]))
    first = (m, jnp.ones_like(m), jnp.asarray(True), jnp.zeros((), jnp.int32))
    m, W, _, t = jax.lax.while_loop(going, outer, first)
    return W, t, jnp.all(jnp.isfinite(m))


def replicated_sgd(
    X,
    y=None,
    *,
    replicas: int = 7,
    epochs: int = 500,
    batch: int = 80,
    rate: float = 1.0,
    coupling: float = 0.03,
    gammas: tuple[float, float] = (0.3, 0.01),
    kappa: float = 0.0,
    units: int = 1,
    tree: bool = False,
    key=0,
) -> Solutions:
    """SGD of ``replicas`` coupled copies, in minibatches of ``batch``; coupling is lam, gammas = (first value, step per epoch).

    coupling = 0 leaves the replicas alone. steps are epochs of all replicas: times ``replicas`` for the cost. units, tree: as in `focus`.
    """
    instances, channel, N, T = task(X, y, kappa, units, tree)
    replicas, epochs = integer("replicas", replicas, 1), integer("epochs", epochs, 1)
    batch, rate, coupling = (
        integer("batch", batch, 1), real("rate", rate, 0.0), real("coupling", coupling, 0.0),
    )  # fmt: skip
    first, rise = (real("gammas", g, 0.0) for g in gammas)
    keys = np.stack([s.generate_state(2) for s in sample_seeds(key, instances.samples, "replicated-sgd")])
    h = np.stack([np.random.default_rng(k).standard_normal((replicas, units, N)) for k in keys])
    run = lambda x, h, k: _replicated_sgd(
        x, h, k, first, rise, kappa, T, 1.0 / instances.scale, rate, coupling, channel.groups,
        epochs, min(batch, max(instances.P, 1)), is_signs(instances),
    )  # fmt: skip
    W, used, finite = in_blocks(run, (instances.patterns, h, keys), 4)
    return binary_solutions(instances, W, used, epochs, ~finite, kappa, tree=tree)


def cross_entropy(W: Array, x: Array, kappa) -> Array:
    """sum_mu l_mu of W (replicas, units, N) on x / sqrt(N), (P, N), or (units, P, N) of a tree; replicas are added."""
    excess = 2.0 * (_stabilities(W, x).astype(float) - kappa)
    right, _ = jax.vmap(majority)(jax.nn.log_sigmoid(excess), jax.nn.log_sigmoid(-excess))
    return -0.5 * jnp.sum(right)


def _stabilities(W: Array, x: Array) -> Array:
    """(replicas, units, P)."""
    return jnp.einsum("aki,kpi->akp" if x.ndim == 3 else "aki,pi->akp", W, x)


@partial(jax.jit, static_argnums=(10, 11, 12, 13))
@each_instance(3)
def _replicated_sgd(
    x, h, key, first, rise, kappa, T, unit, rate, lam, groups: int, epochs: int, batch: int, signs: bool
):
    """State: h (replicas, units, N)."""
    P, (y, units, N) = x.shape[0], h.shape
    patterns = as_patterns(x, signs, unit, jnp.float32, groups).x
    limit = (T - 0.5) * unit / np.sqrt(N)
    padded = jnp.pad(patterns, ((0, 0),) * (patterns.ndim - 2) + ((0, 1), (0, 0)))
    batches = -(-P // batch)
    sign = lambda h: jnp.where(h >= 0.0, 1.0, -1.0).astype(patterns.dtype)
    orders = jax.random.wrap_key_data(key)
    push = jax.vmap(jax.grad(lambda W, rows: cross_entropy(W[None], rows, kappa)))

    def epoch(state):
        h, _, _, t = state
        gamma = first + rise * t

        def minibatch(h, chosen):
            W = sign(h)
            # each replica has a batch of its own; the last one of an epoch may be short: its places beyond P hold zeros
            rows = jnp.moveaxis(jnp.take(padded, chosen, axis=-2), -3, 0)
            centre = jnp.tanh(gamma * jnp.sum(W, 0))
            return h - rate * push(W, rows) + lam * (centre[None] - W), None

        shuffled = jax.vmap(lambda k: jax.random.permutation(k, P))(
            jax.random.split(jax.random.fold_in(orders, t), y)
        )
        filled = jnp.pad(shuffled, ((0, 0), (0, batches * batch - P)), constant_values=P)
        h, _ = jax.lax.scan(minibatch, h, filled.reshape(y, batches, batch).swapaxes(0, 1))
        W = jnp.concatenate([sign(h), sign(jnp.sum(sign(h), 0))[None]])
        votes = jnp.sum(jnp.where(_stabilities(W, patterns) < limit, -1, 1), 1)
        wrong = jnp.sum(votes < 0, -1, dtype=jnp.int32)
        return h, W[jnp.argmin(wrong)], jnp.min(wrong), t + 1

    going = lambda state: (state[2] > 0) & (state[3] < epochs) & jnp.all(jnp.isfinite(state[0]))
    zero = jnp.zeros((), jnp.int32)
    begin = h, jnp.ones((units, N), patterns.dtype), zero + P + 1, zero
    h, W, _, t = jax.lax.while_loop(going, epoch, begin)
    return W, t, jnp.all(jnp.isfinite(h))
