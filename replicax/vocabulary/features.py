r"""Random features by Gaussian equivalence: what is left of an activation sigma when the number of features is large,

    sigma(F^T x/sqrt(D)) -> mu0 + mu1 F^T x/sqrt(D) + mu* z,      z ~ N(0, 1) independent,
    mu0 = <s(g)>,   mu1 = <g s(g)>,   mu*^2 = <(s(g) - mu0 - mu1 g)^2>,      g ~ N(0, 1).

Mei & Montanari, arXiv:1908.05355; Goldt et al., arXiv:2006.14709; Gerace et al., arXiv:2002.09339.  mu0 acts as a bias and drops out
for symmetric labels (the theory is that of centred features).
"""

import abc
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from replicax.vocabulary.limits import is_concrete

_RANGE, _PANELS, _DEPTH, _BLOCK = 14.0, 28, 60, 256
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)
#: integrals over a panel and over its halves may differ by this, relative to the whole
_EXACT = 4e-16
#: mustar of a linear function is rounding
_ROUNDING = 1e-14

#: the activations with a name, and where they are not smooth
NAMED: dict[str, tuple[Callable[[Array], Array], tuple[float, ...]]] = {
    "sign": (jnp.sign, (0.0,)),
    "tanh": (jnp.tanh, ()),
    "relu": (lambda g: jnp.maximum(g, 0.0), (0.0,)),
    "erf": (jax.scipy.special.erf, ()),
    "gelu": (lambda g: g * jax.scipy.special.ndtr(g), ()),
    "identity": (lambda g: g, ()),
}


class ActivationName(str):
    """The name of an activation, as a pytree without leaves: part of the structure of a model."""


jax.tree_util.register_pytree_node(
    ActivationName, lambda name: ((), str(name)), lambda name, _: ActivationName(name)
)


class Activation(eqx.Module):
    """An activation with parameters (arrays: then its shape can be differentiated, and arrays of shapes are a batch of activations).
    Subclasses give `__call__`, elementwise on arrays at parameters that are numbers, and `kinks`, where it or its first derivatives jump.
    """

    @abc.abstractmethod
    def __call__(self, g: Array) -> Array:
        """sigma(g)."""

    @property
    def kinks(self) -> tuple[float, ...]:
        return ()


class _Function(Activation):
    """A function of the user's; kinks and steps are found."""

    function: Callable = eqx.field(static=True)

    def __call__(self, g: Array) -> Array:
        return self.function(g)


def as_activation(given: Any) -> Any:
    """A name, a function of arrays, or an `Activation`, as a field of a model.  (An unknown name is left for the check of the model.)"""
    if isinstance(given, str):
        return ActivationName(given) if given in NAMED else given
    return given if isinstance(given, Activation) or not callable(given) else _Function(given)


class Coefficients(NamedTuple):
    """mu0, mu1 and mu* of an activation; what a Gaussian equivalent knows of it.  Absolute error below 1e-13."""

    mu0: Array
    mu1: Array
    mustar: Array


def coefficients(activation: Any) -> Coefficients:
    """The coefficients of a name, an `Activation` or a function; differentiable in the arrays of an `Activation`."""
    activation = as_activation(activation)
    if isinstance(activation, ActivationName):
        return _of_name(str(activation))
    if isinstance(activation, _Function):
        return _of_function(activation.function)
    edges = _edges(activation.kinks)
    one = lambda given: _integrated(given, edges)
    shape = jnp.broadcast_shapes(*(jnp.shape(x) for x in jax.tree.leaves(activation)))
    for _ in shape:
        one = jax.vmap(one)
    return one(jax.tree.map(lambda x: jnp.broadcast_to(jnp.asarray(x, float), shape), activation))


def apply(activation: Any, g: Array) -> Array:
    """sigma(g) of a name, an `Activation` or a function."""
    activation = as_activation(activation)
    return NAMED[activation][0](g) if isinstance(activation, ActivationName) else activation(g)


@functools.cache
def _of_name(name: str) -> Coefficients:
    function, kinks = NAMED[name]
    return _constants(function, _edges(kinks))


@functools.lru_cache(maxsize=256)
def _of_function(function: Callable) -> Coefficients:
    return _constants(function, _refined(function, _edges(())))


def _constants(function: Callable, edges: np.ndarray) -> Coefficients:
    with jax.ensure_compile_time_eval():
        return Coefficients(*(np.float64(x) for x in _integrated(function, edges)))  # type: ignore[arg-type]


def _edges(kinks: tuple[float, ...]) -> np.ndarray:
    return np.unique(np.concatenate([np.linspace(-_RANGE, _RANGE, _PANELS + 1), np.asarray(kinks, float)]))


def _rule(edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of a Gaussian average on Gauss-Legendre panels, each of shape (panels, nodes)."""
    half, middle = 0.5 * np.diff(edges)[:, None], 0.5 * (edges[1:] + edges[:-1])[:, None]
    g = middle + half * _NODES
    return g, half * _WEIGHTS * np.exp(-0.5 * g * g) / np.sqrt(2.0 * np.pi)


def _integrated(function: Callable, edges: np.ndarray) -> Coefficients:
    """The nonlinear part as the norm of what is left: no cancellation for nearly linear activations."""
    g, weights = _rule(edges)
    s = jnp.asarray(function(jnp.asarray(g)), float)
    mean = lambda x: jnp.sum(weights * x)
    mu0, mu1 = mean(s), mean(g * s)
    square = mean((s - mu0 - mu1 * g) ** 2)
    some = square > _ROUNDING**2 * mean(s * s)
    return Coefficients(mu0, mu1, jnp.where(some, jnp.sqrt(jnp.where(some, square, 1.0)), 0.0))


def _refined(function: Callable, edges: np.ndarray) -> np.ndarray:
    """Edges of panels, halved wherever the halves disagree with the whole: kinks and steps are enclosed to rounding."""

    def parts(edges: np.ndarray) -> np.ndarray:
        g, weights = _rule(edges)
        padded = np.concatenate([g, np.zeros((-len(g) % _BLOCK, g.shape[1]))])  # one shape: one compilation
        with jax.ensure_compile_time_eval():
            s = np.asarray(function(jnp.asarray(padded)), float)
        if s.shape != padded.shape:
            raise ValueError(f"activation: expected an elementwise function, got {padded.shape} -> {s.shape}")
        s = s[: len(g)]
        if not np.all(np.isfinite(s)):
            raise ValueError(f"activation is not finite at {g[~np.isfinite(s)][0]:g}")
        return np.stack([np.sum(weights * x, -1) for x in (s, g * s, s * s, np.abs(s))])

    for _ in range(_DEPTH):
        middles = 0.5 * (edges[1:] + edges[:-1])
        whole, halves = parts(edges), parts(np.sort(np.concatenate([edges, middles])))
        off = np.abs(whole - halves[:, ::2] - halves[:, 1::2]).max(0)
        split = (off > _EXACT * np.abs(whole).sum(1).max()) & (np.diff(edges) > 1e-15)
        if not split.any():
            break
        edges = np.sort(np.concatenate([edges, middles[split]]))
    return edges


def check_activation(activation: Any) -> None:
    """ValueError for an activation that transmits nothing."""
    if not isinstance(activation, (ActivationName, Activation)):
        return
    found = coefficients(activation)
    if not all(is_concrete(x) for x in found):
        return
    if np.any(np.maximum(np.abs(found.mu1), found.mustar) < _ROUNDING):
        raise ValueError("activation: mu1 = mu* = 0, a constant feature carries nothing")
