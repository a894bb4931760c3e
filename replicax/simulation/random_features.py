"""Binary perceptrons on random features: real features of real inputs, all 2^N weights enumerated.

    x~ = sigma(F^T x / sqrt(D)) - <sigma(g)>,   Delta = y W.x~ / sqrt(N),   y = sign(rho T.x/sqrt(D) + sqrt(1 - rho^2) n) or random.

features = gaussian puts the Gaussian equivalent mu1 F^T x/sqrt(D) + mu* z in the place of sigma.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.special import erf, ndtr

from .arguments import choice, integer, real
from .constraints import lattice_scale, to_lattice
from .enumeration import MAX_N, enumerate_histograms
from .instances import LABELS, PATTERNS, PerceptronInstances, number_of_patterns, sample_seeds
from .statistics import Statistic

ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "sign": np.sign,
    "tanh": np.tanh,
    "relu": lambda g: np.maximum(g, 0.0),
    "erf": erf,
    "gelu": lambda g: g * ndtr(g),
    "identity": lambda g: g,
}
FEATURES = ("real", "gaussian")
_GRID = np.linspace(-12.0, 12.0, 240001)


def gaussian_moments(activation: str) -> tuple[float, float, float]:
    """<s(g)>, <g s(g)> and the standard deviation of the rest, to 1e-8, by a fine trapezoid."""
    s, weights = ACTIVATIONS[activation](_GRID), np.exp(-0.5 * _GRID**2)
    weights = weights / weights.sum()
    mean, slope = float(weights @ s), float(weights @ (_GRID * s))
    return mean, slope, math.sqrt(max(float(weights @ (s - mean - slope * _GRID) ** 2), 0.0))


def number_of_inputs(N: int, alpha: float, alpha_D: float | None, alpha_T: float | None) -> int:
    """D = round(alpha_D N), or round(P/alpha_T), and at least 1."""
    if (alpha_D is None) == (alpha_T is None):
        raise ValueError("alpha_D, alpha_T: give exactly one of them")
    inputs = alpha_D * N if alpha_D is not None else number_of_patterns(N, alpha) / alpha_T  # type: ignore[operator]
    return max(1, round(inputs))


class FeatureInstances(NamedTuple):
    """patterns: features with labels absorbed; F (samples, D, N); teacher (samples, D), or None."""

    patterns: PerceptronInstances
    F: np.ndarray
    teacher: np.ndarray | None
    seeds: list[np.random.SeedSequence]


def feature_instances(
    *,
    N: int,
    alpha: float,
    alpha_D: float | None = None,
    alpha_T: float | None = None,
    activation: str = "sign",
    labels: str = "teacher",
    rho: float = 1.0,
    samples: int = 1,
    key=0,
    inputs: str = "gaussian",
    features: str = "real",
) -> FeatureInstances:
    """P = round(alpha N) patterns of N features of D inputs (Gaussian, or +-1)."""
    choice("activation", activation, tuple(ACTIVATIONS))
    choice("labels", labels, LABELS)
    choice("features", features, FEATURES)
    rho, samples = real("rho", rho, 0.0, 1.0), integer("samples", samples, 1)
    P, D = number_of_patterns(N, alpha), number_of_inputs(N, alpha, alpha_D, alpha_T)
    seeds = sample_seeds(key, samples, "features")
    patterns, F, teacher = [], [], []
    for seed in seeds:
        rng = np.random.Generator(np.random.PCG64(seed))
        F.append(rng.standard_normal((D, N)))
        teacher.append(math.sqrt(D) * _unit(rng.standard_normal(D)))
        x = _inputs(rng, (P, D), inputs)
        field = rho * x @ teacher[-1] / math.sqrt(D) + math.sqrt(1.0 - rho**2) * rng.standard_normal(P)
        y = np.where(field >= 0, 1.0, -1.0) if labels == "teacher" else _inputs(rng, (P,), "pm1")
        patterns.append(y[:, None] * _features(rng, x, F[-1], activation, features))
    scale = lattice_scale(N)
    stack = PerceptronInstances(to_lattice(np.stack(patterns), scale), scale)
    return FeatureInstances(stack, np.stack(F), np.stack(teacher) if labels == "teacher" else None, seeds)


def enumerate_random_features(
    *,
    N: int,
    alpha: float,
    alpha_D: float | None = None,
    alpha_T: float | None = None,
    kappa: float = 0.0,
    beta: float = math.inf,
    activation: str = "sign",
    weights: str = "binary",
    labels: str = "teacher",
    rho: float = 1.0,
    samples: int = 100,
    key=0,
    inputs: str = "gaussian",
    features: str = "real",
    tests: int = 1000,
    strict: bool = False,
) -> dict[str, Statistic]:
    """Exact thermodynamics of ``samples`` instances with binary weights, per weight, natural logs.

    phi, energy, entropy, q, q_distinct, first_moment, solved, ground_energy as in `enumerate_perceptron`; with s = F W/sqrt(N)

    p         mean overlap <s>.<s>/D of two weights of the Gibbs measure
    r         T.<s>/D, and
    eps_bary  clean test error of the mean weight <W> on ``tests`` fresh inputs (labels="teacher")

    At beta = inf averages are over the instances with solutions.
    """
    N, beta = integer("N", N, 1, MAX_N), real("beta", beta, 0.0, infinite=True)
    choice("weights", weights, ("binary",))
    made = feature_instances(
        N=N,
        alpha=alpha,
        alpha_D=alpha_D,
        alpha_T=alpha_T,
        activation=activation,
        labels=labels,
        rho=rho,
        samples=samples,
        key=key,
        inputs=inputs,
        features=features,
    )
    histograms = enumerate_histograms(made.patterns, kappa=kappa, strict=strict)
    log_z = histograms.log_z(beta)
    kept = np.isfinite(log_z)
    energy, distinct = histograms.energy(beta), histograms.overlap(beta, distinct=True)
    entropy = (log_z if beta == math.inf else log_z + beta * N * energy) / N
    mean = histograms.mean_weight(beta)
    D = made.F.shape[1]
    s = np.einsum("ski,si->sk", made.F, mean) / math.sqrt(N)
    results = {
        "phi": Statistic.from_samples(log_z[kept] / N),
        "energy": Statistic.from_samples(energy[kept]),
        "entropy": Statistic.from_samples(entropy[kept]),
        "q": Statistic.from_samples(histograms.overlap(beta)[kept]),
        "q_distinct": Statistic.from_samples(distinct[np.isfinite(distinct)]),
        "p": Statistic.from_samples((s**2).sum(1)[kept] / D),
        "first_moment": Statistic.from_samples(np.exp(log_z)),
        "solved": Statistic.from_counts(int((histograms.counts[:, 0] > 0).sum()), len(log_z)),
        "ground_energy": Statistic.from_samples(histograms.ground_energy()),
    }
    if made.teacher is not None:
        results["r"] = Statistic.from_samples((s * made.teacher).sum(1)[kept] / D)
        errors = _test_errors(made, mean, activation, inputs, features, integer("tests", tests, 1))
        results["eps_bary"] = Statistic.from_samples(errors[kept])
    return results


def _test_errors(
    made: FeatureInstances, mean: np.ndarray, activation: str, inputs: str, features: str, tests: int
) -> np.ndarray:
    """Fraction of fresh inputs on which the mean weight and the teacher disagree (a zero field: half)."""
    assert made.teacher is not None
    errors = []
    for seed, F, T, W in zip(made.seeds, made.F, made.teacher, mean):
        rng = np.random.Generator(np.random.PCG64(seed.spawn(1)[0]))
        x = _inputs(rng, (tests, F.shape[0]), inputs)
        agreement = np.sign(_features(rng, x, F, activation, features) @ W) * np.sign(x @ T)
        errors.append(0.5 * (1.0 - agreement.mean()))
    return np.array(errors)


def _features(
    rng: np.random.Generator, x: np.ndarray, F: np.ndarray, activation: str, features: str
) -> np.ndarray:
    mean, slope, rest = gaussian_moments(activation)
    g = x @ F / math.sqrt(F.shape[0])
    if features == "gaussian":
        return slope * g + rest * rng.standard_normal(g.shape)
    return ACTIVATIONS[activation](g) - mean


def _inputs(rng: np.random.Generator, shape: tuple[int, ...], law: str) -> np.ndarray:
    choice("inputs", law, PATTERNS)
    return rng.standard_normal(shape) if law == "gaussian" else rng.choice([-1.0, 1.0], shape)


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x)
