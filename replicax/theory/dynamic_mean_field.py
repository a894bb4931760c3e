r"""Parallel dynamics of the recurrent network at N = inf: a single spin in a Gaussian field that remembers.

Independent J_ij and J_ji leave no response: s(t+1) = sign(J_D s(t) + h(t)), h Gaussian with the covariance C(t, t') = <s(t) s(t')> of the
spins themselves; for two copies also Q(t, t') = <s(t) s'(t')>.  It is causal, so it is solved forwards in time: the covariance of a new field
with all earlier ones is an average over M paths, and the field is drawn given the earlier ones (one row of a Cholesky factor).
Sompolinsky & Zippelius, PRB 25 (1982) 6860; Crisanti & Sompolinsky, PRA 37 (1988) 4865.
"""

from typing import NamedTuple

import numpy as np


class Course(NamedTuple):
    """C(t, t') of one copy and the overlap Q(t) = <s(t) s'(t)> of two, t = 0..steps, each with the standard error over repeats."""

    C: np.ndarray
    C_err: np.ndarray
    Q: np.ndarray
    Q_err: np.ndarray


def course(
    J_D: float, *, steps: int, q: float = 1.0, paths: int = 20000, repeats: int = 4, key: int = 0
) -> Course:
    """Two copies that start at random at overlap q, for `steps` parallel steps.

    The Monte-Carlo error is of order 1/sqrt(paths); what feeds back into later times is biased by 1/paths.
    """
    for name, value, least in (("steps", steps, 1), ("paths", paths, 2), ("repeats", repeats, 1)):
        if value < least:
            raise ValueError(f"{name} = {value} is not allowed: {name} must be an integer >= {least}")
    if not -1.0 <= q <= 1.0:
        raise ValueError(f"q = {q:g} is not allowed: q must be a number in [-1, 1]")
    runs = [
        _paths(float(J_D), steps, float(q), paths, np.random.default_rng([key, k])) for k in range(repeats)
    ]
    C, Q = (np.stack(x) for x in zip(*runs))
    error = lambda x: x.std(0, ddof=1) / np.sqrt(repeats) if repeats > 1 else np.full(x.shape[1:], np.nan)
    return Course(C.mean(0), error(C), Q.mean(0), error(Q))


def _paths(
    J_D: float, steps: int, q: float, paths: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Columns alternate between the copies: s(0), s'(0), s(1), .."""
    size = 2 * (steps + 1)
    spins, noise, L = np.empty((paths, size)), np.empty((paths, size)), np.zeros((size, size))
    spins[:, 0] = rng.choice([-1.0, 1.0], paths)
    spins[:, 1] = np.where(rng.random(paths) < 0.5 * (1.0 + q), spins[:, 0], -spins[:, 0])
    for a in range(2 * steps):
        covariance = spins[:, : a + 1].T @ spins[:, a] / paths
        for b in range(a):
            rest = covariance[b] - L[a, :b] @ L[b, :b]
            L[a, b] = rest / L[b, b] if L[b, b] > 1e-7 else 0.0  # a frozen spin brings nothing new
        L[a, a] = np.sqrt(max(0.0, 1.0 - L[a, :a] @ L[a, :a]))
        noise[:, a] = rng.standard_normal(paths)
        field = noise[:, : a + 1] @ L[a, : a + 1]
        spins[:, a + 2] = np.where(J_D * spins[:, a] + field > 0.0, 1.0, -1.0)
    one, other = spins[:, ::2], spins[:, 1::2]
    C = 0.5 * (one.T @ one + other.T @ other) / paths
    return C, (one * other).mean(0)
