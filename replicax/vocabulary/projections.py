r"""The spectral term of random features: what the weights look like from the inputs.

The hidden projections s_k = sum_i F_ki W_i/sqrt(N), k = 1..D, of replicas with overlaps q are independent in k and Gaussian with covariance q;
patterns act on them through p = <s s> and r = <s T>, T the weights of the teacher.  With matrices over replicas

    S(p, r | q) = (1/2) log det[(p - r r^T) q^-1] - (1/2) tr(p q^-1 - 1)   per input,

minus a relative entropy (0 at p = q, r = 0).  On an ultrametric tree it is a sum over modes.  With v_i, w_i the increments of q and p at the levels
outermost first (w_0 without r^2), m_0 = 0, and eigenvalues L of q and P of p - r r^T,

    L_{k+1} = 1 - q_k,   P_{k+1} = p_d - p_k,   L_i = L_{i+1} + m_i v_i,   P_i = P_{i+1} + m_i w_i        (m v, m w: finite for m = inf).

Stationarity: a pattern's scores with curvature h_{k+1} = <f''>, gaps and h_i = h_{i+1} + m_i gap_i give, with e = alpha_T mu1^2,

    1/P_i = 1/L_i - e h_i,    w_i = P_i P_{i+1} [v_i/(L_i L_{i+1}) + e gap_i],    r = alpha_T mu1 <f' dlog(weight of the label)> P_0,

and a conjugate of q per pattern, g_i g_{i+1} [mu1^2 gap_i + e^2 h_i h_{i+1} v_i/alpha_T] + delta_{i0} r^2/(alpha_T L_0^2), g = P/L: no form cancels
where alpha_D is large and S, of order 1/alpha_D^2, vanishes.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from replicax.vocabulary.levels import is_frozen


class Projections(NamedTuple):
    """Increments w of p (level by level; w_0 without r^2), complement chi = p_d - p_k, r, and the gaps that make them;
    slopes: e h of every mode, outermost first, and ratios P/L.
    """

    overlaps: tuple[Array, ...]
    complement: Array
    r: Array
    gaps: tuple[Array, ...] = ()
    slopes: tuple[Array, ...] = ()
    ratios: tuple[Array, ...] = ()


def _step(m: float | Array) -> float | Array:
    """The factor of an increment in the eigenvalue above it: m, and 1 for increments that are themselves limits of m v."""
    return 1.0 if is_frozen(m) else m


def eigenvalues(complement: Array, increments: tuple[Array, ...], ms: tuple) -> tuple[Array, ...]:
    """Of an ultrametric matrix, outermost first; the last belongs to the fluctuations within a replica."""
    modes = [complement]
    for v, m in zip(reversed(increments), reversed(ms)):
        modes.append(modes[-1] + _step(m) * v)
    return tuple(reversed(modes))


def project(
    overlaps: tuple[Array, ...],
    complement: Array,
    ms: tuple,
    strength: Array,
    ratio: Array,
    signals: tuple[Array, ...],
    signal: Array | None,
) -> Projections:
    """Projections at overlaps v of the weights, strength e = alpha_T mu1^2, ratio log(P_{k+1}/L_{k+1}); `signals` are coordinates of the
    gaps, signals = gap at m = 0 and gap/(1 - m e gap/(..)) behind it, so that every positive value is allowed; `signal` = r/P_0.
    """
    L = eigenvalues(complement, overlaps, ms)
    P = [complement * jnp.exp(ratio)]
    slopes = [-jnp.expm1(-ratio) / complement]
    increments, gaps = [], []
    for i in reversed(range(len(ms))):
        m = _step(ms[i])
        own = overlaps[i] / (L[i] * L[i + 1])
        bare = 1.0 / P[-1] - m * own
        gain = 1.0 + m * strength * signals[i] / bare
        gaps.append(signals[i] / gain)
        P.append(gain / bare)
        increments.append(P[-1] * P[-2] * (own + strength * gaps[-1]))
        slopes.append(slopes[-1] + m * strength * gaps[-1])
    r = jnp.zeros(()) if signal is None else signal * P[-1]
    back = lambda values: tuple(reversed(values))
    ratios = tuple(x / y for x, y in zip(back(P), L))
    return Projections(back(increments), P[0], r, back(gaps), back(slopes), ratios)


def conjugates(
    found: Projections,
    overlaps: tuple[Array, ...],
    gaps: tuple[Array, ...],
    mu1: Array,
    per_input: Array,
    signal: Array | None,
) -> tuple[Array, ...]:
    """What the projections ask of the overlaps: increments of q^ per pattern; signal = r/(alpha_T mu1 P_0)."""
    some = per_input > 0
    inputs = jnp.where(some, 1.0 / jnp.where(some, per_input, 1.0), 0.0)
    g, slopes = found.ratios, found.slopes
    asked = [
        g[i] * g[i + 1] * (mu1**2 * gap + slopes[i] * slopes[i + 1] * v * inputs)
        for i, (v, gap) in enumerate(zip(overlaps, gaps))
    ]
    if signal is not None:
        asked[0] = asked[0] + per_input * (mu1 * signal * g[0]) ** 2
    return tuple(asked)


def entropy(
    overlaps: tuple[Array, ...], complement: Array, ms: tuple, w: tuple[Array, ...], chi: Array, r: Array
) -> Array:
    """S per input at increments v of q and w of p (w_0 without r^2)."""
    L, P = eigenvalues(complement, overlaps, ms), eigenvalues(chi, w, ms)
    log = [jnp.log(y / x) for x, y in zip(L, P)]
    value = log[-1] - jnp.expm1(log[-1])
    for i, m in enumerate(ms):
        if i > 0 and not is_frozen(m):
            value = value + (log[i] - log[i + 1] - jnp.exp(log[i + 1]) * jnp.expm1(log[i] - log[i + 1])) / m
    if ms:
        slope = 1.0 / L[0] - 1.0 / P[0]
        value = value - slope * (w[0] + r**2 - P[0] / L[0] * overlaps[0]) - r**2 / P[0]
    return 0.5 * value


def entropy_at_order_one(
    overlaps: tuple[Array, ...], complement: Array, ms: tuple, w: tuple[Array, ...], chi: Array
) -> Array:
    """lim m [S(m) - S] behind an m = inf level, with q_0 = q_1 - v_1/m and p_0 = p_1 - w_1/m (two levels)."""
    L, P = eigenvalues(complement, overlaps, ms), eigenvalues(chi, w, ms)
    (outer, inner), slope = [y / x for x, y in zip(L[1:], P[1:])], 1.0 / L[0] - 1.0 / P[0]
    modes = jnp.log(outer / inner) - (outer - inner)
    return 0.5 * (modes + slope * w[1] + (1.0 - outer) * overlaps[1] / L[0])
