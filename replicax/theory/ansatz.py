r"""Ansätze: which overlaps exist.  An ansatz is a name with parameters; which *problem* (`theory.free_entropy`) it poses for a
model is said where the physics of that model is:

    @poses(RS, RecurrentNetwork)
    def first_moment(model, ansatz): return (FirstMoment(model),)

registers the problems to solve (the first one that has a solution is the answer), `@evaluates(ansatz, model)` the free entropy at
order parameters of the user's choice, off the saddle.  The most special model of a class hierarchy wins.
"""

import functools
import importlib
import pkgutil
from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import numpy as np
from jax import Array

from replicax.theory.models import Number, check_fields, choice, parameter
from replicax.vocabulary.limits import INFINITE, is_concrete

_PROBLEMS: dict[tuple[type, type], Callable] = {}
_FUNCTIONALS: dict[tuple[type, type], Callable] = {}


def poses(ansatz: type, model: type) -> Callable:
    """Register (model, ansatz) -> tuple of problems."""

    def register(function: Callable) -> Callable:
        _PROBLEMS[ansatz, model] = function
        return function

    return register


def evaluates(ansatz: type, model: type) -> Callable:
    """Register (model, ansatz, **order parameters) -> value of the functional."""

    def register(function: Callable) -> Callable:
        _FUNCTIONALS[ansatz, model] = function
        return function

    return register


@functools.cache
def _everything() -> None:
    """Import the rooms of the theory, so that what they register is known."""
    package = importlib.import_module("replicax.theory")
    for room in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"replicax.theory.{room.name}")


def _registered(table: dict[tuple[type, type], Callable], ansatz: Any, model: Any) -> Callable:
    _everything()
    for kind in type(ansatz).__mro__:
        for owner in type(model).__mro__:
            if (kind, owner) in table:
                return table[kind, owner]
    raise refuse(model, ansatz)


def refuse(model: Any, ansatz: Any) -> ValueError:
    """The error for a model that the ansatz says nothing about."""
    name = getattr(model, "name", "") or type(model).__name__
    return ValueError(f"ansatz {ansatz.name!r} is not available for {name}")


def require(model: Any, *names: str) -> None:
    for name in names:
        if getattr(model, name) is None:
            raise ValueError(f"{name} is missing: {type(model).__name__} needs {name}=...")


class Ansatz(eqx.Module):
    """Base of all ansätze."""

    name: ClassVar[str] = ""
    sources: ClassVar[tuple[str, ...]] = ()

    def __check_init__(self) -> None:
        check_fields(self)

    def problems(self, model: Any) -> tuple[Any, ...]:
        """The problems to solve for this model; the first one that has a solution is the answer."""
        return _registered(_PROBLEMS, self, model)(model, self)

    def preference(self, columns: dict[str, Array], order: dict[str, Array]) -> Array | None:
        """Which of several solutions is the answer: the one that has the most of this.  None: the first problem that has one."""
        return None

    def present(self, columns: dict[str, Array]) -> dict[str, Array]:
        """The columns of the answer as this ansatz names them."""
        return columns

    def functional(self, model: Any, **order: Any) -> Array:
        """The free entropy at given order parameters."""
        return _registered(_FUNCTIONALS, self, model)(model, self, **order)


class RS(Ansatz):
    """Replica symmetry: one overlap q (q = 0 where the constraint is symmetric; the first moment for the recurrent network).

    Where a teacher made the labels there may be several solutions: branch = low (smaller R) or high, otherwise the one of largest phi.
    """

    name: ClassVar[str] = "rs"

    branch: str | None = eqx.field(
        default=None,
        static=True,
        metadata=dict(
            choices=(None, "low", "high"), numeric=False, doc="smaller or larger R (else: larger phi)"
        ),
    )

    def preference(self, columns: dict[str, Array], order: dict[str, Array]) -> Array | None:
        if "R" not in order:
            return None
        return {None: columns["phi"], "low": -order["R"], "high": order["R"]}[self.branch]


class OneRSB(Ansatz):
    """One step of replica symmetry breaking: q0 <= q1, Parisi parameter m; of m and q1 those not given are stationary.

    Given q1 at given m, phi is that of m = y replicas (`LocalEntropy`); at stationary m it has zero complexity, S_E = 0.
    """

    name: ClassVar[str] = "1rsb"

    m: Number | None = parameter(None, low=0.0, open_low=True, doc="Parisi parameter (default: stationary)")
    q1: Number | None = parameter(
        None, low=0.0, high=1.0, open_low=True, doc="overlap inside a cluster (default: stationary)"
    )

    def preference(self, columns: dict[str, Array], order: dict[str, Array]) -> Array | None:
        """At given m, of clusters of many configurations and of one, the kind with more weight."""
        return columns["phi"] if self.m is not None and self.q1 is None else None

    def present(self, columns: dict[str, Array]) -> dict[str, Array]:
        """m of what is known as y replicas."""
        return columns | dict(m=columns["y"]) if "y" in columns else columns


class KRSB(Ansatz):
    """k steps of replica symmetry breaking on the sphere.  k = 0 is RS, k = inf full breaking: x(q) solved on two grids of x, with the limit
    and its error.  Above capacity (beta = inf) it is the ground state.

    extended: m_1, m_2, .. in any order, x(q) not monotone: what incremental algorithms are expected to see, El Alaoui & Sellke, arXiv:2010.15811.
    Lower where overlaps have a gap.  The lowest of the minima that the search finds; further ones may exist.
    """

    name: ClassVar[str] = "krsb"

    k: int | float = eqx.field(
        default=0,
        static=True,
        metadata=dict(doc="number of steps", numeric=False, choices=(*range(7), float("inf"))),
    )
    extended: bool = eqx.field(
        default=False,
        static=True,
        metadata=dict(doc="m_1, m_2, .. in any order", numeric=False, choices=(False, True)),
    )

    def __check_init__(self) -> None:
        super().__check_init__()
        if self.extended and self.k == float("inf"):
            raise ValueError("extended = True: known for a finite number of steps, not for k = inf")


class Frozen(Ansatz):
    """Above capacity: every configuration is its own cluster (q1 = 1), at the freezing temperature beta_c (m beta = beta_c).

    The energy is that of the RS solution at beta_c and stays there for every larger beta.  Krauth & Mezard, J. Phys. France 50 (1989) 3057.
    """

    name: ClassVar[str] = "frozen"
    sources: ClassVar[tuple[str, ...]] = ("krauth1989",)


class FranzParisi(Ansatz):
    """Entropy of the solutions at distance d of a typical reference with margin kappa_ref: S(d), the column `entropy`.

    Franz & Parisi, J. Phys. I France 5 (1995) 1401; Huang & Kabashima, Phys. Rev. E 90 (2014) 052813, arXiv:1408.1784; Baldassi et al.,
    PRL 127 (2021) 278301, arXiv:2107.01163.
    """

    name: ClassVar[str] = "franz-parisi"
    sources: ClassVar[tuple[str, ...]] = ("huang2014", "baldassi2021")

    d: Number | None = parameter(
        None, low=0.0, high=0.5, open_low=True, doc="distance (1 - overlap)/2 from the reference"
    )
    kappa_ref: Number | None = parameter(None, doc="margin of the reference (default: that of the model)")

    def __check_init__(self) -> None:
        super().__check_init__()
        require(self, "d")


class Pair(Ansatz):
    """Annealed number of partners at distance d of one solution: (1/N) log E[pairs]/E[solutions], the column `entropy`."""

    name: ClassVar[str] = "pair"

    d: Number | None = parameter(None, low=0.0, high=1.0, open_low=True, doc="Hamming distance per weight")

    def __check_init__(self) -> None:
        super().__check_init__()
        require(self, "d")


class Interpolation(Ansatz):
    """Normalised means of typical solutions, gamma W_1 + (1-gamma) W_2 or that of y > 2 with equal weights: their `train_error`.

    The fraction of patterns that violate the margin kappa of the model, which is that of W_1 (of all for y > 2); kappa_ref is that of W_2.
    Annesi et al., PRL 131 (2023) 227301, arXiv:2305.10623.
    """

    name: ClassVar[str] = "interpolation"
    sources: ClassVar[tuple[str, ...]] = ("annesi2023",)

    y: Number = parameter(2.0, low=2, infinite=True, integer=True, doc="number of solutions")
    gamma: Number | None = parameter(None, low=0.0, high=1.0, doc="weight of W_1, y = 2 (default: 1/2)")
    kappa_ref: Number | None = parameter(None, doc="margin of W_2, y = 2 (default: that of the model)")

    def __check_init__(self) -> None:
        super().__check_init__()
        for name, value in (("gamma", self.gamma), ("kappa_ref", self.kappa_ref)):
            if value is not None and (
                self.y is INFINITE or (is_concrete(self.y) and np.any(np.asarray(self.y) != 2))
            ):
                raise ValueError(
                    f"{name} = {value}: the weights and margins of y = {self.y} > 2 solutions are equal; leave it out"
                )


class LocalEntropy(Ansatz):
    r"""y replicas close to each other (d = (1-q1)/2) or to a reference (d = (1-S)/2): the large-deviation local entropy of
    Baldassi et al., PRL 115 (2015) 128101, arXiv:1509.05753; Monasson, PRL 75 (1995) 2847.

    d or q1: the control; y: number of replicas (inf: the limit, as its own functional).  Results: phi = Phi/y per replica,
    entropy = S_I = d(y phi)/dy, S_E = y (phi - S_I), slope = d phi/d(control) at fixed y.  Where S_E < 0 there is no such group: S_I is an upper
    bound, which may exceed phi_RS (where S_E >= 0, too, references break replica symmetry: status "unstable (replicon)").  Around a reference of
    binary weights at given d branch says whether references with many solutions dominate (dense), those with one do (metastable), or only those
    exist (frozen).

    branch = core | large-d: where several of those coexist, the one of the dense core around the reference (larger q1) or the other.

    gamma: the coupling of the soft form, whose Legendre transform in the distance this is.  With d(W, W') = |W - W'|^2/2 = N (1 - W.W'/N), twice
    the Hamming distance (W = +-1), a weight exp(-(gamma/2) sum_a d(W_a, W~)) of the reference, or exp(-(gamma/2) sum_{a<b} d(W_a, W_b)) without
    one, has this distance at gamma = d phi/d((1-S)/2), or at -(4/(y-1)) d phi/dq1.  Then (1/N) E log Z = y phi - gamma y (1-S)/2, or
    y phi - gamma y (y-1) (1-q1)/4.  Where gamma falls as d grows the soft form jumps over these distances.
    """

    name: ClassVar[str] = "local-entropy"
    sources: ClassVar[tuple[str, ...]] = ("baldassi2015", "monasson1995")

    d: Number | None = parameter(
        None, low=0.0, high=0.5, open_low=True, doc="distance between the replicas, or from the reference"
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
    ensemble: str = choice(
        "replicas",
        "reference",
        "constrained",
        doc="what is close: replicas, or they and any reference, or one that is a solution",
    )
    kappa_ref: Number | None = parameter(
        None, doc="margin of the reference, ensemble = constrained (default: that of the model)"
    )

    centre: str | None = eqx.field(
        default=None,
        static=True,
        metadata=dict(
            choices=(None, "annealed", "quenched"),
            numeric=False,
            doc="replicas: number of clusters averaged over the instances (q0 = 0), or typical instances (q0 stationary); "
            "default: recurrent networks annealed, perceptrons quenched",
        ),
    )
    branch: str | None = eqx.field(
        default=None,
        static=True,
        metadata=dict(
            choices=(None, "core", "large-d"),
            numeric=False,
            doc="reference: of several saddles that of largest or smallest q1 (else: of larger Phi)",
        ),
    )

    def __check_init__(self) -> None:
        if (self.d is None) == (self.q1 is None):
            raise ValueError("d, q1: give exactly one of them")
        if self.centre is not None and self.ensemble != "replicas":
            raise ValueError(f"centre = {self.centre}: a property of ensemble = replicas")
        if self.kappa_ref is not None and self.ensemble != "constrained":
            raise ValueError(
                f"kappa_ref = {self.kappa_ref}: the margin of a reference with ensemble = constrained"
            )
        if self.branch is not None and (self.ensemble != "reference" or self.y is INFINITE):
            raise ValueError(
                f"branch = {self.branch}: known around any reference, ensemble = reference, at finite y or y = star"
            )
        for name, value, edge in (("q1", self.q1, (0.0, 1.0)), ("d", self.d, (0.5,))):
            if (
                value is not None
                and is_concrete(value)
                and any(bool(np.any(np.asarray(value) == e)) for e in edge)
            ):
                ends = " and ".join(f"{e:g}" for e in edge)
                raise ValueError(
                    f"{name} = {ends}: the replicas are free or identical there; take {name} inside its range"
                )

    def preference(self, columns: dict[str, Array], order: dict[str, Array]) -> Array | None:
        """At y = inf around any reference: the replicas around it or away from it that are most."""
        known = self.ensemble == "reference" and self.y is INFINITE and "R" not in order
        return columns["phi"] if known else None

    @property
    def overlap(self) -> Number:
        return 1.0 - 2.0 * self.d if self.q1 is None else self.q1  # type: ignore[operator]

    def require_quenched(self) -> None:
        """For models whose q0 is always stationary."""
        if self.centre == "annealed":
            raise ValueError("centre = annealed: known for recurrent networks; q0 is stationary here")

    @property
    def scale(self) -> float:
        """d(q1)/d(control)."""
        return 1.0 if self.d is None else -2.0
