r"""y = inf around references that satisfy the patterns, and so far away that they cost no typical solution."""

from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from replicax.numerics.quadrature import gaussian_rule
from replicax.theory.displaced import Displaced
from replicax.theory.free_entropy import State
from replicax.theory.perceptron import TINY, Bipartite
from replicax.theory.reference import Asked
from replicax.vocabulary.labels import Told
from replicax.vocabulary.levels import Level, Tilt, tower

#: added to a variance that vanishes at y = 1, where its square root has no derivative
NO_SPREAD = 1e-13
#: where the coordinate of the field of the teacher on references starts
LEANING = (-0.5,)


class Pull(NamedTuple):
    """Field on W~ per y: ratio times the random one of the W, an independent one of variance `spread`, and that of the teacher, R~^/y."""

    ratio: Array
    spread: Array
    lean: Array | float = 0.0


def joined(bends: tuple[tuple, tuple], more: tuple[tuple, tuple]) -> tuple[tuple, tuple]:
    return bends[0] + more[0], bends[1] + more[1]


class DisplacedSolution(Displaced):
    r"""`Displaced` where the reference satisfies the patterns: phi = phi_RS, and references with overlap S with the magnetisations t = tanh(h),

        S_E = -(1/2) Q^ (1-Q) - s^ rho - c S + E log 2cosh(s^ h/q^ + sqrt(Q^ - s^^2/q^) z' + c t)
              + alpha E log H((kappa~ - (S/q) h_mu - sqrt(Q - S^2/q) z' - rho psi'(h_mu))/sqrt(1-Q)),

    stationary in all but S; rho: the reaction of the patterns to c.  c = 0: typical solutions, S_E = phi_RS(kappa~).
    Coordinates: those of replica symmetry, log of spread/alpha and ratio (`Pull`, without y), arsinh(c), with a teacher log of R~^/alpha.
    """

    reference: Any = None

    largest_block: ClassVar[int] = 64

    @property
    def size(self) -> int:
        return self._typical.size + 3 + (self.labels is not None)

    def starts(self) -> tuple[Array, ...]:
        guesses = ((-0.5, -0.5, 0.0), (0.5, -1.0, 1.5), (-2.0, 0.0, -1.0), (0.0, -2.0, 2.5))
        lean = LEANING[: self.labels is not None]
        return tuple(jnp.append(x, jnp.asarray((*g, *lean))) for x in self._typical.starts() for g in guesses)

    def absent(self, n: int) -> Array:
        return jnp.zeros((), bool)

    def _of_references(self, typical: State, pull: Pull, tilt: Array, n: int) -> dict[str, Array]:
        """Moments of W~ at the fields of typical solutions."""
        q, steep = typical.order["q"], jnp.sqrt(typical.order["q_hat"] + TINY)
        R_hat = typical.order.get("R_hat", jnp.zeros(()))
        width = 1.0 / (steep * (1.0 + pull.ratio + jnp.abs(tilt)))
        # the two fields on W~ may cancel
        most = jnp.maximum(-tilt / pull.ratio, 0.0)
        other = lax.fori_loop(0, 8, lambda _, h: most * jnp.tanh(h), most)
        bends = (0.0 * other, other) if self.labels is None else (0.0 * other, other, -other)
        bends = tuple((b - R_hat) / steep for b in bends)
        rule = gaussian_rule(bends, (width,) * len(bends), n, even=self.labels is None)
        h = R_hat + steep * rule.nodes
        t = jnp.tanh(h)
        level = (Level((pull.spread * jnp.ones_like(h),), 0.0),)
        field = pull.ratio * (h - R_hat) + pull.lean + tilt * t
        out = tower(self.model.prior.terminal(jnp.zeros(())), level, n, (field,))
        mean = lambda a: jnp.sum(rule.weights * a)
        m, doubt = out.score[0], out.curvature[0]
        S = mean(t * m)
        apart = mean((m - S / q * t) ** 2 + out.gap[0][0])
        return dict(
            S=S,
            apart=apart,
            wide=mean(doubt),
            rho=tilt * mean((1.0 - t * t) * doubt),
            value=mean(out.value),
            R_ref=mean(m),
        )

    def _asked(self, typical: State, site: dict[str, Array], ratio: Array, n: int) -> Asked:
        q, complement = typical.order["q"], typical.parts["site"].complement
        told, beside = self._told(typical, site), jnp.sqrt(site["apart"] + NO_SPREAD)
        own, planted = self.model.factor.terminal(complement), self.reference.factor.terminal(site["wide"])
        root, along = jnp.sqrt(q + TINY), jnp.abs(site["S"]) / jnp.sqrt(q + TINY) + TINY
        seen = self.model.factor.bends(complement, 0.0)
        asked = self.reference.factor.bends(site["wide"] + site["apart"], 0.0)
        bends = (
            (
                *(b / root for b in seen.positions),
                *(jnp.sign(site["S"]) * b / along for b in asked.positions),
            ),
            (*(w / root for w in seen.widths), *(w / along for w in asked.widths)),
        )
        rule = gaussian_rule(*joined(bends, told.first()), n)
        h, z = root * rule.nodes, rule.nodes[:, None]
        score = own.derivatives(h)[1][0]
        # of the label once z' is averaged, and of z' under it
        every = told.averaged(rule.nodes)
        tilt = None
        if self.labels is not None:

            def density(w: Array) -> tuple[Array, Array]:
                log_weight, signal = told.density(z, w)
                return log_weight - every[:, None], signal

            tilt = Tilt(density, *told.second(rule.nodes))
        level = (Level((beside**2 * jnp.ones_like(h),), 0.0),)
        out = tower(planted, level, n, (site["S"] / q * h + site["rho"] * score,), tilt)
        mean = lambda a: jnp.sum(rule.weights * jnp.exp(every) * a)
        b = out.score[0]
        return Asked(
            mean(out.value),
            mean(score**2),
            jnp.zeros(()),
            cross=mean(score * b),
            own=mean(out.gap[0][0] + (b - ratio * score) ** 2),
            told=mean(out.cross),
        )

    def _told(self, typical: State, site: dict[str, Array]) -> Told:
        if self.labels is None:
            return Told(None)
        q, R = typical.order["q"], typical.order["R"]
        across = (site["R_ref"] - site["S"] / q * R) / jnp.sqrt(site["apart"] + NO_SPREAD)
        return Told(self.labels, R / jnp.sqrt(q), across, jnp.maximum(1.0 - R**2 / q - across**2, TINY))

    def state(self, x: Array, n: int) -> State:
        size = self._typical.size
        typical, more = self._typical.state(x[:size], n), x[size:]
        q, q_hat, alpha = typical.order["q"], typical.order["q_hat"], jnp.asarray(self.model.weight, float)
        lean = jnp.zeros(()) if self.labels is None else alpha * jnp.exp(more[3])
        pull, tilt = Pull(jnp.exp(more[1]), alpha * jnp.exp(more[0]), lean), jnp.sinh(more[2])
        site = self._of_references(typical, pull, tilt, n)
        asked = self._asked(typical, site, pull.ratio, n)
        residual = [
            more[0] - jnp.log(asked.own + TINY),
            more[1] - jnp.log(alpha * asked.cross / q_hat + TINY),
            jnp.arctanh(site["S"]) - jnp.arctanh(jnp.asarray(self.control, float)),
        ]
        field = pull.spread + pull.ratio**2 * q_hat
        S_E = site["value"] + alpha * asked.value - 0.5 * field * site["wide"]
        S_E = S_E - pull.ratio * q_hat * site["rho"] - tilt * site["S"]
        if self.labels is not None:
            residual.append(more[3] - jnp.log(asked.told + TINY))
            S_E = S_E - site["R_ref"] * lean
        order = dict(q0=q, q1=q, q0_hat=q_hat, q1_hat=q_hat, S=site["S"], S_hat=0.0 * q)
        order |= dict(q=1.0 - site["wide"], t=site["S"])
        if self.labels is not None:
            order |= {k: typical.order[k] for k in ("R", "R_hat")} | dict(R_ref=site["R_ref"], R_ref_hat=lean)
        return State(
            order, jnp.concatenate([typical.residual, jnp.stack(residual)]), typical.parts | dict(S_E=S_E)
        )

    def inside(self, state: State, edge: float = 1e-8) -> Array:
        return Bipartite.inside(self, state, edge) & (1.0 - state.order["q"] > edge)


class DisplacedSolutionOnSphere(DisplacedSolution):
    """The same on the sphere, where the magnetisations are t = (1-q) h and W~ is Gaussian."""

    def _of_references(self, typical: State, pull: Pull, tilt: Array, n: int) -> dict[str, Array]:
        left, q_hat = typical.parts["site"].complement, typical.order["q_hat"]
        R_hat = typical.order.get("R_hat", jnp.zeros(()))
        along, lean = pull.ratio + tilt * left, pull.lean - pull.ratio * R_hat
        mean, total = along * R_hat + lean, q_hat + R_hat**2
        size = along**2 * q_hat + pull.spread + mean**2
        multiplier = 0.5 + jnp.sqrt(0.25 + size)  # (size + multiplier)/multiplier^2 = <W~^2> = 1
        return dict(
            S=left * (along * total + lean * R_hat) / multiplier,
            apart=(pull.spread + q_hat * lean**2 / total) / multiplier**2,
            wide=1.0 / multiplier,
            rho=tilt * left / multiplier,
            R_ref=mean / multiplier,
            value=0.5 * (size / multiplier - jnp.log(multiplier) + multiplier - 1.0),
        )


def moved(state: State) -> Array:
    """What the patterns add to a shift of typical solutions, 1/replicon - 1."""
    replicon = jnp.clip(state.parts["replicon"], 0.02, 1.0)
    return (1.0 - replicon) / replicon
