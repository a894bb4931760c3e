r"""Annealed number of partners at distance d of one solution of a perceptron with binary weights.

    S_pair(d) = h(d) + alpha log[P2(rho)/p],   rho = 1 - 2 d,

p = P(Delta satisfied), P2 = P(two stabilities of correlation rho satisfied).  S_pair < 0 at small d proves isolation where planted and
random models are contiguous (Abbe, Li & Sly, arXiv:2102.13069; Perkins & Xu, arXiv:2102.05163); it lies above the quenched Franz-Parisi
entropy.  Aubin, Perkins & Zdeborova, arXiv:1901.00314.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import Array

from replicax.numerics.quadrature import gaussian_rule
from replicax.numerics.special import binary_entropy
from replicax.theory.ansatz import Pair, poses, require
from replicax.theory.free_entropy import Problem, State
from replicax.theory.models import BinaryPerceptron, SymmetricPerceptron
from replicax.vocabulary.limits import INFINITE


class PairCount(Problem):
    """No unknowns.  1 - P2/p is integrated itself: E[w(x) (1 - f(rho x; 1 - rho^2))]/p, the chance of losing the partner."""

    model: Any
    d: Array

    nodes: ClassVar[int] = 96
    size: ClassVar[int] = 0

    def starts(self) -> tuple[Array, ...]:
        return (jnp.zeros(0),)

    def state(self, x: Array, n: int) -> State:
        return State({}, x, {})

    def terms(self, state: State, n: int) -> tuple[Array, ...]:
        d, factor = jnp.asarray(self.d, float), self.model.factor
        rho, spread = 1.0 - 2.0 * d, 2.0 * jnp.sqrt(d * (1.0 - d))
        kinks = tuple(jnp.asarray(k, float) for k in factor.kinks())
        # panels end at the jumps of the constraint, and resolve the rest within `spread` of them
        rule = gaussian_rule(kinks, (spread,) * len(kinks), n, moving=True)
        inside = jnp.exp(factor.log_weight(rule.nodes))
        total = jnp.exp(factor.log_partition(jnp.zeros(()), jnp.ones(())))
        lost = -jnp.expm1(factor.log_partition(rho * rule.nodes, spread**2))
        share = jnp.sum(rule.weights * inside * lost) / total
        return (binary_entropy(d), jnp.asarray(self.model.alpha) * jnp.log1p(-share))

    def columns(self, state: State, phi: Array, n: int) -> dict[str, Array]:
        slope = jax.jvp(
            lambda d: PairCount(self.model, d).phi(state, n), (self.d,), (jnp.ones_like(self.d),)
        )[1]
        return dict(entropy=phi, slope=slope)


def _pairs(model: Any, ansatz: Pair) -> tuple[Problem, ...]:
    require(model, "alpha", "kappa")
    if getattr(model, "beta", INFINITE) is not INFINITE or getattr(model, "labels", "random") != "random":
        raise ValueError("beta, labels: pairs of solutions are counted at beta = inf and random labels")
    return (PairCount(model, jnp.asarray(ansatz.d, float)),)


poses(Pair, SymmetricPerceptron)(_pairs)
poses(Pair, BinaryPerceptron)(_pairs)
