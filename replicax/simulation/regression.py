r"""Random features fitted by a convex loss: the minimum itself, on real features of finite size.

    w* = argmin sum_mu l(y^mu, Delta^mu) + (lam/2)|w|^2,    Delta = w.x~/sqrt(N),    x~ = sigma(F^T x/sqrt(D)) - mean.

Square: linear equations.  Logistic: Newton.  Hinge and maximum margin: the dual,

    min_a |A^T a|^2/(2 lam) - sum_mu a_mu,    A = y x~/sqrt(N),    0 <= a <= 1 (margin: 0 <= a, lam = 1),    w = A^T a/lam,

by a primal-dual interior-point method.  All of it in the coordinates of the singular vectors of the features.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from .arguments import choice, integer, real
from .instances import number_of_patterns, sample_seeds
from .random_features import ACTIVATIONS, gaussian_moments, number_of_inputs
from .statistics import Statistic

LOSSES = ("square", "logistic", "hinge", "margin")
TASKS = ("sign", "linear")
#: entries of the largest matrix
_LARGEST = 2**27
_STEPS = 100
_EXACT = 1e-9


class Fit(NamedTuple):
    """w (N,) and whether the minimum was reached (False: there is no margin)."""

    w: np.ndarray
    solved: bool


def fit(features: np.ndarray, y: np.ndarray, *, loss: str, lam: float | None = None) -> Fit:
    """The minimum for features (P, N) and labels y (P,).

    Raises ValueError for an unknown loss, labels of hinge, logistic or margin that are not +-1, and lam <= 0 where it is used.
    """
    choice("loss", loss, LOSSES)
    lam = 1.0 if loss == "margin" else real("lam", lam, 0.0)
    if lam == 0.0:
        raise ValueError("lam = 0 is not allowed: a simulation needs a finite number > 0")
    if loss != "square" and not np.all(np.abs(y) == 1):
        raise ValueError(f"y with values other than -1 and +1 is not allowed: loss = {loss}")
    P, N = features.shape
    if P == 0:
        return Fit(np.zeros(N), True)
    A = features / math.sqrt(N)
    U, s, right = np.linalg.svd(A if loss == "square" else y[:, None] * A, full_matrices=False)
    if loss == "square":
        coefficients, solved = s * (U.T @ y) / (lam + s**2), True
    elif loss == "logistic":
        coefficients, solved = _logistic(U * s, lam)
    else:
        coefficients, solved = _support(U * s, lam, boxed=loss == "hinge")
    return Fit(right.T @ coefficients, solved)


def _logistic(B: np.ndarray, lam: float) -> tuple[np.ndarray, bool]:
    """Newton with halved steps."""
    value = lambda c: float(np.logaddexp(0.0, -(B @ c)).sum() + 0.5 * lam * (c @ c))
    c = np.zeros(B.shape[1])
    for _ in range(_STEPS):
        miss = 0.5 * (1.0 - np.tanh(0.5 * (B @ c)))  # 1/(1 + e^Delta)
        gradient = lam * c - B.T @ miss
        hessian = (B.T * (miss * (1.0 - miss))) @ B
        hessian[np.diag_indices_from(hessian)] += lam
        step = np.linalg.solve(hessian, gradient)
        decrement = float(gradient @ step)
        now, size = value(c), 1.0
        if decrement <= _EXACT**2 * (1.0 + abs(now)):
            return c - step, True
        while size > 1e-6 and value(c - size * step) > now - 0.25 * size * decrement:
            size *= 0.5
        c = c - size * step
    return c, False


def _support(B: np.ndarray, lam: float, *, boxed: bool) -> tuple[np.ndarray, bool]:
    """The dual with complementarity a z = mu, (1 - a) t = mu, mu -> 0 (t = 0 unless boxed)."""
    P, r = B.shape
    B = B / math.sqrt(lam)
    a = np.full(P, min(0.5, lam))
    z, t = np.ones(P), np.ones(P) if boxed else np.zeros(P)
    for _ in range(_STEPS):
        s = 1.0 - a if boxed else np.ones(P)
        w = B.T @ a
        off = B @ w - 1.0 - z + t
        gap, dual = a @ z + s @ t, a.sum() - 0.5 * (w @ w)
        if gap <= _EXACT * dual and np.abs(off).max() <= _EXACT * max(1.0, z.max(), t.max()):
            return (w if boxed else w / (B @ w).min()) / math.sqrt(lam), True
        target = 0.1 * gap / (P * (2 if boxed else 1))
        theta = z / a + t / s
        rhs = -off + (target - a * z) / a - ((target - s * t) / s if boxed else 0.0)
        try:
            da = rhs / theta
            da -= (B @ np.linalg.solve(np.eye(r) + (B.T / theta) @ B, B.T @ da)) / theta
        except (
            np.linalg.LinAlgError
        ):  # fewer than r margins are active, and their 1/theta hide the unit matrix
            da = np.linalg.solve(np.diag(theta) + B @ B.T, rhs)
        dz = (target - a * z - z * da) / a
        dt = (target - s * t + t * da) / s if boxed else np.zeros(P)
        pairs = [(a, da), (z, dz), *(((s, -da), (t, dt)) if boxed else ())]
        size = min([1.0, *(0.995 * float(np.min(-x[d < 0] / d[d < 0])) for x, d in pairs if np.any(d < 0))])
        a, z, t = a + size * da, z + size * dz, t + size * dt
        if not np.isfinite(a).all() or a.max() > 1e15:
            break
    return np.zeros(r), False


def regression(
    *,
    N: int,
    alpha: float,
    alpha_D: float | None = None,
    alpha_T: float | None = None,
    activation: str = "sign",
    loss: str = "square",
    lam: float | None = None,
    rho: float = 1.0,
    noise: float = 0.0,
    task: str = "sign",
    spectrum: str = "MarchenkoPastur",
    samples: int = 8,
    key=0,
    tests: int = 4000,
) -> dict[str, Statistic]:
    """Fits of `samples` instances: P = round(alpha N) patterns, D inputs (`number_of_inputs`), Gaussian F, x and teacher; features are centred.

    Columns as in the theory: test, eps, train_error, energy (loss per weight), Q, M, q (of the solved instances), and solved.  `tests` fresh
    patterns for test, eps, Q, M.
    """
    choice("task", task, TASKS)
    choice("activation", activation, tuple(ACTIVATIONS))
    choice("spectrum", spectrum, ("MarchenkoPastur",))
    N, samples, tests = integer("N", N, 1), integer("samples", samples, 1), integer("tests", tests, 1)
    if task == "linear" and loss != "square":
        raise ValueError(f"loss = {loss!r} is not allowed: task = linear needs loss = square")
    rho, noise = real("rho", rho, 0.0, 1.0), real("noise", noise, 0.0)
    P, D = number_of_patterns(N, alpha), number_of_inputs(N, alpha, alpha_D, alpha_T)
    if D * max(N, P, tests) > _LARGEST:
        raise ValueError(
            f"N = {N} is not allowed: matrices of {D} x {max(N, P, tests)} do not fit, D N must be smaller"
        )
    mean, rows = gaussian_moments(activation)[0], []
    for seed in sample_seeds(key, samples, "regression"):
        rng = np.random.Generator(np.random.PCG64(seed))
        F, teacher = rng.standard_normal((D, N)), rng.standard_normal(D)
        teacher /= np.linalg.norm(teacher)

        def patterns(count: int, rng=rng, F=F, teacher=teacher) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            """Features, the teacher's field, the labels."""
            x = rng.standard_normal((count, D))
            nu = x @ teacher
            n, m = rng.standard_normal((2, count))
            y = rho * nu + math.sqrt(1.0 - rho * rho) * n + math.sqrt(noise) * m
            signs = np.where(y >= 0, 1.0, -1.0)
            return ACTIVATIONS[activation](x @ F / math.sqrt(D)) - mean, nu, signs if task == "sign" else y

        features, _, y = patterns(P)
        found = fit(features, y, loss=loss, lam=lam)
        if not found.solved:
            rows.append([math.nan] * 7)
            continue
        delta = features @ found.w / math.sqrt(N)
        fresh, nu, labels = patterns(tests)
        guess = fresh @ found.w / math.sqrt(N)
        if task == "sign":
            test, missed = np.mean(labels * guess <= 0), np.mean(y * delta <= 0) if P else 0.0
        else:
            test, missed = np.mean((rho * nu - guess) ** 2), np.mean((y - delta) ** 2) if P else 0.0
        energy = _loss(loss, y, delta) / N
        Q, M, q = np.mean(guess**2), np.mean(nu * guess), found.w @ found.w / N
        rows.append([test, np.mean(nu * guess <= 0), missed, energy, Q, M, q])
    table = np.array(rows)
    solved = np.isfinite(table[:, 0])
    names = ("test", "eps", "train_error", "energy", "Q", "M", "q")
    results = {name: Statistic.from_samples(table[solved, i]) for i, name in enumerate(names)}
    return results | {"solved": Statistic.from_counts(int(solved.sum()), samples)}


def _loss(loss: str, y: np.ndarray, delta: np.ndarray) -> float:
    """The training loss (maximum margin: 0)."""
    if loss == "square":
        return float(0.5 * ((y - delta) ** 2).sum())
    if loss == "logistic":
        return float(np.logaddexp(0.0, -y * delta).sum())
    return float(np.maximum(1.0 - y * delta, 0.0).sum()) if loss == "hinge" else 0.0
