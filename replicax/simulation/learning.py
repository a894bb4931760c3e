"""What every learning algorithm starts from: patterns with labels absorbed, as numbers; and when weights solve them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from .arguments import real
from .constraints import threshold
from .instances import PerceptronInstances
from .outcomes import BUDGET, DIVERGED, SOLVED
from .statistics import Statistic

_ROUNDING = 1e-12


def learnable(X, y=None, *, kappa: float = 0.0, even: bool = True) -> PerceptronInstances:
    """Instances from patterns X ([samples,] P, N) and labels y ([samples,] P) of +-1, absorbed: patterns y X.

    Instances pass through. Raises ValueError for empty or non-finite X, labels that are not +-1, and (unless ``even``: allowed) +-1
    patterns of even N at kappa = 0, where a field may be zero and a tie decides.
    """
    if isinstance(X, PerceptronInstances):
        if y is not None:
            raise ValueError("y is not allowed with instances: their labels are absorbed already")
        instances = X
    else:
        x = np.asarray(X)
        if x.size == 0 or x.ndim not in (2, 3):
            raise ValueError(f"X of shape {x.shape} is not allowed: X must be ([samples,] P, N), not empty")
        if x.dtype.kind not in "iuf" or not np.all(np.isfinite(x)):
            raise ValueError("X with entries that are not finite real numbers is not allowed")
        if y is not None:
            labels = np.asarray(y)
            if labels.shape != x.shape[:-1]:
                raise ValueError(
                    f"y of shape {labels.shape} is not allowed: y must have shape {x.shape[:-1]}"
                )
            right = np.abs(labels) == 1 if labels.dtype.kind in "iuf" else np.zeros(labels.shape, bool)
            if not np.all(right):
                bad = labels[~right].flat[0]
                raise ValueError(f"y = {bad!r} is not allowed: labels must be -1 or +1")
            # in 64 bits: -x has no place in an unsigned type
            wide = x.dtype if x.dtype.kind == "f" else np.int64
            x = x.astype(wide) * labels[..., None].astype(wide)
        instances = PerceptronInstances.from_array(x)
    real("kappa", kappa)
    if not even:
        refuse_ties(instances, instances.N, kappa)
    return instances


def refuse_ties(instances: PerceptronInstances, N: int, kappa: float) -> None:
    """ValueError for units of N weights whose fields may be zero at kappa = 0."""
    if is_signs(instances) and N % 2 == 0 and kappa == 0.0:
        raise ValueError(f"N = {N} is not allowed: with +-1 patterns N must be odd at kappa = 0")


def is_signs(instances: PerceptronInstances) -> bool:
    """Whether all patterns are +-1."""
    return instances.patterns.dtype == np.int8


def only_signs(instances: PerceptronInstances, what: str) -> PerceptronInstances:
    """The instances, refused unless all patterns are +-1."""
    if not is_signs(instances):
        raise ValueError(f"X with entries other than -1 and +1 is not allowed: {what} counts in integers")
    return instances


def stabilities(instances: PerceptronInstances, W) -> np.ndarray:
    """Delta = X W / sqrt(N) of weights W (samples, N): (samples, P)."""
    fields = np.einsum("spi,si->sp", instances.patterns.astype(np.float64), np.asarray(W, np.float64))
    return fields / (instances.scale * np.sqrt(instances.N))


def errors(instances: PerceptronInstances, W, *, kappa: float = 0.0, tree: bool = False) -> np.ndarray:
    """Violated patterns of binary weights, counted in integers (ties satisfied): (samples,).

    W (samples, N), or (samples, units, N) of a committee, which decides by majority; tree: each unit has its own N of the inputs.
    """
    W = np.asarray(W, np.int64)
    samples, N = W.shape[0], W.shape[-1]
    T = threshold("margin", kappa, N, instances.scale, False)
    groups = instances.N // N if tree else 1
    x = instances.patterns.astype(np.int64).reshape(samples, instances.P, groups, N)
    fields = np.einsum("spgi,sgki->sgkp", x, W.reshape(samples, groups, -1, N))
    votes = np.where(fields < T, -1, 1).sum((1, 2))
    return (votes < 0).sum(1)


class Solutions(NamedTuple):
    """What a solver returns, one entry per instance.

    W        (samples, N) the best weights: those that solve, or the last; (samples, units, N) of a committee
    errors   violated patterns of W, counted anew;  solved  errors == 0 (spherical weights: within rounding)
    steps    sweeps, epochs or steps used;  budget  those allowed
    outcome  codes of `outcomes`: solved, budget or diverged
    counts   further effort of each run by name, whether or not it solves
    """

    W: np.ndarray
    errors: np.ndarray
    steps: np.ndarray
    budget: int
    outcome: np.ndarray
    counts: Mapping[str, np.ndarray] = MappingProxyType({})

    @property
    def solved(self) -> np.ndarray:
        return self.outcome == SOLVED

    def statistics(self, instances: PerceptronInstances) -> dict[str, Statistic]:
        """solved (unsolved and diverged runs stay in the denominator), energy = errors per weight, steps of the solved runs, R."""
        W = np.asarray(self.W, np.float64)
        results = {
            "solved": Statistic.from_counts(int(self.solved.sum()), len(self.solved)),
            "energy": Statistic.from_samples(self.errors / W[0].size),
            "steps": Statistic.from_samples(self.steps[self.solved]),
            "budget": Statistic(float(self.budget), 0.0, len(self.solved)),
            "diverged": Statistic.from_counts(int((self.outcome == DIVERGED).sum()), len(self.solved)),
            **{name: Statistic.from_samples(count) for name, count in self.counts.items()},
        }
        if instances.teacher is not None:
            results["R"] = Statistic.from_samples((W * instances.teacher).mean(1))
        return results


def binary_solutions(
    instances: PerceptronInstances, W, steps, budget: int, diverged, kappa: float, *, tree: bool = False
) -> Solutions:
    """Solutions of binary weights: the errors are counted anew, in integers, whatever the solver believed.

    W (samples, N), or (samples, units, N); that of one unit is (samples, N) in the result.
    """
    W = np.asarray(W).astype(np.int8)
    W = W[:, 0] if W.ndim == 3 and W.shape[1] == 1 else W
    count = errors(instances, W, kappa=kappa, tree=tree)
    outcome = np.where(count == 0, SOLVED, np.where(diverged, DIVERGED, BUDGET))
    return Solutions(W, count, np.asarray(steps), budget, outcome)


def spherical_solutions(instances: PerceptronInstances, W, steps, budget: int, kappa: float) -> Solutions:
    """Solutions on the sphere: violated stabilities are counted anew in float64, within rounding."""
    W = np.asarray(W)
    finite = np.asarray(np.isfinite(W).all(1))
    wrong = (stabilities(instances, np.where(finite[:, None], W, 0.0)) < kappa - _ROUNDING).sum(1)
    wrong = np.where(finite, wrong, instances.P)
    outcome = np.where(~finite, DIVERGED, np.where(wrong == 0, SOLVED, BUDGET))
    return Solutions(W, wrong, np.asarray(steps), budget, outcome)
