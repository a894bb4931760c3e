r"""Perceptrons of any weights and constraint: the map and the functional at k+1 levels of overlaps."""

from typing import Any, ClassVar

import jax.numpy as jnp
from jax import Array

from replicax.theory.ansatz import RS, OneRSB, evaluates, poses, refuse, require
from replicax.theory.free_entropy import Problem, State
from replicax.theory.models import Model, Number, SymmetricPerceptron
from replicax.vocabulary.levels import Level, tower
from replicax.vocabulary.priors import Site, increments

#: a conjugate below this (times alpha) is zero: beta = 0, constraints that ask nothing
TINY = 1e-24


class Bipartite(Problem):
    """Weights on one side, patterns on the other: perceptrons of any prior and factor, at k+1 levels with given m.

    Coordinates: x_i = log of the increment of q^_i per pattern and weight (in units of the multiplier on the sphere), so that alpha = 0 is an
    ordinary point; then b/alpha where the norm of the weights is free.  Without levels (symmetric constraints) q = q^ = 0.
    """

    model: Any
    ms: tuple

    #: nodes per bend for the solution; `solve` starts with half of them and checks with twice as many
    nodes: ClassVar[int] = 128

    @property
    def size(self) -> int:
        return len(self.ms) + (self.model.prior.norm == "free")

    @property
    def counts(self) -> bool:
        return self.model.prior.norm != "spherical"

    def starts(self) -> tuple[Array, ...]:
        """Left of the root: the first iterate of the map, conjugate = squared score at q = 0; then a wide scan."""
        _, (score,), _ = self.model.factor.terminal(jnp.ones(())).derivatives(jnp.zeros(()))
        first = jnp.log(score**2 + TINY)
        return tuple(jnp.full(self.size, x) for x in (first, first + 2.0, first - 3.0, 0.0, 4.0))

    def state(self, x: Array, n: int) -> State:
        model, levels = self.model, len(self.ms)
        alpha = jnp.asarray(model.weight, float)
        free = model.prior.norm == "free"
        b = alpha * x[levels] if free else jnp.zeros(())
        site = model.prior.site(tuple(alpha * jnp.exp(x[i]) for i in range(levels)), b, self.ms, n)
        terminal = model.factor.terminal(site.complement)
        factor = tower(terminal, tuple(Level((v,), m) for v, m in zip(site.overlaps, self.ms)), n)
        asked = increments(factor)
        residual = [
            # log(q^_i/alpha) of the site against that of the factor; the site may rescale its coordinate
            jnp.log(jnp.exp(x[i]) * _ratio(site.conjugates[i], alpha * jnp.exp(x[i])) + TINY)
            - jnp.log(asked[i] + TINY)
            for i in range(levels)
        ]
        if free:
            residual.append(x[levels] - factor.curvature[0])
        q = jnp.cumsum(jnp.stack((*site.overlaps, jnp.zeros(()))))
        q_hat = jnp.cumsum(jnp.stack((*site.conjugates, jnp.zeros(()))))
        order = _named(q[:-1], q_hat[:-1])
        if free:
            order["Q"], order["b"] = site.norm, site.b
        parts = dict(
            site=site,
            replicon=1.0 - alpha * site.curvature2 * factor.curvature2[0],
        )
        return State(order, jnp.stack(residual) if residual else jnp.zeros(0), parts)

    def absent(self, n: int) -> Array:
        """The residual rises from -inf; if it is still negative where q = 1 it has no root (constraints at beta = inf), but for a pair
        just beyond the q -> 1 capacity of binary weights, where it overshoots.
        """
        if len(self.ms) != 1 or self.size != 1:
            return jnp.zeros((), bool)
        return self.state(jnp.full(1, self.model.prior.saturated), n).residual[0] < 0

    def inside(self, state: State, edge: float = 1e-8) -> Array:
        return state.parts["site"].complement > edge * state.parts["site"].norm

    def columns(self, state: State, phi: Array, n: int) -> dict[str, Array]:
        columns = dict(replicon=state.parts["replicon"])
        if hasattr(self.model, "beta"):
            columns["energy"], columns["entropy"] = self.thermal(state, phi, n)
        return columns

    def terms(self, state: State, n: int) -> tuple[Array, ...]:
        site, model = state.parts["site"], self.model
        q = q_hat = coupling = jnp.zeros(())
        for overlap, conjugate, m in zip(site.overlaps, site.conjugates, self.ms):
            coupling = coupling + m * ((q + overlap) * (q_hat + conjugate) - q * q_hat)
            q, q_hat = q + overlap, q_hat + conjugate
        norm = site.norm * site.b if model.prior.norm == "free" else 0.0
        value = model.prior.value(site.conjugates, site.b, self.ms, n)
        levels = tuple(Level((v,), m) for v, m in zip(site.overlaps, self.ms))
        energetic = tower(model.factor.terminal(site.complement), levels, n).value
        return (-0.5 * (q_hat * site.complement + coupling + norm), value, model.weight * energetic)


def _ratio(a: Array, b: Array) -> Array:
    return jnp.where(b > 0, a / jnp.where(b > 0, b, 1.0), 1.0)


def _named(q: Array, q_hat: Array) -> dict[str, Array]:
    """q, q_hat for one level (or none); q0, q1, .. for more."""
    if q.shape[0] <= 1:
        zero = jnp.zeros(())
        return dict(q=q[0] if q.shape[0] else zero, q_hat=q_hat[0] if q.shape[0] else zero)
    return {f"q{i}": v for i, v in enumerate(q)} | {f"q{i}_hat": v for i, v in enumerate(q_hat)}


@poses(RS, Model)
def replica_symmetric(model: Any, ansatz: RS) -> tuple[Problem, ...]:
    """One overlap q; none where weights and constraint are symmetric (q = 0)."""
    if not has_weights(model):
        raise refuse(model, ansatz)
    require(model, "alpha")
    if isinstance(model, SymmetricPerceptron):
        require(model, "kappa")
    symmetric = model.prior.even and model.factor.even
    return (Bipartite(model, () if symmetric else (0.0,)),)


@evaluates(RS, Model)
def _rs_functional(
    model: Any, ansatz: RS, *, q: Number, q_hat: Number | None = None, nodes: int = 256
) -> Array:
    r"""phi(q, q_hat) of binary and user-made weights; on the sphere q_hat defaults to its stationary value q/(1-q)^2."""
    return _functional(model, (q,), (q_hat,), (0.0,), nodes)


@evaluates(OneRSB, Model)
def _one_rsb_functional(
    model: Any,
    ansatz: OneRSB,
    *,
    q0: Number,
    q1: Number,
    q0_hat: Number,
    q1_hat: Number,
    m: Number,
    nodes: int = 128,
) -> Array:
    """phi_1(q0, q1, q0_hat, q1_hat; m) per replica (binary weights)."""
    return _functional(model, (q0, q1), (q0_hat, q1_hat), (0.0, jnp.asarray(m, float)), nodes)


def has_weights(model: Any) -> bool:
    return all(hasattr(model, part) for part in ("prior", "factor", "weight"))


def _functional(model: Any, q: tuple, q_hat: tuple, ms: tuple, n: int) -> Array:
    if not has_weights(model):
        raise ValueError(f"{type(model).__name__} has no functional of these order parameters")
    spherical = model.prior.norm == "spherical"
    if model.prior.norm == "free" or (spherical and len(q) > 1):
        raise ValueError("the functional off the saddle is given for weights w = +-1, and RS on the sphere")
    q = tuple(jnp.asarray(x, float) for x in q)
    if q_hat[-1] is None:
        if not spherical:
            raise ValueError("q_hat is missing (only the sphere has it in closed form)")
        q_hat = (q[0] / (1.0 - q[0]) ** 2,)
    q_hat = tuple(jnp.asarray(x, float) for x in q_hat)
    b = -0.5 * (1.0 + jnp.sqrt(1.0 + 4.0 * q_hat[0])) if spherical else jnp.zeros(())
    overlaps = (q[0], *(y - x for x, y in zip(q[:-1], q[1:])))
    conjugates = (q_hat[0], *(y - x for x, y in zip(q_hat[:-1], q_hat[1:])))
    site = Site(conjugates, b, overlaps, 1.0 - q[-1], jnp.ones(()), jnp.zeros(()))
    return Bipartite(model, ms).phi(State({}, jnp.zeros(0), dict(site=site)), n)
