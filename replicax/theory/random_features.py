r"""Perceptrons on random features: weights, spectral term and patterns.

    phi = extr { entropy of W at overlaps q  +  alpha_D S(p, r | q)  +  alpha E log f },    Q = mu*^2 q + mu1^2 p,   M = mu1 r:

the factor of a perceptron at the covariance Q of the preactivations (variance Q_d, not 1) and their covariance M with the teacher's field.  Baldassi
et al., arXiv:2110.00683; Gerace et al., arXiv:2002.09339; the spectral term: `vocabulary.projections`.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from replicax.theory.ansatz import RS, poses, require
from replicax.theory.free_entropy import Problem, State
from replicax.theory.models import RandomFeatures
from replicax.theory.perceptron import TINY, Bipartite, compare, named
from replicax.vocabulary.levels import is_frozen
from replicax.vocabulary.priors import Site, increments
from replicax.vocabulary.projections import Projections, conjugates, entropy, project


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

    @property
    def size(self) -> int:
        return 2 * len(self.ms) + 1 + (self.labels is not None)

    def first(self) -> Array:
        """Conjugates of scores at q = p = r = 0, chi = 1."""
        _, mu1, mustar = self.model.coefficients
        levels = len(self.ms)
        terminal = self.model.factor.terminal(jnp.asarray(mustar**2 + mu1**2, float))
        _, (score,), _ = terminal.derivatives(jnp.zeros(()))
        scores = jnp.log(score**2 + TINY)
        start = jnp.full(self.size, scores).at[:levels].add(jnp.log(mustar**2 + mu1**2))
        start = start.at[2 * levels].set(0.0)
        if self.labels is None:
            return start
        _, signal = self.labels.tilt(jnp.zeros(()), jnp.ones(()), jnp.ones(())).density(jnp.zeros(()))
        return start.at[-1].set(jnp.log(jnp.abs(score * signal) + TINY))

    def starts(self) -> tuple[Array, ...]:
        """The first iterate of the map, and damped steps of the map from there (coarse nodes)."""
        first, n = self.first(), self.nodes // 4

        def step(y: Array, _: None) -> tuple[Array, Array]:
            residual = self.state(y, n).residual
            y = y - 0.5 * jnp.clip(jnp.where(jnp.isfinite(residual), residual, 0.0), -2.0, 2.0)
            return y, y

        _, along = lax.scan(step, first, None, length=60)
        return (along[11], along[59], first, first - 2.0)

    def state(self, x: Array, n: int) -> State:
        model, levels = self.model, len(self.ms)
        alpha, per_input = (jnp.asarray(v, float) for v in (model.weight, model.per_input))
        _, mu1, mustar = model.coefficients
        strength = per_input * mu1**2
        site = model.prior.site(
            tuple(alpha * jnp.exp(x[i]) for i in range(levels)), jnp.zeros(()), self.ms, n
        )
        signals = tuple(jnp.exp(x[levels + i]) for i in range(levels))
        along = None if self.labels is None else per_input * mu1 * jnp.exp(x[-1])
        found = project(site.overlaps, site.complement, self.ms, strength, x[2 * levels], signals, along)
        seen = self._seen(dict(site=site, found=found))
        factor = self._factor(seen, n)
        gaps = increments(factor)
        back = conjugates(
            found, site.overlaps, gaps, mu1, per_input, None if self.labels is None else factor.cross
        )
        asked = tuple(mustar**2 * gap + spectral for gap, spectral in zip(gaps, back))
        residual = [compare(x[i], site.conjugates[i], alpha, asked[i]) for i in range(levels)]
        residual += [jnp.log(used + TINY) - jnp.log(gap + TINY) for used, gap in zip(found.gaps, gaps)]
        residual.append(x[2 * levels] + jnp.log(1.0 - strength * site.complement * factor.curvature[0]))
        if self.labels is not None:
            residual.append(x[-1] - jnp.log(factor.cross + TINY))
        order = named(site, self.ms)
        order |= self._order(found, seen)
        parts = dict(site=site, found=found, factor=factor, asked=asked)
        if levels == 1:
            parts["replicon"] = self._replicon(site, found, factor)
        return State(order, jnp.stack(residual), parts)

    def _seen(self, parts: dict[str, Any]) -> Preactivations:
        site, found = parts["site"], parts["found"]
        _, mu1, mustar = self.model.coefficients
        mix = lambda q, p: mustar**2 * q + mu1**2 * p
        overlaps = tuple(mix(q, p) for q, p in zip(site.overlaps, found.overlaps))
        rest, M = overlaps[0], mu1 * found.r
        return Preactivations((rest + M**2, *overlaps[1:]), mix(site.complement, found.complement), M, rest)

    def _order(self, found: Projections, seen: Preactivations) -> dict[str, Array]:
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

    def _replicon(self, site: Site, found: Projections, factor: Any) -> Array:
        """Fluctuations (dq, dQ) of one replica: the smaller eigenvalue of [[1 - a, -b], [-b, 1 - d]] times the modulus of the other."""
        _, mu1, mustar = self.model.coefficients
        g = found.ratios[-1]
        inputs = jnp.asarray(self.model.inputs, float)
        gamma = jnp.asarray(self.model.weight, float) * factor.curvature2[0]
        own = 1.0 - site.curvature2 * inputs * (found.ratios[-1] * found.slopes[-1]) ** 2
        seen = 1.0 - mu1**4 * found.complement**2 * gamma / jnp.maximum(inputs, TINY)
        determinant = own * seen - site.curvature2 * gamma * (mustar**2 + mu1**2 * g**2) ** 2
        return jnp.where(own + seen > 0, determinant, -jnp.abs(determinant))

    def absent(self, n: int) -> Array:
        return jnp.zeros((), bool)

    def terms(self, state: State, n: int) -> tuple[Array, ...]:
        site, found = state.parts["site"], state.parts["found"]
        S = entropy(site.overlaps, site.complement, self.ms, found.overlaps, found.complement, found.r)
        return (*super().terms(state, n), jnp.asarray(self.model.inputs) * S)

    def columns(self, state: State, phi: Array, n: int) -> dict[str, Array]:
        mu0, mu1, mustar = (jnp.asarray(c, float) for c in self.model.coefficients)
        return super().columns(state, phi, n) | dict(mu0=mu0, mu1=mu1, mustar=mustar)


@poses(RS, RandomFeatures)
def replica_symmetric(model: RandomFeatures, ansatz: RS) -> tuple[Problem, ...]:
    require(model, "alpha")
    if ansatz.branch is not None:
        raise ValueError(f"branch = {ansatz.branch}: there is one branch for random features")
    return (Projected(model, (0.0,)),)
