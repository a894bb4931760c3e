r"""`fbp`: reinforced messages that look for fixed points of recurrent networks.

Spins are independent with means m_i in [-1, 1]. Visiting j, with w_i = sqrt(N) J_ji, M = sum_i w_i m_i and sigma^2 = sum_i w_i^2 (1 - m_i^2),
the field of j without spin i is Gaussian, and j is satisfied with probability

    F(A + w_i) if s_i = s_j, F(A - w_i) otherwise,   A = M - w_i m_i,   F(A) = p_+ H(-(c + A)/sigma) + p_- H(-(c - A)/sigma),

c = J_D sqrt(N), p_+- = (1 +- m_j)/2: m_i grows by the polarisation [F(A + w_i) - F(A - w_i)]/[F(A + w_i) + F(A - w_i)], m_j by half the
logarithm of H(-(c + M)/sigma)/H(-(c - M)/sigma), and both are cut at +-1. Braunstein & Zecchina, PRL 96 (2006) 030201, and R. Zecchina,
lecture notes (2023).

In one visit F is a single function of one variable, needed within 2 max |w| of M only. That is a short way compared with sigma until
nearly all spins are decided: there its Taylor polynomial stands for four error functions of every spin.
"""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erfc

from replicax.numerics.special import log_H

from .arguments import integer
from .blocks import in_blocks
from .dynamics import States, final_states, integer_levels, keys_of, violated
from .instances import NetworkInstances

#: the least variance of a field, in units of that of one coupling
_FLOOR = 1e-3
#: order of the polynomial, and the D (2 + |M|/sigma), D = 2 max |w|/sigma, below which its error is 1e-7
_ORDER, _WIDTH = 13, 2.0
#: |M|/sigma + D up to which float32 does not underflow
_FAR = 12.0
_AT_ONCE = 8


def reinforced_messages(
    instances: NetworkInstances,
    *,
    J_D: float,
    field: float = 0.0,
    sweeps: int = 60,
    ties: str = "violated",
    bias: np.ndarray | None = None,
    key=0,
) -> States:
    """`fbp` of the module's docstring from small random means, until their signs are a fixed point, at most `sweeps` sweeps.

    bias (samples, N): added to m_j at each visit of j; it points the search somewhere and is no part of the fixed points.
    """
    T, sweeps = integer_levels(instances, J_D, field, ties), integer("sweeps", sweeps, 1)
    shape, unit = (instances.samples, instances.N), math.sqrt(instances.N) * instances.scale
    pull = np.zeros(shape) if bias is None else np.asarray(bias, float)
    if pull.shape != shape:
        raise ValueError(f"bias.shape = {pull.shape} is not allowed: it must be {shape}")
    floor = _FLOOR * instances.scale**2
    run = lambda J, b, k: _search(J, b, k, T, J_D * unit, field * unit, floor, sweeps)
    half = -(-instances.samples // 2)  # two blocks at least: they run side by side
    s, used = in_blocks(run, (instances.couplings, pull, keys_of(instances, key, "fbp")), min(_AT_ONCE, half))
    return final_states(instances, s, used, False, T, J_D, field, sweeps)


class Field(NamedTuple):
    """That of the visited spin of each network, in units of sigma: M, c, 1/sigma and p_+, all (samples, 1) float64."""

    mean: jax.Array
    margin: jax.Array
    unit: jax.Array
    p: jax.Array

    def logs(self) -> tuple[jax.Array, jax.Array]:
        """log H(-(c + M)), log H(-(c - M))."""
        return log_H(-self.margin - self.mean), log_H(self.mean - self.margin)

    def taylor(self) -> list[jax.Array]:
        """Coefficients of F in powers of A - M, in units of sigma: the derivatives of a Gaussian tail are Hermite polynomials times G."""
        p, q, x, y = self.p, 1.0 - self.p, self.margin + self.mean, self.margin - self.mean
        up, down = self.logs()
        coefficients = [p * jnp.exp(up) + q * jnp.exp(down)]
        density = lambda x: jnp.exp(-0.5 * x**2) / math.sqrt(2.0 * math.pi)
        # (-1)^(k-1) He_{k-1}(x) G(x) and He_{k-1}(y) G(y), and those of k - 1
        now = p * density(x), -q * density(y)
        before = jnp.zeros_like(x), jnp.zeros_like(y)
        for k in range(1, _ORDER + 1):
            coefficients.append((now[0] + now[1]) / math.factorial(k))
            after = -x * now[0] - (k - 1) * before[0], y * now[1] - (k - 1) * before[1]
            now, before = after, now
        return coefficients


def _ratio(plus, minus):
    total = plus + minus
    return jnp.where(total > 0, (plus - minus) / jnp.where(total > 0, total, 1.0), 0.0)


def polarisations(at: Field, w, m):
    """Those of all spins, w and m (samples, N), in their precision; 0 where it is certain that the visited spin is violated."""
    mean, margin, unit, p = (x.astype(w.dtype) for x in at)
    v = w * unit
    A = mean - v * m
    tail = lambda x: 0.5 * erfc(-math.sqrt(0.5) * x)
    F = lambda A: p * tail(margin + A) + (1.0 - p) * tail(margin - A)
    return _ratio(F(A + v), F(A - v))


def near_polarisations(at: Field, w, m):
    """The same by the polynomial."""
    coefficients = [x.astype(w.dtype) for x in at.taylor()]
    v = w * at.unit.astype(w.dtype)
    u = v * m

    def F(d):
        value = coefficients[-1]
        for coefficient in coefficients[-2::-1]:
            value = value * d + coefficient
        return value

    return _ratio(F(v - u), F(-v - u))


def difficulty(at: Field, largest):
    """0 where the polynomial is good to 1e-7, 1 where error functions are needed, 2 where their float32 may underflow; largest = max |w|."""
    far, width = jnp.abs(at.mean), 2.0 * largest * at.unit
    return jnp.where(far + width > _FAR, 2, jnp.where(width * (2.0 + far) < _WIDTH, 0, 1))


@jax.jit
def _search(J, bias, keys, T, margin, field, floor, sweeps):
    """J (samples, N, N) and margin, field, floor in units of the lattice of the couplings."""
    samples, N = bias.shape
    every, sites = jnp.arange(samples), jnp.arange(N, dtype=jnp.int32)
    largest = jnp.max(jnp.abs(J), -1)
    pairs = jax.vmap(lambda k: jax.random.split(jax.random.wrap_key_data(k)))(keys)
    begin, orders = pairs[:, 1], pairs[:, 0]

    def visit(m, j):
        of = lambda x: x[every, j][:, None].astype(float)
        w = J[every, j].astype(m.dtype)
        mean = field + jnp.sum(w * m, -1, keepdims=True).astype(float)
        variance = jnp.sum(w**2 * (1.0 - m**2), -1, keepdims=True).astype(float)
        unit = 1.0 / jnp.sqrt(jnp.maximum(variance, floor))
        at = Field(mean * unit, margin * unit, unit, 0.5 * (1.0 + of(m)))
        up, down = at.logs()
        own = (0.5 * (up - down) + of(bias)).astype(m.dtype)
        visited, hard = sites[None] == j[:, None], difficulty(at, of(largest))
        pushed = lambda push: jnp.clip(m + jnp.where(visited, own, push), -1.0, 1.0)
        near = lambda: near_polarisations(at, w, m)
        single = lambda: jnp.where(hard == 0, near(), polarisations(at, w, m))
        double = lambda: polarisations(at, w.astype(float), m.astype(float)).astype(m.dtype)
        choices = near, single, lambda: jnp.where(hard == 2, double(), single())
        return jax.lax.switch(jnp.max(hard), [partial(lambda push: pushed(push()), c) for c in choices]), None

    def state(m):
        s = jnp.where(m >= 0.0, 1, -1).astype(jnp.int32)
        return s, jnp.any(violated(s, jax.vmap(jnp.matmul)(J, s), T), -1)

    def sweep(carry):
        m, t, going = carry
        order = jax.vmap(lambda k, t: jax.random.permutation(jax.random.fold_in(k, t), sites))(orders, t)
        new, _ = jax.lax.scan(visit, m, order.T)
        m = jnp.where(going[:, None], new, m)
        return m, t + going, going & state(m)[1] & (t + 1 < sweeps)

    m = 1e-3 * jax.vmap(lambda k: jax.random.normal(k, (N,), jnp.float32))(begin)
    first = (m, jnp.zeros(samples, jnp.int32), state(m)[1])
    m, t, _ = jax.lax.while_loop(lambda carry: jnp.any(carry[2]), sweep, first)
    return state(m)[0], t
