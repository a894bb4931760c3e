r"""Reinforced and focusing belief propagation: message passing that runs into dense regions of solutions.

y replicas with equal messages are tied to a centre W* by exp(gamma W*.W^a). With hbar the field of the patterns on a weight, the centre
sends back

    phi = atanh( t tanh[ (y - 1) atanh( t tanh hbar ) ] ),   t = tanh gamma;   gamma = inf: phi = (y - 1) hbar,

and the total field is hbar + phi. Baldassi et al., PNAS 113 (2016) E7655, arXiv:1605.06444; reinforcement (gamma = inf): Braunstein &
Zecchina, PRL 96 (2006) 030201. With parallel updates a phi that is inserted at once is a loop of gain y, and every run blows up;
relaxed, phi <- phi + (phi_new - phi)/y has the same fixed points, and at gamma = inf with the hbar of the sweep before it is textbook
reinforcement, h <- hbar + (1 - 1/y) h.

A committee machine is a row of such perceptrons: what the other units of a pattern tell one of them is in the channel. With units that have
the same inputs, damping 0.5 and a random start, fbp solves alpha = 0.3 at 5 units of 321 inputs, the published example (authors'
BinaryCommitteeMachineFBP.jl), and alpha = 0.5. rbp (dr = 0.002) solves trees of 3 x 201 and 5 x 101 weights in 8 of 8 runs at alpha = 0.7 and in
none at 0.8; with the same inputs 3 x 201 in 7 of 8 at 0.6 and 1 of 8 at 0.7, 5 x 101 in 1 of 8 at 0.6.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from replicax.numerics.special import log_2cosh

from .arguments import choice, integer, real
from .blocks import each_instance, in_blocks
from .gamp import Half, Messages, as_patterns, factor_side, start, task, unsolved
from .instances import sample_seeds
from .learning import Solutions, binary_solutions, is_signs
from .weights import BinaryWeights

PROTOCOLS = ("pseudo", "scoping", "rbp")
_NOISE, _BREAKING = 1e-3, 0.1


class Schedule(NamedTuple):
    """1/y and gamma of every sweep, (sweeps,): 1/y = 1 is plain belief propagation, gamma = inf reinforcement."""

    inverse_y: np.ndarray
    gamma: np.ndarray


def reinforcement(dr: float, sweeps: int) -> Schedule:
    """r_t = min(1, t dr) of h <- hbar + r_t h."""
    r = np.minimum(1.0, real("dr", dr, 0.0, 1.0) * np.arange(integer("sweeps", sweeps, 1)))
    return Schedule(1.0 - r, np.full(sweeps, np.inf))


def protocol(name: str, sweeps: int, *, y: float = 7.0, gamma: float = 2.5, p: float = 0.5) -> Schedule:
    """x from 0 to 1 in ``sweeps`` steps.

    rbp: gamma = inf, y = 1/(1 - x) | pseudo: gamma = atanh(x^p), y = 1 + x^(1 - 2p)/(1 - x) | scoping: y fixed, gamma x.

    y = 7 and gamma = 2.5 were chosen at alpha = 0.5; on other instances they solve 12 of 12 at alpha = 0.6, N = 1001 (1000 sweeps).
    """
    choice("protocol", name, PROTOCOLS)
    x = np.arange(integer("sweeps", sweeps, 1)) / sweeps
    if name == "rbp":
        return Schedule(1.0 - x, np.full(sweeps, np.inf))
    if name == "scoping":
        return Schedule(np.full(sweeps, 1.0 / real("y", y, 1.0)), real("gamma", gamma, 0.0) * x)
    p = real("p", p, 0.0, 0.5)
    return Schedule((1.0 - x) / (1.0 - x + x ** (1.0 - 2.0 * p)), np.arctanh(x**p))


def through(gamma, h):
    """atanh( tanh(gamma) tanh(h) ) = [log cosh(h + gamma) - log cosh(h - gamma)]/2."""
    return 0.5 * (log_2cosh(h + gamma) - log_2cosh(h - gamma))


def relaxed(phi: Array, hbar: Array, inverse_y, gamma) -> Array:
    """phi + (phi_new(hbar) - phi)/y; the gain y - 1 of gamma = inf is taken together with 1/y."""
    inside = jnp.where(jnp.isinf(gamma), 0.0, gamma)
    y = 1.0 / jnp.maximum(inverse_y, 1e-12)
    new = jnp.where(
        jnp.isinf(gamma),
        (1.0 - inverse_y) * hbar,
        inverse_y * through(inside, (y - 1.0) * through(inside, hbar)),
    )
    return phi + new - inverse_y * phi


class _State(NamedTuple):
    s: Messages
    phi: Array
    hbar: Array
    W: Array
    unsolved: Array
    t: Array


def focus(
    X,
    y=None,
    *,
    schedule: Schedule,
    kappa: float = 0.0,
    units: int = 1,
    tree: bool = False,
    randomness: float | None = None,
    lagged: bool = False,
    damping: float | None = None,
    key=0,
    dtype=np.float32,
) -> Solutions:
    """Run a schedule on every instance; W = sign(h) is tested after each sweep, and the run stops where it solves.

    units > 1: a committee machine, the majority of whose units must have a margin of kappa; tree: each has its own N of the units N inputs,
    otherwise all have the same N. W is then (samples, units, N). Where units have the same inputs only the start tells them apart, and
    parallel updates need damping: there randomness, the spread of the first magnetisations, is 0.1 and damping 0.5 unless given (otherwise
    1e-3 and 0).
    lagged: phi from the hbar of the sweep before. dtype: of the products (the state is float64). Ends solved, with the schedule used up
    (budget), or with fields that are not finite (diverged: a failure).
    """
    instances, channel, N, T = task(X, y, kappa, units, tree)
    alike = channel.units > channel.groups
    randomness = real(
        "randomness", (_BREAKING if alike else _NOISE) if randomness is None else randomness, 0.0, 1.0
    )
    damping = real("damping", (0.5 if alike else 0.0) if damping is None else damping, 0.0, 0.99)
    rngs = [np.random.Generator(np.random.PCG64(s)) for s in sample_seeds(key, instances.samples, "messages")]
    begin = np.stack([randomness * rng.standard_normal((units, N)) for rng in rngs])
    inverse_y, gamma = (np.asarray(x, np.float64) for x in schedule)
    run = lambda x, m: _focus(
        x, m, inverse_y, gamma, channel, T, is_signs(instances), 1.0 / instances.scale, damping, lagged, np.dtype(dtype)
    )  # fmt: skip
    W, steps, finite = in_blocks(run, (instances.patterns, begin), 4)
    return binary_solutions(instances, W, steps, len(gamma), ~finite, kappa, tree=tree)


@partial(jax.jit, static_argnums=(6, 9, 10))
@each_instance(2)
def _focus(x, m, inverse_y, gamma, channel, T, signs: bool, unit, damping, lagged: bool, dtype):
    """Magnetisations m (units, N) at the start."""
    P = x.shape[0]
    units, N = m.shape
    patterns, kind = as_patterns(x, signs, unit, dtype, channel.groups), BinaryWeights()
    # fields of W in units of the lattice are integers: half a unit below T is safe against rounding
    asks = unsolved(patterns.x, (T - 0.5) * unit / np.sqrt(N))

    def going(state: _State):
        return state.unsolved & jnp.all(jnp.isfinite(state.s.h)) & (state.t < gamma.shape[0])

    def step(state: _State) -> _State:
        half: Half = factor_side(patterns, channel, state.s, damping)
        hbar = half.local
        phi = relaxed(state.phi, state.hbar if lagged else hbar, inverse_y[state.t], gamma[state.t])
        h = (1.0 - damping) * (hbar + phi) + damping * state.s.h
        m, v = kind.moments(h, half.A)
        W = jnp.where(h >= 0, 1.0, -1.0)
        return _State(Messages(m, v, h, half.g), phi, hbar, W, asks(W), state.t + 1)

    zero = jnp.zeros((units, N))
    s = start(m, 1.0 - m**2, P)
    first = _State(s, zero, zero, jnp.ones((units, N)), jnp.asarray(True), jnp.zeros((), jnp.int32))
    last = jax.lax.while_loop(going, step, first)
    return last.W, last.t, jnp.all(jnp.isfinite(last.s.h))
