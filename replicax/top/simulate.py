"""Simulations of a model object: the plain numbers of a model handed to the simulation wing.

`top.runs` says which algorithm runs on which model, with which parameters.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from replicax.simulation import Statistic
from replicax.theory.models import Model, allowed_range, check_parameter
from replicax.top.runs import Run, algorithms
from replicax.vocabulary.limits import INFINITE, is_concrete


class Simulation(dict[str, Any]):
    """What `simulate` returns: column name -> Statistic (mean, error, n, and r_hat, tau for chains).

    algorithm, N, samples say how it was made; `table()` has one plain number per column.
    """

    def __init__(self, results: Mapping[str, Statistic], model: Any, algorithm: str, N: int, samples: int):
        super().__init__(results)
        self.model, self.algorithm, self.N, self.samples = model, algorithm, N, samples

    def table(self) -> dict[str, Any]:
        """Columns NAME and NAME_err, then N, samples, and for chains the worst r_hat and tau."""
        columns: dict[str, Any] = {}
        for name, x in self.items():
            columns |= {name: x.mean, f"{name}_err": x.error}
        columns |= {"N": self.N, "samples": self.samples}
        for name in ("r_hat", "tau"):
            known = [v for x in self.values() if (v := getattr(x, name)) is not None]
            columns |= {name: float(np.max(known))} if known else {}
        return columns

    def __repr__(self) -> str:
        head = f"{self.model.name}, {self.algorithm}: N = {self.N}, samples = {self.samples}"
        width = max(map(len, self))
        return "\n".join([head, *(f"  {name:<{width}}  {value!r}" for name, value in self.items())])


def simulate(model: Model, algorithm: str = "enumeration", **params: Any) -> Simulation:
    """Simulate `model` at finite N: {observable: Statistic}, natural logs, per weight or spin as in `solve`.

    enumeration   binary-, symmetric-perceptron: phi = (1/N) log Z averaged over the instances with Z > 0,
                  energy, entropy, q, ..; see `enumerate_perceptron`.
                  recurrent-network: phi = (1/N) log of the mean of Z (annealed, as in the theory), number,
                  phi_typical, ..; see `enumerate_fixed_points`
    metropolis    binary-perceptron at finite beta: energy and q; see `metropolis_perceptron`
    gamp, bp      message passing: phi (Bethe), energy, q of single instances; local_entropy=True adds the curve around a solution
    rbp, fbp, sbpi, annealing, edmc, stochastic-weights, ..   solvers: `solved`, `steps`, `energy` of what they leave

    parallel, sequential, fbp   recurrent-network: `solved`, `steps`, `energy`, mean `stability` of the fixed points found; see `simulation.dynamics`
    greedy, entropic-greedy, replicated-dynamics, stochastic-spins   the same by other searches; see `simulation.searches`
    code, representation, attractors   recurrent-network: fixed points as a code; see `simulation.codes`
    integrate     rate-network: Delta0, tanh2, lyapunov

    params: see `top.runs`; common are N, samples, key = 0, strict = False (True: the other convention for
    ties). P = round(alpha N). The fields of the model are single numbers here (J_D may be a sequence). Raises
    ValueError naming the argument, its value and what is allowed.
    """
    run = find_run(model, algorithm)
    plain = plain_parameters(model, run.arrays)
    size = plain.pop("N", None)
    options = {name: meta["default"] for name, meta in run.parameters.items()}
    if size is not None and size is not INFINITE:
        if params.get("N", size) != size:
            raise ValueError(f"N = {params['N']!r}: the model itself has N = {size:g}")
        options["N"] = size
    if algorithm == "metropolis" and plain["beta"] == np.inf:
        raise ValueError("beta = inf is not allowed: metropolis needs a model with a finite beta")
    # names with a hyphen are those of the command line; Python types an underscore
    params = {k: v for k, v in params.items() if k.replace("_", "-") not in run.parameters} | {
        k.replace("_", "-"): v for k, v in params.items() if k.replace("_", "-") in run.parameters
    }
    options |= check_options(params, run.parameters, f"{model.name}, {algorithm}")
    whole = lambda name: run.parameters[name].get("integer") and name != "key"
    options = {k: int(v) if whole(k) and v is not None else v for k, v in options.items()}
    results = run.function(**plain, **options)
    if algorithm == "metropolis":
        results = {k: v for k, v in results.items() if np.isfinite(v.mean)}
    return Simulation(results, model, algorithm, options["N"], options["samples"])


def find_run(model: Any, algorithm: str) -> Run:
    """The entry of `top.runs` for this model; ValueError where there is none."""
    known = algorithms()
    if algorithm not in known:
        raise ValueError(f"algorithm = {algorithm!r} is not one of {', '.join(known)}")
    runs, name = known[algorithm].runs, getattr(model, "name", "") or type(model).__name__
    if name not in runs or not isinstance(model, Model):
        raise ValueError(f"model = {name} is not allowed: {algorithm} runs on {', '.join(runs)}")
    return runs[name]


def plain_parameters(model: Model, arrays: tuple[str, ...] = ()) -> dict[str, Any]:
    """The fields of a model as Python numbers and words.

    ValueError for a missing one, and for one that is an array unless it is named in `arrays`.
    """
    plain: dict[str, Any] = {}
    for field in dataclasses.fields(model):
        name, value = field.name, getattr(model, field.name)
        value = field.metadata.get("plain", lambda x: x)(value)
        if value is None and field.metadata.get("optional"):
            continue
        if value is None:
            raise ValueError(f"{name} is missing: a simulation of {model.name} needs {name}=...")
        if isinstance(value, str) or value is INFINITE:
            plain[name] = value
        elif not is_concrete(value):
            raise ValueError(
                f"{name} = {value}: a simulation needs known numbers: not inside jit, vmap, grad"
            )
        elif np.ndim(value) == 0:
            plain[name] = float(value)
        elif name in arrays and np.ndim(value) == 1:
            plain[name] = np.asarray(value, float)
        else:
            raise ValueError(
                f"{name} = array of shape {np.shape(value)} is not allowed: {name} must be one number here"
            )
    return plain


def check_options(
    params: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]], where: str
) -> dict[str, Any]:
    """`params`, checked against their metadata; ValueError names argument, value and what is allowed.

    `where` is what they are parameters of, for the message.
    """
    for name, value in params.items():
        if name not in known:
            raise ValueError(f"{name} = {value!r} is not a parameter of {where}: it has {', '.join(known)}")
        meta = known[name]
        if "choices" in meta and value not in meta["choices"]:
            raise ValueError(f"{name} = {value!r} is not one of {', '.join(meta['choices'])}")
        if meta.get("boolean") and not isinstance(value, (bool, np.bool_)):
            raise ValueError(f"{name} = {value!r} is not allowed: {name} must be True or False")
        if meta.get("numeric") and not (name == "key" and isinstance(value, (jax.Array, np.ndarray))):
            if value is None or np.ndim(value) > 0 or isinstance(value, bool):
                raise ValueError(f"{name} = {value!r}: expected a number in {allowed_range(meta)}")
            check_parameter(name, value, meta)
    return dict(params)
