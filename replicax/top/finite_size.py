r"""What a finite instance compares with: its own parameters, its exact first moment, the limit N = inf.

A finite instance of N weights has P = round(alpha N) patterns, and with +-1 patterns the fields live on a
lattice of step 2/sqrt(N), so that a margin means the middle between the last lattice point that violates it
and the first that satisfies it. The theory of size N is therefore taken at alpha_N = P/N and kappa_N
(`finite_parameters`). What remains is fitted by powers of 1/N,

    x_N - theory(alpha_N, kappa_N) = r + a/N + b/N^2.

Fluctuations about a replica-symmetric saddle give log Z = N phi + O(1), no logarithms. Measured with 10^4
instances, N (phi_N - phi) levels off from N = 12 on, but b of order 1 is plain at N = 8 to 18 and shifts a
straight line in 1/N by up to 5 standard errors. So b is fitted too, with the prior 0 +- `curvature` (a
constrained fit: Lepage et al., Nucl. Phys. B Proc. Suppl. 106 (2002) 12, hep-lat/0110175): with few samples
it enlarges the error, with many the data determine it.

Fluctuations from instance to instance are reduced by control variates, functions of the patterns whose mean
is known exactly,

    sum_{mu != nu} C_{mu nu},   tr C - P,   sum_{mu != nu} (C_{mu nu}^2 - 1/N),   C_{mu nu} = xi^mu.xi^nu / N:

patterns that happen to be aligned leave more solutions. Regressing on them makes errors 2 to 4 times smaller.
"""

import math
from typing import Any, NamedTuple

import jax
import numpy as np
from scipy.stats import binom, norm

from replicax.simulation import (
    PerceptronInstances,
    Statistic,
    as_key,
    enumerate_histograms,
    number_of_patterns,
    perceptron_instances,
)
from replicax.simulation.constraints import threshold


def finite_parameters(
    plain: dict[str, Any], N: int, *, patterns: str = "gaussian", strict: bool = False
) -> tuple[float, float]:
    """(P/N, kappa_N): what alpha and kappa mean for an instance of size N.

    pm1: sqrt(N) Delta has the parity of N. With F the first such integer that satisfies a margin, kappa_N =
    (F - 1)/sqrt(N): P(Delta >= kappa) = H(kappa_N) up to O(1/N), whatever the convention for ties.
    """
    alpha, kappa = number_of_patterns(N, plain["alpha"]) / N, plain["kappa"]
    constraint = plain.get("constraint", "margin")
    if patterns == "gaussian":
        return alpha, kappa
    T = threshold(constraint, kappa, N, 1, strict)
    if constraint == "rectangle":  # satisfied below T: the last one
        last = T - 1 - (T - 1 - N) % 2
        return alpha, max(last + 1, 0) / math.sqrt(N) or 1e-9
    first = T + (T - N) % 2
    edge = (first - 1) / math.sqrt(N)
    return alpha, edge if constraint == "margin" else max(edge, 1e-9)


def satisfied_probability(
    kappa: float, N: int, *, constraint: str = "margin", patterns: str = "gaussian", strict: bool = False
) -> float:
    """P(one pattern is satisfied by a given W), exact at size N."""
    if patterns == "gaussian":
        tail = float(norm.sf(kappa))
        return {"margin": tail, "rectangle": 1.0 - 2.0 * tail, "u": 2.0 * tail}[constraint]
    T = threshold(constraint, kappa, N, 1, strict)
    F = 2 * np.arange(N + 1) - N
    satisfied = {"margin": F >= T, "rectangle": np.abs(F) < T, "u": np.abs(F) >= T}[constraint]
    return float(binom.pmf(np.arange(N + 1), N, 0.5)[satisfied].sum())


def log_first_moment(
    plain: dict[str, Any], N: int, *, patterns: str = "gaussian", strict: bool = False
) -> float:
    """(1/N) log E Z = log 2 + (P/N) log[p + exp(-beta)(1 - p)], exact at size N; random labels."""
    beta, constraint = plain.get("beta", math.inf), plain.get("constraint", "margin")
    p = satisfied_probability(plain["kappa"], N, constraint=constraint, patterns=patterns, strict=strict)
    P, weight = number_of_patterns(N, plain["alpha"]), p + math.exp(-beta) * (1.0 - p)
    if P == 0:
        return math.log(2.0)
    return math.log(2.0) + P / N * math.log(weight) if weight > 0.0 else -math.inf


class Measured(NamedTuple):
    """Enumeration at one size: observables, the first moment Z, and the fraction of instances with Z > 0."""

    N: int
    observables: dict[str, Statistic]
    first_moment: Statistic
    solved: float


def measure(
    plain: dict[str, Any], N: int, samples: int, key: Any, *, patterns: str = "gaussian", strict: bool = False
) -> Measured:
    """Enumerate `samples` instances of a perceptron, its parameters `plain`, with control variates."""
    beta, constraint, labels = (
        plain.get(k, v) for k, v in dict(beta=math.inf, constraint="margin", labels="random").items()
    )
    seed: Any = seed_of(key, N)
    instances = perceptron_instances(
        N=N, alpha=plain["alpha"], samples=samples, key=seed, patterns=patterns, labels=labels
    )
    histograms = enumerate_histograms(instances, kappa=plain["kappa"], constraint=constraint, strict=strict)
    log_z = histograms.log_z(beta)
    values = {"phi": log_z / N}
    if beta < math.inf:
        energy = histograms.energy(beta)
        values |= {"energy": energy, "entropy": log_z / N + beta * energy}
    if constraint == "margin":
        values["q"] = histograms.overlap(beta)
    if instances.teacher is not None:
        values["R"] = np.einsum("si,si->s", histograms.mean_weight(beta), instances.teacher) / N
    kept = np.isfinite(log_z)
    around = controls(instances)[kept] if labels == "random" else np.zeros((int(kept.sum()), 0))
    observables = {name: regressed(x[kept], around) for name, x in values.items()}
    return Measured(N, observables, Statistic.from_samples(np.exp(log_z)), float(kept.mean()))


def controls(instances: PerceptronInstances) -> np.ndarray:
    """Three functions of the patterns with mean zero (samples, 3), exact for Gaussian and +-1 patterns."""
    P, N = instances.P, instances.N
    x = instances.patterns / instances.scale
    C = np.einsum("spi,sqi->spq", x, x, optimize=True) / N
    trace, squares = np.einsum("spp->s", C), np.einsum("spp,spp->s", C, C)
    return np.stack([C.sum((1, 2)) - trace, trace - P, (C**2).sum((1, 2)) - squares - P * (P - 1) / N], 1)


def regressed(x: np.ndarray, controls: np.ndarray) -> Statistic:
    """Mean of x at controls = 0, with the standard error of a linear regression."""
    n, used = controls.shape
    if n < used + 10:
        return Statistic.from_samples(x)
    centre = controls.mean(0)
    slopes, _, rank, _ = np.linalg.lstsq(controls - centre, x - x.mean(), rcond=1e-10)
    noise = x - x.mean() - (controls - centre) @ slopes
    return Statistic(
        float(x.mean() - centre @ slopes), float(np.sqrt((noise**2).sum() / (n - 1 - rank) / n)), n
    )


def seed_of(key: Any, *words: int) -> jax.Array:
    """Independent instances at every size: simulations of one key share their random numbers."""
    key = as_key(key)
    for word in words:
        key = jax.random.fold_in(key, word)
    return key


def default_sizes(alpha: float, N: int, *, patterns: str = "gaussian") -> tuple[int, ...]:
    """About N, 0.8 N, 0.62 N; the smaller ones moved by one where P/N then comes closer to alpha.

    pm1: all of one parity, because kappa_N - kappa of odd and of even N differ by 1/sqrt(N).
    """
    miss = lambda n: round(abs(alpha * n - round(alpha * n)), 9)
    sizes = [N]
    for share in (0.8, 0.62):
        target = max(2, round(share * N))
        near = [n for n in (target, target - 1, target + 1) if patterns == "gaussian" or (n - N) % 2 == 0]
        sizes.append(min(near, key=lambda n: (miss(n), abs(n - target))))
    return tuple(sorted({n for n in sizes if n >= 1}, reverse=True))


def number_of_samples(samples: int, n: int, largest: int) -> int:
    """Smaller sizes are cheap: sqrt(2) times more instances for every weight less, up to 8 times."""
    return round(samples * min(8.0, 2.0 ** (0.5 * (largest - n))))


def extrapolate(
    sizes: Any, x: Any, errors: Any, curvature: float = 1.0, cubic: float = 0.0
) -> tuple[float, float]:
    """r of x = r + a/N + b/N^2 + c/N^3, and its error: least squares, b = 0 +- curvature, c = 0 +- cubic."""
    N, x, errors = (np.asarray(v, float) for v in (sizes, x, errors))
    if not np.all(np.isfinite(x)) or not np.all(np.isfinite(errors)):
        return math.nan, math.nan
    powers = np.stack([np.ones(len(N)), 1.0 / N, 1.0 / N**2, 1.0 / N**3], 1)
    design = np.vstack([powers, np.eye(4)[2:]])
    weights = 1.0 / np.maximum(np.append(errors, [curvature, cubic]), 1e-9)
    inverse = np.linalg.pinv(design * weights[:, None], rcond=1e-14)
    return float((inverse @ (np.append(x, [0.0, 0.0]) * weights))[0]), float(np.linalg.norm(inverse[0]))
