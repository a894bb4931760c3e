"""Solvers of the binary perceptron: what fraction of instances they solve, and in how many steps."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from replicax.simulation import Statistic
from replicax.simulation.annealing import annealing
from replicax.simulation.edmc import MOVES, edmc
from replicax.simulation.focusing import PROTOCOLS, focus, protocol, reinforcement
from replicax.simulation.gradient import stochastic_weights
from replicax.simulation.instances import perceptron_instances
from replicax.simulation.learning import Solutions
from replicax.simulation.sbpi import cpr, sbpi
from replicax.top.runs import KEY, Run, enter, integer


def number(default: float, low: float, high: float, doc: str) -> dict[str, Any]:
    return dict(default=default, low=low, high=high, numeric=True, doc=doc)


def words(default: str, words: tuple[str, ...], doc: str) -> dict[str, Any]:
    return dict(default=default, choices=words, numeric=False, doc=doc)


def common(N: int, samples: int, patterns: tuple[str, ...]) -> dict[str, Any]:
    return dict(
        N=integer(N, 1, 2**20, "number of weights; odd at kappa = 0 with pm1 patterns"),
        samples=integer(samples, 1, np.inf, "number of instances"),
        key=KEY,
        patterns=words(patterns[0], patterns, "law of the patterns"),
    )


BINARY = ("pm1", "gaussian")
DAMPING = number(0.0, 0.0, 0.99, "damping of the messages")


def at_zero_margin(function: Callable, kappa: float) -> Callable:
    if kappa != 0.0:
        raise ValueError(f"kappa = {kappa:g} is not allowed: online rules learn at kappa = 0")
    return function


# ---------------------------------------------------------------- solvers


def _solver(solve: Callable[..., Solutions], *, margin: bool = True) -> Callable[..., dict[str, Statistic]]:
    """A solver of instances as a run of the binary perceptron."""

    def run(*, alpha, kappa, beta, labels, N, samples, key, patterns, **options: Any) -> dict[str, Statistic]:
        if float(beta) != math.inf:
            raise ValueError(f"beta = {float(beta):g} is not allowed: solvers look for solutions, beta = inf")
        if (units := options.get("units", 1)) > 1:
            if labels != "random":
                raise ValueError(
                    f"units = {units} is not allowed with labels = {labels!r}: its teacher is one unit"
                )
            tree = options.pop("wiring") == "tree"
            options |= dict(tree=tree)
            N, alpha = (units * N, alpha) if tree else (N, units * alpha)
        else:
            options = {k: v for k, v in options.items() if k not in ("units", "wiring")}
        instances = perceptron_instances(
            N=N, alpha=alpha, samples=samples, key=key, patterns=patterns, labels=labels
        )
        margins = dict(kappa=float(kappa)) if margin else {}
        solutions = (solve if margin else at_zero_margin(solve, float(kappa)))(
            instances, key=key, **margins, **options
        )
        return solutions.statistics(instances)

    return run


def enter_solver(
    name: str, doc: str, solve, parameters, *, patterns=BINARY, margin=True, N=1001, samples=20
) -> None:
    run = Run(_solver(solve, margin=margin), common(N, samples, patterns) | parameters)
    enter(name, doc, {"binary-perceptron": run})


def _rbp(instances, *, dr, sweeps, **keywords):
    return focus(instances, schedule=reinforcement(dr, sweeps), lagged=True, **keywords)


def _fbp(instances, *, sweeps, y, gamma, **keywords):
    schedule = protocol(keywords.pop("protocol"), sweeps, y=y, gamma=gamma)
    return focus(instances, schedule=schedule, **keywords)


def _edmc(instances, *, flips, **keywords):
    return edmc(instances, flips=flips or None, **keywords)


def _annealing(
    *, coupling="star", replicas=1, beta_start=0.0, beta_stop=0.0, gamma_start=0.0, gamma_stop=1.0, **keywords
):
    """beta_start = beta_stop = 0: the default of the loss."""
    betas = None if beta_stop == 0.0 else (beta_start, beta_stop)
    return lambda instances, **more: annealing(
        instances, coupling=coupling, replicas=replicas, betas=betas, gammas=(gamma_start, gamma_stop), **keywords, **more
    )  # fmt: skip


_LOSS = words(
    "cross-entropy", ("cross-entropy", "errors", "linear", "hinge", "exponential"), "energy that is annealed"
)
_BETAS = dict(
    beta_start=number(0.0, 0.0, np.inf, "first beta; both 0: the default of the loss"),
    beta_stop=number(0.0, 0.0, np.inf, "last beta"),
)
_SWEEPS = integer(500, 1, np.inf, "sweeps at most")
_REPLICAS = dict(
    loss=_LOSS | dict(default="errors"),
    sweeps=_SWEEPS,
    replicas=integer(5, 2, 64, "coupled replicas"),
    beta_start=number(0.5, 0.0, np.inf, "first beta"),
    beta_stop=number(3.0, 0.0, np.inf, "last beta"),
    gamma_start=number(0.3, 0.0, np.inf, "first coupling"),
    gamma_stop=number(1.5, 0.0, np.inf, "last coupling"),
)
_REPLICATED = ("coupling", "replicas", "beta_start", "beta_stop", "gamma_start", "gamma_stop")


def _annealed(coupling: str) -> Callable[..., Solutions]:
    def solve(instances, **options):
        schedule = {k: options.pop(k) for k in _REPLICATED if k in options}
        return _annealing(coupling=coupling, **schedule)(instances, **options)

    return solve


#: parameters of solvers that know committee machines
COMMITTEE = dict(
    units=integer(1, 1, 63, "units that decide by majority, each with N weights: alpha = P/(units N)"),
    wiring=words("tree", ("tree", "full"), "each unit with its own N inputs, or all with the same"),
)
_MESSAGES = COMMITTEE | dict(
    damping=DAMPING | dict(default=None, doc="damping of the messages; not given: 0, or 0.5 for full wiring")
)
enter_solver(
    "rbp",
    "reinforced belief propagation",
    _rbp,
    dict(
        dr=number(0.002, 0.0, 1.0, "rate of reinforcement"),
        sweeps=integer(1000, 1, np.inf, "sweeps at most"),
    )
    | _MESSAGES,
)
enter_solver(
    "fbp",
    "focusing belief propagation",
    _fbp,
    dict(
        protocol=words(PROTOCOLS[0], PROTOCOLS, "how y and gamma rise"),
        sweeps=integer(1000, 1, np.inf, "sweeps of the protocol"),
        y=number(7.0, 1.0, np.inf, "replicas (scoping)"),
        gamma=number(2.5, 0.0, np.inf, "last coupling (scoping)"),
    )
    | _MESSAGES,
)
_EPOCHS = integer(1000, 1, np.inf, "presentations of every pattern at most")
_STATES = integer(1, 1, 2**14, "") | dict(default=None)
enter_solver(
    "sbpi",
    "online rule with metaplastic steps",
    sbpi,
    dict(
        epochs=_EPOCHS,
        p_s=number(0.3, 0.0, 1.0, "probability of a metaplastic step"),
        theta=integer(1, 0, 2**14, "largest field that takes such a step"),
        K=_STATES | dict(doc="bound of the hidden states; not given: 2 floor(2 sqrt N) + 1"),
    ),
    patterns=("pm1",),
    margin=False,
)
enter_solver(
    "cpr",
    "clipped perceptron with reinforcement",
    cpr,
    dict(
        epochs=_EPOCHS,
        p_r=number(0.0, 0.0, 1.0, "probability of a step; not given: 0.3/sqrt(2 pi N)") | dict(default=None),
        K=_STATES | dict(doc="bound of the hidden states; not given: 2 floor(sqrt N) + 1"),
    ),
    patterns=("pm1",),
    margin=False,
)
enter_solver(
    "annealing",
    "simulated annealing on a loss",
    _annealed("star"),
    dict(loss=_LOSS, sweeps=_SWEEPS) | _BETAS,
    samples=6,
)
enter_solver(
    "replicated-annealing",
    "annealing of replicas around a common centre",
    _annealed("star"),
    _REPLICAS,
    N=401,
    samples=6,
)
enter_solver(
    "quantum-annealing",
    "annealing of a ring of replicas (Suzuki-Trotter)",
    _annealed("ring"),
    _REPLICAS,
    N=401,
    samples=6,
)
enter_solver(
    "edmc",
    "entropy-driven Monte Carlo: flips that raise the local entropy",
    _edmc,
    dict(
        moves=words(MOVES[0], MOVES, "the best flip of all, or random ones by Metropolis"),
        temperature=number(0.0, 0.0, np.inf, "temperature of N times the local entropy (metropolis)"),
        flips=integer(0, 0, np.inf, "flips at most; 0: 2 N"),
    ),
    N=201,
    samples=6,
)
_GRADIENT = dict(
    steps=integer(500, 1, np.inf, "gradient steps at most"),
    momentum=number(0.0, 0.0, 0.999, "heavy ball"),
)
enter_solver(
    "stochastic-weights",
    "gradient ascent on the means of stochastic binary weights",
    stochastic_weights,
    _GRADIENT | dict(rate=number(1.0, 0.0, np.inf, "learning rate; 0.3 for full wiring")) | COMMITTEE,
)
enter_solver(
    "sam",
    "stochastic binary weights with sharpness-aware steps",
    stochastic_weights,
    _GRADIENT
    | dict(
        rate=number(0.3, 0.0, np.inf, "learning rate"), rho=number(1.0, 0.0, np.inf, "radius of the ascent")
    )
    | COMMITTEE,
)
