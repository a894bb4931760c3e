"""Factors against mpmath: log E_{x ~ N(h, V)} weight(x), derivatives, and any weight by quadrature."""

import functools

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

from replicax.vocabulary.factors import Errors, Factor, HardMargin, Rectangle, SquaredHinge, UFunction

BETAS = (0.0, 1e-3, 1.0, 30.0, 300.0)
FACTORS = {
    "margin": HardMargin(0.3),
    **{f"errors {b:g}": Errors(0.3, b) for b in BETAS},
    "errors inf": Errors(0.3, jnp.asarray(jnp.inf)),
    **{f"hinge {b:g}": SquaredHinge(0.3, b) for b in BETAS},
    "rectangle": Rectangle(0.8),
    "rectangle narrow": Rectangle(1e-3),
    "u": UFunction(0.8),
}
VARIANCES = (1.0, 0.3, 1e-3, 1e-8)
#: h - kappa in units of sqrt(V)
OFFSETS = (-40.0, -12.0, -3.0, -0.5, 0.0, 0.7, 4.0, 12.0, 40.0)


def tail(x):
    """H(x) without cancellation."""
    return mp.erfc(x / mp.sqrt(2)) / 2


def moments(factor, h, V):
    """(f, P'/P, P''/P) for P = E weight: Gaussian integrals piece by piece, none of the closed forms used."""
    kappa = mp.mpf(float(factor.kappa))
    soft = isinstance(factor, SquaredHinge)
    beta = mp.mpf(float(getattr(factor, "beta", mp.inf)))
    inf = mp.inf
    if isinstance(factor, Rectangle):
        pieces = [(-kappa, kappa, 0)]
    elif isinstance(factor, UFunction):
        pieces = [(-inf, -kappa, 0), (kappa, inf, 0)]
    else:
        pieces = [(kappa, inf, 0), (-inf, kappa, beta)]
    total = [mp.mpf(0)] * 3
    for low, high, cost in pieces:
        if cost == inf:
            continue
        # within a piece the weight is exp(-rate (kappa - x)^2/2) times a constant: again a Gaussian
        rate = cost if soft and cost else mp.mpf(0)
        variance = V / (1 + rate * V)
        centre = (h + rate * V * kappa) / (1 + rate * V)
        scale = mp.sqrt(variance)
        factor_ = mp.exp(-rate * (kappa - h) ** 2 / (2 * (1 + rate * V))) / mp.sqrt(1 + rate * V)
        if not soft:
            factor_ *= mp.exp(-cost)
        a, b = (low - centre) / scale, (high - centre) / scale
        zero = tail(a) - tail(b) if a > 0 else tail(-b) - tail(-a)
        at = lambda x: mp.npdf(x) if abs(x) != inf else mp.mpf(0)
        edge = lambda x: x * mp.npdf(x) if abs(x) != inf else mp.mpf(0)
        first = at(a) - at(b)
        second = zero + edge(a) - edge(b)
        # moments of x - h, of which d/dh of the Gaussian makes P' = <x-h>/V, P'' = <(x-h)^2>/V^2 - <1>/V
        shift = centre - h
        x1 = shift * zero + scale * first
        x2 = shift**2 * zero + 2 * shift * scale * first + variance * second
        for i, x in enumerate((zero, x1, x2)):
            total[i] += factor_ * x
    P, x1, x2 = total
    return mp.log(P), x1 / V / P, (x2 / V**2 - P / V) / P


def exact(factor, h, V):
    with mp.workdps(420):
        f, g, k = moments(factor, mp.mpf(h), mp.mpf(V))
        return f, g, k - g * g


@functools.partial(jax.jit, static_argnums=0)
def _derivatives(name, h, V):
    f = lambda h, V: FACTORS[name].log_partition(h, V)
    g = jax.grad(f)
    return tuple(jax.vmap(d)(h, V) for d in (f, g, jax.grad(g)))


def grid(factor):
    """Fields at every offset from every kink, for every variance."""
    points = [(k + x * np.sqrt(V), V) for V in VARIANCES for k in map(float, factor.kinks()) for x in OFFSETS]
    return np.array(points).T


def brute(weight, kinks, h, V):
    """The same by mpmath's adaptive quadrature of the weight itself."""
    with mp.workdps(30):
        h, V = mp.mpf(h), mp.mpf(V)
        density = lambda x: mp.exp(-((x - h) ** 2) / (2 * V)) / mp.sqrt(2 * mp.pi * V)
        points = sorted([h + x * mp.sqrt(V) for x in (-12, -4, 0, 4, 12)] + [mp.mpf(k) for k in kinks])
        P, x1, x2 = (mp.quad(lambda x, i=i: weight(x) * density(x) * (x - h) ** i, points) for i in range(3))
        return mp.log(P), x1 / V / P, (x2 / V**2 - P / V) / P - (x1 / V / P) ** 2


def test_the_reference():
    kappa = mp.mpf(0.3)
    cases = (
        (HardMargin(0.3), lambda x: mp.mpf(x >= kappa)),
        (Errors(0.3, 2.0), lambda x: mp.mpf(1) if x >= kappa else mp.exp(-2)),
        (SquaredHinge(0.3, 2.0), lambda x: mp.exp(-(max(kappa - x, mp.mpf(0)) ** 2))),
        (Rectangle(0.3), lambda x: mp.mpf(abs(x) <= kappa)),
        (UFunction(0.3), lambda x: mp.mpf(abs(x) >= kappa)),
    )
    for factor, weight in cases:
        for a, b in zip(brute(weight, map(float, factor.kinks()), -0.4, 0.3), exact(factor, -0.4, 0.3)):
            assert abs(a - b) < 1e-16 * (1 + abs(b))


@pytest.mark.parametrize("name", FACTORS)
def test_log_partition(name):
    """f, f' to 1e-12, f'' to 1e-10 of their scales (1/sqrt(V), 1/V), up to 40 sqrt(V) from a kink."""
    factor = FACTORS[name]
    h, V = grid(factor)
    found = [np.asarray(x) for x in _derivatives(name, h, V)]
    assert all(np.all(np.isfinite(x)) for x in found)
    for i in range(len(h)):
        f, g, k = exact(factor, h[i], V[i])
        # the argument (kappa - h)/sqrt(V) carries the rounding of h: an error of 1e-16 max(|h|, |kappa|) f'
        shift = 2.3e-16 * max(abs(h[i]), abs(float(factor.kappa)))
        scales = (abs(f) + 1e-3, abs(g) + 0.1 / np.sqrt(V[i]), abs(g * g) + abs(k) + 0.1 / V[i])
        slack = (abs(g) * shift, abs(k) * shift, shift * (abs(g) ** 3 + abs(g * k) + abs(k) / mp.sqrt(V[i])))
        for a, b, scale, loss, tolerance in zip(found, (f, g, k), scales, slack, (1e-12, 1e-12, 1e-10)):
            assert abs(a[i] - b) <= tolerance * scale + 4 * loss, (h[i], V[i], float(a[i]), float(b))


@pytest.mark.parametrize("beta", BETAS)
def test_errors_between_the_limits(beta):
    """beta = 0 asks nothing; beta = inf is the hard margin; in between f rises with h, in [-beta, 0]."""
    h = jnp.linspace(-30.0, 30.0, 61)
    V = jnp.full_like(h, 0.4)
    f = Errors(0.3, beta).log_partition(h, V)
    if beta == 0:
        assert np.all(np.abs(f) < 1e-16)
    assert np.all(f >= -beta - 1e-15) and np.all(f <= 1e-16)
    assert np.all(np.diff(f) >= -1e-15)
    assert np.all(f >= HardMargin(0.3).log_partition(h, V) - 1e-13)
    hard = HardMargin(0.3).log_partition(h, V)
    assert np.all(Errors(0.3, jnp.asarray(jnp.inf)).log_partition(h, V) == hard)


class Weight(Factor):
    """Only the weight and the kinks of a factor."""

    of: Factor

    def log_weight(self, x):
        return self.of.log_weight(x)

    def kinks(self):
        return self.of.kinks()


@pytest.mark.parametrize("name", ["margin", "errors 1", "errors 30", "hinge 1", "hinge 30", "rectangle", "u"])
def test_generic_quadrature(name):
    """The default integral of `log_weight` against closed forms, within 6 sqrt(V) of the kinks."""
    factor = FACTORS[name]
    generic = Weight(factor)
    kinks, offsets = map(float, factor.kinks()), range(-6, 7, 2)
    points = [(k + x * np.sqrt(V), V) for k in kinks for V in (1.0, 0.2, 1e-4) for x in offsets]
    h, V = (jnp.asarray(x) for x in np.array(points).T)

    @jax.jit
    def both(h, V):
        answers = []
        for one in (generic, factor):
            g = jax.grad(one.log_partition)
            answers.append([jax.vmap(d)(h, V) for d in (one.log_partition, g, jax.grad(g))])
        return answers

    (f, g, k), (F, G, K) = ([np.asarray(x) for x in row] for row in both(h, V))
    s = np.sqrt(np.asarray(V))
    assert np.max(np.abs(f - F) / (1 + np.abs(F))) < 1e-11
    assert np.max(np.abs(g - G) * s / (1 + np.abs(G) * s)) < 1e-10
    assert np.max(np.abs(k - K) * s**2 / (1 + (np.abs(G) * s) ** 2)) < 1e-10


def test_generic_smooth_loss():
    """A loss with no kink at all (logistic) against mpmath, and the hinge max(0, 1-x)."""

    class Logistic(Factor):
        def log_weight(self, x):
            return -jnp.logaddexp(0.0, -2.0 * x)

        def kinks(self):
            return ()

    class Hinge(Factor):
        def log_weight(self, x):
            return -2.0 * jnp.maximum(1.0 - x, 0.0)

        def kinks(self):
            return (1.0,)

    weights = (lambda x: 1 / (1 + mp.exp(-2 * x)), lambda x: mp.exp(-2 * max(1 - x, mp.mpf(0))))
    for factor, weight in zip((Logistic(), Hinge()), weights):
        for h in (-3.0, 0.0, 1.5):
            for V in (0.05, 0.6):
                f = factor.log_partition
                found = [d(jnp.asarray(h), jnp.asarray(V)) for d in (f, jax.grad(f), jax.grad(jax.grad(f)))]
                for a, b, tolerance in zip(found, brute(weight, factor.kinks(), h, V), (1e-12, 1e-11, 1e-10)):
                    assert abs(float(a) - b) < tolerance * (1 + abs(b))
