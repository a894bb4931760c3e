"""Recurrent and rate networks: theory as lines, simulation as points."""

from typing import Any

import numpy as np

from replicax.answers.solve import solve
from replicax.answers.thresholds import threshold
from replicax.simulation import Statistic, enumerate_fixed_points, integrate, network_instances
from replicax.simulation.codes import attractors, correct, fixed_points_of, represent
from replicax.simulation.dynamics import damage_spreading, parallel, sequential
from replicax.simulation.fixed_points import list_fixed_points
from replicax.simulation.landscape import distances, near, partners, paths
from replicax.simulation.network_messages import reinforced_messages
from replicax.simulation.searches import entropic_greedy, greedy, replicated_dynamics, stochastic_spins
from replicax.theory.ansatz import LocalEntropy, Pair
from replicax.theory.dynamic_mean_field import course
from replicax.theory.fixed_point_pairs import damage_map, violated_between, violated_near
from replicax.theory.models import RateNetwork, RecurrentNetwork
from replicax.top.figures import drawn

_J = dict(definition="self-coupling J_D", units="1")


def _axes(columns: int = 1, rows: int = 1) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(6 if columns == 1 else 9, 4 if rows == 1 else 7), layout="constrained")
    return drawing, drawing.subplots(rows, columns)


def _columns(rows: list[Statistic]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([r.mean for r in rows]), np.array([r.error for r in rows])


def _measured(runs: Any, quantity: str, shape: Any, definition: str, name: str = "") -> dict[str, Any]:
    """Variables `name` and `name_err` of one quantity of nested lists of runs."""
    get = lambda part: np.vectorize(lambda run: getattr(run[quantity], part), otypes=[float])(runs)
    name = name or quantity
    return {
        name: (shape, get("mean"), dict(definition=definition, units="1")),
        f"{name}_err": (shape, get("error"), dict(definition=f"standard error of {name}", units="1")),
    }


@drawn("fixed-points")
def fixed_points(quick: bool = False) -> tuple[Any, Any]:
    """(1/N) log of the mean number of fixed points against J_D: N = inf, exact at finite N, enumeration of networks."""
    import xarray as xr

    N, samples = (12, 100) if quick else (16, 400)
    J, dots = np.linspace(0.0, 1.5, 61), np.linspace(0.0, 1.5, 7)
    limit = np.asarray(solve(RecurrentNetwork(J_D=J)).phi)
    exact = np.asarray(solve(RecurrentNetwork(J_D=J, N=N)).phi)
    mean, error = _columns([enumerate_fixed_points(N=N, J_D=float(j), samples=samples)["phi"] for j in dots])
    drawing, axes = _axes()
    axes.plot(J, limit, "k-", lw=1.5, label=r"$N = \infty$")
    axes.plot(J, exact, "C0-", lw=1, label=f"N = {N}, exact")
    axes.errorbar(dots, mean, error, fmt="C0o", ms=4, capsize=2, label=f"{samples} networks")
    axes.set(xlabel="self-coupling $J_D$", ylabel=r"$(1/N)\,\log\,$E[number of fixed points]")
    axes.legend()
    data = xr.Dataset(
        {
            "phi": ("J_D", limit, dict(definition="(1/N) log E[number], N = inf", units="nats per spin")),
            "phi_N": ("J_D", exact, dict(definition="the same at finite N, exact", units="nats per spin")),
            "simulation": ("dots", mean, dict(definition="the same from networks", units="nats per spin")),
            "simulation_err": ("dots", error, dict(definition="standard error", units="nats per spin")),
        },
        coords=dict(J_D=("J_D", J, _J), dots=("dots", dots, _J)),
        attrs=dict(N=N, samples=samples),
    )
    return drawing, data


@drawn("damage-spreading")
def spreading(quick: bool = False) -> tuple[Any, Any]:
    """Overlap of two copies after one parallel step against that before: exact map and networks; and its course in time, with the mean field."""
    import xarray as xr

    N, samples, steps = (300, 4, 8) if quick else (1000, 8, 12)
    J, q, starts = np.array([0.0, 0.5, 1.0]), np.linspace(-1.0, 1.0, 81), np.linspace(-0.9, 0.9, 7)
    theory = np.stack([np.asarray([float(damage_map(x, j)) for x in q]) for j in J])
    last_start = float(starts[-1])
    limits = [course(float(j), steps=steps, q=last_start, paths=4000 if quick else 20000) for j in J]
    instances = network_instances(N=N, samples=samples)
    courses = np.array(
        [[damage_spreading(instances, J_D=j, q=x, steps=steps) for x in starts] for j in map(float, J)]
    )
    drawing, (left, right) = _axes(2)
    for k, j in enumerate(J):
        left.plot(q, theory[k], f"C{k}-", lw=1.2, label=f"$J_D$ = {j:g}")
        left.plot(courses[k, ..., 0].ravel(), courses[k, ..., 1].ravel(), f"C{k}o", ms=3, alpha=0.6)
        mean = courses[k, -1].mean(0)
        error = courses[k, -1].std(0, ddof=1) / np.sqrt(samples)
        right.plot(np.arange(steps + 1), limits[k].Q, f"C{k}-", lw=1)
        right.errorbar(np.arange(steps + 1), mean, error, fmt=f"C{k}o", ms=3, capsize=2)
    left.plot(q, q, "k:", lw=0.8)
    left.set(xlabel="overlap before", ylabel="overlap after one step", xticks=np.linspace(-1.0, 1.0, 5))
    left.legend()
    right.set(xlabel="parallel steps", ylabel="overlap of the copies", title=f"N = {N}")
    one = dict(units="1")
    data = xr.Dataset(
        {
            "mean_field": (
                ("J_D", "step"),
                np.array([x.Q for x in limits]),
                dict(definition=f"overlap in time from {last_start:g}, N = inf") | one,
            ),
            "mean_field_err": (
                ("J_D", "step"),
                np.array([x.Q_err for x in limits]),
                dict(definition="standard error of mean_field") | one,
            ),
            "map": (("J_D", "q"), theory, dict(definition="overlap after one step, exact") | one),
            "course": (
                ("J_D", "start", "sample", "step"),
                courses,
                dict(definition="overlap of two copies in time") | one,
            ),
        },
        coords=dict(
            J_D=("J_D", J, _J),
            q=("q", q, dict(definition="overlap before the step") | one),
            start=("start", starts, dict(definition="overlap at time 0, on average") | one),
        ),
        attrs=dict(N=N, samples=samples),
    )
    return drawing, data


@drawn("liquid-entropy")
def liquid_entropy(quick: bool = False) -> tuple[Any, Any]:
    """S*(d), the largest local entropy of clusters of fixed points, around the onsets of dense regions."""
    import xarray as xr

    J = np.array([0.05, 0.0731, 0.12]) if quick else np.array([0.04, 0.05, 0.0601, 0.0731, 0.0957, 0.12])
    d = np.geomspace(4e-4, 0.06, 8 if quick else 24)
    curve = solve(RecurrentNetwork(J_D=J[:, None]), LocalEntropy(d=d[None, :], y="star"))
    entropy, replicas = np.asarray(curve.S_I), np.asarray(curve.y)
    drawing, axes = _axes()
    for k, j in enumerate(J):
        axes.plot(d, entropy[k], f"C{k}o-", ms=2.5, lw=1, label=f"$J_D$ = {j:g}")
    axes.axhline(0.0, color="k", lw=0.6)
    axes.set(xscale="log", xlabel="distance $d$ between replicas", ylabel="$S^*(d)$ [nats per spin]")
    axes.legend()
    data = xr.Dataset(
        {
            "S_I": (
                ("J_D", "d"),
                entropy,
                dict(definition="local entropy where the complexity is 0", units="nats per spin"),
            ),
            "y": (("J_D", "d"), replicas, dict(definition="number of replicas there", units="1")),
        },
        coords=dict(J_D=("J_D", J, _J), d=("d", d, dict(definition="distance (1-q1)/2", units="1"))),
    )
    return drawing, data


#: all with the same number of sweeps of N^2 multiplications
_SEARCHES = {
    "parallel": lambda x, j, n: parallel(x, J_D=j, steps=n),
    "sequential": lambda x, j, n: sequential(x, J_D=j, sweeps=n),
    "fbp": lambda x, j, n: reinforced_messages(x, J_D=j, sweeps=n),
    "replicated-dynamics": lambda x, j, n: replicated_dynamics(x, J_D=j, sweeps=n),
    "stochastic-spins": lambda x, j, n: stochastic_spins(x, J_D=j, sweeps=n),
    "entropic-greedy": lambda x, j, n: entropic_greedy(x, J_D=j, sweeps=n),
    "greedy": lambda x, j, n: greedy(x, J_D=j, sweeps=n),
}


@drawn("solvers")
def searches(quick: bool = False) -> tuple[Any, Any]:
    """Fraction of networks in which a fixed point is found within one budget of sweeps, against J_D and N, with binomial errors, +-1 couplings.

    Fields are then multiples of 1/sqrt(N) with steps of 2/sqrt(N): networks of one N have the same fixed points between two of the dotted lines.
    """
    import xarray as xr

    sizes, samples, sweeps = ((40, 80), 8, 100) if quick else ((50, 100, 200), 40, 200)
    J = np.linspace(0.1, 0.8, 4 if quick else 8)
    networks = [network_instances(N=N, samples=samples, couplings="pm1") for N in sizes]
    runs = [
        [[search(x, float(j), sweeps).statistics() for j in J] for x in networks]
        for search in _SEARCHES.values()
    ]
    variables = _measured(np.array(runs), "solved", ("algorithm", "N", "J_D"), "fraction solved")
    drawing, panels = _axes(len(sizes))
    step = 0.06 * (J[1] - J[0])
    for size, (N, axes) in enumerate(zip(sizes, panels)):
        for lattice in np.arange(1.0, J[-1] * np.sqrt(N), 2.0) / np.sqrt(N):
            axes.axvline(lattice, color="k", ls=":", lw=0.5)
        for k, name in enumerate(_SEARCHES):
            mean, error = (variables[v][1][k, size] for v in ("solved", "solved_err"))
            style = dict(fmt=f"C{k}{'osD^vPX'[k]}-", ms=3.5, lw=0.9, capsize=2, elinewidth=0.8)
            axes.errorbar(J + step * (k - 3), mean, error, label=name, **style)
        axes.set(xlabel="self-coupling $J_D$", title=f"N = {N}, {sweeps} sweeps", ylim=(-0.05, 1.05))
    panels[0].set(ylabel=f"fraction of {samples} networks")
    drawing.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    data = xr.Dataset(
        variables,
        coords=dict(
            J_D=("J_D", J, _J),
            N=("N", list(sizes), dict(definition="number of spins", units="1")),
            algorithm=(
                "algorithm",
                np.arange(len(_SEARCHES)),
                dict(definition=", ".join(_SEARCHES), units="1"),
            ),
        ),
        attrs=dict(samples=samples, sweeps=sweeps),
    )
    return drawing, data


@drawn("fixed-point-geometry")
def geometry(quick: bool = False) -> tuple[Any, Any]:
    """Fixed points of one network: their distances, and the violated spins near them and on the straight paths between them.

    Typical ones (theory; all fixed points of small networks) and those that searches find in one larger network, +-1 couplings there.
    """
    import xarray as xr

    J, (small, networks, N, starts) = 0.6, (12, 60, 100, 40) if quick else (16, 100, 300, 100)
    d, x, k = np.linspace(0.0, 0.5, 101), np.linspace(0.0, 1.0, 101), np.arange(1, small)
    inside = np.linspace(0.005, 0.995, 100)
    limit, exact = (
        np.asarray(solve(RecurrentNetwork(J_D=J, **size), Pair(d=at)).entropy)
        for size, at in ((dict(), inside), (dict(N=small), k / small))
    )
    flips = np.arange(0, small // 2 + 1)
    instances = network_instances(N=small, samples=networks)
    points = list_fixed_points(instances, J_D=J)
    counts = partners(points, small)[:, 1:small]
    total = np.array([len(p) for p in points], float)
    mean = counts.sum(0) / total.sum()
    influence = (counts - total[:, None] * mean) / total.mean()
    seen = np.log(mean) / small, influence.std(0, ddof=1) / np.sqrt(networks) / mean / small
    # one fixed point after another: every one counts alike
    typical = near(instances, points, flips, J_D=J)

    one = network_instances(N=N, samples=1, couplings="pm1", key=1)
    found = {
        name: fixed_points_of(one.couplings[0], 1, J_D=J, starts=starts, search=name) for name in ("sequential", "fbp")
    }  # fmt: skip
    steps = np.arange(0, N // 2 + 1, max(1, N // 40))
    shares = np.linspace(0.0, 1.0, 21)
    around = {name: near(one, [p], steps, J_D=J) for name, p in found.items()}
    between = {name: paths(one, p, shares, J_D=J) for name, p in found.items()}
    edges = np.arange(-0.5, N + 1.5, max(1, N // 50)) / N
    centre = 0.5 * (edges[1:] + edges[:-1])
    histograms = {name: np.histogram(distances(p), edges, density=True)[0] for name, p in found.items()}

    drawing, ((left, right), (below, last)) = _axes(2, 2)
    left.plot(inside, limit, "k-", lw=1.3, label=r"$N = \infty$")
    left.plot(k / small, exact, "C2-", lw=1, label=f"N = {small}, exact")
    left.errorbar(
        k / small, *seen, fmt="C2o", ms=4, capsize=2, label=f"{networks} networks, all fixed points"
    )
    left.axhline(0.0, color="k", lw=0.5)
    left.set(xlabel="distance $d$", ylabel="log(partners)/N", title=f"$J_D$ = {J:g}", ylim=(-0.12, None))
    for k_, name in enumerate(found):
        right.plot(centre, histograms[name], f"C{k_}o-", ms=3, lw=0.8, label=f"{name}, N = {N}")
        last.errorbar(shares, *between[name], fmt=f"C{k_}o", ms=3, capsize=2, label=f"{name}, N = {N}")
        below.errorbar(steps / N, *around[name], fmt=f"C{k_}o", ms=3, capsize=2, label=f"{name}, N = {N}")
    bell = np.sqrt(2 * N / np.pi) * np.exp(-2 * N * (centre - 0.5) ** 2)
    right.plot(centre, bell, "k-", lw=1.2, label="typical pairs")
    right.set(xlabel="distance of two found fixed points", ylabel="density", xlim=(0.2, 0.8))
    near_limit, near_exact = (
        np.asarray(violated_near(d, J)),
        np.asarray(violated_near(flips / small, J, small)),
    )
    below.plot(d, near_limit, "k-", lw=1.3, label=r"typical, $N = \infty$")
    below.plot(flips / small, near_exact, "C2-", lw=1, label=f"typical, N = {small}, exact")
    below.errorbar(flips / small, *typical, fmt="C2o", ms=4, capsize=2)
    below.set(xlabel="fraction of flipped spins", ylabel="violated spins")
    path = np.asarray(violated_between(x, J))
    last.plot(x, path, "k-", lw=1.3, label="typical pair")
    last.set(xlabel="position between two fixed points", ylabel="violated spins", ylim=(0, None))
    for axes in (left, right, below, last):
        axes.legend(fontsize=8)

    unit = dict(units="1")
    searches = tuple(found)
    stack = lambda table, part: np.array([table[name][part] for name in searches])
    nats = dict(units="nats per spin")
    data = xr.Dataset(
        {
            "pairs": ("d_pair", limit, dict(definition="(1/N) log of the mean number of partners, N = inf") | nats),
            "pairs_N": ("k", exact, dict(definition="the same at finite N, exact") | nats),
            "pairs_seen": ("k", seen[0], dict(definition="the same, all fixed points of networks") | nats),
            "pairs_seen_err": ("k", seen[1], dict(definition="standard error") | nats),
            "near": ("d", near_limit, dict(definition="violated spins near a typical fixed point, N = inf") | unit),
            "near_N": ("flips", near_exact, dict(definition="the same at finite N, exact") | unit),
            "near_seen": ("flips", typical[0], dict(definition="the same, all fixed points of networks") | unit),
            "near_seen_err": ("flips", typical[1], dict(definition="standard error") | unit),
            "near_found": (("search", "steps"), stack(around, 0), dict(definition="near found fixed points") | unit),
            "near_found_err": (("search", "steps"), stack(around, 1), dict(definition="standard error") | unit),
            "path": ("x", path, dict(definition="violated spins between two typical fixed points") | unit),
            "path_found": (("search", "share"), stack(between, 0), dict(definition="between found ones") | unit),
            "path_found_err": (("search", "share"), stack(between, 1), dict(definition="standard error") | unit),
            "distances": (
                ("search", "distance"), np.array([histograms[n] for n in searches]),
                dict(definition="density of the distances of found fixed points") | unit,
            ),
        },
        coords=dict(
            d_pair=("d_pair", inside, dict(definition="distance") | unit),
            k=("k", k / small, dict(definition="distance") | unit),
            d=("d", d, dict(definition="fraction of flipped spins") | unit),
            flips=("flips", flips / small, dict(definition="fraction of flipped spins") | unit),
            steps=("steps", steps / N, dict(definition="fraction of flipped spins") | unit),
            x=("x", x, dict(definition="fraction of the differing spins flipped") | unit),
            share=("share", shares, dict(definition="fraction of the differing spins flipped") | unit),
            distance=("distance", centre, dict(definition="distance of two fixed points") | unit),
            search=("search", np.arange(2), dict(definition=", ".join(searches)) | unit),
        ),
        attrs=dict(J_D=J, N=N, small=small, networks=networks, starts=starts),
    )  # fmt: skip
    return drawing, data


@drawn("liquid-code")
def liquid_code(quick: bool = False) -> tuple[Any, Any]:
    """Fixed points as a code, +-1 couplings.

    Errors after reading against errors in the channel, with the Shannon bound of a code of that rate (dashed); words read without error against
    the Hebbian term; distance of inputs and representations; number of fixed points that can be stored as attractors.
    """
    import xarray as xr

    N, samples, small, networks = (100, 12, 40, 2) if quick else (200, 40, 80, 4)
    J = np.array([0.4, 0.8]) if quick else np.array([0.4, 0.6, 0.8])
    flips = (
        np.array([0.02, 0.06, 0.12, 0.2]) if quick else np.array([0.01, 0.02, 0.04, 0.07, 0.1, 0.14, 0.18])
    )
    hebb, line = np.array([0.0, 0.4, 0.8, 1.2]), np.linspace(0.15, 1.5, 55)
    bounds = {
        name: np.asarray(threshold(RecurrentNetwork(J_D=np.append(line, J)), name).value)
        for name in ("shannon", "attractor-capacity")
    }
    shannon, stored, at_J = bounds["shannon"][:-len(J)], bounds["attractor-capacity"][:-len(J)], bounds["shannon"][-len(J):]  # fmt: skip
    instances = network_instances(N=N, samples=samples, couplings="pm1")
    fresh = network_instances(N=small, samples=networks, couplings="pm1")
    send = lambda j, **how: correct(instances, J_D=float(j), **how).statistics()
    read = np.array([[send(j, flip=float(p)) for p in flips] for j in J])
    own = np.array([[send(j, flip=0.1, hebb=float(e), decoder="sequential") for e in hebb] for j in J])
    seen = np.array([represent(instances, J_D=float(j)).statistics() for j in J])
    kept = np.array([attractors(fresh, J_D=float(j), starts=10 * small) for j in J])
    variables: dict[str, Any] = {
        **_measured(read, "d_out", ("J_D", "flip"), "mean distance from the word after reading by messages"),
        **_measured(read, "corrected", ("J_D", "flip"), "fraction of words read without error by messages"),
        **_measured(own, "corrected", ("J_D", "hebb"), "the same by the dynamics, 10% flipped", "stabilised"),
        **_measured(seen, "solved", "J_D", "fraction of inputs with a representation"),
        **_measured(seen, "distance", "J_D", "distance between input and representation"),
        **_measured(seen, "d_out", "J_D", "distance of the representations of inputs that differ by 5%", "d_pair"),
        **_measured(kept, "alpha", "J_D", "found fixed points stored per spin, mean of rows (lower bound where complete < 1)", "stored"),
        **_measured(kept, "complete", "J_D", "fraction of rows that could not store all"),
        "shannon": ("line", shannon, dict(definition="flip rate of the Shannon bound; Gilbert-Varshamov distance", units="1")),
        "capacity": ("line", stored, dict(definition="typical fixed points stored per spin, N = inf", units="1")),
    }  # fmt: skip

    drawing, ((left, right), (below, last)) = _axes(2, 2)
    get = lambda name: (variables[name][1], variables[f"{name}_err"][1])
    dots = lambda axes, x, name, k=slice(None), **style: axes.errorbar(
        x, get(name)[0][k], get(name)[1][k], **(dict(fmt="o-", ms=4, capsize=2, lw=0.8) | style)
    )
    for k, j in enumerate(J):
        dots(left, flips, "d_out", k, color=f"C{k}", label=f"$J_D$ = {j:g}")
        left.axvline(at_J[k], color=f"C{k}", ls="--", lw=1)
        dots(right, hebb, "stabilised", k, color=f"C{k}", label=f"$J_D$ = {j:g}")
    left.plot(flips, flips, "k:", lw=0.8)
    left.set(xlabel="fraction of flipped spins", ylabel="errors after reading", title=f"messages, N = {N}")
    right.set(
        xlabel=r"Hebbian term $\epsilon$",
        ylabel="words read without error",
        title="dynamics, 10% flipped",
        ylim=(-0.05, 1.05),
    )
    below.plot(line, shannon, "k-", lw=1.2, label="no fixed point is nearer")
    dots(below, J, "distance", fmt="C0o", label="input and representation")
    dots(below, J, "d_pair", fmt="C1s", label="two representations, 5%")
    below.set(xlabel="self-coupling $J_D$", ylabel="distance", ylim=(0, 0.35))
    last.plot(line, stored, "k-", lw=1.2, label="typical fixed points")
    last.axhline(2.0, color="k", ls=":", lw=0.8, label="random patterns")
    lower = get("complete")[0] < 1.0
    for k, fmt, label in (
        (~lower, "C0o", f"found, N = {small}"),
        (lower, "C0^", "lower bound: no more found"),
    ):
        if k.any():
            dots(last, J[k], "stored", k, fmt=fmt, label=label)
    last.set(xlabel="self-coupling $J_D$", ylabel="attractors per spin", ylim=(0, 11))
    for axes in (left, right, below, last):
        axes.legend(fontsize=8)
    coords = dict(
        J_D=("J_D", J, _J),
        line=("line", line, _J),
        flip=("flip", flips, dict(definition="fraction of flipped spins", units="1")),
        hebb=("hebb", hebb, dict(definition="Hebbian term of the word in the couplings", units="1")),
    )
    return drawing, xr.Dataset(variables, coords=coords, attrs=dict(N=N, samples=samples, sweeps=60))


@drawn("rate-chaos")
def rate_chaos(quick: bool = False) -> tuple[Any, Any]:
    """Variance and Lyapunov exponent of the chaotic state against g: mean field and networks."""
    import xarray as xr

    N, samples, time = (150, 2, 40.0) if quick else (500, 4, 200.0)
    g, dots = np.linspace(0.8, 2.6, 37), np.linspace(1.2, 2.4, 3 if quick else 4)
    theory = solve(RateNetwork(g=g))
    runs = [integrate(g=float(x), N=N, samples=samples, time=time) for x in dots]
    drawing, panels = _axes(2)
    variables: dict[str, Any] = {}
    labels = dict(Delta0=r"variance $\Delta(0)$", lyapunov=r"Lyapunov exponent $\lambda$")
    units = dict(Delta0="1", lyapunov="1/tau")
    for axes, (name, label) in zip(panels, labels.items()):
        line, (mean, error) = np.asarray(getattr(theory, name)), _columns([r[name] for r in runs])
        axes.plot(g, line, "k-", lw=1.3, label="mean field")
        axes.errorbar(dots, mean, error, fmt="C0o", ms=4, capsize=2, label=f"N = {N}")
        axes.set(xlabel="gain $g$", ylabel=label)
        axes.legend()
        variables |= {
            name: ("g", line, dict(definition=label, units=units[name])),
            f"{name}_simulation": ("dots", mean, dict(definition=label, units=units[name])),
            f"{name}_err": ("dots", error, dict(definition="standard error", units=units[name])),
        }
    gain = dict(definition="gain of the couplings", units="1")
    data = xr.Dataset(
        variables, coords=dict(g=("g", g, gain), dots=("dots", dots, gain)), attrs=dict(N=N, samples=samples)
    )
    return drawing, data
