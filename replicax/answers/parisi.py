r"""What is known about the hierarchy of a solution (theory/hierarchy.py), read from the problem that gave the answer."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from replicax.answers.solve import Solution, batched
from replicax.theory.hierarchy import Parisi
from replicax.theory.steps import hierarchical
from replicax.vocabulary.limits import is_concrete


def known(solution: Solution) -> bool:
    """True for solutions and ground states of the sphere, replica symmetric or with steps of breaking."""
    problems = solution.ansatz.problems(solution.model)
    return all(hierarchical(p) is not None for p in problems)


def parisi(solution: Solution) -> Parisi:
    return _read(solution, "parisi")


def fields(solution: Solution, h: Array) -> Array:
    return _read(solution, "fields", h)


def stabilities(solution: Solution, x: Array) -> Array:
    return _read(solution, "stabilities", x)


def _read(solution: Solution, what: str, *where: Array) -> Any:
    """`what` of the hierarchies, of shape (.., *shape of `where`); NaN where the point has not converged."""
    model, ansatz = solution.model, solution.ansatz
    if not known(solution):
        name = getattr(model, "name", "") or type(model).__name__
        raise ValueError(
            f"{what}: known for rs, 1rsb and krsb of the spherical perceptron (solutions and ground states, random "
            f"labels), not for {ansatz.name!r} of {name}"
        )
    problems, batch = ansatz.problems(model), jnp.shape(solution.converged)
    grids = tuple(jnp.broadcast_to(jnp.ravel(h), (*batch, jnp.size(h))) for h in where)
    concrete = is_concrete(solution.answered)
    used = np.unique(np.asarray(solution.answered)) if concrete else range(len(problems))
    answer = None
    for index in map(int, used):
        coordinates = (solution.coordinates[index], *grids)
        largest = problems[index].largest_block
        found = batched(_reader(what, index), (model, ansatz), coordinates, largest=largest)
        here = solution.converged & (solution.answered == index)

        def chosen(new: Array, old: Array | float, here: Array = here) -> Array:
            return jnp.where(jnp.expand_dims(here, tuple(range(here.ndim, new.ndim))), new, old)

        blank = jax.tree.map(lambda _: jnp.nan, found)
        answer = jax.tree.map(chosen, found, blank if answer is None else answer)
    if not where:
        return answer
    return answer.reshape((*answer.shape[:-1], *jnp.shape(where[0])))  # type: ignore[union-attr]


@functools.cache
def _reader(what: str, index: int) -> Callable:
    def kernel(parameters: tuple[Any, Any], coordinates: tuple[Array, ...], refinement: int) -> Any:
        model, ansatz = parameters
        problem = hierarchical(ansatz.problems(model)[index])
        n = problem.nodes * refinement
        hierarchy = problem.hierarchy(problem.state(coordinates[0], n), n)
        return hierarchy.parisi() if what == "parisi" else getattr(hierarchy, what)(coordinates[1], n)

    return kernel
