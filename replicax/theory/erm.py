r"""Random features fitted by a convex loss, at zero temperature.

    w* = argmin sum_mu l(y, w.x~/sqrt(N)) + (lam/2)|w|^2,     phi = -min/N,     N -> inf.

With omega = mu*^2 + mu1^2 x over the spectrum of X = F^T F/D, and g the Moreau envelope of the loss (`vocabulary.losses`),

    phi = extr  (Vh Q - qh V)/2 - mh M + (1/2) <(qh omega + mh^2 mu1^2 x/alpha_D)/(lam + Vh omega)> + alpha E g(h; V).

Labels y = +-1: h ~ N(0, Q) is the field of the stability, tilted by the label of a teacher of overlap M.  Real labels: that of the residual,
h ~ N(0, noise + 1 - rho^2 + excess risk), and mh = rho Vh.  Gerace, Loureiro, Krzakala, Mezard & Zdeborova, arXiv:2002.09339; Loureiro
et al., arXiv:2102.08127; Dhifallah & Lu, arXiv:2008.11904.
"""

from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
from jax import Array

from replicax.theory.ansatz import RS, poses, require
from replicax.theory.free_entropy import Problem, State
from replicax.theory.models import RandomFeaturesERM
from replicax.theory.perceptron import TINY
from replicax.vocabulary.labels import Labels, Teacher
from replicax.vocabulary.levels import Bends, Level, Moments, Terminal, tower
from replicax.vocabulary.losses import EnvelopeTerminal, Loss, MaxMargin, Square


class Weights(NamedTuple):
    """The side of the weights at given conjugates: V, Q, M, q = |w|^2/N, rest = Q - M^2, off = 1 - M/rho where mh = rho Vh, and
    variance2 = <omega^2/(lam + Vh omega)^2>.
    """

    V: Array
    Q: Array
    M: Array
    q: Array
    rest: Array
    off: Array
    variance2: Array


class Ridge(Problem):
    """Coordinates: logarithms of Vh, qh and (labels +-1) mh, per pattern and weight."""

    model: RandomFeaturesERM

    nodes: ClassVar[int] = 96
    largest_block: ClassVar[int] = 512

    @property
    def counts(self) -> bool:
        return False

    @property
    def size(self) -> int:
        return 2 if self.model.task == "linear" else 3

    @property
    def loss(self) -> Loss:
        """In the variable of the task: a stability or a residual."""
        real = self.model.task == "linear" and isinstance(self.model.loss, Square)
        return Square(0.0) if real else self.model.loss

    @property
    def labels(self) -> Labels:
        return Teacher(self.model.signal)

    def _penalty(self) -> Array:
        lam = 1.0 if isinstance(self.model.loss, MaxMargin) else self.model.lam
        return jnp.asarray(lam, float)

    def _parameters(self) -> tuple[Array, ...]:
        """alpha, alpha_D, rho, noise."""
        model = self.model
        return tuple(jnp.asarray(x, float) for x in (model.alpha, model.inputs, model.rho, model.noise))

    def starts(self) -> tuple[Array, ...]:
        cold = jnp.log(jnp.asarray([0.5, 0.5, 0.5]))
        lam = jnp.log(self._penalty() + TINY) * jnp.asarray([1.0, 2.0, 1.0])
        return tuple(x[: self.size] for x in (cold, cold + 0.5 * lam, cold + lam, cold - 3.0, cold - 6.0))

    def _weights(self, x: Array) -> Weights:
        model = self.model
        (alpha, alpha_D, rho, _), lam = self._parameters(), self._penalty()
        _, mu1, mustar = (jnp.asarray(v, float) for v in model.coefficients)
        flat, linear = mustar**2, mu1**2
        Vh, qh = alpha * jnp.exp(x[0]), alpha * jnp.exp(x[1])
        ratio = rho if self.size == 2 else jnp.exp(x[2] - x[0])  # mh/Vh
        A = lam + Vh * flat
        t = Vh * linear / A
        a = model.spectrum.averages(t, alpha_D)
        part, seen = Vh * flat / A, t / alpha_D
        square = flat**2 * a.K0 + 2.0 * flat * linear * a.K1 + linear**2 * a.K2
        M = ratio * seen * a.H
        rest = qh * square / A**2 + ratio**2 * (a.S + part * seen * a.K1)
        q = (qh * (flat * a.K0 + linear * a.K1) + (ratio * Vh) ** 2 * linear / alpha_D * a.K1) / A**2
        V = (flat * a.G + linear * a.H) / A
        return Weights(V, rest + M**2, M, q, rest, a.E, square / A**2)

    def _variance(self, w: Weights) -> Array:
        """Of the field h."""
        if self.model.task == "sign":
            return w.Q
        _, _, rho, noise = self._parameters()
        return noise + 1.0 - rho**2 + self._excess(w)

    def _excess(self, w: Weights) -> Array:
        """rho^2 + Q - 2 rho M at mh = rho Vh."""
        _, _, rho, _ = self._parameters()
        return (rho * w.off) ** 2 + w.rest

    def _average(self, w: Weights, terminal: Terminal, n: int) -> Moments:
        """Of a function of the field."""
        tilt = self.labels.tilt(w.M, w.Q, w.rest) if self.model.task == "sign" else None
        return tower(terminal, (Level((self._variance(w),), 0.0),), n, tilt=tilt)

    def state(self, x: Array, n: int) -> State:
        w = self._weights(x)
        fields = self._average(w, EnvelopeTerminal(self.loss, w.V), n)
        asked = [-fields.curvature[0], fields.overlap[0][0], fields.cross]
        residual = [x[i] - jnp.log(asked[i] + TINY) for i in range(self.size)]
        alpha, _, rho, _ = self._parameters()
        V_hat, Q_hat, *rest = alpha * jnp.exp(x)
        M_hat = rest[0] if rest else rho * V_hat
        order = dict(V=w.V, Q=w.Q, M=w.M, q=w.q, V_hat=V_hat, Q_hat=Q_hat, M_hat=M_hat)
        return State(order, jnp.stack(residual), dict(weights=w, curvature2=fields.curvature2[0]))

    def terms(self, state: State, n: int) -> tuple[Array, ...]:
        o, w = state.order, state.parts["weights"]
        loss = self._average(w, EnvelopeTerminal(self.loss, w.V), n).value
        alpha, *_ = self._parameters()
        return (0.5 * o["V_hat"] * o["Q"], -0.5 * o["M_hat"] * o["M"], alpha * loss)

    def columns(self, state: State, phi: Array, n: int) -> dict[str, Array]:
        w, (alpha, *_) = state.parts["weights"], self._parameters()
        off = lambda r: jnp.sqrt(w.rest + (1.0 - r * r) * w.M**2 + TINY**2)  # alpha = 0: any angle is as good
        angle = lambda r: jnp.arctan2(off(r), r * w.M) / jnp.pi
        sign = self.model.task == "sign"
        missed = _Missed(self.loss, w.V) if sign else _Squared(self.loss, w.V)
        mu0, mu1, mustar = self.model.coefficients
        return dict(
            energy=alpha * self._average(w, _Cost(self.loss, w.V), n).value,
            train_error=self._average(w, missed, n).value,
            test=angle(jnp.asarray(self.model.signal, float)) if sign else self._excess(w),
            eps=angle(jnp.ones(())),
            replicon=1.0 - alpha * w.variance2 * state.parts["curvature2"],
            mu0=jnp.asarray(mu0),
            mu1=jnp.asarray(mu1),
            mustar=jnp.asarray(mustar),
            tau2=explained(self.model),
        )

    def absent(self, n: int) -> Array:
        """No margin, or (lam = 0) no unique minimum."""
        model, (alpha, alpha_D, *_) = self.model, self._parameters()
        rank = jnp.where(jnp.asarray(model.coefficients.mustar) > 0, 1.0, jnp.minimum(1.0, alpha_D))
        if isinstance(model.loss, Square):
            return (self._penalty() == 0) & (alpha <= rank)
        if not model.loss.margin:
            return jnp.zeros((), bool)
        exists = separable(alpha / rank, explained(model))  # a margin
        return ~exists if isinstance(model.loss, MaxMargin) else exists & (self._penalty() == 0)


class _Cost(EnvelopeTerminal):
    """-> l at the proximal point."""

    def __call__(self, *h: Array) -> Array:
        value, score, _, _ = self.loss.moreau(h[0], self.V)
        return -value - 0.5 * self.V * score**2

    derivatives = Terminal.derivatives


class _Squared(EnvelopeTerminal):
    """-> the squared proximal point."""

    def __call__(self, *h: Array) -> Array:
        return self.loss.moreau(h[0], self.V).point ** 2

    derivatives = Terminal.derivatives


class _Missed(EnvelopeTerminal):
    """-> 1 where the proximal point is negative."""

    jumps: ClassVar[bool] = True

    def __call__(self, *h: Array) -> Array:
        return jnp.where(self.loss.moreau(h[0], self.V).point < 0, 1.0, 0.0)

    derivatives = Terminal.derivatives

    def bends(self, component: int, m: Any) -> Bends:
        return Bends((self.V * self.loss.slope(jnp.zeros_like(self.V)),), (jnp.ones_like(self.V),))


def explained(model: RandomFeaturesERM) -> Array:
    """tau^2: squared correlation of the label's field with the best linear function of the features."""
    _, mu1, mustar = (jnp.asarray(v, float) for v in model.coefficients)
    alpha_D = jnp.asarray(model.inputs, float)
    some = mustar > 0
    t = mu1**2 / jnp.where(some, mustar, 1.0) ** 2
    finite = t * model.spectrum.averages(t, alpha_D).H / alpha_D
    return jnp.asarray(model.signal, float) ** 2 * jnp.where(some, finite, jnp.minimum(1.0, 1.0 / alpha_D))


def separable(alpha: Array, tau2: Array) -> Array:
    r"""Whether alpha N Gaussian patterns in N dimensions are separated by a hyperplane, their labels having squared correlation tau^2 with a
    linear function of them: alpha <= alpha_c = pi/phi, phi cot phi = tau^2.

    This is Candes & Sur, arXiv:1804.09753, 1/alpha_c = min_b E (Z - b U)_+^2 with U of density 2 N(u) H(-tau u/sqrt(1 - tau^2)): the average
    is (phi - sin phi cos phi)/(pi (1 - cos^2 phi/tau^2)) at b = cos phi/sqrt(tau^2 - cos^2 phi).
    """
    some = jnp.asarray(alpha, float) > 2.0
    angle = jnp.pi / jnp.where(some, alpha, 4.0)
    return ~some | (angle / jnp.tan(angle) <= tau2)


@poses(RS, RandomFeaturesERM)
def minimum(model: RandomFeaturesERM, ansatz: RS) -> tuple[Problem, ...]:
    require(model, "alpha", *(() if isinstance(model.loss, MaxMargin) else ("lam",)))
    if ansatz.branch is not None:
        raise ValueError(f"branch = {ansatz.branch}: a convex loss has one minimum")
    return (Ridge(model),)
