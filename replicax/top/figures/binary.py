"""The binary perceptron: typical solutions, ground states, learning from a teacher, isolation."""

from typing import Any

import numpy as np

from replicax.answers.branch import branch
from replicax.answers.solve import solve
from replicax.answers.thresholds import threshold
from replicax.numerics.special import binary_entropy
from replicax.simulation import enumerate_neighbours, enumerate_perceptron, perceptron_instances
from replicax.theory.ansatz import RS, FranzParisi, Frozen
from replicax.theory.models import BinaryPerceptron
from replicax.top.figures import drawn, panels, points, table
from replicax.top.validate import extrapolated

_ALPHA = "patterns per weight"
_KAPPA = "margin"
_NATS = "nats per weight"
_X = r"patterns per weight $\alpha$"


def _enumerated(models: list[BinaryPerceptron], quick: bool) -> dict[str, np.ndarray]:
    """Observables extrapolated to N = inf from all weights of small instances."""
    return extrapolated(
        models,
        sizes=(14, 11, 8) if quick else (17, 14, 11),
        samples=200 if quick else 1000,
        algorithm="enumeration",
    )


@drawn("typical-distance")
def typical_distance(quick: bool = False) -> tuple[Any, Any]:
    """Distance of two typical solutions against the margin: the more robust, the fewer and the closer.

    d = (1 - q)/2 of the RS measure of all solutions of margin kappa; solid where their entropy is positive, dashed beyond kappa_max (dots), where
    there are none. Points: enumerated instances, extrapolated to N = inf (bars: two standard errors).
    """
    alphas, kappas = np.array([0.2, 0.5, 0.75, 1.0]), np.linspace(-1.5, 1.6, 63 if quick else 249)
    answer = solve(BinaryPerceptron(alpha=alphas[:, None], kappa=kappas[None, :]))
    d, entropy = 0.5 * (1.0 - np.asarray(answer.q)), np.asarray(answer.entropy)
    last = threshold(BinaryPerceptron(alpha=alphas), "kappa-max")
    ends, end_d = np.asarray(last.value), 0.5 * (1.0 - np.asarray(last.q))
    at = [(a, k) for a, end in zip(alphas, ends) for k in (-0.9, -0.3, 0.3, 0.9) if k < end - 0.3]
    seen = _enumerated([BinaryPerceptron(alpha=float(a), kappa=k) for a, k in at], quick)
    where, q, error = np.array(at), seen["q"], seen["q_err"]
    drawing, axes = panels(1)
    for i, a in enumerate(alphas):
        exists = entropy[i] >= 0.0
        axes.plot(kappas, np.where(exists, d[i], np.nan), f"C{i}-", label=rf"$\alpha = {a:g}$")
        axes.plot(kappas, np.where(exists, np.nan, d[i]), f"C{i}--", lw=1)
        axes.plot(ends[i], end_d[i], f"C{i}D", ms=5, mfc="w")
        mine = where[:, 0] == a
        points(axes, where[mine, 1], 0.5 * (1 - q[mine]), 0.5 * error[mine], f"C{i}")
    axes.set(
        xlabel=r"margin $\kappa$", ylabel="typical distance $d = (1-q)/2$", ylim=(0, 0.52), xlim=(-1.5, 1.6)
    )
    axes.legend(title=r"$\diamond$: $\kappa_{\max}$; points: enumeration", title_fontsize="small")
    data = table(
        dict(alpha=(alphas, _ALPHA), kappa=(kappas, _KAPPA)),
        dict(
            d=(("alpha", "kappa"), d, "distance (1 - q)/2 of typical solutions"),
            entropy=(("alpha", "kappa"), entropy, "entropy of solutions", _NATS),
            kappa_max=("alpha", ends, "largest margin that has solutions"),
            d_max=("alpha", end_d, "distance of typical solutions there"),
            enumeration_alpha=("point", where[:, 0], _ALPHA),
            enumeration_kappa=("point", where[:, 1], _KAPPA),
            enumeration_d=("point", 0.5 * (1 - q), "distance of solutions, enumerated, N = inf"),
            enumeration_d_err=("point", 0.5 * error, "its standard error"),
        ),
    )
    return drawing, data


@drawn("ground-state")
def ground_state(quick: bool = False) -> tuple[Any, Any]:
    """Fewest errors per weight above capacity, and the temperature at which the system freezes into them.

    Left: energy of the frozen phase (one-step breaking with point-like clusters) and the least number of errors of enumerated instances: these
    approach the line slowly, from above, with 1/N. Right: beta_c, where the RS entropy vanishes; it diverges at capacity.
    """
    kappas = np.array([-0.5, 0.0, 0.5])
    alphas = np.linspace(0.05, 3.0, 60 if quick else 237)
    grid = BinaryPerceptron(alpha=alphas[None, :], kappa=kappas[:, None])
    frozen, freezing = solve(grid, Frozen()), threshold(grid, "freezing")
    capacity = np.asarray(threshold(BinaryPerceptron(kappa=kappas), "capacity").value)
    below = alphas[None, :] <= capacity[:, None]
    energy = np.where(below, 0.0, np.asarray(frozen.energy))
    beta = np.asarray(freezing.value)
    sizes, dots = ((10, 14) if quick else (10, 15, 20)), np.array([0.5, 1.0, 1.5, 2.0, 2.5])
    samples = 60 if quick else 200
    lowest = [
        [
            [enumerate_perceptron(N=n, alpha=float(a), kappa=float(k), samples=samples)["ground_energy"] for a in dots]
            for k in kappas
        ]
        for n in sizes
    ]  # fmt: skip
    mean, error = (
        np.array([[[getattr(s, x) for s in r] for r in t] for t in lowest]) for x in ("mean", "error")
    )
    drawing, (left, right) = panels()
    for i, k in enumerate(kappas):
        left.plot(alphas, energy[i], f"C{i}-", label=rf"$\kappa = {k:g}$")
        right.plot(alphas, beta[i], f"C{i}-")
        right.axvline(capacity[i], color=f"C{i}", lw=0.8, ls=":")
        for j in range(len(sizes)):
            look = dict(alpha=(j + 1) / len(sizes), mfc="w" if j < len(sizes) - 1 else f"C{i}")
            points(left, dots, mean[j, i], error[j, i], f"C{i}", **look)
    left.set(xlabel=_X, ylabel="errors per weight $E_{gs}/N$", xlim=(0, 3), ylim=(0, None))
    left.legend(title=f"points: N = {', '.join(map(str, sizes))} (filled)", title_fontsize="small")
    right.set(xlabel=_X, ylabel=r"freezing $\beta_c$", xlim=(0, 3), ylim=(0, 10))
    data = table(
        dict(
            alpha=(alphas, _ALPHA),
            kappa=(kappas, _KAPPA),
            N=(np.array(sizes), "weights"),
            dots=(dots, _ALPHA),
        ),
        dict(
            energy=(("kappa", "alpha"), energy, "errors of the ground state", "per weight"),
            beta_c=(("kappa", "alpha"), beta, "inverse temperature of freezing"),
            capacity=("kappa", capacity, "alpha at which the entropy vanishes"),
            enumeration=(("N", "kappa", "dots"), mean, "fewest errors, enumerated", "per weight"),
            enumeration_err=(("N", "kappa", "dots"), error, "its standard error", "per weight"),
        ),
        samples=samples,
    )
    return drawing, data


def _taught(alphas: np.ndarray, kappa: Any, quick: bool) -> dict[str, np.ndarray]:
    """Test errors from enumerated students: eps = arccos(R)/pi, eps_bary = arccos(R/sqrt q)/pi, with errors."""
    models = [BinaryPerceptron(alpha=float(a), kappa=float(kappa), labels="teacher") for a in alphas]
    seen = _enumerated(models, quick)
    R, q = seen["R"], seen["q"]
    slope = 1.0 / (np.pi * np.sqrt(1.0 - R**2))
    return dict(eps=np.arccos(R) / np.pi, eps_err=slope * seen["R_err"], R=R, q=q)


@drawn("learning-curve")
def learning_curve(quick: bool = False) -> tuple[Any, Any]:
    """Test error of students that solve all patterns of a teacher, kappa = 0: the first-order jump to perfect learning.

    Left: error of a typical student and of the barycentre of all students. Beyond alpha_TS the branch is metastable (dashed; its entropy is negative)
    and ends at the spinodal; the equilibrium is the teacher itself. Right: entropy. Points: enumeration, extrapolated to N = inf; the teacher is
    always one of the few solutions of a small system, so that points near the transition are not shown.
    """
    first = branch(
        BinaryPerceptron(alpha=0.02, labels="teacher"), RS(branch="low"), vary="alpha", start=0.02, stop=1.6
    )
    alpha, entropy = first.alpha, np.asarray(first.entropy)
    model = BinaryPerceptron(labels="teacher")
    jump, fold = threshold(model, "teacher-transition"), threshold(model, "spinodal")
    rising = np.arange(len(alpha)) <= int(np.argmax(alpha))
    dots = np.array([0.25, 0.5, 0.75])
    seen = _taught(dots, 0.0, quick)
    drawing, (left, right) = panels()
    for axes, lines in (
        (left, (("eps", "C0", "a typical student"), ("eps_bary", "C1", "barycentre"))),
        (right, (("entropy", "C2", None),)),
    ):
        for name, colour, label in lines:
            y = np.asarray(getattr(first, name))
            axes.plot(alpha[rising & (entropy >= 0)], y[rising & (entropy >= 0)], colour, label=label)
            axes.plot(alpha[rising & (entropy < 0)], y[rising & (entropy < 0)], colour, ls="--", lw=1)
            axes.plot(alpha[~rising], y[~rising], colour, ls=":", lw=1)
        axes.axvline(float(jump.value), color="0.5", lw=0.8)
        axes.plot([float(jump.value), 1.6], [0, 0], "k-", lw=2)
        axes.set(xlabel=_X, xlim=(0, 1.6))
    points(left, dots, seen["eps"], seen["eps_err"], "C0", "enumeration")
    left.set(ylabel=r"test error $\epsilon$", ylim=(-0.01, 0.52))
    left.annotate(
        rf"$\alpha_{{TS}} = {float(jump.value):.4f}$",
        (float(jump.value), 0.45),
        ha="right",
        xytext=(-4, 0),
        textcoords="offset points",
    )
    left.legend(loc="lower left")
    right.set(ylabel="entropy of students (nats per weight)")
    data = table(
        dict(row=(np.arange(len(alpha)), "position along the branch"), dots=(dots, _ALPHA)),
        dict(
            alpha=("row", alpha, _ALPHA),
            eps=("row", first.eps, "test error of a typical student"),
            eps_bary=("row", first.eps_bary, "test error of the barycentre"),
            entropy=("row", entropy, "entropy of students", _NATS),
            teacher_transition=((), float(jump.value), "alpha beyond which the teacher is the equilibrium"),
            spinodal=((), float(fold.value), "alpha at which the branch ends"),
            enumeration_eps=("dots", seen["eps"], "test error, enumerated, N = inf"),
            enumeration_eps_err=("dots", seen["eps_err"], "its standard error"),
        ),
    )  # fmt: skip
    return drawing, data


@drawn("negative-margin-generalization")
def negative_margin_generalization(quick: bool = False) -> tuple[Any, Any]:
    """Learning with a negative margin, testing with none: smooth curves beyond the critical end of the first-order line.

    Left: test error of a typical student (solid) and of the barycentre (dashed) against alpha. Right: the transition line (equal free
    entropy of the two branches) and the spinodals in (alpha, kappa), which meet at the critical end point.
    """
    kappas = np.array([-1.0, -0.5, -0.2, -0.05])
    alphas = np.linspace(0.05, 3.0, 60 if quick else 237)
    answer = solve(BinaryPerceptron(alpha=alphas[None, :], kappa=kappas[:, None], labels="teacher"))
    eps, eps_bary = np.asarray(answer.eps), np.asarray(answer.eps_bary)
    dots, margin = np.array([0.5, 1.0, 1.5, 2.0]), -0.5
    seen = _taught(dots, margin, quick)
    end = threshold(BinaryPerceptron(labels="teacher"), "critical-end")
    line = np.linspace(float(end.value) + 1e-3, 0.0, 12 if quick else 40)
    model = BinaryPerceptron(kappa=line, labels="teacher")
    jump, fold = (np.asarray(threshold(model, name).value) for name in ("teacher-transition", "spinodal"))
    drawing, (left, right) = panels()
    for i, k in enumerate(kappas):
        left.plot(alphas, eps[i], f"C{i}-", label=rf"$\kappa = {k:g}$")
        left.plot(alphas, eps_bary[i], f"C{i}--", lw=1)
    points(left, dots, seen["eps"], seen["eps_err"], "C1", "enumeration")
    left.set(xlabel=_X, ylabel=r"test error $\epsilon$", xlim=(0, 3), ylim=(0, 0.52))
    left.legend()
    right.plot(jump, line, "k-", label="equal free entropy")
    right.plot(fold, line, "C3:", label="spinodal of the poor branch")
    right.plot(float(end.alpha), float(end.value), "ko", label="critical end")
    right.set(xlabel=_X, ylabel=r"margin $\kappa$ while learning")
    right.legend()
    data = table(
        dict(alpha=(alphas, _ALPHA), kappa=(kappas, _KAPPA), margin=(line, _KAPPA), dots=(dots, _ALPHA)),
        dict(
            eps=(("kappa", "alpha"), eps, "test error of a typical student"),
            eps_bary=(("kappa", "alpha"), eps_bary, "test error of the barycentre"),
            teacher_transition=("margin", jump, "alpha of equal free entropy"),
            spinodal=("margin", fold, "alpha at which the branch of small R ends"),
            critical_alpha=((), float(end.alpha), "alpha of the critical end point"),
            critical_kappa=((), float(end.value), "margin of the critical end point"),
            enumeration_eps=("dots", seen["eps"], f"test error at kappa = {margin:g}, enumerated, N = inf"),
            enumeration_eps_err=("dots", seen["eps_err"], "its standard error"),
        ),
    )
    return drawing, data


@drawn("franz-parisi")
def franz_parisi(quick: bool = False) -> tuple[Any, Any]:
    """Solutions at distance d of a typical solution of margin kappa_ref: isolated at kappa_ref = kappa, dense around robust ones.

    Left: entropy of the solutions of kappa = 0 at alpha = 0.7, where positive (dashed where there are none). Right: the same less the entropy h(d)
    of all weights, at alpha = 8/19, and counts around all solutions of 19 weights (quick: 16).
    """
    alpha = 0.7
    last = float(threshold(BinaryPerceptron(alpha=alpha), "kappa-max").value)
    references = np.array([0.0, 0.3, 0.6, 1.0]) * last
    d = np.geomspace(3e-4, 0.5, 48 if quick else 160)
    answer = solve(BinaryPerceptron(alpha=alpha), FranzParisi(d=d[None, :], kappa_ref=references[:, None]))
    S, all_weights = np.asarray(answer.entropy), binary_entropy(d)
    isolated = threshold(BinaryPerceptron(alpha=alpha), "d-iso")
    N, samples = (16, 60) if quick else (19, 100)
    small, t = 8 / 19, np.arange(2, 8)
    margins = np.array([0.0, 0.3])
    line = np.linspace(0.08, 0.42, 35)
    theory = np.asarray(
        solve(
            BinaryPerceptron(alpha=round(small * N) / N),
            FranzParisi(d=line[None, :], kappa_ref=margins[:, None]),
        ).entropy
    ) - binary_entropy(line)
    instances = perceptron_instances(N=N, alpha=small, samples=samples)
    mean, error = [], []
    for k in margins:
        near = enumerate_neighbours(instances, kappa=0.0, kappa_ref=float(k))
        x = ((near.log_count - near.log_sphere) / N)[:, t]
        x = np.where(near.seen[:, t] > 0.98, x, np.nan)
        count = np.isfinite(x).sum(0)
        mean.append(np.where(count > 0.9 * samples, np.nanmean(x, axis=0), np.nan))
        error.append(np.nanstd(x, axis=0) / np.sqrt(count))
    drawing, (left, right) = panels()
    left.plot(d, all_weights, "k:", lw=1, label="all weights")
    for i, k in enumerate(references):
        some = S[i] >= 0.0
        left.plot(d, np.where(some, S[i], np.nan), f"C{i}-", label=rf"$\kappa_{{ref}} = {k:.3f}$")
        left.plot(d, np.where(some, np.nan, S[i]), f"C{i}--", lw=1)
    left.axhline(0.0, color="k", lw=0.6)
    left.set(
        xscale="log",
        xlabel="distance $d$",
        ylabel="entropy of solutions (nats per weight)",
        ylim=(-0.02, 0.14),
        xlim=(d[0], 0.5),
    )
    left.legend(
        title=rf"$\alpha = {alpha:g}$, $\kappa = 0$, $\kappa_{{max}} = {last:.3f}$", title_fontsize="small"
    )
    for i, k in enumerate(margins):
        right.plot(line, theory[i], f"C{i}-", label=rf"$\kappa_{{ref}} = {k:g}$")
        points(right, t / N, mean[i], error[i], f"C{i}")
    right.set(
        xlabel="distance $d$",
        ylabel="$S(d) - h(d)$ (nats per weight)",
        title=rf"$\alpha = {round(small * N)}/{N}$; points: all solutions of {samples} instances",
    )
    right.legend()
    data = table(
        dict(
            d=(d, "distance"), kappa_ref=(references, "margin of the reference"), line=(line, "distance"),
            margin=(margins, "margin of the reference"), dots=(t / N, "distance"),
        ),
        dict(
            entropy=(("kappa_ref", "d"), S, "Franz-Parisi entropy", _NATS),
            d_iso=((), float(isolated.value), "distance below which there is no solution, kappa_ref = kappa"),
            excess=(("margin", "line"), theory, "Franz-Parisi entropy less h(d)", _NATS),
            enumeration=(("margin", "dots"), mean, "the same, (1/N) E log of the counts over the binomial", _NATS),
            enumeration_err=(("margin", "dots"), error, "its standard error", _NATS),
        ),
        N=N, samples=samples, alpha=alpha,
    )  # fmt: skip
    return drawing, data
