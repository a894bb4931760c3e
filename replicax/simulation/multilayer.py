r"""A network with one hidden layer on real data: what each training finds, and how flat the training error is around it.

    logits = W2 [relu(W1 [x, 1]), 1],   loss f = mean cross entropy of a minibatch.

sgd             w <- w + v,   v <- mom v - eta grad f(w)
sam             the same with grad f at w + rho grad f/|grad f| (Foret et al., arXiv:2010.01412)
entropy-sgd     L steps w' <- w' - eta' [grad f(w') - gamma (w - w')] from w' = w, their running mean mu, then w <- mu, the outer step at
                eta gamma = 1 (Chaudhari et al., arXiv:1611.01838, without thermal noise)
replicated-sgd  y replicas on their own minibatches, each pulled to their mean by gamma; the mean is what is found (Pittorino et al.,
                arXiv:2006.07897)

gamma rises linearly from 0. Every method has the same number of minibatch gradients. Local energy (ibid.): the training error of
w (1 + sigma z), z Gaussian for each weight, minus that of w; multiplicative noise does not see the scale of the layers, which relu leaves open.

Hidden units may also be perceptrons with a margin kappa, active where their stability Delta_k = w_k.x/sqrt(n) exceeds it:

    logits = W2 [relu(Delta - kappa), 1],   w_k in {-1, +1}^n (binary) or |w_k|^2 = n (sphere).

The methods then move latent weights u of the hidden layer: w = sign u, with the gradient of the cut identity (binary; Courbariaux et al.,
arXiv:1511.00363), or w = sqrt(n) u/|u| (sphere). Their local energy is that of hidden weights at distance d = (1 - overlap)/2 from w: a
fraction d of all binary weights is turned; every vector of the sphere is rotated by the angle of cosine 1 - 2d, in a random direction.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from .arguments import choice, integer, real
from .blocks import each_instance
from .instances import sample_seeds

METHODS = ("sgd", "sam", "entropy-sgd", "replicated-sgd")
#: of the hidden layer
WEIGHTS = ("real", "binary", "sphere")
_INNER, _AVERAGE = 5, 0.75
_REPLICAS = 3
#: minibatch gradients of one step
_COST = {"sgd": 1, "sam": 2, "entropy-sgd": _INNER, "replicated-sgd": _REPLICAS}


class Layers(NamedTuple):
    """(runs, hidden, inputs + 1) and (runs, classes, hidden + 1): the last column is the bias.

    Perceptrons with a margin have w/sqrt(n) and the bias -kappa.
    """

    first: Array
    second: Array


class Data(NamedTuple):
    """x (runs, patterns, inputs) and labels (runs, patterns), integers from 0."""

    x: np.ndarray
    labels: np.ndarray


def split(x, labels, *, runs: int, patterns: int, key=0) -> tuple[Data, Data]:
    """For every run ``patterns`` random ones to train on, the rest to test; x shifted and scaled as a whole to mean 0, variance 1."""
    x, labels = np.asarray(x, np.float64), np.asarray(labels)
    patterns = integer("patterns", patterns, 1, len(x) - 1)
    x = ((x - x.mean()) / x.std()).astype(np.float32)
    seeds = sample_seeds(key, integer("runs", runs, 1), "split")
    orders = np.stack([np.random.Generator(np.random.PCG64(s)).permutation(len(x)) for s in seeds])
    part = lambda rows: Data(x[rows], labels[rows].astype(np.int32))
    return part(orders[:, :patterns]), part(orders[:, patterns:])


def logits(w: Layers, x: Array) -> Array:
    """(patterns, classes) of one run."""
    hidden = jax.nn.relu(x @ w.first[:, :-1].T + w.first[None, :, -1])
    return hidden @ w.second[:, :-1].T + w.second[None, :, -1]


def train(
    data: Data,
    method: str,
    *,
    weights: str = "real",
    kappa: float = -0.5,
    hidden: int = 32,
    gradients: int = 6000,
    batch: int = 50,
    rate: float = 0.05,
    momentum: float = 0.9,
    rho: float = 0.1,
    gamma: float = 1.0,
    key=0,
) -> Layers:
    """Train every run on its data; rate is eta and eta', gamma the last value of the coupling. The runs start alike for all methods.

    weights: of the hidden layer, "binary" and "sphere" with margin kappa, which real weights do not have.
    """
    choice("method", method, METHODS)
    choice("weights", weights, WEIGHTS)
    hidden, batch = integer("hidden", hidden, 1), integer("batch", batch, 1, data.x.shape[1])
    rate, momentum = real("rate", rate, 0.0), real("momentum", momentum, 0.0, 0.999)
    rho, gamma = real("rho", rho, 0.0), real("gamma", gamma, 0.0)
    steps = max(1, integer("gradients", gradients, 1) // _COST[method])
    keys = np.stack([s.generate_state(2) for s in sample_seeds(key, len(data.x), "multilayer")])
    classes = int(data.labels.max()) + 1
    return _train(
        *data, keys, rate, momentum, rho, gamma, real("kappa", kappa), method, weights, hidden, classes, steps, batch
    )  # fmt: skip


def realised(u: Layers, weights: str, kappa) -> Layers:
    """The network of latent weights u."""
    if weights == "real":
        return u
    w = u.first[:, :-1]
    if weights == "binary":
        cut = jnp.clip(w, -1.0, 1.0)
        w = cut + jax.lax.stop_gradient(jnp.where(w >= 0.0, 1.0, -1.0) - cut)
        w = w * np.float32(1.0 / np.sqrt(w.shape[1]))
    else:
        w = w / jnp.linalg.norm(w, axis=1, keepdims=True)
    return Layers(jnp.concatenate([w, jnp.full_like(w[:, :1], -kappa)], 1), u.second)


@partial(jax.jit, static_argnums=(8, 9, 10, 11, 12, 13))
@each_instance(3)
def _train(
    x, labels, key, rate, momentum, rho, gamma, kappa,
    method: str, weights: str, hidden, classes, steps: int, batch: int,
):  # fmt: skip
    begin, batches = jax.random.split(jax.random.wrap_key_data(key))
    one, two = jax.random.split(begin)
    normal = lambda k, n, m: jnp.pad(
        jax.random.normal(k, (n, m), jnp.float32) * np.float32(np.sqrt(2.0 / m)), ((0, 0), (0, 1))
    )
    w = Layers(normal(one, hidden, x.shape[1]), normal(two, classes, hidden))
    optimizer = optax.sgd(jnp.float32(rate), momentum=jnp.float32(momentum))

    def slope(w: Layers, key):
        """Gradient of the loss of a fresh minibatch, drawn with replacement."""
        rows = jax.random.randint(key, (batch,), 0, x.shape[0])
        loss = lambda w: jnp.mean(
            optax.softmax_cross_entropy_with_integer_labels(
                logits(realised(w, weights, kappa), x[rows]), labels[rows]
            )
        )
        return jax.grad(loss)(w)

    def descend(w, memory, gradient):
        change, memory = optimizer.update(gradient, memory)
        return optax.apply_updates(w, change), memory

    norm = lambda g: jnp.sqrt(sum(jnp.sum(a**2) for a in jax.tree.leaves(g)))
    add = lambda a, b, c: jax.tree.map(lambda p, q: p + jnp.float32(c) * q, a, b)

    def sgd(state, key, pull):
        w, memory = state
        return descend(w, memory, slope(w, key))

    def sam(state, key, pull):
        w, memory = state
        g = slope(w, key)
        return descend(w, memory, slope(add(w, g, rho / (norm(g) + 1e-12)), key))

    def entropy_sgd(state, key, pull):
        w, memory = state

        def inner(state, key):
            near, mu, memory = state
            g = add(slope(near, key), add(near, w, -1.0), pull)
            near, memory = descend(near, memory, g)
            return (near, add(mu, add(near, mu, -1.0), _AVERAGE), memory), None

        (_, mu, memory), _ = jax.lax.scan(inner, (w, w, memory), jax.random.split(key, _INNER))
        return mu, memory

    def replicated_sgd(state, key, pull):
        ws, memories = state
        centre = jax.tree.map(lambda a: jnp.mean(a, 0, keepdims=True), ws)
        g = jax.vmap(slope)(ws, jax.random.split(key, _REPLICAS))
        g = jax.tree.map(lambda g, a, c: g + jnp.float32(pull) * (a - c), g, ws, centre)
        return descend(ws, memories, g)

    step = dict(zip(METHODS, (sgd, sam, entropy_sgd, replicated_sgd)))[method]
    if method == "replicated-sgd":
        w = jax.tree.map(lambda a: jnp.tile(a, (_REPLICAS, 1, 1)), w)

    def turn(state, t):
        return step(state, jax.random.fold_in(batches, t), gamma * t / steps), None

    (w, _), _ = jax.lax.scan(turn, (w, optimizer.init(w)), jnp.arange(steps))
    w = jax.tree.map(lambda a: jnp.mean(a, 0), w) if method == "replicated-sgd" else w
    return realised(w, weights, kappa)


@jax.jit
@each_instance(3)
def _wrong(w: Layers, x, labels):
    return jnp.mean(jnp.argmax(logits(w, x), -1) != labels)


def error(w: Layers, data: Data) -> np.ndarray:
    """Fraction of wrong answers (runs,)."""
    return np.asarray(_wrong(w, *data))


def local_energy(
    w: Layers, data: Data, sizes, *, weights: str = "real", draws: int = 20, key=0
) -> np.ndarray:
    """Mean over ``draws`` of the error on ``data`` of networks near w minus that of w: (runs, sizes).

    sizes: relative noise sigma of all weights (real), or distances d in [0, 1] of the hidden weights (binary, sphere).
    """
    choice("weights", weights, WEIGHTS)
    name, high = ("sigma", np.inf) if weights == "real" else ("d", 1.0)
    sizes = np.array([real(name, s, 0.0, high) for s in sizes])
    draws = integer("draws", draws, 1)
    keys = np.stack([s.generate_state(2) for s in sample_seeds(key, len(data.x), "local energy")])
    return np.asarray(_profile(w, *data, keys, sizes, weights, draws))


def shaken(w: Layers, key, size, weights: str) -> Layers:
    """A random network at distance ``size``; with one key, nested in the size."""
    if weights == "real":
        noise = (jax.random.normal(k, a.shape, a.dtype) for k, a in zip(jax.random.split(key), w))
        return Layers(*(a * (1.0 + size * z).astype(a.dtype) for a, z in zip(w, noise)))
    inner, bias = w.first[:, :-1], w.first[:, -1:]
    if weights == "binary":
        # exactly the fraction ``size`` of all, to the nearest weight
        ranks = jax.random.permutation(key, inner.size).reshape(inner.shape)
        moved = jnp.where(ranks < jnp.round(size * inner.size), -inner, inner)
    else:
        z = jax.random.normal(key, inner.shape, inner.dtype)
        z = z - jnp.sum(z * inner, 1, keepdims=True) * inner
        z = z / jnp.linalg.norm(z, axis=1, keepdims=True)
        overlap = 1.0 - 2.0 * size
        moved = (overlap * inner + jnp.sqrt(1.0 - overlap**2) * z).astype(inner.dtype)
    return Layers(jnp.concatenate([moved, bias], 1), w.second)


@partial(jax.jit, static_argnums=(5, 6))
@each_instance(4)
def _profile(w: Layers, x, labels, key, sizes, weights: str, draws: int):
    wrong = lambda w: jnp.mean(jnp.argmax(logits(w, x), -1) != labels)
    draw = lambda key: jax.lax.map(lambda size: wrong(shaken(w, key, size, weights)), sizes)
    keys = jax.random.split(jax.random.wrap_key_data(key), draws)
    return jnp.mean(jax.lax.map(draw, keys), 0) - wrong(w)
