"""The free entropy as a function of order parameters of the user's choice, off the saddle point."""

from typing import Any

from jax import Array

from replicax.answers.solve import require_float64
from replicax.theory.ansatz import RS, Ansatz


def free_entropy(model: Any, ansatz: Ansatz | type[Ansatz] | None = None, /, **order: Any) -> Array:
    """The functional of a model and ansatz at given order parameters, per weight: differentiable in all of them.

    rx.free_entropy(model, rx.RS(), q=.3, q_hat=.6); rx.free_entropy(model, rx.OneRSB(), q0=.2, q1=.6, q0_hat=.4, q1_hat=1.2, m=.5);
    rx.free_entropy(network, rx.LocalEntropy(q1=.9, y=4.), r1=.3).  Raises ValueError where the ansatz has no explicit functional, TypeError for
    order parameters that it has not.
    """
    require_float64()
    ansatz = RS() if ansatz is None else ansatz() if isinstance(ansatz, type) else ansatz
    return ansatz.functional(model, **order)
