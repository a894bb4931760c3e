r"""Theory against simulation of the same model object, with z-scores, honest about finite size.

A finite instance of N weights has P = round(alpha N) patterns, and with +-1 patterns the fields live on a lattice of step 2/sqrt(N), so
that a margin means the middle between the last lattice point that violates it and the first that satisfies it.  The theory of size N is
therefore taken at alpha_N = P/N and kappa_N (`finite_parameters`).  What remains is fitted by powers of 1/N,

    x_N - theory(alpha_N, kappa_N) = r + a/N + b/N^2,      row "extrapolated": x = theory + r,   z = r / error(r).

Fluctuations about a replica-symmetric saddle give log Z = N phi + O(1), no logarithms; N (phi_N - phi) is found to level off from N = 12
on, but b of order 1 is plain at N = 8 to 18 and would shift a straight line in 1/N by up to 5 standard errors.  So b is fitted with the
prior 0 +- `_CURVATURE` (constrained fits: Lepage et al., Nucl. Phys. B Proc. Suppl. 106 (2002) 12, hep-lat/0110175): with few samples
it enlarges the error, with many the data determine it.  Where P/N = alpha exactly, theory + r is the plain extrapolation of x_N.

Sample-to-sample fluctuations are reduced by control variates, functions of the patterns whose mean is known exactly,

    sum_{mu != nu} C_{mu nu},     tr C - P,     sum_{mu != nu} (C_{mu nu}^2 - 1/N),         C_{mu nu} = xi^mu.xi^nu / N:

patterns that happen to be aligned leave more solutions.  Regressing on them makes errors 2 to 4 times smaller (10 times fewer samples).
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from replicax.answers.solve import solve
from replicax.answers.status import CODE, STATUSES
from replicax.simulation import Statistic, number_of_patterns
from replicax.theory.models import RecurrentNetwork
from replicax.top.simulate import (
    ALGORITHMS,
    Measured,
    check_options,
    find_run,
    finite_parameters,
    measure,
    plain_parameters,
    satisfied_probability,
    seed_of,
    simulate,
)
from replicax.vocabulary.limits import INFINITE

COLUMNS = ("quantity", "theory", "simulation", "error", "z", "N", "extrapolated")
#: averages are conditioned on Z > 0: no z-score where fewer instances than this have solutions
MIN_SOLVED = 0.99
MAX_R_HAT = 1.05
#: single flips freeze above this beta at N of some hundreds (see `simulation.metropolis`)
MAX_BETA_METROPOLIS = 1.5
#: scale of the 1/N^2 coefficients, measured with 10^4 instances at N = 8..18: phi 0.2 to 1.5, q 0.7 (finite beta) to 3.5 (beta = inf)
_CURVATURE = {"q": 4.0}
_MAX_SPREAD = 1.5  # standard deviation / mean of Z up to which the mean of a few hundred samples is Gaussian


class Row(NamedTuple):
    """One comparison; `note` says why there is no z-score."""

    quantity: str
    theory: float
    simulation: float
    error: float
    z: float
    N: float
    extrapolated: bool
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Validation:
    """Rows of theory against simulation.  z = (simulation - theory)/error; NaN where the two need not agree (see `Row.note`)."""

    model: Any
    rows: tuple[Row, ...]

    def table(self) -> dict[str, np.ndarray]:
        """The columns quantity, theory, simulation, error, z, N, extrapolated."""
        return {name: np.array([getattr(row, name) for row in self.rows]) for name in COLUMNS}

    @property
    def worst(self) -> float:
        """The largest |z|; NaN if there is none."""
        z = [abs(row.z) for row in self.rows if not math.isnan(row.z)]
        return max(z, default=math.nan)

    def __repr__(self) -> str:
        lines = [f"{self.model.name}: worst |z| = {self.worst:.2f}"]
        lines.append(f"  {'quantity':<12} {'N':>5} {'theory':>11} {'simulation':>16} {'z':>6}")
        for row in self.rows:
            value = repr(Statistic(row.simulation, row.error, 0))
            z = "" if math.isnan(row.z) else f"{row.z:+.2f}"
            lines.append(
                f"  {row.quantity:<12} {row.N:>5g} {row.theory:>11.6f} {value:>16} {z:>6}  {row.note}".rstrip()
            )
        return "\n".join(lines)


def validate(
    model: Any,
    *,
    N: int | None = None,
    samples: int | None = None,
    key: Any = 0,
    sizes: Sequence[int] | None = None,
    algorithm: str | None = None,
    **options: Any,
) -> Validation:
    """Solve and simulate the same model object: a `Validation` (some |z| > 4: theory and simulation disagree).

    binary-perceptron     phi, q and at finite beta energy, entropy, by enumeration at three sizes, extrapolated in 1/N; for beta <= 1.5
                          also energy, q of Metropolis chains at N = 500; first-moment: (1/N) log E Z, exact at every N
    symmetric-perceptron  phi and first-moment
    recurrent-network     phi = (1/N) log E Z (finite beta: energy, entropy), exact at every N; phi-typical = (1/N) E log Z,
                          extrapolated, where the theory is typical too (beta = inf, eta = 0, no field, Gaussian couplings)

    N: the largest size enumerated; samples: the number of instances there, sqrt(2) times more for every spin less.  sizes: all of them
    instead.  algorithm: only this one.  options: patterns = gaussian | pm1, strict, and sweeps, warmup, chains for the chains.
    """
    find_run(model, algorithm or "enumeration")
    plain = plain_parameters(model)
    chains = "metropolis" in _algorithms(model) and 0.0 < plain["beta"] <= MAX_BETA_METROPOLIS
    algorithms = [algorithm] if algorithm else ["enumeration", "metropolis"] if chains else ["enumeration"]
    chosen = _share(model, algorithms, options)
    check_options(_given(N=N, samples=samples), find_run(model, algorithms[0]).parameters, "validate")
    for size in () if sizes is None else sizes:
        check_options({"N": size}, find_run(model, algorithms[0]).parameters, "validate")
    rows: list[Row] = []
    if "enumeration" in algorithms:
        rows_of = _network if isinstance(model, RecurrentNetwork) else _perceptron
        rows += rows_of(model, plain, N, samples, key, sizes, chosen["enumeration"])
    if "metropolis" in algorithms:  # N and samples are those of the enumeration where both run
        given = _given(N=N, samples=samples) if algorithm else {}
        rows += _chains(model, key, given | chosen["metropolis"])
    return Validation(model, tuple(rows))


def _algorithms(model: Any) -> list[str]:
    return [name for name, algorithm in ALGORITHMS.items() if model.name in algorithm.runs]


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _share(model: Any, algorithms: Sequence[str], options: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The options of each algorithm, checked; ValueError for one that none of them has."""
    own = {
        name: {k: v for k, v in find_run(model, name).parameters.items() if k not in ("N", "samples", "key")}
        for name in algorithms
    }
    check_options(
        options, {k: v for known in own.values() for k, v in known.items()}, f"validate {model.name}"
    )
    return {name: {k: v for k, v in options.items() if k in known} for name, known in own.items()}


def default_sizes(alpha: float, N: int) -> tuple[int, ...]:
    """About N, 0.8 N, 0.62 N; the smaller ones moved by one where P/N then comes closer to alpha."""
    miss = lambda n: round(abs(alpha * n - round(alpha * n)), 9)
    sizes = [N]
    for share in (0.8, 0.62):
        target = max(2, round(share * N))
        sizes.append(min((target, target - 1, target + 1), key=lambda n: (miss(n), abs(n - target))))
    return tuple(sorted({n for n in sizes if n >= 1}, reverse=True))


def _number_of_samples(samples: int, n: int, largest: int) -> int:
    """Smaller sizes are cheap: sqrt(2) times more instances for every weight less, up to 8 times."""
    return round(samples * min(8.0, 2.0 ** (0.5 * (largest - n))))


def _perceptron(
    model: Any, plain: Any, N: Any, samples: Any, key: Any, sizes: Any, options: Any
) -> list[Row]:
    """Enumeration of a binary or symmetric perceptron: three sizes, and the limit."""
    largest = int(N or (17 if plain.get("beta", math.inf) == math.inf else 16))
    sizes = (
        default_sizes(plain["alpha"], largest)
        if sizes is None
        else tuple(sorted(map(int, sizes), reverse=True))
    )
    samples = 600 if samples is None else int(samples)
    measured = [measure(plain, n, _number_of_samples(samples, n, sizes[0]), key, **options) for n in sizes]
    theory, notes = _theories(
        model, [_finite(plain, n, options) for n in sizes] + [(plain["alpha"], plain["kappa"])]
    )
    rows = (
        [_first_moment(plain, m, options) for m in measured]
        if plain.get("labels", "random") == "random"
        else []
    )
    for name in measured[0].observables:
        seen = [m.observables[name] for m in measured]
        finite, limit = theory[name][:-1], float(theory[name][-1])
        rows += [
            Row(name, float(t), s.mean, s.error, math.nan, n, False) for t, s, n in zip(finite, seen, sizes)
        ]
        rows += [_limit(name, limit, finite, measured, seen, notes[-1])]
    return rows


def _finite(plain: dict[str, Any], N: int, options: dict[str, Any]) -> tuple[float, float]:
    return finite_parameters(
        plain["alpha"], plain["kappa"], N, constraint=plain.get("constraint", "margin"), **options
    )


def _theories(model: Any, points: Sequence[tuple[float, float]]) -> tuple[dict[str, np.ndarray], list[str]]:
    """Observables of the model at (alpha, kappa) points, and why they do not hold ("" where they do)."""
    alpha, kappa = np.array(points, float).T
    solution = solve(dataclasses.replace(model, alpha=alpha, kappa=kappa))
    code = np.asarray(solution.code)
    table = {k: np.asarray(v, float) for k, v in solution.table().items() if k != "status"}
    return table, ["" if c == CODE["ok"] else f"theory: {STATUSES[c]}" for c in code]


def _limit(
    name: str, theory: float, finite: np.ndarray, measured: list[Measured], seen: list[Statistic], note: str
) -> Row:
    solved = min(m.solved for m in measured)
    if len(seen) < 2:
        return Row(name, theory, math.nan, math.nan, math.nan, math.inf, True, "one size: no extrapolation")
    gap = np.array([s.mean for s in seen]) - finite
    rest, error = extrapolate(
        [m.N for m in measured], gap, [s.error for s in seen], _CURVATURE.get(name, 1.0)
    )
    if solved < MIN_SOLVED:
        note = f"only {solved:.1%} of the instances have solutions: biased"
    return Row(
        name, theory, theory + rest, error, math.nan if note else _score(rest, error), math.inf, True, note
    )


def extrapolate(sizes: Any, x: Any, errors: Any, curvature: float = 1.0) -> tuple[float, float]:
    """Limit N -> inf of x = r + a/N + b/N^2, and its error: weighted least squares with b = 0 +- `curvature` given beforehand."""
    N, x, errors = (np.asarray(v, float) for v in (sizes, x, errors))
    if not np.all(np.isfinite(x)) or not np.all(np.isfinite(errors)):
        return math.nan, math.nan
    design = np.vstack([np.stack([np.ones(len(N)), 1.0 / N, 1.0 / N**2], 1), [0.0, 0.0, 1.0]])
    weights = 1.0 / np.maximum(np.append(errors, curvature), 1e-9)
    inverse = np.linalg.pinv(design * weights[:, None], rcond=1e-14)
    return float((inverse @ (np.append(x, 0.0) * weights))[0]), float(np.linalg.norm(inverse[0]))


def _score(difference: float, error: float) -> float:
    if error > 0.0:
        return difference / error
    return 0.0 if abs(difference) < 1e-9 else math.copysign(math.inf, difference)


def _first_moment(plain: dict[str, Any], measured: Measured, options: dict[str, Any]) -> Row:
    """(1/N) log E Z = log 2 + (P/N) log[p + exp(-beta)(1 - p)], p exact at size N."""
    N, beta = measured.N, plain.get("beta", math.inf)
    p = satisfied_probability(plain["kappa"], N, constraint=plain.get("constraint", "margin"), **options)
    with np.errstate(divide="ignore"):
        weight = float(np.log(p + math.exp(-beta) * (1.0 - p)))
        alpha = number_of_patterns(N, plain["alpha"]) / N
        exact = math.log(2.0) + (alpha * weight if alpha else 0.0)
        value = float(np.log(measured.first_moment.mean)) / N
    mean, error = measured.first_moment.mean, measured.first_moment.error
    relative = error / mean if mean > 0.0 else math.nan
    fair = relative * math.sqrt(measured.first_moment.n) <= _MAX_SPREAD
    z = _score(value - exact, relative / N) if fair else math.nan
    return Row(
        "first-moment", exact, value, relative / N, z, N, False, "" if fair else "rare instances dominate E Z"
    )


def enumeration_points(
    model_class: Any,
    points: Sequence[tuple[float, float]],
    sizes: Sequence[int] = (16, 13, 10),
    samples: int = 300,
    key: Any = 0,
    **fields: Any,
) -> dict[str, np.ndarray]:
    """phi at many (alpha, kappa), enumerated at `sizes` and extrapolated in 1/N: points with error bars for a phase diagram.

    model_class: BinaryPerceptron or SymmetricPerceptron, with further `fields` (beta, constraint).  Returns arrays over the points: alpha,
    kappa, phi, phi_err, theory, z (NaN where fewer than 99% of the instances have solutions), solved (the worst size).
    """
    model, sizes = model_class(alpha=points[0][0], kappa=points[0][1], **fields), sorted(sizes, reverse=True)
    plains = [plain_parameters(model) | dict(alpha=float(a), kappa=float(k)) for a, k in points]
    at = [(n, p) for p in plains for n in sizes]
    theory, notes = _theories(
        model, [_finite(p, n, {}) for n, p in at] + [(p["alpha"], p["kappa"]) for p in plains]
    )
    finite, limits = theory["phi"][: len(at)].reshape(len(points), -1), theory["phi"][len(at) :]
    rows, solved = [], []
    for i, plain in enumerate(plains):
        measured = [
            measure(plain, n, _number_of_samples(samples, n, sizes[0]), seed_of(key, i)) for n in sizes
        ]
        seen = [m.observables["phi"] for m in measured]
        rows.append(_limit("phi", float(limits[i]), finite[i], measured, seen, notes[len(at) + i]))
        solved.append(min(m.solved for m in measured))
    alpha, kappa = np.array(points, float).T
    columns = dict(phi="simulation", phi_err="error", theory="theory", z="z")
    return dict(alpha=alpha, kappa=kappa, solved=np.array(solved)) | {
        name: np.array([getattr(row, field) for row in rows]) for name, field in columns.items()
    }


# ------------------------------------------------------------------------------------------- Monte Carlo and networks


def _chains(model: Any, key: Any, options: dict[str, Any]) -> list[Row]:
    """Metropolis at one large size, where 1/N corrections are below the error; theory at (P/N, kappa_N)."""
    run = simulate(model, "metropolis", **dict(samples=16) | options | dict(key=seed_of(key, 0)))
    plain, N = plain_parameters(model), run.N
    theory, notes = _theories(
        model, [_finite(plain, N, {k: v for k, v in options.items() if k in ("patterns", "strict")})]
    )
    r_hat = max(x.r_hat for x in run.values())
    note = notes[0]
    if plain["beta"] > MAX_BETA_METROPOLIS or not r_hat < MAX_R_HAT:
        note = f"not equilibrated: beta = {plain['beta']:g}, r_hat = {r_hat:.2f}"
    rows = []
    for name, x in run.items():
        t = float(theory[name][0])
        rows.append(
            Row(
                name,
                t,
                x.mean,
                x.error,
                math.nan if note else _score(x.mean - t, x.error),
                N,
                False,
                note or "metropolis",
            )
        )
    return rows


def _network(model: Any, plain: Any, N: Any, samples: Any, key: Any, sizes: Any, options: Any) -> list[Row]:
    """Enumerated networks against the first moment at the same N, and the typical number of fixed points against the limit."""
    fixed = None if model.N is INFINITE else int(plain["N"])
    if fixed is not None and N is not None and int(N) != fixed:
        raise ValueError(f"N = {N!r}: the model itself has N = {fixed}")
    largest = fixed or int(N or 16)
    if sizes is None:
        sizes = (
            (largest,)
            if fixed
            else tuple(n for n in (largest, round(0.8 * largest), round(0.65 * largest)) if n > 1)
        )
    sizes = tuple(sorted({int(n) for n in sizes}, reverse=True))
    samples = 600 if samples is None else int(samples)
    exact = model.couplings == "gaussian" or plain["eta"] == 0.0
    # +-1: h sqrt(N) is an integer, so that J_D + 1e-6 is the other convention for ties
    lifted = 1e-6 if options.get("strict") and model.couplings == "pm1" else 0.0
    names = ["phi", *(("energy", "entropy") if plain["beta"] < math.inf else ())]
    unlimited, runs, rows = dataclasses.replace(model, N=INFINITE), [], []
    for n in sizes:
        count = _number_of_samples(samples, n, sizes[0])
        run = simulate(unlimited, "enumeration", N=n, samples=count, key=seed_of(key, n), **options)
        theory = solve(dataclasses.replace(model, J_D=plain["J_D"] + lifted, N=n)).table() if exact else {}
        runs.append(run)
        for name in names:
            t, x = float(theory.get(name, math.nan)), run[name]
            note = "" if exact else "couplings = pm1: exact at finite N for eta = 0 only"
            rows.append(
                Row(
                    name,
                    t,
                    x.mean,
                    x.error,
                    _score(x.mean - t, x.error) if exact else math.nan,
                    n,
                    False,
                    note,
                )
            )
    typical = (
        plain["beta"] == math.inf and plain["eta"] == plain["field"] == 0.0 and model.couplings == "gaussian"
    )
    if typical and len(sizes) > 1:
        seen = [run["phi_typical"] for run in runs]
        measured = [Measured(run.N, {}, x, run["solved"].mean) for run, x in zip(runs, seen)]
        limit = float(solve(unlimited).phi)
        rows += [
            Row("phi-typical", math.nan, x.mean, x.error, math.nan, run.N, False)
            for run, x in zip(runs, seen)
        ]
        rows.append(_limit("phi-typical", limit, np.full(len(sizes), limit), measured, seen, ""))
    return rows
