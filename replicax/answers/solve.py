r"""One verb for every model and ansatz: the stationary point, its observables, and how far they can be trusted.

The kernel solves one point: damped Newton with coarse nodes from a cold start, further starts for what failed, Newton with the full
rule, the functional with twice the nodes for the error.  It is vmapped over everything that is an array, and compiled once for a
model, an ansatz and a block size; tables are padded to the block sizes.  A CPU goes through a block in steps of a few points, one where
the integrals of a single point fill its cache (2 times faster than 64 such points at once, whose nodes go through the memory).
"""

import functools
import importlib.metadata
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from replicax.answers.status import CODE, branch_text, status_text
from replicax.numerics.roots import Root, chord, implicit_root, newton
from replicax.theory.ansatz import RS, Ansatz
from replicax.theory.free_entropy import Problem, Searched, seek
from replicax.vocabulary.limits import is_concrete

#: batches are padded to these sizes; longer ones are cut into the last
BLOCKS = (8, 64, 512, 4096)
#: a CPU takes so many times fewer points at once than a block has: their nodes stay in its cache
_IN_CACHE = 64
#: a point that is less accurate than its problem asks for is solved again with so many times the nodes
_REFINED = 4
_COARSE = 1e-4
#: residual of finer rules from where the last step is taken with the Jacobian of coarser ones
_POLISHED = 1e-8
#: a value with a larger error than this (relative to 1 + |entropy|) is none
_KNOWN = 1e-4


class Order:
    """Order parameters by the names of the specification, as attributes."""

    def __init__(self, values: dict[str, Any]):
        self.__dict__.update(values)

    def __repr__(self) -> str:
        return "Order(" + ", ".join(f"{k}={_number(v)}" for k, v in self.__dict__.items()) + ")"


def _number(value: Any) -> str:
    return f"{float(value):.10g}" if is_concrete(value) and np.ndim(value) == 0 else f"array{np.shape(value)}"


class Solution(eqx.Module):
    """The answer to `solve`: observables as attributes (phi, entropy, energy, replicon, ..), order parameters in `order`.

    Every array has the shape of the (broadcast) parameters.  `converged`, `status`, `residual` (largest undamped residual of the saddle
    equations in logarithmic coordinates) and `quadrature_error` (change of phi under refinement of every rule, rounding, truncation) say how far
    it can be trusted; where `converged` is False everything else is NaN.  `coordinates` serves as a start for a neighbour.
    """

    model: Any
    ansatz: Ansatz
    columns: dict[str, Array]
    parameters: dict[str, Array]
    code: Array
    converged: Array
    residual: Array
    quadrature_error: Array
    steps: Array
    coordinates: tuple[Array, ...]
    #: which of the problems of the ansatz the answer is from
    answered: Array

    def __getattr__(self, name: str) -> Any:
        for table in ("columns", "parameters"):
            values = object.__getattribute__(self, table)
            if name in values:
                return values[name]
        known = ", ".join((*self.columns, *self.parameters))
        raise AttributeError(f"this solution has no {name!r}; it has {known}")

    @property
    def order(self) -> Order:
        return Order(self.parameters)

    @property
    def status(self) -> Any:
        """In words ("ok", ..); under a transformation the code that `answers.status.STATUSES` lists."""
        return status_text(self.code)

    def stabilities(self, x: Array) -> Array:
        """P(Delta) of the stabilities of a typical configuration on the grid x: zero below kappa where every pattern is satisfied.

        Replica-symmetric solutions: `theory.stabilities`, one at a time.  Steps of breaking and ground states of the sphere (`theory.hierarchy`):
        (.., *x.shape).  Ground states: what is violated lies below kappa; patterns with Delta = kappa are no density (their share is 1 - integral).
        Raises ValueError where it is not known.
        """
        from replicax.answers import parisi
        from replicax.theory.stabilities import stability_density

        x = jnp.asarray(x, float)
        if isinstance(self.ansatz, RS) or not parisi.known(self):
            return stability_density(self.model, self.order, x)
        return parisi.stabilities(self, x)

    def parisi(self) -> Any:
        """x_i, q_i and the stabilities of the levels, as arrays (`theory.hierarchy.Parisi`); k = inf: of the finest ladder.

        For rs, 1rsb (m or q1 given, too) and krsb of the spherical perceptron (beta = inf, random labels), and its ground states; else
        ValueError.
        """
        from replicax.answers.parisi import parisi

        return parisi(self)

    def fields(self, h: Array) -> Array:
        """P(q_i, h), the distribution of the field h (measured from the margin) at every level: (.., k + 1, *h.shape), from q_0 to q_k.

        P(q_0, h) is a Gaussian around -kappa, P(q_k, h) that from which a pattern sees the configurations of a state
        (`vocabulary.fields`).  Known, and refused, as `parisi`.
        """
        from replicax.answers.parisi import fields

        return fields(self, jnp.asarray(h, float))

    def table(self) -> dict[str, Any]:
        """All results by column name, as written by the command line."""
        trust = dict(converged=self.converged, residual=self.residual, quadrature_error=self.quadrature_error)
        branch = {} if "branch" not in self.columns else dict(branch=branch_text(self.columns["branch"]))
        return {**self.columns, **branch, **self.parameters, "status": self.status, **trust}

    def __repr__(self) -> str:
        if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(self)):
            return f"Solution({self.ansatz.name}, traced)"
        name = getattr(self.model, "name", "") or type(self.model).__name__
        lines = [f"{name}, {self.ansatz.name}: {_status_summary(self.code)}"]
        width = max(len(k) for k in self.table())
        lines += [
            f"  {k:<{width}}  {_cell(v)}" for k, v in self.table().items() if k not in ("status", "converged")
        ]
        return "\n".join(lines)


def _status_summary(code: Array) -> str:
    words, counts = np.unique(np.atleast_1d(status_text(code)), return_counts=True)
    return words[0] if np.ndim(code) == 0 else ", ".join(f"{n} {w}" for n, w in zip(counts, words))


def _cell(value: Any) -> str:
    x = np.asarray(value)
    if x.dtype.kind == "U":
        return ", ".join(np.unique(x))
    if x.ndim == 0:
        return f"{float(x):.12g}"
    return (
        f"{x.shape} in [{np.nanmin(x):.6g}, {np.nanmax(x):.6g}]" if np.isfinite(x).any() else f"{x.shape} nan"
    )


def require_float64() -> None:
    """The theory needs 64-bit floats, and a jaxlib that multiplies them correctly."""
    if not jax.config.jax_enable_x64:
        raise RuntimeError(
            "replicax's theory needs float64 and it is off: unset REPLICAX_ENABLE_X64, or call "
            "jax.config.update('jax_enable_x64', True) before any array is made"
        )
    version = importlib.metadata.version("jaxlib")
    if version in ("0.10.2", "0.11.0") and jax.default_backend() == "cpu":
        raise RuntimeError(f"jaxlib {version} returns wrong numbers on the CPU; install another version")


def solve(model: Any, ansatz: Ansatz | type[Ansatz] | None = None, *, start: Any = None) -> Solution:
    """Solve a model under an ansatz (default `RS()`): every parameter a number or an array, all broadcast together.

    start: an earlier `Solution` of the same problem, tried before the cold starts.  Differentiable in every parameter (implicit function
    theorem) and usable inside jit, vmap, grad, jacfwd.  Raises ValueError for parameters that the ansatz cannot use; never for a point
    without a solution, which is flagged in `status` and NaN.
    """
    require_float64()
    ansatz = RS() if ansatz is None else ansatz() if isinstance(ansatz, type) else ansatz
    largest = min(p.largest_block for p in ansatz.problems(model))
    coordinates = None if start is None else start.coordinates
    return batched(_kernel, (model, ansatz), coordinates, refine=_unsatisfactory, largest=largest)


def evaluate(model: Any, ansatz: Ansatz, coordinates: Array, index: int, tolerance: float) -> Solution:
    """Solutions of problem `index` of the ansatz at known coordinates (..., n), on whatever branch they lie: never searched, not
    moved either (at a fold the map is singular).
    """
    given = tuple(coordinates if i == index else None for i in range(index + 1))
    largest = ansatz.problems(model)[index].largest_block
    return batched(_known(index, tolerance), (model, ansatz), given, refine=_unsatisfactory, largest=largest)


@functools.cache
def _known(index: int, tolerance: float) -> Any:
    def kernel(parameters: tuple[Any, Ansatz], coordinates: tuple[Any, ...], refinement: int) -> Solution:
        model, ansatz = parameters
        problem, x = ansatz.problems(model)[index], coordinates[index]
        n = problem.nodes * refinement
        r = problem.state(x, problem.final(n)).residual
        size = jnp.max(jnp.abs(r)) / jnp.maximum(1.0, jnp.max(jnp.abs(x)))
        root = Root(x, size, jnp.zeros(()), size <= tolerance)
        columns, order, trust, x = _assess(problem, root, refinement, problem.absent(n))
        return Solution(model, ansatz, columns, order, coordinates=(x,), answered=jnp.asarray(index), **trust)

    return kernel


def _unsatisfactory(answer: Solution) -> Array:
    problems = answer.ansatz.problems(answer.model)
    accuracy = max(p.accuracy for p in problems)
    # of phi = Phi/y of y replicas S_E is a small difference
    y = jnp.asarray(answer.columns.get("y", 1.0))
    error = answer.quadrature_error * jnp.where(jnp.isfinite(y), jnp.maximum(1.0, y), 1.0)
    accurate = error <= accuracy * (1.0 + jnp.abs(answer.columns["phi"]))
    lost = (answer.code == CODE["not converged"]) | (answer.code == CODE["inner saddle lost"])
    lost = lost & all(p.retried for p in problems)
    return lost | (answer.converged & ~accurate)


def batched(
    kernel: Any, parameters: Any, coordinates: Any, refine: Any = None, largest: int = BLOCKS[-1]
) -> Any:
    """kernel(parameters, coordinates, refinement) over the broadcast arrays in `parameters`, compiled, padded and re-assembled."""
    parameters = jax.tree.map(lambda x: jnp.asarray(x, float), parameters)
    leaves = jax.tree.leaves(parameters)
    shape = jnp.broadcast_shapes(*(x.shape for x in leaves)) if leaves else ()
    if any(isinstance(x, jax.core.Tracer) for x in (*leaves, *jax.tree.leaves(coordinates))):
        spread = jax.tree.map(lambda x: jnp.broadcast_to(x, shape), parameters)
        return _traced(kernel, spread, coordinates, len(shape))
    flat = jax.tree.map(lambda x: np.broadcast_to(np.asarray(x), shape).reshape(-1), parameters)  # pyright: ignore[reportCallIssue]
    size = int(np.prod(shape))  # pyright: ignore[reportCallIssue]
    rows = lambda x: np.broadcast_to(np.asarray(x), (*shape, x.shape[-1])).reshape(size, x.shape[-1])  # pyright: ignore[reportCallIssue]
    starts = jax.tree.map(rows, coordinates)
    answer = _in_blocks(kernel, flat, starts, size, 1, largest)
    if refine is not None:
        again = np.flatnonzero(np.asarray(refine(answer)))
        if again.size:
            pick = lambda tree: jax.tree.map(lambda x: np.asarray(x)[again], tree)
            smaller = min(largest, max(BLOCKS[0], largest // _REFINED**2))
            better = _in_blocks(kernel, pick(flat), pick(starts), again.size, _REFINED, smaller)
            answer = jax.tree.map(lambda a, b: _replace(a, again, b), answer, better)
    return jax.tree.map(lambda x: jnp.asarray(x.reshape(shape + x.shape[1:])), answer)


def _replace(array: np.ndarray, index: np.ndarray, values: np.ndarray) -> np.ndarray:
    array = np.array(array)
    array[index] = values
    return array


def _in_blocks(kernel: Any, flat: Any, starts: Any, size: int, refinement: int, largest: int) -> Any:
    parts = []
    sizes = [b for b in (1, *BLOCKS) if b <= largest and (b > 1 or largest < BLOCKS[0])]
    at_once = sizes[-1]
    if jax.default_backend() == "cpu":
        at_once = max(1, at_once // _IN_CACHE)
        # how many rows there are is no part of the program: one for a few points, one for the others
        sizes = [BLOCKS[0], sizes[-1]] if at_once > BLOCKS[0] else [sizes[-1]]
    for begin in range(0, size, sizes[-1]):
        index = np.arange(begin, min(size, begin + sizes[-1]))
        block = next(b for b in sizes if b >= index.size)
        padded = np.concatenate([index, np.full(block - index.size, index[-1])])
        step = min(block, at_once)
        out = _compiled(
            kernel,
            jax.tree.map(lambda x: x[padded], flat),
            jax.tree.map(lambda x: x[padded], starts),
            refinement,
            step,
            np.asarray(-(-index.size // step)),
        )
        parts.append(jax.tree.map(lambda x: np.asarray(x)[: index.size], out))
    return jax.tree.map(lambda *xs: np.concatenate(xs), *parts)


@eqx.filter_jit
def _compiled(kernel: Any, flat: Any, starts: Any, refinement: int, step: int, count: Array) -> Any:
    """The kernel at the first `count` times `step` rows, `step` at once; what lies beyond is 0."""

    @jax.jit
    def some(rows: Any) -> Any:
        if step > 1:
            return jax.vmap(lambda p, s: kernel(p, s, refinement), axis_size=step)(*rows)
        # one point takes its own branches: a batch would take both
        one = kernel(*jax.tree.map(lambda x: x[0], rows), refinement)
        return jax.tree.map(lambda x: jnp.asarray(x)[None], one)

    def rows(i: Array) -> Any:
        return jax.tree.map(lambda x: lax.dynamic_slice_in_dim(x, i * step, step), (flat, starts))

    def advance(i: Array, done: Any) -> Any:
        place = lambda all_, new: lax.dynamic_update_slice_in_dim(all_, new, i * step, 0)
        return jax.tree.map(place, done, some(rows(i)))

    size = jax.tree.leaves(flat)[0].shape[0]
    if size == step:
        return some((flat, starts))
    shapes = jax.eval_shape(some, rows(count))
    empty = jax.tree.map(lambda x: jnp.zeros((size, *x.shape[1:]), x.dtype), shapes)
    return lax.fori_loop(0, count, advance, empty)


@eqx.filter_jit
def _traced(kernel: Any, parameters: Any, coordinates: Any, axes: int) -> Any:
    """Under grad or vmap alone the kernel is still one compiled program, not one for every operation."""
    call = lambda p, c: kernel(p, c, 1)
    for _ in range(axes):
        call = jax.vmap(call)
    return call(parameters, coordinates)


def find_root(
    problem: Searched,
    given: Array | None,
    refinement: int = 1,
    prepared: tuple[tuple[Array, ...], Array] | None = None,
) -> Root:
    """The root of the problem's map: coarse nodes first, then the full rule, a last step with twice its nodes (`polished`); `given` is
    tried before the cold starts.

    prepared: `problem.prepare` of the full rule, if it is known already.
    """
    fine = problem.nodes * refinement
    coarse = max(1, fine // problem.coarser)
    cold, hopeless = (problem.starts(), problem.absent(fine)) if prepared is None else prepared
    cold = jnp.stack(cold)
    starts = (
        cold
        if given is None
        else jnp.concatenate([jnp.where(jnp.isfinite(given), given, cold[0])[None], cold])
    )

    def residual(x: Array, n: int) -> Array:
        return problem.state(x, n).residual

    def solver(_: Array) -> Root:
        root = seek(problem, starts, coarse, tol=_COARSE, hopeless=hopeless)
        assert root.jacobian is not None
        close = jnp.where(root.converged, root.x, starts[0])
        steps = jnp.where(root.converged, 8, 0)
        final = chord(
            lambda x: residual(x, fine), close, root.jacobian, tol=problem.tolerance, max_steps=steps
        )
        # coarse nodes may have no root next to a fold
        last, again = jnp.stack([close, starts[0]]), jnp.where(root.converged, 2, jnp.where(hopeless, 0, 1))
        other = newton(
            lambda x: residual(x, fine),
            last,
            tol=problem.tolerance,
            tries=jnp.where(final.converged, 0, again),
            max_steps=jnp.where(root.converged, 40, 12),
        )
        final = jax.tree.map(lambda a, b: jnp.where(final.converged, a, b), final, other)
        if problem.polished:
            better = chord(
                lambda x: residual(x, problem.final(fine)),
                final.x,
                final.jacobian,
                tol=_POLISHED,
                max_steps=jnp.where(final.converged, 4, 0),
            )
            final = final._replace(x=better.x, converged=better.converged, moved=better.x - final.x)
        return final._replace(steps=root.steps + final.steps)

    return implicit_root(lambda x: residual(x, fine), solver, starts[0])


def _kernel(
    parameters: tuple[Any, Ansatz], coordinates: tuple[Array, ...] | None, refinement: int
) -> Solution:
    model, ansatz = parameters
    problems = ansatz.problems(model)
    given = (
        coordinates
        if coordinates is not None and len(coordinates) == len(problems)
        else (None,) * len(problems)
    )
    best = _numbered(_answer(problems[0], given[0], refinement), 0)
    answers, liking = [best], ansatz.preference(best[0], best[1])
    for i, (problem, start) in enumerate(zip(problems[1:], given[1:]), 1):
        remains = jnp.asarray(problem.remains)
        done = best[2]["converged"] | (remains & (best[2]["code"] != CODE["no solution"]))
        other = _unless(liking is None and done, lambda p=problem, s=start: _answer(p, s, refinement))
        other = _numbered(other, i)
        answers.append(other)
        # what is not found may exist, whatever another problem lacks
        lost = ~best[2]["converged"] & ~other[2]["converged"]
        done = done | (~remains & lost & (other[2]["code"] == CODE["no solution"]))
        more = ansatz.preference(other[0], other[1])
        if liking is not None and more is not None:
            done = done & ~(other[2]["converged"] & (more > liking))
            liking = jnp.where(done, liking, more)
        best = _merged(done, best, other)
    columns, order, trust, _ = best
    if len(answers) > 1 and liking is not None and "R" in order:
        columns = columns | dict(branch=_branch_of(order["R"], [a[1]["R"] for a in answers]))
    columns = ansatz.present(columns)
    return Solution(model, ansatz, columns, order, coordinates=tuple(a[3] for a in answers), **trust)


def _numbered(answer: tuple, index: int) -> tuple:
    """The answer, with the number of its problem."""
    return answer[0], answer[1], answer[2] | dict(answered=jnp.asarray(index)), answer[3]


def _unless(done: Any, answer: Any) -> tuple:
    """The answer, or (where points are not in a batch) nothing if there is no need of one."""
    if done is False:
        return answer()
    nothing = lambda x: jnp.full(x.shape, jnp.nan if x.dtype.kind == "f" else 0, x.dtype)
    return jax.lax.cond(done, lambda: jax.tree.map(nothing, jax.eval_shape(answer)), answer)


def _branch_of(R: Array, all_R: list[Array]) -> Array:
    """The code of the branch in `BRANCHES`: 1 and 2 where there are solutions with smaller and larger R, else 0."""
    every = jnp.stack(all_R)
    low, high = jnp.nanmin(every), jnp.nanmax(every)
    two = high - low > 1e-9
    return jnp.where(jnp.isnan(R), jnp.nan, jnp.where(two, jnp.where(R > 0.5 * (low + high), 2.0, 1.0), 0.0))


def _merged(first_wins: Array, first: tuple, second: tuple) -> tuple:
    """The first answer where it wins, else the second; columns that only one of them has are NaN in the other."""

    def merge(a: dict[str, Array], b: dict[str, Array]) -> dict[str, Array]:
        return {k: jnp.where(first_wins, a.get(k, jnp.nan), b.get(k, jnp.nan)) for k in {**a, **b}}

    return merge(first[0], second[0]), merge(first[1], second[1]), merge(first[2], second[2]), first[3]


def _answer(problem: Problem, given: Array | None, refinement: int):
    root = problem.search(given, refinement)
    if root is None:
        prepared = problem.prepare(problem.nodes * refinement)
        absent, root = prepared[1], find_root(problem, given, refinement, prepared)
    else:
        absent = problem.absent(problem.nodes * refinement)
    if given is None:
        reached = problem.reached(root.x, problem.nodes * refinement)
        root = root._replace(converged=root.converged & reached)
    return _assess(problem, root, refinement, absent)


def _assess(problem: Problem, root: Root, refinement: int, absent: Array):
    """Columns, order parameters, trust and coordinates of a root."""
    n = problem.nodes * refinement
    state = problem.state(root.x, problem.final(n))
    phi, error = problem.evaluated(state, n)
    columns = dict(phi=phi) | problem.columns(state, phi, n)
    finite = jnp.all(jnp.stack([jnp.isfinite(v) for v in (phi, *state.order.values())]))
    missing = problem.missing(state, n)
    scale = 1.0 + jnp.abs(columns.get("entropy", phi))
    known = error <= _KNOWN * scale
    inside = problem.inside(state) & problem.possible(phi, error)
    solved = root.converged & finite & known
    converged = solved & inside & ~missing
    code = jnp.where(solved & ~inside, CODE[problem.beyond or problem.failure], CODE[problem.failure])
    code = jnp.where(absent, CODE["no solution"], code)
    code = jnp.where(missing, CODE["no reference"], code)
    healthy = jnp.where(
        problem.counts & (columns.get("entropy", phi) < -error), CODE["negative entropy"], CODE["ok"]
    )
    healthy = jnp.where(problem.unstable(state, columns, n), CODE["unstable (replicon)"], healthy)
    code = jnp.where(converged, healthy, code)
    keep = lambda x: jnp.where(converged, x, jnp.nan)
    trust = dict(
        code=code,
        converged=converged,
        residual=jax.lax.stop_gradient(root.residual),
        quadrature_error=jax.lax.stop_gradient(keep(error)),
        steps=root.steps,
    )
    return jax.tree.map(keep, columns), jax.tree.map(keep, state.order), trust, root.x
