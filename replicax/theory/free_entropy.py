r"""The free entropy as one functional, and the moment map derived from it.

    Phi = interaction(O, O^) + sum of terms,     stationary in all order parameters.

With overlaps q_0 <= .. <= q_k between replicas at the k+1 levels of an ansatz, conjugates q^_i and Parisi parameters
0 = m_0 < m_1 < .. < m_{k+1} = 1, the interaction is bilinear,

    interaction = -(1/2) q^_k V - (1/2) sum_i m_i (q_i q^_i - q_{i-1} q^_{i-1}) - (1/2) Q b,      V = Q - q_k,

and every term is a tower of replica levels (`vocabulary.levels`).  Stationarity needs no derivation: the overlaps are moments of the
scores of the site, the conjugates those of the factor, q^_i - q^_{i-1} = alpha gap_i.  A *problem* is this map for one model and
ansatz, in logarithmic coordinates:

    state(x, n)          what the coordinates x give with n quadrature nodes a bend: order parameters and the residual of the map;
    terms(state, n)      the terms of the functional there; phi is their sum;
    columns(state, n)    the observables, all of them partial derivatives of phi at fixed order parameters (envelope theorem);
    absent(n)            True where the map has no root (the overlap has run to 1).
"""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

from replicax.numerics.homotopy import follow
from replicax.numerics.roots import Root, newton, solve_linear
from replicax.vocabulary.limits import INFINITE

#: coordinates beyond this belong to no overlap below 1
FAR = 45.0
#: where there are several solutions: that of smaller overlap R with the teacher, and that of larger; around a reference exponentially many
#: solutions, where they dominate and where single ones (frozen) have more weight
BRANCHES = ("", "low", "high", "dense", "metastable", "frozen")
BRANCH = {name: float(code) for code, name in enumerate(BRANCHES)}
#: rounding of a replicon that is 0
_MARGINAL = 1e-11


class State(NamedTuple):
    """Order parameters by name, residual of the map (size,), and whatever `phi` and `observables` need (`parts`)."""

    order: dict[str, Array]
    residual: Array
    parts: dict[str, Any]


class Searched(eqx.Module):
    """What a root is searched in: starts(), state(x, n) with the residual at coordinates x and n nodes, absent(n)."""

    #: nodes a bend of the full rule, and how many times fewer roots are first looked for with
    nodes: ClassVar[int] = 128
    coarser: ClassVar[int] = 4
    #: how many starts are tried where `absent` says that there is no root
    doubtful: ClassVar[int] = 1
    #: the largest residual of a root, in units of max(1, |coordinate|): beyond rounding
    tolerance: ClassVar[float] = 1e-12
    #: the root itself is wanted, not a functional that is stationary there: a last step with twice the nodes
    polished: ClassVar[bool] = True

    def finer(self, n: int) -> int:
        """The nodes a bend with which rules of n nodes are checked, and columns read off."""
        return 2 * n

    def final(self, n: int) -> int:
        """The nodes a bend of the map that the answer solves, of n with which it is looked for."""
        return self.finer(n) if self.polished else n

    def absent(self, n: int) -> Array:
        """True where the map is known to have no root."""
        return jnp.zeros((), bool)


class Problem(Searched):
    """What the problems share: phi as the sum of its terms, and its partial derivatives in the parameters of the model."""

    #: points solved in one compiled batch, by the memory of their nodes
    largest_block: ClassVar[int] = 4096
    #: a point with a larger quadrature error (times 1 + |phi|) is solved again with finer rules
    accuracy: ClassVar[float] = 1e-10
    #: the status where no root is found
    failure: ClassVar[str] = "not converged"
    #: the status of a root outside of the domain of the problem (`inside`); None: of one that is not found
    beyond: ClassVar[str | None] = None
    #: where no root is found it is looked for again with finer rules
    retried: ClassVar[bool] = True
    #: True where columns are read off the root; phi is stationary
    polished: ClassVar[bool] = False

    @property
    def counts(self) -> bool:
        """True where exp(N phi) counts configurations, so that a negative entropy says that there are none."""
        return True

    def phi(self, state: State, n: int) -> Array:
        return sum(self.terms(state, n), jnp.zeros(()))

    def truncation(self, state: State, terms: tuple[Array, ...]) -> Array:
        """The error of phi, the sum of `terms`, that no finer rule removes."""
        return jnp.zeros(())

    def refined(self, state: State, n: int) -> tuple[Array, ...]:
        """The terms by `finer` rules; a polished state was found with them."""
        return self.terms(state, self.finer(n))

    def evaluated(self, state: State, n: int) -> tuple[Array, Array]:
        """phi by `finer` rules, and its error: what their refinement changes, rounding, truncation."""
        terms, refined = self.terms(state, n), self.refined(state, n)
        phi = sum(refined, jnp.zeros(()))
        rounding = 4e-15 * sum((jnp.abs(t) for t in refined), jnp.zeros(()))
        return phi, jnp.abs(phi - sum(terms, jnp.zeros(()))) + rounding + self.truncation(state, terms)

    def partial(self, parameter: Callable, state: State, n: int) -> Array:
        """d phi/d(parameter) at fixed order parameters; `parameter` picks the leaf out of the problem."""
        x = jnp.asarray(parameter(self), float)

        def phi(value: Array) -> Array:
            return eqx.tree_at(parameter, self, value).phi(state, n)

        return jax.jvp(phi, (x,), (jnp.ones_like(x),))[1]

    def total(self, name: str, x: Array, quantity: Callable[[State], Array], n: int) -> Array:
        """d quantity/d(field `name`) along the solutions, at the solution x (implicit function theorem)."""
        value = jnp.asarray(getattr(self, name), float)
        at = lambda y, v: eqx.tree_at(lambda p: getattr(p, name), self, v).state(y, n)
        jacobian = jax.jacfwd(lambda y: at(y, value).residual)(x)
        moved = jax.jvp(lambda v: at(x, v).residual, (value,), (jnp.ones_like(value),))[1]
        direction = -solve_linear(jacobian, moved)
        return jax.jvp(lambda y, v: quantity(at(y, v)), (x, value), (direction, jnp.ones_like(value)))[1]

    def thermal(self, state: State, phi: Array, n: int) -> tuple[Array, Array]:
        """(energy, entropy) = (-d phi/d beta, phi + beta energy); beta = inf: (0, phi)."""
        beta = self.model.beta
        if beta is INFINITE:
            return jnp.zeros_like(phi), phi
        energy = -self.partial(lambda p: p.model.beta, state, n)
        cold = jnp.isinf(beta)
        return energy, phi + jnp.where(cold, 0.0, jnp.where(cold, 0.0, beta) * energy)

    def search(self, given: Array | None, refinement: int) -> Any:
        """A `Root` by a search of its own, if the problem has one: `largest_block` must be 1."""
        return None

    def prepare(self, n: int, skip: Array | bool = False) -> tuple[tuple[Array, ...], Array]:
        """`starts` and `absent`, for problems in which one search tells both; skip: neither is wanted."""
        return self.starts(), self.absent(n)  # type: ignore[attr-defined]

    @property
    def remains(self) -> Array | bool:
        """True: the answer only where the problem before it is known to have no solution, not where none was found."""
        return False

    def possible(self, phi: Array, error: Array) -> Array:
        """False where this is no value of what is sought (a ground state without errors)."""
        return jnp.ones((), bool)

    def missing(self, state: State, n: int) -> Array:
        """True where what the solution refers to (a typical reference) does not exist."""
        return jnp.zeros((), bool)

    def unstable(self, state: State, columns: dict[str, Array], n: int) -> Array:
        """True where replica symmetry of the outermost index is known to be broken."""
        return columns.get("replicon", jnp.ones(())) < -_MARGINAL

    def reached(self, x: Array, n: int) -> Array:
        """False where a root is none that a cold start should end in (it lies on another branch)."""
        return jnp.ones((), bool)

    def inside(self, state: State, edge: float = 1e-8) -> Array:
        """False where 1 - q < edge: beyond, moments underflow and agree about nothing."""
        return jnp.ones((), bool)


class Settled(NamedTuple):
    """A root, the state there, and whether it was found."""

    x: Array
    state: State
    found: Array


def settled(problem: Any, n: int, *, tol: float = 1e-10, tries: Array | None = None) -> Settled:
    """The root with n nodes a bend that Newton finds from the starts of `problem`: what another problem refers to, or begins with."""
    residual = lambda x: problem.state(x, n).residual
    root = newton(residual, jnp.stack(problem.starts()), tol=tol, limit=FAR, tries=tries)
    return Settled(root.x, problem.state(root.x, n), root.converged)


class Followed(Problem):
    """A problem whose root, where cold starts fail, is followed: from none of its patterns."""

    def fewer(self, share: Array, start: Array, n: int) -> Problem:
        """The problem with this share of its patterns (of what makes it hard); start: where it is followed from."""
        return eqx.tree_at(lambda p: p.model.alpha, self, share * jnp.asarray(self.model.alpha, float))


def seek(problem: Any, starts: Array, n: int, *, tol: float, hopeless: Array | bool = False) -> Root:
    """A root with n nodes a bend of a problem (what has `state`): Newton from the rows of `starts`, where it fails `follow`.

    hopeless: where no root is expected, from `problem.doubtful` rows only.
    """
    tries = jnp.where(hopeless, problem.doubtful, starts.shape[0])
    root = newton(
        lambda x: problem.state(x, n).residual, starts, tol=tol, max_steps=30, limit=FAR, tries=tries
    )
    if not isinstance(problem, Followed):
        return root

    def residual(x: Array, share: Array) -> Array:
        return problem.fewer(share, starts[0], n).state(x, n).residual

    other = follow(residual, starts[0], tol=1e-2 * tol, limit=FAR, skip=root.converged | hopeless)
    return jax.tree.map(lambda a, b: jnp.where(other.converged, b, a), root, other)
