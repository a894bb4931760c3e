r"""Perceptrons on random features: weights, spectral term and patterns.

    phi = extr { entropy of W at overlaps q  +  alpha_D S(p, r | q)  +  alpha E log f },    Q = mu*^2 q + mu1^2 p,   M = mu1 r:

the factor of a perceptron at the covariance Q of the preactivations (variance Q_d, not 1) and their covariance M with the teacher's field.  Baldassi
et al., arXiv:2110.00683; Gerace et al., arXiv:2002.09339; the spectral term: `vocabulary.projections`.
"""

from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from replicax.numerics.roots import newton
from replicax.theory.ansatz import RS, LocalEntropy, OneRSB, evaluates, poses, require
from replicax.theory.free_entropy import FAR, Problem, State
from replicax.theory.models import Number, RandomFeatures
from replicax.theory.perceptron import TINY, Bipartite, compare, named, site_at
from replicax.theory.replicas import Replicas
from replicax.theory.zero_complexity import AtZeroComplexity
from replicax.vocabulary.factors import SquaredHinge, WeightTerminal
from replicax.vocabulary.levels import Terminal, is_frozen
from replicax.vocabulary.limits import INFINITE, STAR
from replicax.vocabulary.priors import Site, increments
from replicax.vocabulary.projections import Projections, conjugates, entropy, entropy_at_order_one, project


class Preactivations(NamedTuple):
    """What a pattern sees: increments of Q, V = Q_d - Q, R = M and rest = Q_0 - M^2."""

    overlaps: tuple[Array, ...]
    complement: Array
    R: Array
    rest: Array


class Projected(Bipartite):
    """A perceptron seen through random features, at k+1 levels with given m.

    Coordinates: those of the weights (`Bipartite`); logarithms of the gaps of the factor's scores, level by level; log chi/(1-q); where a teacher
    made the labels the logarithm of <f' (score of the label)>.
    """

    model: RandomFeatures

    #: a field at which a pattern has a typical score, in units of its standard deviation
    typical: ClassVar[float] = 0.0

    @property
    def size(self) -> int:
        return 2 * len(self.ms) + 1 + (self.labels is not None)

    def first(self) -> Array:
        return self._at_origin(self._guesses()[0])

    def starts(self) -> tuple[Array, ...]:
        return tuple(self._at_origin(g) for g in self._guesses())

    def _guesses(self) -> tuple[Array, ...]:
        """Guesses of chi at q = p - r^2 = 0."""
        _, mu1, mustar = self.model.coefficients
        strength, whole = jnp.asarray(self.model.per_input, float) * mu1**2, mustar**2 + mu1**2
        b = -jnp.minimum(self._scores(jnp.asarray(whole, float))[1], 0.0)
        weak = 1.0 / (1.0 + strength * b)  # few patterns are in the bend
        # the curvature at V = mu*^2 + mu1^2 g: 1/g = 1 + (strength b whole)/V
        half = 0.5 * (mustar**2 - mu1**2 + strength * b * whole)
        root = jnp.sqrt(half**2 + (mu1 * mustar) ** 2)
        g = jnp.where(half > 0, mustar**2 / (half + root), (root - half) / jnp.maximum(mu1**2, TINY))
        strong = jnp.clip(g, 1e-2 * weak**2, 1.0)
        # margins < 0 are respected where V is about kappa^2/(2 log alpha_T)
        narrow = jnp.asarray(self.model.kappa, float) ** 2 / (whole * (1.0 + 2.0 * jnp.log1p(strength)))
        return (strong, weak, jnp.clip(narrow, strong, 1.0), weak**2)

    def _scores(self, V: Array) -> tuple[Array, Array]:
        """Score and curvature of a pattern at a typical field."""
        _, mu1, mustar = self.model.coefficients
        field = self.typical * jnp.sqrt(jnp.asarray(mustar**2 + mu1**2, float))
        _, (score,), ((curvature,),) = self._terminal(V).derivatives(field)
        return score, curvature

    def _at_origin(self, g: Array) -> Array:
        """Coordinates of the scores at q = p - r^2 = 0, chi = g."""
        _, mu1, mustar = self.model.coefficients
        levels = len(self.ms)
        score, _ = self._scores(mustar**2 + mu1**2 * g)
        start = (
            jnp.full(2 * levels + 1 + (self.labels is not None), jnp.log(score**2 + TINY))
            .at[:levels]
            .add(jnp.log(mustar**2 + (mu1 * g) ** 2))
        )
        start = start.at[2 * levels].set(jnp.log(g))
        if self.labels is None:
            return start
        _, signal = self.labels.tilt(jnp.zeros(()), jnp.ones(()), jnp.ones(())).density(jnp.zeros(()))
        return start.at[-1].set(jnp.log(jnp.abs(score * signal) + TINY))

    def state(self, x: Array, n: int) -> State:
        model, levels = self.model, len(self.ms)
        alpha = jnp.asarray(model.weight, float)
        site = model.prior.site(
            tuple(alpha * jnp.exp(x[i]) for i in range(levels)), jnp.zeros(()), self.ms, n
        )
        parts, below = self._below(site, x[levels:], n)
        residual = [compare(x[i], site.conjugates[i], alpha, parts["asked"][i]) for i in range(levels)]
        order = named(site, self.ms) | self._order(parts)
        if levels == 1:
            parts["replicon"] = self._replicon(parts)
        return State(order, jnp.stack([*residual, *below]), parts)

    def _below(self, site: Site, x: Array, n: int) -> tuple[dict[str, Any], list[Array]]:
        """What projections and patterns make of the weights (`parts`), and the residuals of their coordinates."""
        model, levels = self.model, len(self.ms)
        per_input = jnp.asarray(model.per_input, float)
        _, mu1, mustar = model.coefficients
        strength = per_input * mu1**2
        signals = tuple(jnp.exp(x[i]) for i in range(levels))
        along = None if self.labels is None else per_input * mu1 * jnp.exp(x[-1])
        found = project(site.overlaps, site.complement, self.ms, strength, x[levels], signals, along)
        parts = dict(site=site, found=found)
        factor = self._factor(self._seen(parts), n)
        gaps, cross = increments(factor), None if self.labels is None else factor.cross
        back = conjugates(found, site.overlaps, gaps, mu1, per_input, cross)
        asked = tuple(mustar**2 * gap + spectral for gap, spectral in zip(gaps, back))
        residual = [jnp.log(used + TINY) - jnp.log(gap + TINY) for used, gap in zip(found.gaps, gaps)]
        # chi/c is at most the largest eigenvalue of F^T F/D: the logarithm goes on as its tangent below
        least = 0.5 / (1.0 + 1.0 / jnp.sqrt(jnp.maximum(jnp.asarray(model.inputs, float), 1e-8))) ** 2
        stiffness = 1.0 - strength * site.complement * factor.curvature[0]
        log = jnp.log(jnp.maximum(stiffness, least)) + jnp.minimum(stiffness / least - 1.0, 0.0)
        residual.append(x[levels] + log)
        if self.labels is not None:
            residual.append(x[-1] - jnp.log(factor.cross + TINY))
        return parts | dict(factor=factor, asked=asked), residual

    def _seen(self, parts: dict[str, Any]) -> Preactivations:
        site, found = parts["site"], parts["found"]
        _, mu1, mustar = self.model.coefficients
        mix = lambda q, p: mustar**2 * q + mu1**2 * p
        overlaps = tuple(mix(q, p) for q, p in zip(site.overlaps, found.overlaps))
        rest, M = overlaps[0], mu1 * found.r
        return Preactivations((rest + M**2, *overlaps[1:]), mix(site.complement, found.complement), M, rest)

    def _order(self, parts: dict[str, Any]) -> dict[str, Array]:
        found, seen = parts["found"], self._seen(parts)
        plain = [not is_frozen(m) for m in self.ms]
        order: dict[str, Array] = {}
        for name, values in (
            ("p", (found.overlaps[0] + found.r**2, *found.overlaps[1:])),
            ("Q", seen.overlaps),
        ):
            total = jnp.zeros(())
            for i, (value, counts) in enumerate(zip(values, plain)):
                total = total + value if counts else total
                order[name if len(plain) == 1 else f"{name}{i}"] = total
            order[f"{name}_d"] = total + (found.complement if name == "p" else seen.complement)
        return order | dict(chi=found.complement, r=found.r, V=seen.complement, M=seen.R)

    def _replicon(self, parts: dict[str, Any]) -> Array:
        """Fluctuations (dq, dQ) of one replica: the smaller eigenvalue of [[1 - a, -b], [-b, 1 - d]] times the modulus of the other."""
        site, found, factor = parts["site"], parts["found"], parts["factor"]
        _, mu1, mustar = self.model.coefficients
        g = found.ratios[-1]
        inputs = jnp.asarray(self.model.inputs, float)
        gamma = jnp.asarray(self.model.weight, float) * factor.curvature2[0]
        own = 1.0 - site.curvature2 * inputs * (g * found.slopes[-1]) ** 2
        seen = 1.0 - mu1**4 * found.complement**2 * gamma / jnp.maximum(inputs, TINY)
        determinant = own * seen - site.curvature2 * gamma * (mustar**2 + mu1**2 * g**2) ** 2
        return jnp.where(own + seen > 0, determinant, -jnp.abs(determinant))

    def absent(self, n: int) -> Array:
        """Constraints ask for more than q -> 1 can give."""
        if self.model.beta is not INFINITE or len(self.ms) != 1:
            return jnp.zeros((), bool)
        limit = Jammed(self.model, self.ms)
        coarse = self.nodes // 4
        residual = lambda x: limit.state(x, coarse).residual
        root = newton(residual, jnp.stack(limit.starts()), tol=1e-6, max_steps=40, limit=FAR, tries=2)
        return lax.stop_gradient(root.converged & (limit.excess(limit.state(root.x, coarse)) > 0))

    def terms(self, state: State, n: int) -> tuple[Array, ...]:
        site, found = state.parts["site"], state.parts["found"]
        S = entropy(site.overlaps, site.complement, self.ms, found.overlaps, found.complement, found.r)
        return (*super().terms(state, n), jnp.asarray(self.model.inputs) * S)

    def columns(self, state: State, phi: Array, n: int) -> dict[str, Array]:
        return super().columns(state, phi, n) | self.mus()

    def mus(self) -> dict[str, Array]:
        """Columns of the coefficients of the activation."""
        mu0, mu1, mustar = (jnp.asarray(c, float) for c in self.model.coefficients)
        return dict(mu0=mu0, mu1=mu1, mustar=mustar)


class ProjectedReplicas(Replicas, Projected):
    """y replicas at mutual overlap q1: the local entropy, with patterns that see random features."""

    def starts(self) -> tuple[Array, ...]:
        """The inner gap of scores is the one that the conjugate of q1 alone would make."""
        _, mu1, mustar = self.model.coefficients
        shift = jnp.log(jnp.asarray(mu1**2 + mustar**2, float))
        return tuple(x.at[3].set(x[1] - shift) for x in super().starts())

    def columns(self, state: State, phi: Array, n: int) -> dict[str, Array]:
        return super().columns(state, phi, n) | self.mus()

    def _fluctuation(self, state: State) -> Array:
        site, found = state.parts["site"], state.parts["found"]
        S = entropy_at_order_one(site.overlaps, site.complement, self.ms, found.overlaps, found.complement)
        return super()._fluctuation(state) + jnp.asarray(self.model.inputs, float) * S


class Jammed(Projected):
    """The limit q -> 1 at beta = inf: everything in units of 1 - q, the constraint a parabola.

    Where solutions cease to exist the conjugate of q that the patterns ask for is the one that weights have at q -> 1, (1 - q)^2 q^ = 1 on the
    sphere and 2/pi for binary weights; beyond, it is larger.
    """

    #: without violation there is no score
    typical: ClassVar[float] = -1.0

    @property
    def size(self) -> int:
        return super().size - 1

    def starts(self) -> tuple[Array, ...]:
        return tuple(x[1:] for x in super().starts())

    def state(self, x: Array, n: int) -> State:
        one = jnp.ones(())
        parts, residual = self._below(Site((), one, (one,), one, one, one), x, n)
        return State(self._order(parts), jnp.stack(residual), parts)

    def excess(self, state: State) -> Array:
        """Logarithm of the conjugate asked for over that of the weights at q -> 1: negative where there are solutions."""
        asked = jnp.asarray(self.model.weight, float) * state.parts["asked"][0]
        return jnp.log(asked) - (0.0 if self.model.weights == "spherical" else np.log(2.0 / np.pi))

    def _terminal(self, V: Array) -> Terminal:
        """log H(u) -> -u^2/2 on the side of violation."""
        return WeightTerminal(SquaredHinge(self.model.kappa, 1.0 / V))  # type: ignore[arg-type]

    def inside(self, state: State, edge: float = 1e-8) -> Array:
        return jnp.ones((), bool)


@poses(RS, RandomFeatures)
def replica_symmetric(model: RandomFeatures, ansatz: RS) -> tuple[Problem, ...]:
    require(model, "alpha")
    if ansatz.branch is not None:
        raise ValueError(f"branch = {ansatz.branch}: there is one branch for random features")
    return (Projected(model, (0.0,)),)


@poses(LocalEntropy, RandomFeatures)
def replicas(model: RandomFeatures, ansatz: LocalEntropy) -> tuple[Problem, ...]:
    require(model, "alpha")
    ansatz.require_quenched()
    if ansatz.ensemble != "replicas":
        raise ValueError(f"ensemble = {ansatz.ensemble!r}: known for random features: replicas")
    y = float("inf") if ansatz.y is INFINITE else jnp.ones(()) if ansatz.y is STAR else ansatz.y
    problem = ProjectedReplicas(model, (0.0, y), jnp.asarray(ansatz.overlap, float), ansatz.scale)
    return (AtZeroComplexity(problem) if ansatz.y is STAR else problem,)


@evaluates(RS, RandomFeatures)
def _rs_functional(
    model: RandomFeatures,
    ansatz: RS,
    *,
    q: Number,
    p: Number,
    p_d: Number,
    r: Number = 0.0,
    q_hat: Number | None = None,
    nodes: int = 256,
) -> Array:
    """phi(q, q_hat, p, p_d, r); on the sphere q_hat defaults to its stationary value q/(1-q)^2."""
    return _functional(model, (q,), (q_hat,), (p,), p_d, r, (0.0,), nodes)


@evaluates(OneRSB, RandomFeatures)
def _one_rsb_functional(
    model: RandomFeatures,
    ansatz: OneRSB,
    *,
    q0: Number,
    q1: Number,
    q0_hat: Number,
    q1_hat: Number,
    p0: Number,
    p1: Number,
    p_d: Number,
    m: Number,
    r: Number = 0.0,
    nodes: int = 128,
) -> Array:
    """phi_1(q0, q1, q0_hat, q1_hat, p0, p1, p_d, r; m) per replica (binary weights)."""
    ms = (0.0, jnp.asarray(m, float))
    return _functional(model, (q0, q1), (q0_hat, q1_hat), (p0, p1), p_d, r, ms, nodes)


def _functional(
    model: RandomFeatures, q: tuple, q_hat: tuple, p: tuple, p_d: Number, r: Number, ms: tuple, n: int
) -> Array:
    p, r = tuple(jnp.asarray(x, float) for x in p), jnp.asarray(r, float)
    w = (p[0] - r**2, *(y - x for x, y in zip(p[:-1], p[1:])))
    found = Projections(w, jnp.asarray(p_d, float) - p[-1], r)
    parts = dict(site=site_at(model, q, q_hat), found=found)
    return Projected(model, ms).phi(State({}, jnp.zeros(0), parts), n)
