r"""Ansätze: which overlaps exist.  An ansatz turns a model into a *problem* (`theory.free_entropy`), or says that it cannot.

`problems(model)` gives the map to solve; `functional(model, **order)` evaluates the free entropy at order parameters of the user's
choice, off the saddle, differentiably.
"""

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jax import Array

from replicax.theory.free_entropy import (
    Bipartite,
    FirstMoment,
    Problem,
    ReplicaCluster,
    ReplicaClusterLimit,
    ReplicaClusterStar,
    State,
)
from replicax.theory.ground_state import GroundState
from replicax.theory.models import (
    Number,
    RecurrentNetwork,
    SphericalPerceptron,
    SymmetricPerceptron,
    check_fields,
    choice,
    parameter,
)
from replicax.vocabulary.limits import INFINITE, STAR, is_concrete
from replicax.vocabulary.priors import Site


def _has_weights(model: Any) -> bool:
    return all(hasattr(model, part) for part in ("prior", "factor", "weight"))


def _require(model: Any, *names: str) -> None:
    for name in names:
        if getattr(model, name) is None:
            raise ValueError(f"{name} is missing: {type(model).__name__} needs {name}=...")


def _refuse(model: Any, ansatz: Any, where: str) -> ValueError:
    name = getattr(model, "name", "") or type(model).__name__
    return ValueError(f"ansatz {ansatz.name!r} is not available for {name}: it needs {where}")


class Ansatz(eqx.Module):
    """Base of all ansätze."""

    name: ClassVar[str] = ""
    sources: ClassVar[tuple[str, ...]] = ()

    def __check_init__(self) -> None:
        check_fields(self)

    def problems(self, model: Any) -> tuple[Problem, ...]:
        """The problems to solve for this model; the first one that has a solution is the answer."""
        raise _refuse(model, self, "another model")

    def functional(self, model: Any, **order: Any) -> Array:
        raise _refuse(model, self, "a model with an explicit functional")


class RS(Ansatz):
    """Replica symmetry: one overlap q (q = 0 where the constraint is symmetric; the first moment for the recurrent network)."""

    name: ClassVar[str] = "rs"

    def problems(self, model: Any) -> tuple[Problem, ...]:
        if isinstance(model, RecurrentNetwork):
            _require(model, "J_D")
            return (FirstMoment(model),)
        if not _has_weights(model):
            raise _refuse(model, self, "a perceptron or a recurrent network")
        _require(model, "alpha")
        if isinstance(model, SymmetricPerceptron):
            _require(model, "kappa")
        symmetric = model.prior.even and model.factor.even
        return (Bipartite(model, () if symmetric else (0.0,)),)

    def functional(self, model: Any, *, q: Number, q_hat: Number | None = None, nodes: int = 256) -> Array:
        r"""phi(q, q_hat) of binary and user-made weights; on the sphere q_hat defaults to its stationary value q/(1-q)^2."""
        return _functional(model, (q,), (q_hat,), (0.0,), nodes)


class OneRSB(Ansatz):
    """One step of replica symmetry breaking: q0 <= q1, Parisi parameter m.  (Here: the functional off its saddle point.)"""

    name: ClassVar[str] = "1rsb"

    def problems(self, model: Any) -> tuple[Problem, ...]:
        raise ValueError(
            "ansatz '1rsb' is a functional here: evaluate it with rx.free_entropy(model, rx.OneRSB(), q0=.., ..)"
        )

    def functional(
        self,
        model: Any,
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


def _functional(model: Any, q: tuple, q_hat: tuple, ms: tuple, n: int) -> Array:
    if not _has_weights(model):
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


class KRSB(Ansatz):
    """k steps of replica symmetry breaking on the sphere.  k = 0 is RS; above capacity (beta = inf) it is the ground state."""

    name: ClassVar[str] = "krsb"

    k: int = eqx.field(
        default=0, static=True, metadata=dict(doc="number of steps", numeric=False, choices=(0,))
    )

    def problems(self, model: Any) -> tuple[Problem, ...]:
        if not isinstance(model, SphericalPerceptron):
            raise _refuse(model, self, "spherical-perceptron")
        _require(model, "alpha")
        below = RS().problems(model)
        return (*below, GroundState(model)) if model.beta is INFINITE else below


class LocalEntropy(Ansatz):
    r"""y replicas at mutual distance d = (1-q1)/2: the large-deviation local entropy of Baldassi et al., PRL 115 (2015) 128101,
    arXiv:1509.05753; Monasson, PRL 75 (1995) 2847.

    d or q1: the control; y: number of replicas (inf: the limit, as its own functional).  Results: phi = Phi/y per replica,
    entropy = S_I = d(y phi)/dy, S_E = y (phi - S_I), slope = d phi/d(control) at fixed y.
    """

    name: ClassVar[str] = "local-entropy"
    sources: ClassVar[tuple[str, ...]] = ("baldassi2015", "monasson1995")

    d: Number | None = parameter(
        None, low=0.0, high=0.5, open_low=True, doc="distance (1-q1)/2 between the replicas"
    )
    q1: Number | None = parameter(None, low=0.0, high=1.0, doc="overlap of the replicas")
    y: Number | str = parameter(
        INFINITE,
        low=0.0,
        open_low=True,
        infinite=True,
        words=("star",),
        doc="number of replicas; star: the y with S_E = 0",
    )
    ensemble: str = choice("replicas", doc="which points are constrained to be close")

    def __check_init__(self) -> None:
        if (self.d is None) == (self.q1 is None):
            raise ValueError("d, q1: give exactly one of them")
        for name, value, edge in (("q1", self.q1, (0.0, 1.0)), ("d", self.d, (0.5,))):
            if (
                value is not None
                and is_concrete(value)
                and any(bool(jnp.any(jnp.asarray(value) == e)) for e in edge)
            ):
                ends = " and ".join(f"{e:g}" for e in edge)
                raise ValueError(
                    f"{name} = {ends}: the replicas are free or identical there; take {name} inside its range"
                )

    @property
    def overlap(self) -> Number:
        return 1.0 - 2.0 * self.d if self.q1 is None else self.q1  # type: ignore[operator]

    def problems(self, model: Any) -> tuple[Problem, ...]:
        if not isinstance(model, RecurrentNetwork):
            raise _refuse(model, self, "recurrent-network")
        _require(model, "J_D")
        if model.N is not INFINITE:
            raise ValueError("N: local entropies are limits N = inf")
        for name in ("eta", "field"):
            value = getattr(model, name)
            if is_concrete(value) and bool(jnp.any(jnp.asarray(value) != 0)):
                raise ValueError(f"{name}: the replicated count is known for {name} = 0 only")
            model = eqx.tree_at(
                lambda m: m.J_D, model, jnp.where(jnp.asarray(value) == 0, model.J_D, jnp.nan)
            )
        scale = 1.0 if self.d is None else -2.0
        if self.y is INFINITE:
            return (ReplicaClusterLimit(model, self.overlap, scale),)  # type: ignore[arg-type]
        if self.y is STAR:
            return (ReplicaClusterStar(model, self.overlap, scale),)  # type: ignore[arg-type]
        return (ReplicaCluster(model, self.overlap, self.y, scale),)  # type: ignore[arg-type]

    def functional(self, model: Any, *, r1: Number, nodes: int = 192) -> Array:
        """Phi(m = y, q1) of the recurrent network at a given conjugate r1 (finite y)."""
        (problem,) = self.problems(model)
        if not isinstance(problem, ReplicaCluster):
            raise ValueError("y: the functional of r1 exists for a finite number of replicas")
        return problem.phi(State({}, jnp.zeros(0), dict(r1=jnp.asarray(r1, float))), nodes)
