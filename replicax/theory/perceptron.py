r"""Perceptrons of any weights and constraint: the map and the functional at k+1 levels of overlaps."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import Array, lax

from replicax.numerics.roots import climb, newton
from replicax.numerics.special import log_H
from replicax.theory.ansatz import RS, OneRSB, evaluates, poses, refuse, require
from replicax.theory.free_entropy import FAR, Problem, State
from replicax.theory.models import Model, Number, SymmetricPerceptron
from replicax.vocabulary.labels import Labels
from replicax.vocabulary.levels import Level, Moments, Terminal, is_frozen, tower
from replicax.vocabulary.priors import Site, increments

#: a conjugate below this (times alpha) is zero: beta = 0, constraints that ask nothing
TINY = 1e-24
_LEAST = 1e-290
#: the residual at which a start is good
_ROUGH = 1e-4


class Bipartite(Problem):
    """Weights on one side, patterns on the other: perceptrons of any prior and factor, at k+1 levels with given m.

    Coordinates: x_i = log of the increment of q^_i per pattern and weight (in units of the multiplier on the sphere), so that alpha = 0 is an
    ordinary point; then b/alpha where the norm of the weights is free; then log of R^ per pattern and weight where a teacher made the labels.
    Without levels (symmetric constraints) q = q^ = 0.
    """

    model: Any
    ms: tuple

    @property
    def labels(self) -> Labels | None:
        return getattr(self.model, "labelling", None)

    @property
    def size(self) -> int:
        return len(self.ms) + (self.model.prior.norm == "free") + (self.labels is not None)

    @property
    def counts(self) -> bool:
        return self.model.prior.norm != "spherical"

    def first(self) -> Array:
        """Left of the root: the first iterate of the map, conjugates = squared score (score along the teacher) at q = R = 0."""
        _, (score,), _ = self.model.factor.terminal(jnp.ones(())).derivatives(jnp.zeros(()))
        start = jnp.full(self.size, jnp.log(score**2 + TINY))
        if self.labels is None:
            return start
        _, signal = self.labels.tilt(jnp.zeros(()), jnp.ones(()), jnp.ones(())).density(jnp.zeros(()))
        return start.at[-1].set(jnp.log(jnp.abs(score * signal) + TINY))

    def starts(self) -> tuple[Array, ...]:
        """The first iterate of the map; then a wide scan."""
        first = self.first()
        flat = tuple(jnp.full(self.size, x) for x in (0.0, 4.0))
        return (first, first + 2.0, first - 3.0, *flat)

    def state(self, x: Array, n: int) -> State:
        model, levels, labels = self.model, len(self.ms), self.labels
        alpha = jnp.asarray(model.weight, float)
        free = model.prior.norm == "free"
        b = alpha * x[levels] if free else jnp.zeros(())
        field = None if labels is None else alpha * jnp.exp(x[-1])
        site = model.prior.site(tuple(alpha * jnp.exp(x[i]) for i in range(levels)), b, self.ms, n, field)
        factor = self._factor(site, n)
        asked = increments(factor)
        residual = [
            # log(q^_i/alpha) of the site against that of the factor; the site may rescale its coordinate
            compare(x[i], site.conjugates[i], alpha, asked[i])
            for i in range(levels)
        ]
        if free:
            residual.append(x[levels] - factor.curvature[0])
        if labels is not None:
            residual.append(compare(x[-1], site.R_hat, alpha, factor.cross))
        order = named(site, self.ms)
        if free:
            order["Q"], order["b"] = site.norm, site.b
        if labels is not None:
            order["R"], order["R_hat"] = site.R, site.R_hat
        parts = dict(
            site=site,
            factor=factor,
            asked=asked,
            replicon=1.0 - alpha * site.curvature2 * factor.curvature2[0],
        )
        return State(order, jnp.stack(residual) if residual else jnp.zeros(0), parts)

    def _seen(self, parts: dict[str, Any]) -> Any:
        """What a pattern sees of the weights: the overlaps themselves."""
        return parts["site"]

    def _terminal(self, V: Array) -> Terminal:
        """A pattern at variance V of its stability."""
        return self.model.factor.terminal(V)

    def _factor(self, seen: Any, n: int) -> Moments:
        """The factor's tower at the overlaps that it sees (here those of the site), under the tilt of the labels."""
        levels = tuple(Level((v,), m) for v, m in zip(seen.overlaps, self.ms))
        tilt = None if self.labels is None else self.labels.tilt(seen.R, seen.overlaps[0], seen.rest)
        return tower(self._terminal(seen.complement), levels, n, tilt=tilt)

    def absent(self, n: int) -> Array:
        """The residual rises from -inf; if it is still negative where q = 1 it has no root (constraints at beta = inf), but for a pair
        just beyond the q -> 1 capacity of binary weights, where it overshoots.
        """
        if len(self.ms) != 1 or self.size != 1:
            return jnp.zeros((), bool)
        return self.state(jnp.full(1, self.model.prior.saturated), 2 * n).residual[0] < 0

    def inside(self, state: State, edge: float = 1e-8) -> Array:
        return state.parts["site"].complement > edge * state.parts["site"].norm

    def columns(self, state: State, phi: Array, n: int) -> dict[str, Array]:
        columns = dict(replicon=state.parts["replicon"])
        if hasattr(self.model, "beta"):
            columns["energy"], columns["entropy"] = self.thermal(state, phi, n)
        if self.labels is not None:
            columns |= self.errors(state)
        return columns

    def errors(self, state: State) -> dict[str, Array]:
        """Clean test errors arccos(R)/pi of one solution and arccos(R/sqrt(q))/pi of the barycentre (of one level of overlaps)."""
        seen = self._seen(state.parts)
        # at alpha = 0 the barycentre is at the origin: it guesses
        angle = lambda rest: clean_error(seen.R, rest + _LEAST)
        return dict(eps=angle(seen.complement + seen.rest), eps_bary=angle(seen.rest))

    def fluctuation(self, state: State) -> Array:
        """S_E behind an m = inf level: what the fluctuations around the maxima and the terms of order 1/m of q0, q0^ leave of m phi."""
        alpha = jnp.asarray(self.model.weight, float)
        site, factor, seen = state.parts["site"], state.parts["factor"], self._seen(state.parts)
        moved = site.conjugates[1] * site.complement + alpha * seen.overlaps[1] * factor.hessian[0][0]
        return site.fluctuation + alpha * factor.fluctuation - 0.5 * moved

    def terms(self, state: State, n: int) -> tuple[Array, ...]:
        site, model = state.parts["site"], self.model
        q = q_hat = coupling = jnp.zeros(())
        for overlap, conjugate, m in zip(site.overlaps, site.conjugates, self.ms):
            if is_frozen(m):  # lim m [(q + overlap/m)(q^ + conjugate/m) - q q^]
                coupling = coupling + q * conjugate + q_hat * overlap
                continue
            coupling = coupling + m * (overlap * (q_hat + conjugate) + q * conjugate)
            q, q_hat = q + overlap, q_hat + conjugate
        norm = site.norm * site.b if model.prior.norm == "free" else 0.0
        along = 0.0 if site.R_hat is None else site.R * site.R_hat
        value = model.prior.value(site.conjugates, site.b, self.ms, n, site.R_hat)
        energetic = self._factor(self._seen(state.parts), n).value
        return (-0.5 * (q_hat * site.complement + coupling + norm) - along, value, model.weight * energetic)


def clean_error(R: Array, rest: Array) -> Array:
    """arccos(R/sqrt(q))/pi of weights of squared norm q and overlap R with the teacher, rest = q - R^2."""
    return jnp.arctan2(jnp.sqrt(rest), R) / jnp.pi


def compare(x: Array, conjugate: Array, alpha: Array, asked: Array) -> Array:
    """log(conjugate/alpha) - log(asked) where conjugate = alpha exp(x) times a factor; also at alpha = 0."""
    coordinate = alpha * jnp.exp(x)
    unit = lax.stop_gradient(jnp.where(coordinate > 0, coordinate, 1.0))  # the square of a tiny alpha is 0
    ratio = jnp.where(
        coordinate > 0, (conjugate / unit) / jnp.where(coordinate > 0, coordinate / unit, 1.0), 1.0
    )
    return jnp.log(jnp.exp(x) * ratio + TINY) - jnp.log(asked + TINY)


def named(site: Site, ms: tuple) -> dict[str, Array]:
    """q, q_hat for one level (or none); q0, q1, .. for more (behind an m = inf level q1 = q0)."""
    values: dict[str, list[Array]] = {"": [], "_hat": []}
    for kind, increments_ in zip(values, (site.overlaps, site.conjugates)):
        total = jnp.zeros(())
        for increment, m in zip(increments_, ms):
            total = total if is_frozen(m) else total + increment
            values[kind].append(total)
    if len(ms) <= 1:
        return {f"q{kind}": v[0] if v else jnp.zeros(()) for kind, v in values.items()}
    return {f"q{i}{kind}": x for kind, v in values.items() for i, x in enumerate(v)}


#: the field along the teacher below which the branch of large R is looked for: 1 - R down to 1e-11; the least
_ALIGNED = 13.0
_BARELY = 0.5


class Informed(Bipartite):
    """The branch of large R, with constraints that leave room around the teacher (margin < 0)."""

    doubtful: ClassVar[int] = 0

    def starts(self) -> tuple[Array, ...]:
        return self.prepare(self.nodes)[0]

    def absent(self, n: int) -> Array:
        return self.prepare(n)[1]

    def prepare(self, n: int, skip: Array | bool = False) -> tuple[tuple[Array, ...], Array]:
        """Students differ from the teacher where patterns leave them room: q^ is about 2.5 alpha |margin|, or small where there are many
        patterns.  There the first root of R^ downhill from R = 1 is the start.  Absent where there is none, and at margins >= 0, where nothing
        is found beside the teacher itself.
        """
        alpha = jnp.maximum(jnp.asarray(self.model.weight, float), TINY)
        margin = jnp.asarray(getattr(self.model, "kappa", -1.0), float)
        q_hat = jnp.clip(2.5 * alpha * jnp.abs(margin), 1e-12, 0.1)
        at = lambda field: jnp.log(jnp.stack([q_hat, field]) / alpha)
        n = max(1, self.nodes // 2)  # fewer do not see such 1 - R

        def excess(field: Array) -> tuple[Array, Array]:
            r = self.state(at(field[0]), n).residual[-1]
            return -r[None], (field[0] < _BARELY) | (margin >= 0) | skip

        top = climb(lambda below: excess(_ALIGNED - below), jnp.zeros(1), tol=1e-2, cap=1.0)
        first = at(_ALIGNED - top.x[0])
        # without a branch of large R the other one is downhill
        root = climb(lambda x: (self.state(x, n).residual, ~top.found), first, tol=_ROUGH, max_steps=20)
        return (jnp.where(root.found, root.x, first),), top.passed

    def inside(self, state: State, edge: float = 1e-11) -> Array:
        return super().inside(state, edge)

    def reached(self, x: Array, n: int) -> Array:
        return _attracts(self, x, n)


class Uninformed(Bipartite):
    """The branch of small R: the first solution uphill from R = 0."""

    doubtful: ClassVar[int] = 0
    coarser: ClassVar[int] = 2

    def starts(self) -> tuple[Array, ...]:
        return self.prepare(self.nodes)[0]

    def absent(self, n: int) -> Array:
        return self.prepare(n)[1]

    def prepare(self, n: int, skip: Array | bool = False) -> tuple[tuple[Array, ...], Array]:
        """The climb from R = 0.  If the teacher is a solution (margin <= 0), it ends where this branch does: the other one is met from above.
        Otherwise it may have jumped over what it looked for, and Newton's method decides.
        """
        coarse = max(1, self.nodes // self.coarser)
        perfect = jnp.asarray(getattr(self.model, "kappa", 1.0), float) <= 0

        def excess(x: Array) -> tuple[Array, Array]:
            state = self.state(x, coarse)
            room, gap = state.parts["site"].complement / state.parts["site"].norm, jnp.max(state.residual)
            return state.residual, (room < 1e-10) | (room < 1e-5) & (gap < -0.05) | skip

        first = self.first()
        low = climb(excess, first, tol=_ROUGH, only_first=perfect)
        tries = jnp.where(low.found | low.passed & perfect | skip, 0, 1)
        root = newton(lambda x: excess(x)[0], low.x[None], tol=_ROUGH, max_steps=30, limit=FAR, tries=tries)
        gone = low.passed | (jnp.max(root.x) > FAR)
        absent = gone & (low.size > 10.0 * _ROUGH) & ~(root.converged & _attracts(self, root.x, coarse))
        return (jnp.where(root.converged, root.x, low.x), first), absent

    def reached(self, x: Array, n: int) -> Array:
        return _attracts(self, x, n)


class UninformedOnSphere(Uninformed):
    """There is no other branch: at margins <= 0 always a solution, close to the teacher where patterns are many."""

    def prepare(self, n: int, skip: Array | bool = False) -> tuple[tuple[Array, ...], Array]:
        climbed, absent = super().prepare(n, skip)
        first, coarse = self.first(), max(1, self.nodes // 4)
        # the map itself, towards the solution on its side
        step = lambda _, x: x - self.state(x, coarse).residual
        few = lax.fori_loop(0, 3, step, first)
        many = lax.fori_loop(0, 27, step, few)
        margin = jnp.asarray(getattr(self.model, "kappa", 1.0), float)
        rest = (many, *climbed, *Bipartite.starts(self)[1:])
        return (few, self._near_teacher(), *rest), absent & (margin > 0)

    def _near_teacher(self) -> Array:
        """Where many patterns leave little room around the teacher at margins < 0 the annealed entropy
        (1/2) log(1 - R^2) - alpha P(margin is not kept) is all there is: largest at c = (alpha/pi) exp(-kappa^2 (1 + c^2)/2), c = R/sqrt(1 - R^2);
        there (q - R^2)/(1 - R^2) = alpha E[G^2] = alpha H(2^(1/2) |kappa| (1 + c^2)^(1/2))/(2^(1/2) pi c).
        """
        alpha = jnp.maximum(jnp.asarray(self.model.weight, float), TINY)
        margin = jnp.abs(jnp.asarray(getattr(self.model, "kappa", 0.0), float))
        aim = jnp.log(alpha / jnp.pi) - 0.5 * margin**2

        def descend(_: int, x: Array) -> Array:
            """Newton's step for log c + kappa^2 c^2/2 = aim, which is convex."""
            curved = margin**2 * jnp.exp(2.0 * x)
            return x - (x + 0.5 * curved - aim) / (1.0 + curved)

        signal = lax.fori_loop(0, 60, descend, aim)
        room = margin * jnp.sqrt(1.0 + jnp.exp(2.0 * signal))
        spread = log_H(jnp.sqrt(2.0) * room) - jnp.log(jnp.sqrt(2.0) * jnp.pi) - signal
        return jnp.stack([spread, signal - jnp.log(alpha)])


def _attracts(problem: Bipartite, x: Array, n: int) -> Array:
    """Whether the branch grows out of R = 0 or R = 1 at x: no fold passed, so that the slow map is stable (trace, det > 0).  At margin 0
    this leaves out the roots off the Nishimori line q = R.
    """
    jacobian = jax.jacfwd(lambda y: problem.state(y, n).residual)(x)
    stable = (jnp.trace(jacobian) > 0) & (jnp.linalg.det(jacobian) > 0)
    return lax.stop_gradient(stable)


class PerfectLearning(Problem):
    """W = W_T: binary weights, margin 0.  No unknowns; q = R = 1 and phi = 0, isolated from everything else."""

    model: Any

    nodes: ClassVar[int] = 1
    size: ClassVar[int] = 0

    def starts(self) -> tuple[Array, ...]:
        return (jnp.zeros(0),)

    def state(self, x: Array, n: int) -> State:
        return State(dict(q=jnp.ones(()), R=jnp.ones(())), x, {})

    def inside(self, state: State, edge: float = 1e-8) -> Array:
        return jnp.asarray(self.model.kappa, float) == 0

    def absent(self, n: int) -> Array:
        return jnp.asarray(self.model.kappa, float) != 0

    def terms(self, state: State, n: int) -> tuple[Array, ...]:
        return (jnp.zeros(()),)

    def columns(self, state: State, phi: Array, n: int) -> dict[str, Array]:
        return {name: jnp.zeros(()) for name in ("entropy", "energy", "eps", "eps_bary")}


@poses(RS, Model)
def replica_symmetric(model: Any, ansatz: RS) -> tuple[Problem, ...]:
    """One overlap q; none where weights and constraint are symmetric (q = 0); with a teacher all the branches that there may be."""
    if not has_weights(model):
        raise refuse(model, ansatz)
    require(model, "alpha")
    if isinstance(model, SymmetricPerceptron):
        require(model, "kappa")
    if getattr(model, "labelling", None) is not None:
        if model.prior.norm == "spherical":
            return (UninformedOnSphere(model, (0.0,)),)
        low = Uninformed(model, (0.0,))
        perfect = (PerfectLearning(model),) if hasattr(model, "kappa") else ()
        return (low, Informed(model, (0.0,)), *perfect)
    if ansatz.branch is not None:
        raise ValueError(f"branch = {ansatz.branch}: there are branches for labels = teacher only")
    symmetric = model.prior.even and model.factor.even
    return (Bipartite(model, () if symmetric else (0.0,)),)


@evaluates(RS, Model)
def _rs_functional(
    model: Any, ansatz: RS, *, q: Number, q_hat: Number | None = None, nodes: int = 256
) -> Array:
    r"""phi(q, q_hat) of binary and user-made weights; on the sphere q_hat defaults to its stationary value q/(1-q)^2."""
    return _functional(model, (q,), (q_hat,), (0.0,), nodes)


@evaluates(OneRSB, Model)
def _one_rsb_functional(
    model: Any,
    ansatz: OneRSB,
    *,
    q0: Number,
    q1: Number,
    q0_hat: Number,
    q1_hat: Number,
    m: Number,
    nodes: int = 128,
) -> Array:
    """phi_1(q0, q1, q0_hat, q1_hat; m) per replica (binary weights)."""
    return _functional(model, (q0, q1), (q0_hat, q1_hat), (0.0, jnp.asarray(m, float)), nodes)


def has_weights(model: Any) -> bool:
    return all(hasattr(model, part) for part in ("prior", "factor", "weight"))


def _functional(model: Any, q: tuple, q_hat: tuple, ms: tuple, n: int) -> Array:
    if not has_weights(model):
        raise ValueError(f"{type(model).__name__} has no functional of these order parameters")
    return Bipartite(model, ms).phi(State({}, jnp.zeros(0), dict(site=site_at(model, q, q_hat))), n)


def site_at(model: Any, q: tuple, q_hat: tuple) -> Site:
    """The site at overlaps q and conjugates of the user's choice (RS on the sphere: q_hat defaults to its stationary value)."""
    spherical = model.prior.norm == "spherical"
    if model.prior.norm == "free" or (spherical and len(q) > 1):
        raise ValueError("the functional off the saddle is given for weights w = +-1, and RS on the sphere")
    q = tuple(jnp.asarray(x, float) for x in q)
    if q_hat[-1] is None:
        if not spherical:
            raise ValueError("q_hat is missing (only the sphere has it in closed form)")
        q_hat = (q[0] / (1.0 - q[0]) ** 2,)
    q_hat = tuple(jnp.asarray(x, float) for x in q_hat)
    b = -0.5 * (1.0 + jnp.sqrt(1.0 + 4.0 * q_hat[0])) if spherical else jnp.zeros(())
    overlaps = (q[0], *(y - x for x, y in zip(q[:-1], q[1:])))
    conjugates = (q_hat[0], *(y - x for x, y in zip(q_hat[:-1], q_hat[1:])))
    return Site(conjugates, b, overlaps, 1.0 - q[-1], jnp.ones(()), jnp.zeros(()))
