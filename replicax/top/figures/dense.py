"""Dense regions: large deviations of the number of solutions around a reference or between replicas, binary weights and the sphere."""

from typing import Any

import numpy as np

from replicax.answers.solve import solve
from replicax.answers.thresholds import threshold
from replicax.numerics.special import binary_entropy
from replicax.simulation import Statistic, enumerate_neighbours, focus, local_entropy, perceptron_instances
from replicax.simulation.channels import Margin
from replicax.simulation.focusing import protocol
from replicax.simulation.sphere import typical_solutions
from replicax.theory.ansatz import FranzParisi, LocalEntropy
from replicax.theory.models import BinaryPerceptron, SphericalPerceptron
from replicax.top.figures import drawn, panels, points, table
from replicax.top.finite_size import extrapolate

_NATS = "nats per weight"


@drawn("large-deviation")
def large_deviation(quick: bool = False) -> tuple[Any, Any]:
    """Densest references: local entropy S_I and tilt y where their number ceases to be exponential (S_E = 0).

    Binary weights, kappa = 0, a reference that may be any configuration. Below alpha_U = 0.7668 one curve joins the dense core (small d,
    large q1) to large distances; above it they are two curves, each of which ends (dashed, drawn apart at the jump of q1). Nothing is drawn
    where there is no y*: S_E > 0 for every y at large d, and at small d the solution ends in a fold while S_E < 0.
    """
    alphas = np.array([0.6, 0.75, 0.78]) if quick else np.array([0.6, 0.7, 0.75, 0.765, 0.78])
    d = np.concatenate([np.geomspace(2e-3, 0.015, 4), np.linspace(0.02, 0.12, 12 if quick else 21)])
    answer = solve(
        BinaryPerceptron(alpha=alphas[:, None]), LocalEntropy(d=d[None, :], y="star", ensemble="reference")
    )
    S, y, q1 = (np.asarray(x) for x in (answer.S_I, answer.y, answer.order.q1))
    onset = float(threshold(BinaryPerceptron(), "alpha-u").value)
    drawing, (left, right) = panels()
    for i, alpha in enumerate(alphas):
        whole = alpha < onset
        cut = d.size if whole else 1 + int(np.nanargmax(np.abs(np.diff(q1[i]))))
        for k, part in enumerate((slice(0, cut), slice(cut, None))):
            look = dict(color=f"C{i}", marker=".", ls="-" if whole else "--", ms=4, lw=1.2)
            left.plot(d[part], S[i, part], **look)
            right.plot(d[part], y[i, part], **look, label=None if k else rf"$\alpha = {alpha:g}$")
    left.plot(d, binary_entropy(d), "k:", lw=1, label="all weights")
    left.set(
        xlabel="distance $d$ from the reference",
        ylabel=r"local entropy $S_I$ at $S_E = 0$ (nats per weight)",
        xlim=(0, d[-1]),
        ylim=(0, 0.2),
    )
    left.legend()
    right.set(yscale="log", xlabel="distance $d$ from the reference", ylabel="tilt $y^*$", xlim=(0, d[-1]))
    right.legend(loc="upper center", title=rf"dashed: above $\alpha_U = {onset:.4f}$", title_fontsize="small")
    data = table(
        dict(alpha=(alphas, "patterns per weight"), d=(d, "distance from the reference")),
        dict(
            S_I=(("alpha", "d"), S, "local entropy where the complexity of references vanishes", _NATS),
            y=(("alpha", "d"), y, "number of replicas there"),
            q1=(("alpha", "d"), q1, "overlap of solutions around the same reference"),
            alpha_u=((), onset, "break of the curve S_E = 0"),
        ),
    )  # fmt: skip
    return drawing, data


@drawn("local-entropy")
def local_entropy_curves(quick: bool = False) -> tuple[Any, Any]:
    """Local entropy of the densest clusters (y = inf replicas), and Phi(y) around any reference against enumeration.

    Left: phi_inf against the distance of the replicas from their barycentre; dashed beyond alpha_LE = 0.7553, where it is not monotone. Right:
    (Phi - log 2)/y - h(d) at alpha = 0.4, d = 0.2; all 2^N references and their solutions counted at two (three) sizes, extrapolated linearly
    in 1/N (bars: two standard errors; corrections of order 1/N^2 are in them).
    """
    alphas = np.array([0.3, 0.5, 0.7, 0.75, 0.8])
    q1 = 1.0 - np.geomspace(1e-4, 0.45, 24 if quick else 80)
    answer = solve(BinaryPerceptron(alpha=alphas[:, None]), LocalEntropy(q1=q1[None, :]))
    d, phi = 0.5 * (1.0 - np.sqrt(q1)), np.asarray(answer.phi)
    onset = float(threshold(BinaryPerceptron(), "alpha-le").value)
    powers, distance, alpha = np.array([1.0, 2.0, 4.0, 8.0]), 0.2, 0.4
    y = np.geomspace(1.0, 10.0, 7 if quick else 25)
    theory = solve(BinaryPerceptron(alpha=alpha), LocalEntropy(d=distance, y=y, ensemble="reference"))
    excess = np.asarray(theory.phi) - np.log(2) / y - binary_entropy(distance)
    sizes = {10: 400, 15: 60} if quick else {10: 2000, 15: 500, 20: 30}
    seen = []
    for n, samples in sizes.items():
        instances = perceptron_instances(N=n, alpha=alpha, samples=samples)
        near = enumerate_neighbours(instances, any_reference=True, y=tuple(powers))
        t = round(distance * n)
        x = (near.log_moments[:, :, t] - n * np.log(2)) / n / powers - near.log_sphere[t] / n
        seen.append(Statistic.from_samples(x[np.isfinite(x).all(1)]))
    limit = np.array([
        extrapolate(list(sizes), [s.mean[i] for s in seen], [s.error[i] for s in seen])
        for i in range(len(powers))
    ])  # fmt: skip
    drawing, (left, right) = panels()
    for i, a in enumerate(alphas):
        left.plot(d, phi[i], f"C{i}-" if a < onset else f"C{i}--", label=rf"$\alpha = {a:g}$")
    left.plot(d, binary_entropy(d), "k:", lw=1, label="all weights")
    left.set(
        xlabel=r"distance from the barycentre $d = (1-\sqrt{q_1})/2$",
        ylabel=r"local entropy $\phi_\infty$",
        xlim=(0, 0.13),
        ylim=(0, 0.3),
    )
    left.legend(title=rf"$y = \infty$; $\alpha_{{LE}} = {onset:.4f}$", title_fontsize="small")
    right.plot(y, excess, "C0-", label=rf"theory, $\alpha = {alpha:g}$, $d = {distance:g}$")
    for k, (n, s) in enumerate(zip(sizes, seen)):
        right.plot(powers, s.mean, "s", mfc="w", color=f"C{k + 1}", ms=4, label=f"N = {n}")
    points(right, powers, limit[:, 0], limit[:, 1], "C0", r"$N \to \infty$")
    right.set(xscale="log", xlabel="$y$", ylabel=r"$[\Phi(y) - \log 2]/y - h(d)$")
    right.legend()
    data = table(
        dict(
            alpha=(alphas, "patterns per weight"), q1=(q1, "overlap of the replicas"), y=(y, "number of replicas"),
            power=(powers, "number of replicas"), N=(np.array(list(sizes)), "weights"),
        ),
        dict(
            phi=(("alpha", "q1"), phi, "local entropy of y = inf replicas", _NATS),
            d=("q1", d, "distance of the replicas from their barycentre"),
            alpha_le=((), onset, "alpha at which phi ceases to be monotone"),
            excess=("y", excess, "(Phi - log 2)/y - h(d)", _NATS),
            enumeration=("power", limit[:, 0], "the same, enumerated, N = inf", _NATS),
            enumeration_err=("power", limit[:, 1], "its standard error", _NATS),
            enumeration_N=(("N", "power"), np.array([s.mean for s in seen]), "the same at size N", _NATS),
        ),
    )  # fmt: skip
    return drawing, data


@drawn("alpha-le")
def alpha_le(quick: bool = False) -> tuple[Any, Any]:
    """Where dense regions break up, against the margin: alpha_LE, alpha_U and the capacity of binary weights.

    alpha_LE: the local entropy of y = inf replicas ceases to be monotone. alpha_U: the curve S_E = 0 around an unconstrained reference breaks.
    Points: fraction of instances (N = 501) that focusing belief propagation solves at kappa = 0.
    """
    kappas = np.linspace(-1.0, 1.0, 9 if quick else 41)
    capacity, onset = (
        np.asarray(threshold(BinaryPerceptron(kappa=kappas), n).value) for n in ("capacity", "alpha-le")
    )
    where = np.array([0.0]) if quick else np.linspace(-0.75, 0.75, 7)
    broken = np.asarray(threshold(BinaryPerceptron(kappa=where), "alpha-u").value)
    N, samples, sweeps = (201, 6, 300) if quick else (501, 20, 1000)
    dots = np.array([0.5, 0.6, 0.65, 0.7, 0.75])
    runs = [
        focus(perceptron_instances(N=N, alpha=float(a), samples=samples, patterns="pm1"), schedule=protocol("pseudo", sweeps))
        for a in dots
    ]  # fmt: skip
    solved = [Statistic.from_counts(int(r.solved.sum()), samples) for r in runs]
    fraction, error = (np.array([float(getattr(s, x)) for s in solved]) for x in ("mean", "error"))
    drawing, (left, right) = panels()
    left.plot(kappas, capacity, "k-", label=r"capacity $\alpha_c$")
    left.plot(where, broken, "C1s--" if len(where) > 1 else "C1s", ms=4, label=r"$\alpha_U$")
    left.plot(kappas, onset, "C0-", label=r"$\alpha_{LE}$")
    left.set(xlabel=r"margin $\kappa$", ylabel=r"patterns per weight $\alpha$", yscale="log")
    left.legend()
    right.errorbar(
        dots, fraction, error, fmt="C3o-", ms=4, capsize=2, label=f"focusing BP, N = {N}, {sweeps} sweeps"
    )
    at = int(np.argmin(np.abs(kappas)))
    for x, colour, name in ((onset[at], "C0", r"$\alpha_{LE}$"), (capacity[at], "k", r"$\alpha_c$")):
        right.axvline(x, color=colour, lw=1, label=f"{name} = {x:.4f}")
    right.set(
        xlabel=r"patterns per weight $\alpha$, $\kappa = 0$",
        ylabel="fraction of instances solved",
        ylim=(-0.05, 1.05),
        xlim=(0.48, 0.86),
    )
    right.legend(loc="lower left")
    data = table(
        dict(kappa=(kappas, "margin"), margin=(where, "margin"), alpha=(dots, "patterns per weight")),
        dict(
            capacity=("kappa", capacity, "alpha_c"),
            alpha_le=("kappa", onset, "loss of monotonicity of the local entropy at y = inf"),
            alpha_u=("margin", broken, "break of the curve S_E = 0, unconstrained reference"),
            solved=("alpha", fraction, "fraction of instances solved by focusing BP, kappa = 0"),
            solved_err=("alpha", error, "its binomial error"),
        ),
        N=N, samples=samples, sweeps=sweeps,
    )  # fmt: skip
    return drawing, data


@drawn("spherical-local-entropy")
def spherical_local_entropy(quick: bool = False) -> tuple[Any, Any]:
    """The sphere at negative margin: solutions around typical ones, around robust ones, and in the best place.

    alpha = 2, kappa = -0.5, natural logarithm of volumes on the sphere, less that of the ball (all weights): Franz-Parisi entropies around
    typical solutions of margin kappa and of margin -0.25, and the best barycentre (y = inf). Points: belief propagation around uniformly sampled
    solutions (bars: two standard errors over instances).
    """
    model = SphericalPerceptron(alpha=2.0, kappa=-0.5)
    d = np.geomspace(2e-3, 0.14, 10 if quick else 40)
    ball = 0.5 * np.log(1.0 - (1.0 - 2.0 * d) ** 2)
    curves = {
        "typical": solve(model, FranzParisi(d=d)).entropy,
        "robust": solve(model, FranzParisi(d=d, kappa_ref=-0.25)).entropy,
        "best": solve(model, LocalEntropy(q1=(1.0 - 2.0 * d) ** 2)).phi,
    }
    curves = {name: np.asarray(x) for name, x in curves.items()}
    N, samples = (101, 4) if quick else (201, 16)
    kept, W = typical_solutions(perceptron_instances(N=N, alpha=2.0, samples=samples), kappa=-0.5, sweeps=200)
    gammas = np.linspace(0.0, 12.0, 13)
    near = local_entropy(
        kept, around=W, gammas=gammas, channel=Margin(-0.5), weights="spherical", damping=0.3
    )
    whole = np.isfinite(near.entropy).all(0) & (near.d.max(0) < 0.2)
    x = Statistic.from_samples(near.d[:, whole])
    gap = Statistic.from_samples(near.entropy[:, whole] - near.bound[:, whole])
    drawing, axes = panels(1)
    labels = dict(
        typical="around typical solutions", robust=r"around those of margin $-0.25$", best="best barycentre"
    )
    for k, (name, y) in enumerate(curves.items()):
        axes.plot(d, y - ball, f"C{k}-", label=labels[name])
    points(axes, x.mean, gap.mean, gap.error, "C0", f"belief propagation, N = {N}")
    axes.axhline(0.0, color="k", ls=":", lw=1)
    axes.set(
        xscale="log",
        xlabel="distance $d$ from the centre",
        ylabel="local entropy less that of the ball (nats per weight)",
        xlim=(d[0], d[-1]),
    )
    axes.legend()
    data = table(
        dict(d=(d, "distance (1 - overlap)/2"), gamma=(gammas[whole], "field along the centre")),
        {name: ("d", y, f"local entropy, {labels[name]}", _NATS) for name, y in curves.items()}
        | dict(
            ball=("d", ball, "entropy of all weights", _NATS),
            bp_d=("gamma", x.mean, "distance, belief propagation"),
            bp_excess=("gamma", gap.mean, "local entropy less that of the ball", _NATS),
            bp_excess_err=("gamma", gap.error, "its standard error", _NATS),
        ),
        N=N, samples=kept.samples,
    )  # fmt: skip
    return drawing, data


@drawn("dense-generalization")
def dense_generalization(quick: bool = False) -> tuple[Any, Any]:
    """Students of a teacher in dense regions generalise better, and their barycentre still better (binary weights, kappa = 0).

    Left: test error of a solution in the densest cluster of diameter d (y = inf), and of its barycentre (dashed); dots: typical solutions.
    Right: the least of these errors against alpha, the typical ones, and students found by focusing belief propagation (two standard errors).
    """
    alphas = np.array([0.5, 0.8, 1.0])
    q1 = np.linspace(0.3, 0.995, 18 if quick else 70)
    model = lambda a: BinaryPerceptron(alpha=a, labels="teacher")
    answer = solve(model(alphas[:, None]), LocalEntropy(q1=q1[None, :]))
    eps, centre = np.asarray(answer.eps), np.asarray(answer.eps_center)
    typical = solve(model(alphas))
    line = np.linspace(0.2, 1.1, 7 if quick else 19)
    swept = solve(model(line[:, None]), LocalEntropy(q1=q1[None, :]))
    best, best_centre = (
        np.nanmin(np.asarray(swept.eps), axis=1),
        np.nanmin(np.asarray(swept.eps_center), axis=1),
    )
    plain = np.asarray(solve(model(line)).eps)
    N, samples, sweeps = (301, 6, 300) if quick else (1001, 20, 1000)
    dots = np.array([0.4, 0.6, 0.8, 1.0])
    errors = []
    for a in dots:
        instances = perceptron_instances(
            N=N, alpha=float(a), samples=samples, patterns="pm1", labels="teacher"
        )
        found = focus(instances, schedule=protocol("pseudo", sweeps))
        R = (found.W * np.asarray(instances.teacher, float)).sum(1)[found.solved] / N
        errors.append(Statistic.from_samples(np.arccos(R) / np.pi))
    mean, error = (np.array([float(getattr(s, x)) for s in errors]) for x in ("mean", "error"))
    drawing, (left, right) = panels()
    d = 0.5 * (1.0 - q1)
    for i, a in enumerate(alphas):
        left.plot(d, eps[i], f"C{i}-", label=rf"$\alpha = {a:g}$")
        left.plot(d, centre[i], f"C{i}--", lw=1)
        left.plot(0.5 * (1 - typical.q[i]), typical.eps[i], f"C{i}o", ms=4)
    left.set(xlabel="distance of the replicas $d = (1-q_1)/2$", ylabel=r"test error $\epsilon$")
    left.legend()
    right.plot(line, plain, "C0-", label="typical")
    right.plot(line, best, "C2-", label="in a dense region, best $d$")
    right.plot(line, best_centre, "C2--", label="its barycentre, best $d$")
    points(right, dots, mean, error, "C3", f"focusing BP, N = {N}")
    right.set(xlabel=r"patterns per weight $\alpha$", ylabel=r"test error $\epsilon$")
    right.legend()
    data = table(
        dict(
            alpha=(alphas, "patterns per weight"), q1=(q1, "overlap of the replicas"),
            line=(line, "patterns per weight"), dots=(dots, "patterns per weight"),
        ),
        dict(
            eps=(("alpha", "q1"), eps, "test error of a solution in the densest cluster"),
            eps_center=(("alpha", "q1"), centre, "test error of its barycentre"),
            typical=("line", plain, "test error of a typical solution"),
            best=("line", best, "least test error in a densest cluster"),
            best_center=("line", best_centre, "least test error of its barycentre"),
            focusing=("dots", mean, "test error of students found by focusing BP"),
            focusing_err=("dots", error, "its standard error"),
        ),
        N=N, samples=samples, sweeps=sweeps,
    )  # fmt: skip
    return drawing, data
