r"""Solutions at distance d from references, counted at size N: what Franz-Parisi, pair and local entropies compare with.

With n(W~) solutions at t = round(d N) flips from a reference W~, and h(d) the entropy of the ball,

    franz-parisi    entropy = < (1/N) log n/C(N,t) > + h(t/N)      mean over the references (solutions at kappa_ref), then over instances
    pair            entropy = (1/N) log E[sum n]/(E[references] C(N,t)) + h(t/N)
    local-entropy   phi = (1/(N y)) log sum (n/C(N,t))^y + h(t/N),     S_I = d(y phi)/dy,   S_E = y (phi - S_I)

summed over all 2^N references or those that are solutions.  log C(N,t) is N h less log(N)/2: with the exact binomial in its place what is left of
finite size are powers of 1/N.  The theory of size N is that at P/N, kappa_N (`finite_size`) and t/N.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from scipy.special import entr
from scipy.stats import multivariate_normal

from replicax.simulation import Statistic, enumerate_neighbours, number_of_patterns, perceptron_instances
from replicax.theory.ansatz import Ansatz, FranzParisi, LocalEntropy, Pair
from replicax.top.finite_size import Measured, controls, regressed, satisfied_probability, seed_of
from replicax.vocabulary.limits import INFINITE, STAR, is_concrete

#: y is moved by so much for the derivative in y, whose error is of the second order
_STEP = 1e-4


class Question(NamedTuple):
    """Which solutions are counted around what; kind: the ansatz; y: 0 where there is none."""

    kind: str
    d: float
    kappa_ref: float
    any_reference: bool
    y: float


def question(ansatz: Ansatz, plain: dict[str, Any]) -> Question:
    """What an ansatz asks of a perceptron with parameters `plain`; ValueError where that cannot be counted."""
    if plain.get("beta", math.inf) != math.inf:
        raise ValueError(f"beta = {plain['beta']:g}: solutions are counted at beta = inf")
    d = getattr(ansatz, "d", None)
    if not isinstance(ansatz, (FranzParisi, Pair, LocalEntropy)) or d is None:
        raise ValueError(
            f"ansatz {ansatz.name}: franz-parisi, pair and local-entropy are validated, at given d"
        )
    given, kappa_ref = _number("d", d), getattr(ansatz, "kappa_ref", None)
    margin = plain["kappa"] if kappa_ref is None else _number("kappa_ref", kappa_ref)
    if not isinstance(ansatz, LocalEntropy):
        return Question(ansatz.name, given, margin, False, 0.0)
    if ansatz.ensemble == "replicas" or ansatz.y is INFINITE or ansatz.y is STAR:
        raise ValueError(
            "y, ensemble: references are counted, ensemble = reference or constrained, at finite y"
        )
    return Question(ansatz.name, given, margin, ansatz.ensemble == "reference", _number("y", ansatz.y))


def _number(name: str, value: Any) -> float:
    if not is_concrete(value) or np.ndim(value):
        raise ValueError(f"{name} = {value} is not allowed: {name} must be one number here")
    return float(value)


def flips(d: float, N: int) -> int:
    """The number of flips that stands for a distance; ValueError where it is less than one."""
    t = round(d * N)
    if t < 1:
        raise ValueError(f"d = {d:g}: less than one flip of N = {N} weights")
    return t


def _entropy(t: int, N: int) -> float:
    return float(entr(t / N) + entr(1.0 - t / N))


def log_mean_pairs(
    asked: Question, plain: dict[str, Any], N: int, *, patterns: str = "gaussian", strict: bool = False
) -> float:
    """(1/N) log E[sum over the references of n/C(N,t)], exact at size N; NaN where the chance of two solutions is not known (pm1)."""
    t, P, constraint = (
        flips(asked.d, N),
        number_of_patterns(N, plain["alpha"]),
        plain.get("constraint", "margin"),
    )
    if asked.any_reference:
        chance = satisfied_probability(
            plain["kappa"], N, constraint=constraint, patterns=patterns, strict=strict
        )
    elif patterns == "gaussian":
        chance = _both_satisfied(plain["kappa"], asked.kappa_ref, 1.0 - 2.0 * t / N, constraint)
    else:
        return math.nan
    return math.log(2.0) + (P / N * math.log(chance) if P else 0.0)


def _both_satisfied(kappa: float, other: float, rho: float, constraint: str) -> float:
    """P(two Gaussian stabilities of correlation rho satisfy margins kappa and other)."""
    pair = multivariate_normal([0.0, 0.0], [[1.0, rho], [rho, 1.0]], allow_singular=True)
    if constraint == "margin":
        return float(pair.cdf([-kappa, -other]))
    inside = float(pair.cdf([kappa, other], lower_limit=[-kappa, -other]))
    if constraint == "rectangle":
        return inside
    single = [satisfied_probability(k, 1, constraint="rectangle") for k in (kappa, other)]
    return 1.0 - sum(single) + inside


def measure_neighbours(
    asked: Question,
    plain: dict[str, Any],
    N: int,
    samples: int,
    key: Any,
    *,
    patterns: str = "gaussian",
    strict: bool = False,
) -> Measured:
    """The observables of `samples` enumerated instances, with control variates; first_moment: sum of n/C(N,t); solved: fraction that has n > 0."""
    seed: Any = seed_of(key, N)
    labels = plain.get("labels", "random")
    instances = perceptron_instances(
        N=N, alpha=plain["alpha"], samples=samples, key=seed, patterns=patterns, labels=labels
    )
    y, t = asked.y, flips(asked.d, N)
    near = enumerate_neighbours(
        instances,
        kappa=plain["kappa"],
        kappa_ref=asked.kappa_ref,
        any_reference=asked.any_reference,
        y=(y - _STEP * y, y, y + _STEP * y) if y else (),
        constraint=plain.get("constraint", "margin"),
        strict=strict,
        flips=(t,),
    )
    free, ball = float(near.log_sphere[0]), _entropy(t, N)
    pairs = near.pairs[:, 0] * math.exp(-free)
    moment = Statistic.from_samples(pairs)
    if asked.kind == "pair":
        mean = near.references.mean()
        if not moment.mean > 0.0:
            return Measured(N, {"entropy": Statistic(math.nan, math.nan, samples)}, moment, 0.0)
        noise = Statistic.from_samples(pairs / moment.mean - near.references / mean)
        value = math.log(moment.mean / mean) / N + ball
        return Measured(N, {"entropy": Statistic(value, noise.error / N, samples)}, moment, 1.0)
    if asked.kind == "franz-parisi":
        values = {"entropy": (near.log_count[:, 0] - free) / N + ball}
        seen = np.where(near.references > 0, near.seen[:, 0], 0.0).mean()
    else:
        below, at, above = (near.log_moments[:, i, 0] / N for i in range(3))
        phi = at / y + ball - free / N
        with np.errstate(invalid="ignore"):
            S_I = (above - below) / (2.0 * _STEP * y) + ball - free / N
            values = {"phi": phi, "S_I": S_I, "S_E": y * (phi - S_I)}
        seen = np.isfinite(phi).mean()
    kept = np.isfinite(next(iter(values.values())))
    around = controls(instances)[kept] if labels == "random" else np.zeros((int(kept.sum()), 0))
    return Measured(N, {k: regressed(x[kept], around) for k, x in values.items()}, moment, float(seen))
