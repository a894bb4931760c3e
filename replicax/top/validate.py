r"""Theory against simulation of the same model object, with z-scores, honest about finite size.

Rows of finite N have a z-score only where the theory is exact at that N. The others are extrapolated
(`finite_size`): x_N - theory(alpha_N, kappa_N) = r + a/N + b/N^2 (q: + c/N^3) gives the row N = inf,

    simulation = theory + r,    z = r / error(r);

where P/N = alpha exactly, theory + r is the plain extrapolation of x_N. With an ansatz that asks for the
surroundings of references (franz-parisi, pair, local-entropy) these are counted, see `neighbours`.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from replicax.answers.solve import solve
from replicax.answers.status import CODE, STATUSES
from replicax.simulation import Statistic, number_of_patterns
from replicax.simulation.neighbours import MAX_N
from replicax.simulation.random_features import number_of_inputs
from replicax.theory.ansatz import RS, Ansatz
from replicax.theory.models import RandomFeatures, RecurrentNetwork
from replicax.top.finite_size import (
    Measured,
    default_sizes,
    extrapolate,
    finite_parameters,
    log_first_moment,
    measure,
    number_of_samples,
    seed_of,
)
from replicax.top.neighbours import flips, log_mean_pairs, measure_neighbours, question
from replicax.top.runs import VALIDATING
from replicax.top.runs import algorithms as all_algorithms
from replicax.top.simulate import (
    check_options,
    find_run,
    plain_parameters,
    simulate,
)
from replicax.vocabulary.limits import INFINITE

COLUMNS = ("quantity", "theory", "simulation", "error", "z", "N", "extrapolated")
#: averages are conditioned on Z > 0: no z-score where fewer instances than this have solutions
MIN_SOLVED = 0.99
MAX_R_HAT = 1.05
#: single flips freeze above this beta at N of some hundreds (see `simulation.metropolis`)
MAX_BETA_METROPOLIS = 1.5
#: scales of 1/N^2 and 1/N^3 where not 1, 0; measured with 10^4 instances at N = 8..18. beta = inf: phi 0.2 to
#: 1.5, q 3.5 (pairs of a solution with itself weigh exp(-N phi): no power law at small N); beta = 2: phi 0.1,
#: q 0.7. They are taken to grow with beta up to beta = 3
_CURVATURE = {"q": (4.0, 40.0)}
#: of minima on features, in units of the observable; and training errors below this are seen too rarely to have an error bar
_BEND, _RARE = 100.0, 0.01
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
    """Theory against simulation; z = (simulation - theory)/error, NaN where the two need not agree."""

    model: Any
    rows: tuple[Row, ...]
    ansatz: Ansatz | None = None

    def table(self) -> dict[str, np.ndarray]:
        """The columns quantity, theory, simulation, error, z, N, extrapolated."""
        return {name: np.array([getattr(row, name) for row in self.rows]) for name in COLUMNS}

    @property
    def worst(self) -> float:
        """The largest |z|; NaN if there is none."""
        z = [abs(row.z) for row in self.rows if not math.isnan(row.z)]
        return max(z, default=math.nan)

    def __repr__(self) -> str:
        name = self.model.name + ("" if self.ansatz is None else f", {self.ansatz.name}")
        lines = [f"{name}: worst |z| = {self.worst:.2f}"]
        lines.append(f"  {'quantity':<12} {'N':>5} {'theory':>11} {'simulation':>16} {'z':>6}")
        for row in self.rows:
            value = repr(Statistic(row.simulation, row.error, 0))
            z, note = "" if math.isnan(row.z) else f"{row.z:+.2f}", row.note
            lines.append(
                f"  {row.quantity:<12} {row.N:>5g} {row.theory:>11.6f} {value:>16} {z:>6}  {note}".rstrip()
            )
        return "\n".join(lines)


def validate(
    model: Any,
    ansatz: Ansatz | type[Ansatz] | None = None,
    *,
    N: int | Sequence[int] | None = None,
    samples: int | None = None,
    key: Any = 0,
    sizes: Sequence[int] | None = None,
    algorithm: str | None = None,
    **options: Any,
) -> Validation:
    """Solve and simulate the same model object; some |z| > 4 says that theory and simulation disagree.

    binary-perceptron     phi, q and at finite beta energy, entropy, by enumeration at three sizes,
                          extrapolated in 1/N; for beta <= 1.5 also energy, q of Metropolis chains at N = 500;
                          first-moment: (1/N) log E Z, exact at every N
    symmetric-perceptron  phi and first-moment
    random-features       binary weights: phi, q, p, r, eps_bary, extrapolated; real features, theory at P/N and D/N
    random-features-erm   test, train_error, energy, Q, M, q of minima on real features, extrapolated; theory at P/N and D/N
    recurrent-network     phi = (1/N) log E Z (finite beta: energy, entropy), exact at every N;
                          phi-typical = (1/N) E log Z, extrapolated, where the theory is typical too
                          (beta = inf, eta = 0, no field, Gaussian couplings)

    Of binary and symmetric perceptrons also the surroundings of references at distance d, counted exactly (N <= 22):

    FranzParisi(d=..)     entropy, extrapolated
    Pair(d=..)            entropy, exact at every N (patterns = pm1: extrapolated)
    LocalEntropy(d=.., y=number, ensemble="reference" | "constrained")      phi, S_I, S_E, extrapolated
                          from the sizes at which 99% have solutions
    each                  first-moment: (1/N) log E[pairs], exact at every N (random labels)

    N: the largest size enumerated; samples: the number of instances there, sqrt(2) times more for every
    weight less. sizes (or several N): all of them instead. algorithm: only this one. options: patterns =
    gaussian | pm1, strict, and sweeps, warmup, chains for the chains.
    """
    if N is not None and np.ndim(N):
        N, sizes = None, N  # type: ignore[assignment]
    ansatz = ansatz() if isinstance(ansatz, type) else ansatz
    if algorithm is not None and algorithm not in VALIDATING:
        raise ValueError(
            f"algorithm = {algorithm!r} is not allowed: validate compares {', '.join(VALIDATING)}"
        )
    around = ansatz is not None and not isinstance(ansatz, RS)
    algorithm = "enumeration" if around else algorithm
    running = [name for name in VALIDATING if getattr(model, "name", "") in all_algorithms()[name].runs]
    first = algorithm or (running or VALIDATING)[0]
    find_run(model, first)
    plain = plain_parameters(model)
    chains = "metropolis" in running and 0.0 < plain["beta"] <= MAX_BETA_METROPOLIS
    algorithms = [first, "metropolis"] if chains and not algorithm else [first]
    known = {name: dict(find_run(model, name).parameters) for name in algorithms}
    if around:
        known[first]["N"] = dict(known[first]["N"], high=MAX_N)
    given = {k: v for k, v in dict(N=N, samples=samples).items() if v is not None}
    for size in [given, *({"N": n} for n in np.ravel([] if sizes is None else sizes).tolist())]:
        check_options(size, known[algorithms[0]], "validate")
    check_options(options, {k: v for run in known.values() for k, v in run.items()}, f"validate {model.name}")
    chosen = {name: {k: v for k, v in options.items() if k in run} for name, run in known.items()}
    rows: list[Row] = []
    if around:
        rows += _surroundings(model, ansatz, plain, N, samples, key, sizes, chosen["enumeration"])
        return Validation(model, tuple(rows), ansatz)
    if "regression" in algorithms:
        rows += _minima(model, plain, N, samples, key, sizes, chosen["regression"])
    if "enumeration" in algorithms:
        kinds = {RecurrentNetwork: _network, RandomFeatures: _features}
        rows_of = kinds.get(type(model), _perceptron)
        rows += rows_of(model, plain, N, samples, key, sizes, chosen["enumeration"])
    if "metropolis" in algorithms:  # N and samples are those of the enumeration where both run
        rows += _chains(model, key, (given if algorithm else {}) | chosen["metropolis"])
    return Validation(model, tuple(rows))


def _perceptron(
    model: Any, plain: Any, N: Any, samples: Any, key: Any, sizes: Any, options: Any
) -> list[Row]:
    """Enumeration of a binary or symmetric perceptron: three sizes, and the limit."""
    if sizes is None:
        patterns = options.get("patterns", "gaussian")
        largest = int(N or (17 if plain.get("beta", math.inf) == math.inf else 15))
        sizes = default_sizes(plain["alpha"], largest, patterns=patterns)
    sizes, samples = _descending(sizes), 600 if samples is None else int(samples)
    measured = [measure(plain, n, number_of_samples(samples, n, sizes[0]), key, **options) for n in sizes]
    points = [finite_parameters(plain, n, **options) for n in sizes] + [(plain["alpha"], plain["kappa"])]
    theory, notes = _theories(model, points)
    rows = []
    if plain.get("labels", "random") == "random":
        rows += [_first_moment(log_first_moment(plain, m.N, **options), m) for m in measured]
    for name in measured[0].observables:
        seen = [m.observables[name] for m in measured]
        finite, limit = theory[name][:-1], float(theory[name][-1])
        rows += [_row(name, t, x, n, "") for t, x, n in zip(finite, seen, sizes)]
        rows.append(_limit(name, limit, finite, measured, seen, notes[-1], plain.get("beta", math.inf)))
    return rows


def _surroundings(
    model: Any, ansatz: Any, plain: Any, N: Any, samples: Any, key: Any, sizes: Any, options: Any
) -> list[Row]:
    """Counts around references at three sizes, and the limit; theory of size N at P/N, kappa_N, t/N."""
    ansatz.problems(model)
    asked, patterns = question(ansatz, plain), options.get("patterns", "gaussian")
    if sizes is None:
        sizes = default_sizes(plain["alpha"], int(N or 17), patterns=patterns)
    sizes, samples = _descending(sizes), 600 if samples is None else int(samples)
    d = [flips(asked.d, n) / n for n in sizes] + [asked.d]
    measured = [
        measure_neighbours(asked, plain, n, number_of_samples(samples, n, sizes[0]), key, **options)
        for n in sizes
    ]
    at = lambda margin: [finite_parameters(plain | dict(kappa=margin), n, **options) for n in sizes]
    alpha, kappa = np.array([*at(plain["kappa"]), (plain["alpha"], plain["kappa"])]).T
    moved = dict(d=np.array(d))
    if hasattr(ansatz, "kappa_ref") and not asked.any_reference:
        moved["kappa_ref"] = np.array([k for _, k in at(asked.kappa_ref)] + [asked.kappa_ref])
    theory, notes = _theory(
        dataclasses.replace(model, alpha=alpha, kappa=kappa), dataclasses.replace(ansatz, **moved)
    )
    rows = []
    if plain.get("labels", "random") == "random":
        rows += [_first_moment(log_mean_pairs(asked, plain, m.N, **options), m) for m in measured]
    exact = asked.kind == "pair" and patterns == "gaussian"
    for name in measured[0].observables:
        seen, finite = [m.observables[name] for m in measured], theory[name][:-1]
        rare = [row.note if exact else "" for row in rows[: len(sizes)]]
        rows += [
            _row(name, t, x, n, note, exact and not note) for t, x, n, note in zip(finite, seen, sizes, rare)
        ]
        if not exact:
            fair = [i for i, m in enumerate(measured) if m.solved >= MIN_SOLVED]
            used = fair if len(fair) > 1 else range(len(sizes))
            pick = lambda x: [x[i] for i in used]
            limit = float(theory[name][-1])
            rows.append(_limit(name, limit, finite[list(used)], pick(measured), pick(seen), notes[-1]))
    return rows


def _features(model: Any, plain: Any, N: Any, samples: Any, key: Any, sizes: Any, options: Any) -> list[Row]:
    """Enumeration of binary weights on random features; theory of size N at P/N and D/N."""
    sizes = _descending((int(N or 17), 13, 9) if sizes is None else sizes)
    samples = 600 if samples is None else int(samples)
    beta, points, measured = plain["beta"], [], []
    names = ["phi", "q", "p", *(("r", "eps_bary") if model.labels == "teacher" else ())]
    names += ["energy", "entropy"] if beta < math.inf else []
    for n in sizes:
        count = number_of_samples(samples, n, sizes[0])
        run = simulate(model, "enumeration", N=n, samples=count, key=seed_of(key, n), **options)
        solved = run["solved"].mean if beta == math.inf else 1.0
        measured.append(Measured(n, dict(run), run["first_moment"], solved))
        D = number_of_inputs(n, plain["alpha"], plain.get("alpha_D"), plain.get("alpha_T"))
        points.append((number_of_patterns(n, plain["alpha"]) / n, D / n))
    points.append((plain["alpha"], float(model.inputs)))
    alpha, inputs = np.array(points).T
    theory, notes = _theory(dataclasses.replace(model, alpha=alpha, alpha_D=inputs, alpha_T=None))
    rows = []
    for name in names:
        seen = [m.observables[name] for m in measured]
        finite = theory[name][:-1]
        rows += [_row(name, t, x, n, "") for t, x, n in zip(finite, seen, sizes)]
        rows.append(_limit(name, float(theory[name][-1]), finite, measured, seen, notes[-1], beta))
    return rows


def _minima(model: Any, plain: Any, N: Any, samples: Any, key: Any, sizes: Any, options: Any) -> list[Row]:
    """Minima of a convex loss at three sizes; theory of size N at P/N and D/N."""
    largest = int(N or 240)
    sizes = _descending((largest, round(0.6 * largest), round(0.36 * largest)) if sizes is None else sizes)
    samples, points, measured = 24 if samples is None else int(samples), [], []
    for n in sizes:
        count = round(samples * sizes[0] / n)
        run = simulate(model, "regression", N=n, samples=count, key=seed_of(key, n), **options)
        measured.append(Measured(n, dict(run), run["solved"], run["solved"].mean))
        D = number_of_inputs(n, plain["alpha"], plain.get("alpha_D"), plain.get("alpha_T"))
        points.append((number_of_patterns(n, plain["alpha"]) / n, D / n))
    points.append((plain["alpha"], float(model.inputs)))
    alpha, inputs = np.array(points).T
    theory, notes = _theory(dataclasses.replace(model, alpha=alpha, alpha_D=inputs, alpha_T=None))
    rows = []
    for name in ("test", "train_error", "energy", "Q", "M", "q"):
        if name == "train_error" and not theory[name][-1] > _RARE:
            continue
        seen = [m.observables[name] for m in measured]
        finite, limit = theory[name][:-1], float(theory[name][-1])
        rows += [_row(name, t, x, n, "") for t, x, n in zip(finite, seen, sizes)]
        rows.append(
            _limit(name, limit, finite, measured, seen, notes[-1], curvature=(_BEND * abs(limit), 0.0))
        )
    return rows


def _descending(sizes: Any) -> tuple[int, ...]:
    return tuple(sorted({int(n) for n in np.atleast_1d(sizes)}, reverse=True))


def _row(name: str, theory: Any, x: Statistic, N: int, note: str, exact: bool = False) -> Row:
    """A row of finite N; z where the theory is exact there."""
    t = float(theory)
    return Row(name, t, x.mean, x.error, _score(x.mean - t, x.error) if exact else math.nan, N, False, note)


def _theories(model: Any, points: Sequence[tuple[float, float]]) -> tuple[dict[str, np.ndarray], list[str]]:
    """Observables of the model at (alpha, kappa) points, and why they do not hold ("" where they do)."""
    alpha, kappa = np.array(points, float).T
    return _theory(dataclasses.replace(model, alpha=alpha, kappa=kappa))


def _theory(models: Any, ansatz: Any = None) -> tuple[dict[str, np.ndarray], list[str]]:
    solution = solve(models) if ansatz is None else solve(models, ansatz)
    code = np.asarray(solution.code)
    table = {k: np.asarray(v, float) for k, v in solution.table().items() if k not in ("status", "branch")}
    return table, ["" if c == CODE["ok"] else f"theory: {STATUSES[c]}" for c in code]


def _limit(
    name: str,
    theory: float,
    finite: np.ndarray,
    measured: list[Measured],
    seen: list[Statistic],
    note: str,
    beta: float = math.inf,
    curvature: tuple[float, float] | None = None,
) -> Row:
    """The row N = inf of an observable: theory in the limit, at the finite sizes, and what was seen there.

    curvature: scales of 1/N^2 and 1/N^3, if not those of enumerations.
    """
    if len(seen) < 2:
        return Row(name, theory, math.nan, math.nan, math.nan, math.inf, True, "one size: no extrapolation")
    scale, (b, c) = min(1.0, beta / 3.0), curvature or _CURVATURE.get(name, (1.0, 0.0))
    gap, errors = np.array([x.mean for x in seen]) - finite, [x.error for x in seen]
    rest, error = extrapolate([m.N for m in measured], gap, errors, scale * b, scale * c)
    solved = min(m.solved for m in measured)
    if solved < MIN_SOLVED:
        note = f"only {solved:.1%} have solutions: biased"
    elif math.isnan(rest):
        note = note or "no theory at the finite sizes"
    z = math.nan if note else _score(rest, error)
    return Row(name, theory, theory + rest, error, z, math.inf, True, note)


def _score(difference: float, error: float) -> float:
    if error > 0.0:
        return difference / error
    return 0.0 if abs(difference) < 1e-9 else math.copysign(math.inf, difference)


def _first_moment(exact: float, measured: Measured) -> Row:
    """(1/N) log E Z; no z-score where Z fluctuates so much that rare instances make its mean, or that is not known."""
    x, N = measured.first_moment, measured.N
    if math.isnan(exact):
        return Row("first-moment", exact, math.nan, math.nan, math.nan, N, False, "not known for pm1")
    if not x.mean > 0.0:
        return Row("first-moment", exact, -math.inf, math.nan, math.nan, N, False, "no solutions seen")
    value = Statistic(math.log(x.mean) / N, x.error / x.mean / N, x.n)
    fair = x.error / x.mean * math.sqrt(x.n) <= _MAX_SPREAD
    return _row("first-moment", exact, value, N, "" if fair else "rare instances dominate E Z", fair)


def extrapolated(models: Sequence[Any], **options: Any) -> dict[str, np.ndarray]:
    """Rows N = inf of `validate` at many models: NAME, NAME_err, NAME_z of every quantity, arrays over the models."""
    columns: dict[str, list[float]] = {}
    for model in models:
        for row in validate(model, **options).rows:
            if row.extrapolated:
                for tag, x in (("", row.simulation), ("_err", row.error), ("_z", row.z)):
                    columns.setdefault(row.quantity + tag, []).append(x)
    return {name: np.array(values) for name, values in columns.items()}


def enumeration_points(
    model_class: Any,
    points: Sequence[tuple[float, float]],
    sizes: Sequence[int] = (16, 13, 10),
    samples: int = 300,
    key: Any = 0,
    **fields: Any,
) -> dict[str, np.ndarray]:
    """phi at many (alpha, kappa), enumerated at `sizes` and extrapolated in 1/N: points for a phase diagram.

    model_class: BinaryPerceptron or SymmetricPerceptron, with further `fields` (beta, constraint). Returns
    arrays over the points: alpha, kappa, phi, phi_err, theory, z (NaN where fewer than 99% of the instances
    have solutions: phi is biased there), solved (at the worst size).
    """
    model, sizes = model_class(alpha=points[0][0], kappa=points[0][1], **fields), sorted(sizes, reverse=True)
    plains = [plain_parameters(model) | dict(alpha=float(a), kappa=float(k)) for a, k in points]
    at = [finite_parameters(p, n) for p in plains for n in sizes]
    theory, notes = _theories(model, at + [(p["alpha"], p["kappa"]) for p in plains])
    finite, limits = theory["phi"][: len(at)].reshape(len(points), -1), theory["phi"][len(at) :]
    rows, solved = [], []
    for i, plain in enumerate(plains):
        measured = [
            measure(plain, n, number_of_samples(samples, n, sizes[0]), seed_of(key, i)) for n in sizes
        ]
        seen = [m.observables["phi"] for m in measured]
        note, beta = notes[len(at) + i], plain.get("beta", math.inf)
        rows.append(_limit("phi", float(limits[i]), finite[i], measured, seen, note, beta))
        solved.append(min(m.solved for m in measured))
    alpha, kappa = np.array(points, float).T
    columns = dict(phi="simulation", phi_err="error", theory="theory", z="z")
    return dict(alpha=alpha, kappa=kappa, solved=np.array(solved)) | {
        name: np.array([getattr(row, field) for row in rows]) for name, field in columns.items()
    }


# -------------------------------------------------------------------------------- Monte Carlo and networks


def _chains(model: Any, key: Any, options: dict[str, Any]) -> list[Row]:
    """Metropolis at one large size, where 1/N corrections are below the error; theory at (P/N, kappa_N)."""
    run = simulate(model, "metropolis", **dict(samples=16) | options | dict(key=seed_of(key, 0)))
    plain, N = plain_parameters(model), run.N
    ties = {k: v for k, v in options.items() if k in ("patterns", "strict")}
    theory, notes = _theories(model, [finite_parameters(plain, N, **ties)])
    r_hat = max(x.r_hat for x in run.values())
    if plain["beta"] > MAX_BETA_METROPOLIS or not r_hat < MAX_R_HAT:
        notes = [f"not equilibrated: beta = {plain['beta']:g}, r_hat = {r_hat:.2f}"]
    note = notes[0] or "metropolis"
    return [_row(name, theory[name][0], x, N, note, exact=not notes[0]) for name, x in run.items()]


def _network(model: Any, plain: Any, N: Any, samples: Any, key: Any, sizes: Any, options: Any) -> list[Row]:
    """Enumerated networks: the first moment at the same N, the typical number of fixed points at N = inf."""
    fixed = None if model.N is INFINITE else int(plain["N"])
    if fixed is not None and N is not None and int(N) != fixed:
        raise ValueError(f"N = {N!r}: the model itself has N = {fixed}")
    if sizes is None:
        largest = int(N or 16)
        sizes = fixed or [n for n in (largest, round(0.8 * largest), round(0.65 * largest)) if n > 1]
    sizes, samples = _descending(sizes), 600 if samples is None else int(samples)
    exact = model.couplings == "gaussian" or plain["eta"] == 0.0
    # +-1: h sqrt(N) is an integer, so that J_D + 1e-6 is the other convention for ties
    lifted = 1e-6 if options.get("strict") and model.couplings == "pm1" else 0.0
    names = ["phi", *(("energy", "entropy") if plain["beta"] < math.inf else ())]
    note = "" if exact else "couplings = pm1: exact at finite N for eta = 0 only"
    unlimited, runs, rows = dataclasses.replace(model, N=INFINITE), [], []
    for n in sizes:
        count = number_of_samples(samples, n, sizes[0])
        run = simulate(unlimited, "enumeration", N=n, samples=count, key=seed_of(key, n), **options)
        theory = solve(dataclasses.replace(model, J_D=plain["J_D"] + lifted, N=n)).table() if exact else {}
        rows += [_row(name, theory.get(name, math.nan), run[name], n, note, exact) for name in names]
        runs.append(run)
    typical = plain["beta"] == math.inf and plain["eta"] == plain["field"] == 0.0
    if typical and model.couplings == "gaussian" and len(sizes) > 1:
        seen = [run["phi_typical"] for run in runs]
        measured = [Measured(run.N, {}, x, run["solved"].mean) for run, x in zip(runs, seen)]
        limit = float(solve(unlimited).phi)
        rows += [_row("phi-typical", math.nan, x, run.N, "") for run, x in zip(runs, seen)]
        rows.append(_limit("phi-typical", limit, np.full(len(sizes), limit), measured, seen, ""))
    return rows
