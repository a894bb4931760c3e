r"""d-iso of perceptrons with binary weights: the distance at which the entropy around a typical solution vanishes.

Around a typical solution (kappa_ref = kappa) S(d) = h(d) - C sqrt(d) + o(sqrt(d)), so that nothing lies closer than d-iso (Huang &
Kabashima, arXiv:1408.1784).  Around one of larger margin S > 0 at d -> 0; where a gap with S < 0 follows, d-iso is its far end.
Either way S grows through 0 there.  curve = pair: the smallest distance at which the annealed number of partners exceeds 1.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from replicax.answers.lines.recurrent import isolation
from replicax.answers.thresholds import Augmented, Definition, Options, System, define
from replicax.numerics.brackets import bracketed_root
from replicax.numerics.special import binary_entropy
from replicax.theory.ansatz import RS, FranzParisi, Pair
from replicax.theory.franz_parisi import Around
from replicax.theory.free_entropy import Problem, State, settled
from replicax.theory.models import BinaryPerceptron, SymmetricPerceptron
from replicax.theory.pair import PairCount

#: -2 \int_0^inf log H(-x) dx: what the patterns at the margin cost, per sqrt(d) and their density
_LOSS = 0.955070680
#: h(d)/sqrt(d) is largest about here
_WIDEST = 0.2
_FACTORS = (1.0, 2.0, 0.5, 4.0)


class Isolation(Augmented):
    """S(d) = 0 on the saddle; coordinates: those of the saddle, then log d."""

    nodes = Around.nodes

    def inside(self, x: Array, n: int) -> Array:
        problem, state = self._saddle(x, n)
        slope = problem.columns(state, jnp.zeros(()), n)["slope"]
        return problem.inside(state) & ~problem.missing(state, n) & (slope > 0) & (x[-1] < np.log(0.5))


def _entropy(problem: Problem, state: State, n: int) -> Array:
    return problem.phi(state, n)


def _around(model: Any, options: Options) -> Problem:
    return FranzParisi(d=options["d"], kappa_ref=options["kappa_ref"]).problems(model)[0]


def _small_distances(model: Any, options: Options) -> tuple[Array, ...]:
    """Where h(d) = C sqrt(d), C = _LOSS alpha (density of stabilities of the reference at its margin), and around."""
    margin = options["kappa_ref"]
    reference = model if margin is None else eqx.tree_at(lambda m: m.kappa, model, jnp.asarray(margin, float))
    typical = RS().problems(reference)[0]
    n = typical.nodes // 2
    state = lax.stop_gradient(settled(typical, n, tol=1e-12).state)
    lost = -_LOSS * typical.partial(lambda p: p.model.kappa, state, n)
    law = bracketed_root(
        lambda log_d, lost: jnp.log(binary_entropy(jnp.exp(log_d))) - jnp.log(jnp.abs(lost)) - 0.5 * log_d,
        -300.0,
        np.log(_WIDEST),
        lost,
    )
    d = jnp.where(law.converged, jnp.exp(law.value), _WIDEST)
    return tuple(jnp.minimum(f * d, 0.4) for f in _FACTORS)


_PAIRS = Definition(
    "d",
    True,
    lambda model, options: (isolation(model, options, PairCount.nodes)[0],),
    _entropy,
    lambda *_: {},
    problem=lambda model, options: Pair(d=options["d"]).problems(model)[0],
    absent=lambda model, options, n: ~isolation(model, options, n)[3],
)
_FRANZ_PARISI = Definition(
    "d",
    True,
    _small_distances,
    _entropy,
    lambda problem, state, n: dict(q1=state.order["q1"]),
    problem=_around,
)


def _isolation(model: Any, options: Options) -> Augmented:
    if options.get("curve") == "pair":
        return Augmented(model, options, _PAIRS)
    return Isolation(model, options, _FRANZ_PARISI)


_KAPPA_REF = dict(
    default=None,
    low=-np.inf,
    high=np.inf,
    numeric=True,
    doc="margin of the reference (default: that of the model)",
)
_CURVE = dict(
    default="franz-parisi",
    choices=("franz-parisi", "pair"),
    numeric=False,
    doc="quenched or annealed entropy",
)

define("d-iso", BinaryPerceptron, System("d", _isolation, ("alpha",), dict(kappa_ref=_KAPPA_REF)))
define(
    "d-iso",
    SymmetricPerceptron,
    System("d", _isolation, ("alpha", "kappa"), dict(curve=_CURVE, kappa_ref=_KAPPA_REF)),
)
