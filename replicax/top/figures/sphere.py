"""The sphere at negative margin: phase diagram, Parisi functions, jamming."""

from typing import Any

import numpy as np
from scipy.special import ndtr

from replicax.answers.solve import solve
from replicax.answers.thresholds import threshold
from replicax.theory.ansatz import KRSB
from replicax.theory.models import SphericalPerceptron
from replicax.top.figures import drawn
from replicax.top.simulate import simulate

#: lines of the phase diagram: threshold, label, colour and line style
_LINES = (
    ("capacity", r"$\alpha_c$, symmetric (upper bound for $\kappa < 0$)", "0.5", "--"),
    ("jamming", r"$\alpha_J$, two steps", "k", "-"),
    ("dat", r"symmetry unstable", "C0", "-"),
    ("dynamical", r"$\alpha_d$, clusters", "C1", ":"),
    ("kauzmann", r"$\alpha_K$, few clusters", "C1", "-"),
    ("gardner", r"$\alpha_G$, clusters unstable", "C3", "-"),
)
#: what is found between them, and where to say it
_REGIONS = (
    (-2.4, 0.9, "no solutions"),
    (-0.9, 0.35, "replica symmetric"),
    (-2.35, 0.43, "1-RSB"),
    (-1.8, 0.66, "full RSB"),
)
#: margins and shares of the capacity at which an algorithm looks for solutions
_SIMULATED, _SHARES = (-1.5, -1.0, -0.5), np.linspace(0.4, 1.05, 14)
#: where Parisi functions are drawn: continuous, and with a gap of overlaps
_POINTS = ((-1.0, 10.0), (-2.0, 105.0))
#: exponents of gaps and forces at jamming, k -> inf
_GAMMA, _THETA = 0.41269, 0.42311


@drawn("spherical-phase-diagram")
def spherical_phase_diagram(quick: bool = False) -> tuple[Any, Any]:
    """Solutions of the spherical perceptron at negative margin: where they are many, clustered, and none.

    alpha in units of the symmetric capacity alpha_c(kappa), against kappa; lines end where they do not exist.  Linear programs (maximise the
    overlap with a random direction, then rescale) solve up to 1/Phi(kappa): Montanari, Zhong & Zhou, arXiv:2110.15824.
    """
    import xarray as xr
    from matplotlib.figure import Figure

    # with the margins at which lines end: at -1.4737 (one step beside full breaking) and -2.0431 (discontinuous breaking)
    kappas = np.union1d(np.linspace(-3.0, -0.1, 13 if quick else 59), (-2.043, -1.474))
    values = {}
    for name, *_ in _LINES:
        options = dict(k=2.0) if name == "jamming" else {}
        found = threshold(SphericalPerceptron(kappa=kappas), name, **options)
        values[name] = np.asarray(found.value)
    drawing = Figure(figsize=(8.4, 4.6), layout="constrained")
    axes = drawing.subplots()
    for name, label, colour, style in _LINES:
        beyond = name == "dat"  # behind the clusters the symmetric solution means nothing
        line = np.where(beyond & (values[name] > values["kauzmann"]), np.nan, values[name])
        axes.plot(kappas, line / values["capacity"], color=colour, ls=style, label=label)
    programs = 1.0 / ndtr(kappas)
    label = "a linear program solves below\n" + r"$\alpha_{\rm lin} = 1/\Phi(\kappa)$"
    axes.plot(kappas, programs / values["capacity"], color="C2", ls="-.", label=label)
    N, samples = (100, 10) if quick else (200, 40)
    solved = np.stack([_solved(k, N, samples) for k in _SIMULATED])
    reached = [_half(p) for p in solved]
    label = (
        f"gradient solves half of\n{samples} instances ($N = {N}$, 2500 steps)\nbars: spacing of $\\alpha$"
    )
    spacing = 0.5 * (_SHARES[1] - _SHARES[0])
    axes.errorbar(_SIMULATED, reached, spacing, fmt="ks", ms=4, capsize=2, label=label)
    axes.set(
        xlabel=r"margin $\kappa$", ylabel=r"$\alpha/\alpha_c(\kappa)$", xlim=(-3.05, 0.0), ylim=(0.1, 1.05)
    )
    drawing.legend(fontsize="small", loc="outside right upper")
    for x, y, region in _REGIONS:
        axes.text(x, y, region, fontsize="small", ha="center")
    text = "patterns per weight at the threshold {!r} (nan: there is none)"
    fraction = dict(
        definition=f"fraction of {samples} instances of N = {N} that the gradient solves", units="1"
    )
    data = xr.Dataset(
        {
            **{k: ("kappa", v, dict(definition=text.format(k), units="1")) for k, v in values.items()},
            "linear_program": (
                "kappa",
                programs,
                dict(definition="up to which a linear program solves", units="1"),
            ),
            "solved": (("kappa_simulated", "share"), solved, fraction),
        },
        coords=dict(
            kappa=("kappa", kappas, dict(definition="margin", units="1")),
            kappa_simulated=np.array(_SIMULATED),
            share=("share", _SHARES, dict(definition="alpha in units of the capacity", units="1")),
        ),
    )
    return drawing, data


def _solved(kappa: float, N: int, samples: int) -> np.ndarray:
    """The fraction of instances that momentum descent solves, at growing shares of the symmetric capacity until it is below 1/4 (then NaN)."""
    capacity = float(threshold(SphericalPerceptron(kappa=kappa), "capacity").value)
    solved = np.full(_SHARES.size, np.nan)
    for i, share in enumerate(_SHARES):
        model = SphericalPerceptron(alpha=share * capacity, kappa=kappa)
        solved[i] = simulate(model, "gradient", N=N, samples=samples, key=0)["solved"].mean
        if solved[i] < 0.25:
            break
    return solved


def _half(solved: np.ndarray) -> float:
    """The share at which half of the instances are solved, from the last crossing."""
    known = np.flatnonzero(np.isfinite(solved))
    above = known[solved[known] >= 0.5]
    if not above.size or above[-1] == known[-1]:
        return np.nan
    i = above[-1]
    return float(_SHARES[i] + (solved[i] - 0.5) / (solved[i] - solved[i + 1]) * (_SHARES[i + 1] - _SHARES[i]))


@drawn("parisi-function")
def parisi_function(quick: bool = False) -> tuple[Any, Any]:
    """The Parisi function x(q) of the solutions, as it is resolved by more and more steps.

    Left: breaking that is continuous; right: an isolated smallest overlap, then a continuous part (an overlap gap).
    """
    import xarray as xr
    from matplotlib.figure import Figure

    steps = (1, 2) if quick else (1, 2, 3, 4)
    drawing = Figure(figsize=(9, 3.8), layout="constrained")
    q = np.full((len(_POINTS), len(steps), max(steps) + 1), np.nan)
    x = np.full((len(_POINTS), len(steps), max(steps)), np.nan)
    alphas, kappas = np.array([a for _, a in _POINTS]), np.array([k for k, _ in _POINTS])
    for j, k in enumerate(steps):
        found = solve(SphericalPerceptron(alpha=alphas, kappa=kappas), KRSB(k=k))
        one = k == 1
        q[:, j, : k + 1] = np.stack(
            [np.asarray(getattr(found, f"q{i}" if one else f"q_{i}")) for i in range(k + 1)], axis=1
        )
        x[:, j, :k] = np.stack(
            [np.asarray(getattr(found, "m" if one else f"m_{i + 1}")) for i in range(k)], axis=1
        )
    for p, (axes, (kappa, alpha)) in enumerate(zip(drawing.subplots(1, 2), _POINTS)):
        for j, k in enumerate(steps):
            overlaps, heights = q[p, j, : k + 1], np.concatenate([[0.0], x[p, j, :k], [1.0]])
            edges = np.concatenate([[0.0], overlaps, [1.0]])
            axes.stairs(heights, edges, baseline=None, color=f"C{j}", label=f"k = {k}")
        axes.set(xlabel="overlap $q$", ylabel="$x(q)$", title=rf"$\kappa = {kappa:g}$, $\alpha = {alpha:g}$")
        axes.legend()
    along = ("point", "k")
    data = xr.Dataset(
        dict(
            q=((*along, "level"), q, dict(definition="overlaps q_0 .. q_k", units="1")),
            m=((*along, "step"), x, dict(definition="replica numbers m_1 .. m_k", units="1")),
            alpha=("point", alphas, dict(definition="patterns per weight", units="1")),
            kappa=("point", kappas, dict(definition="margin", units="1")),
        ),
        coords=dict(k=("k", np.array(steps), dict(definition="steps of breaking", units="1"))),
    )
    return drawing, data


@drawn("jamming")
def jamming(quick: bool = False) -> tuple[Any, Any]:
    """Where solutions vanish, step by step: alpha_J^(k) below the symmetric capacity; gaps and forces there.

    Top: 1 - alpha_J^(k)/alpha_c against the margin; at kappa = -1 what is left of alpha_J^(k) - alpha_J^(inf), and of the contacts per weight
    above 1 (isostaticity), against k.  Bottom, kappa = -1: densities of the gaps of all patterns and of the forces of contacts, with the slopes
    of their power laws for k -> inf, -.41269 and .42311 (Charbonneau et al., Nature Communications 5 (2014) 3725).  k steps resolve a range
    of them that grows with k: the gaps down to (1 - q_{k-1})^(1/2) (dots), the forces less; below, the densities are constant.
    """
    import xarray as xr
    from matplotlib.figure import Figure

    kappas = np.linspace(-2.5, -0.25, 5 if quick else 19)
    steps = np.arange(1, 4 if quick else 9)
    capacity = np.asarray(threshold(SphericalPerceptron(kappa=kappas), "capacity").value)
    shown = np.array([1.0, 2.0]) if quick else np.array([1.0, 2.0, 3.0])
    found = threshold(SphericalPerceptron(kappa=kappas[:, None]), "jamming", k=shown[None, :])
    values = np.asarray(found.value)
    climbed = threshold(SphericalPerceptron(kappa=-1.0), "jamming", k=steps * 1.0)
    limit = threshold(SphericalPerceptron(kappa=-1.0), "jamming", k=np.inf)
    contacts = np.asarray(climbed.contacts)
    size = np.logspace(-4, 0.7, 95)
    gaps, forces = np.asarray(climbed.gaps(size)), np.asarray(climbed.forces(size))
    finest = np.sqrt(1.0 - np.asarray(climbed.parisi().q)[:, -2])
    drawing = Figure(figsize=(9, 7.2), layout="constrained")
    (left, right), (lower_left, lower_right) = drawing.subplots(2, 2)
    for j, k in enumerate(shown):
        left.plot(kappas, 1.0 - values[:, j] / capacity, "-o", ms=3, label=f"k = {k:.0f}")
    left.set(xlabel=r"margin $\kappa$", ylabel=r"$1 - \alpha_J^{(k)}/\alpha_c$")
    left.legend()
    above = np.asarray(climbed.value) - float(limit.value)
    error = np.full(steps.size, float(limit.error))
    right.errorbar(steps, above, error, fmt="ko-", ms=4, label=r"$\alpha_J^{(k)} - \alpha_J^{(\infty)}$")
    right.plot(steps, contacts - 1.0, "C3s-", ms=4, label="contacts per weight $-\\,1$")
    right.set(xlabel=r"steps $k$, $\kappa = -1$", yscale="log", xticks=steps)
    right.legend()
    drawn_steps = [k for k in (1, 2, 4, 8) if k in steps]
    for colour, k in enumerate(drawn_steps):
        row = k - 1
        lower_left.plot(size, gaps[row], color=f"C{colour}", label=f"k = {k}")
        at = np.interp(np.log(finest[row]), np.log(size), gaps[row])
        lower_left.plot(finest[row], at, "o", ms=5, color=f"C{colour}")
        lower_right.plot(size, forces[row], color=f"C{colour}", label=f"k = {k}")
    far = np.array([5e-3, 0.2])
    lower_left.plot(far, 0.4 * (far / 0.2) ** -_GAMMA, "k--", lw=1, label=rf"slope $-{_GAMMA}$")
    lower_right.plot(far, 0.48 * (far / 0.2) ** _THETA, "k--", lw=1, label=rf"slope ${_THETA}$")
    lower_left.set(xlabel=r"gap $\Delta - \kappa$", ylabel="density, all patterns", ylim=(0.03, 4))
    lower_right.set(xlabel="force of a contact / mean", ylabel="density, contacts", ylim=(0.03, 2))
    for axes in (lower_left, lower_right):
        axes.set(xscale="log", yscale="log")
        axes.legend(fontsize="small", loc="lower left")
    climb = "steps", "size"
    data = xr.Dataset(
        dict(
            alpha=(("kappa", "k"), values, dict(definition="alpha_J of k steps", units="1")),
            capacity=("kappa", capacity, dict(definition="capacity without steps", units="1")),
            contacts=("steps", contacts, dict(definition="contacts per weight at kappa = -1", units="1")),
            alpha_J=("steps", np.asarray(climbed.value), dict(definition="alpha_J at kappa = -1", units="1")),
            alpha_inf=((), float(limit.value), dict(definition="its limit k -> inf", units="1")),
            alpha_inf_err=((), float(limit.error), dict(definition="error of the limit", units="1")),
            gaps=(climb, gaps, dict(definition="density of the gaps of all patterns", units="1")),
            forces=(climb, forces, dict(definition="density of forces in units of their mean", units="1")),
            finest=("steps", finest, dict(definition="(1 - q_(k-1))^(1/2)", units="1")),
        ),
        coords=dict(
            kappa=("kappa", kappas, dict(definition="margin", units="1")),
            k=("k", shown, dict(definition="steps of breaking", units="1")),
            steps=("steps", steps, dict(definition="steps of breaking", units="1")),
            size=("size", size, dict(definition="gap, or force in units of the mean", units="1")),
        ),
    )
    return drawing, data
