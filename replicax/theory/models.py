r"""Models: what the researcher names.  Pytrees of parameters; what they mean is a prior, a factor and the labels, nothing else.

Any numeric field may be an array, traced, vmapped or differentiated.  Parameters are checked where their values are known; a bad one
raises ValueError at construction, naming the argument, its value and the allowed range.
"""

import dataclasses
from collections.abc import Callable, Collection
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from replicax.vocabulary.factors import Errors, Factor, HardMargin, Rectangle, SquaredHinge, UFunction
from replicax.vocabulary.features import (
    NAMED,
    Activation,
    ActivationName,
    Coefficients,
    as_activation,
    check_activation,
    coefficients,
)
from replicax.vocabulary.labels import Labels, Teacher
from replicax.vocabulary.limits import INFINITE, is_concrete, number
from replicax.vocabulary.losses import LOSSES, Loss, as_loss
from replicax.vocabulary.priors import Binary, Prior, Spherical
from replicax.vocabulary.recurrent import FixedPointCount, PairField
from replicax.vocabulary.spectra import MarchenkoPastur, Spectrum

Number = ArrayLike | Array


def parameter(
    default: Any = dataclasses.MISSING, *, low: float = -np.inf, high: float = np.inf, doc: str, **flags
) -> Any:
    """A numeric field with its closed range and one line of documentation.

    flags: `open_low` (low itself is excluded), `infinite` (inf allowed), `integer`, `words` (allowed in place of a number), `optional` (None may
    stay None: another parameter stands for it).  (Any field: `plain`, what a simulation is told of a value; ValueError: it cannot be.)
    """
    return eqx.field(
        default=default, converter=number, metadata=dict(low=low, high=high, doc=doc, numeric=True, **flags)
    )


def choice(*options: str, doc: str) -> Any:
    """A field with a fixed list of values, the first of which is the default."""
    return eqx.field(default=options[0], static=True, metadata=dict(choices=options, doc=doc, numeric=False))


def allowed_range(meta) -> str:
    """The allowed range of a numeric field in words, for messages and for `replicax list`."""
    left = "(" if meta.get("open_low") or meta["low"] == -np.inf else "["
    right = "]" if meta.get("infinite") or meta["high"] < np.inf else ")"
    kind = "an integer in " if meta.get("integer") else ""
    words = "".join(f" or {w}" for w in meta.get("words", ()))
    return f"{kind}{left}{meta['low']:g}, {meta['high']:g}{right}{words}"


def check_parameter(name: str, value: Any, meta) -> None:
    """Raise ValueError unless the known numbers in `value` lie in the range of the field."""
    if isinstance(value, str) and value not in meta.get("words", ()):
        raise ValueError(f"{name} = {value!r}: expected a number in {allowed_range(meta)}")
    if value is None or not is_concrete(value):
        return
    x = np.asarray(value)
    if x.dtype.kind not in "fiub":
        raise ValueError(f"{name} = {value!r}: expected a number in {allowed_range(meta)}")
    bad = np.isnan(x) | (x < meta["low"]) | (np.isfinite(x) & (x > meta["high"]))
    if meta.get("open_low"):
        bad = bad | (x == meta["low"])
    if not meta.get("infinite"):
        bad = bad | np.isinf(x)
    if meta.get("integer"):
        bad = bad | (np.isfinite(x) & (x != np.round(x)))
    if np.any(bad):
        raise ValueError(f"{name} = {x[bad].flat[0]:g} is outside the allowed range {allowed_range(meta)}")


def check_fields(obj: Any) -> None:
    """Check every field of a model or an ansatz against its metadata."""
    for field in dataclasses.fields(obj):
        value, meta = getattr(obj, field.name), field.metadata
        if "choices" in meta and not isinstance(value, meta.get("own", ())) and value not in meta["choices"]:
            raise ValueError(f"{field.name} = {value!r} is not one of {', '.join(map(str, meta['choices']))}")
        if meta.get("numeric"):
            check_parameter(field.name, value, meta)


class Model(eqx.Module):
    """Base of all models: a name for the registry, and checked parameters."""

    name: ClassVar[str] = ""
    #: (authors, title, journal, year, arXiv or doi) keys of `replicax.top.cite`
    sources: ClassVar[tuple[str, ...]] = ()

    def __check_init__(self) -> None:
        check_fields(self)


class Perceptron(Model):
    r"""A perceptron with any weights and any constraint.

        phi = (1/N) E log sum_W P(W) prod_mu exp(-beta l(Delta^mu)),   Delta^mu = W.xi^mu/sqrt(N),   P = alpha N patterns.

    alpha: patterns per weight; prior: `Prior` of one weight; factor: `Factor` on one stability; labelling: `Labels`, None for random
    ones.
    """

    alpha: Number = parameter(low=0.0, doc="patterns per weight, P/N")
    prior: Prior  # pyright: ignore[reportGeneralTypeIssues]
    factor: Factor  # pyright: ignore[reportGeneralTypeIssues]
    labelling: Labels | None = None

    @property
    def weight(self) -> Number:
        """The factor of a factor term: patterns per weight."""
        return self.alpha


class BinaryPerceptron(Model):
    r"""W in {-1, +1}^N, constraint Delta^mu >= kappa; beta counts errors (inf: solutions only).

    phi counts weights (phi = log 2 at alpha = 0).  Krauth & Mezard, J. Phys. France 50 (1989) 3057; Gardner & Derrida,
    J. Phys. A 21 (1988) 271.  Raises ValueError for alpha < 0, beta < 0 and anything that is not a number.
    """

    name: ClassVar[str] = "binary-perceptron"
    sources: ClassVar[tuple[str, ...]] = ("krauth1989", "gardner1988")

    alpha: Number | None = parameter(None, low=0.0, doc="patterns per weight, P/N")
    kappa: Number = parameter(0.0, doc="margin")
    beta: Number = parameter(
        INFINITE, low=0.0, infinite=True, doc="inverse temperature of the number of errors"
    )
    labels: str = choice("random", "teacher", doc="how labels are made")

    @property
    def labelling(self) -> Labels | None:
        return Teacher() if self.labels == "teacher" else None

    @property
    def prior(self) -> Prior:
        return Binary()

    @property
    def factor(self) -> Factor:
        return HardMargin(self.kappa) if self.beta is INFINITE else Errors(self.kappa, self.beta)

    @property
    def weight(self) -> Number:
        return self.alpha  # type: ignore[return-value]


class SymmetricPerceptron(Model):
    r"""Binary weights, |Delta| <= kappa (rectangle) or |Delta| >= kappa (u).

    By W -> -W symmetry q = 0: phi = log 2 + alpha log p(kappa).  Aubin, Perkins & Zdeborova, J. Phys. A 52 (2019) 294003,
    arXiv:1901.00314.
    """

    name: ClassVar[str] = "symmetric-perceptron"
    sources: ClassVar[tuple[str, ...]] = ("aubin2019",)

    alpha: Number | None = parameter(None, low=0.0, doc="patterns per weight, P/N")
    kappa: Number | None = parameter(None, low=0.0, open_low=True, doc="margin")
    constraint: str = choice("rectangle", "u", doc="|Delta| <= kappa or |Delta| >= kappa")

    @property
    def prior(self) -> Prior:
        return Binary()

    @property
    def factor(self) -> Factor:
        return (Rectangle if self.constraint == "rectangle" else UFunction)(self.kappa)  # type: ignore[arg-type]

    @property
    def weight(self) -> Number:
        return self.alpha  # type: ignore[return-value]


class SphericalPerceptron(Model):
    r"""W on the sphere |W|^2 = N, constraint Delta^mu >= kappa of either sign.

    phi is the log of the *fraction* of the sphere (phi = 0 at alpha = 0); add log(2 pi e)/2 for its volume.  Finite beta: number of
    errors, or squared hinge (kappa - Delta)_+^2/2.  Gardner & Derrida, J. Phys. A 21 (1988) 271; Franz & Parisi, J. Phys. A 49
    (2016) 145001, arXiv:1501.03397; Franz, Parisi, Sevelev, Urbani & Zamponi, SciPost Phys. 2 (2017) 019, arXiv:1702.06919.
    """

    name: ClassVar[str] = "spherical-perceptron"
    sources: ClassVar[tuple[str, ...]] = ("gardner1988", "franz2016", "franz2017")

    alpha: Number | None = parameter(None, low=0.0, doc="patterns per weight, P/N")
    kappa: Number = parameter(0.0, doc="margin")
    beta: Number = parameter(INFINITE, low=0.0, infinite=True, doc="inverse temperature of the loss")
    loss: str = choice("errors", "squared-hinge", doc="the loss at finite beta, and of the ground state")
    labels: str = choice("random", "teacher", doc="how labels are made")

    @property
    def labelling(self) -> Labels | None:
        return Teacher() if self.labels == "teacher" else None

    @property
    def prior(self) -> Prior:
        return Spherical()

    @property
    def factor(self) -> Factor:
        if self.beta is INFINITE:
            return HardMargin(self.kappa)
        return (Errors if self.loss == "errors" else SquaredHinge)(self.kappa, self.beta)

    @property
    def weight(self) -> Number:
        return self.alpha  # type: ignore[return-value]


class RecurrentNetwork(Model):
    r"""Fixed points s_i = sign(J_D s_i + sum_j J_ij s_j) of an asymmetric network with self-coupling J_D.

    Independent J_ij of variance 1/N, corr(J_ij, J_ji) = eta, external field `field` x_i with random signs.  The energy counts 2 per violated
    spin.  phi is the first moment, (1/N) log E Z (for J_D > 0, no field and eta = 0 it is also typical).  Finite N: exact
    (1/N) log E[Z].  Tanaka & Edwards, J. Phys. F 10 (1980) 2769; Gutfreund, Reger & Young, J. Phys. A 21 (1988) 2775;
    R. Zecchina, lecture notes (2023).
    """

    name: ClassVar[str] = "recurrent-network"
    sources: ClassVar[tuple[str, ...]] = ("tanaka1980", "gutfreund1988", "badalotti2025")

    J_D: Number | None = parameter(None, low=0.0, doc="self-coupling")
    beta: Number = parameter(
        INFINITE, low=0.0, infinite=True, doc="inverse temperature (2 per violated spin)"
    )
    eta: Number = parameter(0.0, low=-1.0, high=1.0, doc="symmetry, corr(J_ij, J_ji)")
    field: Number = parameter(0.0, doc="strength of an external field of random signs")
    N: Number = parameter(
        INFINITE, low=2, infinite=True, integer=True, doc="number of spins (inf: the limit)"
    )
    couplings: str = choice("gaussian", "pm1", doc="law of the couplings (matters at finite N)")

    def __check_init__(self) -> None:
        if self.N is not INFINITE and self.couplings == "pm1" and np.any(np.asarray(self.eta) != 0):
            raise ValueError("eta: couplings = pm1 at finite N is exact only for eta = 0")

    @property
    def count(self) -> FixedPointCount:
        return FixedPointCount(self.J_D, self.beta, self.eta, self.field, self.N, self.couplings)  # type: ignore[arg-type]

    def pair_field(self, V: Array) -> PairField:
        return PairField(self.J_D, self.beta, V)  # type: ignore[arg-type]


class RateNetwork(Model):
    r"""dx_i/dt = -x_i + s tanh x_i + g sum_j J_ij tanh x_j, independent Gaussian J_ij of variance 1/N.

    s = 0: the transition to chaos at g = 1; Sompolinsky, Crisanti & Sommers, PRL 61 (1988) 259.  s > 1: bistable units; Stern,
    Sompolinsky & Abbott, PRE 90 (2014) 062710, arXiv:1409.2535.
    """

    name: ClassVar[str] = "rate-network"
    sources: ClassVar[tuple[str, ...]] = ("sompolinsky1988", "stern2014")

    g: Number | None = parameter(None, low=0.0, doc="gain of the couplings")
    s: Number = parameter(0.0, low=0.0, doc="self-coupling")


def _word(what: str, known: Collection[str], name: Callable[[Any], str]) -> Callable[[Any], str]:
    """What a simulation is told of one of the `known` things of the theory: its name."""

    def tell(value: Any) -> str:
        if name(value) not in known:
            raise ValueError(f"{what} = {value} is not simulated: {', '.join(known)} are")
        return name(value)

    return tell


class FeatureModel(Model):
    r"""What models on random features sigma(F^T x/sqrt(D)) have in common: D inputs, N features, P = alpha N patterns.

    Exactly one of alpha_D = D/N and alpha_T = P/D = alpha/alpha_D is given.  activation: a name, a function of arrays, or an `Activation`;
    its Gaussian equivalent (`coefficients`) is all that the theory knows of it.
    """

    alpha: Number | None = parameter(None, low=0.0, doc="patterns per feature, P/N")
    alpha_D: Number | None = parameter(
        None, low=0.0, open_low=True, optional=True, doc="inputs per feature, D/N"
    )
    alpha_T: Number | None = parameter(
        None, low=0.0, open_low=True, optional=True, doc="patterns per input, P/D"
    )
    activation: Any = eqx.field(
        default="sign",
        converter=as_activation,
        metadata=dict(
            choices=tuple(NAMED),
            own=(ActivationName, Activation),
            numeric=False,
            doc="activation of the features",
            plain=_word("activation", NAMED, str),
        ),
    )

    def __check_init__(self) -> None:
        if (self.alpha_D is None) == (self.alpha_T is None):
            raise ValueError("alpha_D, alpha_T: give exactly one of them (alpha_D alpha_T = alpha)")
        check_activation(self.activation)

    @property
    def inputs(self) -> Number:
        """alpha_D = D/N."""
        return self.alpha / self.alpha_T if self.alpha_D is None else self.alpha_D  # type: ignore[operator]

    @property
    def per_input(self) -> Number:
        """alpha_T = P/D."""
        return self.alpha / self.alpha_D if self.alpha_T is None else self.alpha_T  # type: ignore[operator]

    @property
    def coefficients(self) -> Coefficients:
        """mu0, mu1 and mu* of the activation."""
        return coefficients(self.activation)


class RandomFeaturesERM(FeatureModel):
    r"""Weights on random features x~ fitted by a convex loss, zero temperature:

        w* = argmin sum_mu l(y^mu, Delta^mu) + (lam/2)|w|^2,     Delta = w.x~/sqrt(N),     x~ centred.

    Teacher nu = T.x/sqrt(D), |T|^2 = D; y* = rho nu + sqrt(1 - rho^2) n + sqrt(noise) n'.  task = sign: labels sign(y*), l a function of
    y Delta; task = linear: labels y*, l a function of y - Delta.  loss: square (x^2/2 of y - Delta), logistic, hinge, margin (the largest
    margin at given norm: the limit lam -> 0 of the others where a margin exists), a convex function of arrays, or a `Loss`.  spectrum: of
    F^T F/D.  Gerace et al., arXiv:2002.09339; Loureiro et al., arXiv:2102.08127; Dhifallah & Lu, arXiv:2008.11904.
    """

    name: ClassVar[str] = "random-features-erm"
    sources: ClassVar[tuple[str, ...]] = ("gerace2020", "loureiro2021", "dhifallah2020")

    loss: Any = eqx.field(
        default="square",
        converter=as_loss,
        metadata=dict(
            choices=tuple(LOSSES),
            own=(Loss,),
            numeric=False,
            doc="loss of a pattern",
            plain=_word("loss", LOSSES, lambda loss: loss.name),
        ),
    )
    lam: Number | None = parameter(
        None, low=0.0, optional=True, doc="strength of the penalty lam |w|^2/2 (margin: not used)"
    )
    rho: Number = parameter(1.0, low=0.0, high=1.0, doc="correlation of the labels with the teacher's field")
    noise: Number = parameter(0.0, low=0.0, doc="variance of noise added to the teacher's field")
    task: str = choice("sign", "linear", doc="labels +-1, or real ones")
    spectrum: Spectrum = eqx.field(
        default_factory=MarchenkoPastur,
        metadata=dict(plain=_word("spectrum", ("MarchenkoPastur",), lambda x: type(x).__name__)),
    )

    def __check_init__(self) -> None:
        if self.task == "linear" and getattr(self.loss, "margin", False):
            raise ValueError(f"loss = {self.loss.name} is a loss of labels +-1: it needs task = sign")

    @property
    def signal(self) -> Number:
        """Correlation of the field that makes the labels with the teacher's, rho/sqrt(1 + noise)."""
        return self.rho / jnp.sqrt(1.0 + jnp.asarray(self.noise, float))


class RandomFeatures(FeatureModel):
    r"""A perceptron on random features: Delta = y W.sigma(F^T x/sqrt(D))/sqrt(N) >= kappa, features centred; beta counts errors.

    labels=teacher: y = sign(rho T.x/sqrt(D) + sqrt(1-rho^2) noise); random: y = +-1.  kappa is in units of Delta, whose variance is an order
    parameter.  Binary weights are counted; the sphere |W|^2 = N has its normalised measure.  Gaussian equivalence for F with independent
    entries.  Gerace et al., arXiv:2002.09339; Goldt et al., arXiv:2006.14709; Baldassi et al., arXiv:2110.00683.
    """

    name: ClassVar[str] = "random-features"
    sources: ClassVar[tuple[str, ...]] = ("gerace2020", "goldt2022", "baldassi2022")

    kappa: Number = parameter(0.0, doc="margin")
    beta: Number = parameter(
        INFINITE, low=0.0, infinite=True, doc="inverse temperature of the number of errors"
    )
    weights: str = choice("binary", "spherical", doc="weights +-1, or the sphere |W|^2 = N")
    labels: str = choice("teacher", "random", doc="how labels are made")
    rho: Number = parameter(1.0, low=0.0, high=1.0, doc="share of the teacher in its noisy field")

    @property
    def labelling(self) -> Labels | None:
        return Teacher(self.rho) if self.labels == "teacher" else None  # type: ignore[arg-type]

    @property
    def prior(self) -> Prior:
        return Binary() if self.weights == "binary" else Spherical()

    @property
    def factor(self) -> Factor:
        return HardMargin(self.kappa) if self.beta is INFINITE else Errors(self.kappa, self.beta)

    @property
    def weight(self) -> Number:
        return self.alpha  # type: ignore[return-value]
