r"""Dynamics of recurrent networks at zero temperature, and of rate networks.

A spin is violated unless s_i (J_D s_i + h_i + field) > 0, h_i = sum_{j != i} J_ij s_j (the field is gauged along (1, .., 1), see
`fixed_points`).  Fields are exact integers.

    parallel     every violated spin flips at once; deterministic, so it ends in a fixed point or in a cycle
    sequential   sweeps in random order, each violated spin flips when it is visited
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .arguments import choice, integer, real
from .blocks import in_blocks
from .constraints import threshold
from .fixed_points import TIES
from .instances import NetworkInstances, sample_seeds
from .outcomes import BUDGET, LOST, SOLVED
from .statistics import Statistic


class States(NamedTuple):
    """Where the dynamics of every network ended.

    s (samples, N) int8;  violated: spins, counted anew;  stability: mean Delta = J_D + s h + s field;  steps: used of `budget`;  outcome: codes of
    `outcomes` (solved: a fixed point; lost: parallel dynamics in a cycle; budget)
    """

    s: np.ndarray
    violated: np.ndarray
    stability: np.ndarray
    steps: np.ndarray
    budget: int
    outcome: np.ndarray

    @property
    def solved(self) -> np.ndarray:
        return self.outcome == SOLVED

    def statistics(self) -> dict[str, Statistic]:
        """solved and cycles (of all runs), energy = 2 violated/N, steps and mean stability of the fixed points."""
        runs = len(self.solved)
        return {
            "solved": Statistic.from_counts(int(self.solved.sum()), runs),
            "energy": Statistic.from_samples(2.0 * self.violated / self.s.shape[1]),
            "steps": Statistic.from_samples(self.steps[self.solved]),
            "budget": Statistic(float(self.budget), 0.0, runs),
            "cycles": Statistic.from_counts(int((self.outcome == LOST).sum()), runs),
            "stability": Statistic.from_samples(self.stability[self.solved]),
        }


def integer_levels(instances: NetworkInstances, J_D: float, field: float, ties: str) -> np.ndarray:
    """T (2,) for s = +1, -1: violated where the integer s h is below T."""
    J_D, field = real("J_D", J_D, 0.0), real("field", field)
    choice("ties", ties, TIES)
    return np.array(
        [
            threshold("margin", -J_D - sign * field, instances.N, instances.scale, ties == "violated")
            for sign in (1.0, -1.0)
        ],
        np.int32,
    )


def violated(s: jax.Array, h: jax.Array, T: jax.Array) -> jax.Array:
    return s * h < jnp.where(s > 0, T[0], T[1])


def keys_of(instances: NetworkInstances, key, stream: str) -> np.ndarray:
    return np.stack([seed.generate_state(2) for seed in sample_seeds(key, instances.samples, stream)])


def first_states(instances: NetworkInstances, start, key, stream: str) -> np.ndarray:
    """`start` as int32, or random states: those of a sample do not depend on the number of samples."""
    shape = (instances.samples, instances.N)
    if start is None:
        rngs = map(np.random.default_rng, sample_seeds(key, instances.samples, stream))
        return np.stack([2 * rng.integers(0, 2, instances.N, dtype=np.int32) - 1 for rng in rngs])
    if np.shape(start) != shape:
        raise ValueError(f"start.shape = {np.shape(start)} is not allowed: it must be {shape}")
    return np.asarray(start, np.int32)


def final_states(instances, s, steps, cycle, T, J_D, field, budget) -> States:
    s = np.asarray(s).astype(np.int8)
    h = np.stack([J.astype(float) @ x for J, x in zip(instances.couplings, s)])  # integers below 2^53
    violated = (s * h < np.where(s > 0, T[0], T[1])).sum(1)
    stability = J_D + (s * h / (instances.scale * np.sqrt(instances.N)) + field * s).mean(1)
    outcome = np.where(violated == 0, SOLVED, np.where(cycle, LOST, BUDGET))
    return States(s, violated, stability, np.asarray(steps), budget, outcome)


def parallel(
    instances: NetworkInstances,
    *,
    J_D: float,
    field: float = 0.0,
    steps: int = 1000,
    ties: str = "violated",
    start: np.ndarray | None = None,
    key=0,
) -> States:
    """Parallel dynamics from `start` (samples, N), else random states, until a fixed point or a cycle, at most `steps` updates."""
    T, steps = integer_levels(instances, J_D, field, ties), integer("steps", steps, 1)
    first = first_states(instances, start, key, "parallel")
    s, used, cycle = in_blocks(lambda J, x: _parallel(J, x, T, steps), (instances.couplings, first), 8)
    return final_states(instances, s, used, cycle, T, J_D, field, steps)


@partial(jax.jit, static_argnums=3)
@partial(jax.vmap, in_axes=(0, 0, None, None))
def _parallel(J, first, T, steps):
    """Brent's search for cycles: the state is compared with one kept at every power of two."""

    def going(carry):
        _, _, t, flip, cycle = carry
        return (t < steps) & jnp.any(flip) & ~cycle

    def update(carry):
        s, kept, t, flip, _ = carry
        new, t = jnp.where(flip, -s, s), t + 1
        flip = violated(new, J @ new, T)
        cycle = jnp.any(flip) & jnp.all(new == kept)
        power = (t & (t - 1)) == 0
        return new, jnp.where(power, new, kept), t, flip, cycle

    flip = violated(first, J @ first, T)
    s, _, t, _, cycle = jax.lax.while_loop(
        going, update, (first, first, jnp.zeros((), jnp.int32), flip, jnp.zeros((), bool))
    )
    return s, t, cycle


def damage_spreading(
    instances: NetworkInstances, *, J_D: float, q: float, steps: int, ties: str = "violated", key=0
) -> np.ndarray:
    """Overlaps (samples, steps + 1) of two copies under parallel dynamics, from random states at overlap about q."""
    T, steps = integer_levels(instances, J_D, 0.0, ties), integer("steps", steps, 1)
    q = real("q", q, -1.0, 1.0)
    run = lambda J, k: _damage(J, k, T, q, steps)
    return np.asarray(in_blocks(run, (instances.couplings, keys_of(instances, key, "damage")), 8))


@partial(jax.jit, static_argnums=4)
@partial(jax.vmap, in_axes=(0, 0, None, None, None))
def _damage(J, key, T, q, steps):
    one, two = jax.random.split(jax.random.wrap_key_data(key))
    s = jax.random.rademacher(one, J.shape[:1], jnp.int32)
    other = jnp.where(jax.random.uniform(two, s.shape) < 0.5 * (1.0 + q), s, -s)

    def update(pair, _):
        fields = pair @ J.T
        return jnp.where(violated(pair, fields, T), -pair, pair), jnp.mean(pair[0] * pair[1])

    last, overlaps = jax.lax.scan(update, jnp.stack([s, other]), None, length=steps)
    return jnp.append(overlaps, jnp.mean(last[0] * last[1]))


def sequential(
    instances: NetworkInstances,
    *,
    J_D: float,
    field: float = 0.0,
    sweeps: int = 300,
    ties: str = "violated",
    start: np.ndarray | None = None,
    key=0,
) -> States:
    """Random sequential dynamics from `start` (samples, N), else random states, until a fixed point, at most `sweeps` sweeps."""
    T, sweeps = integer_levels(instances, J_D, field, ties), integer("sweeps", sweeps, 1)
    first = first_states(instances, start, key, "start")
    run = lambda J, x, k: _sequential(J, x, k, T, sweeps)
    s, used = in_blocks(run, (instances.couplings, first, keys_of(instances, key, "sequential")), 8)
    return final_states(instances, s, used, False, T, J_D, field, sweeps)


@partial(jax.jit, static_argnums=4)
@partial(jax.vmap, in_axes=(0, 0, 0, None, None))
def _sequential(J, first, key, T, sweeps):
    key, columns = jax.random.wrap_key_data(key), J.T

    def visit(carry, i):
        s, h = carry
        flip = violated(s[i], h[i], T)
        h = h - jnp.where(flip, 2 * s[i], 0) * columns[i]
        return (s.at[i].set(jnp.where(flip, -s[i], s[i])), h), None

    def sweep(carry):
        s, h, t = carry
        order = jax.random.permutation(jax.random.fold_in(key, t), s.shape[0])
        (s, h), _ = jax.lax.scan(visit, (s, h), order)
        return s, h, t + 1

    going = lambda carry: (carry[2] < sweeps) & jnp.any(violated(carry[0], carry[1], T))
    s, _, t = jax.lax.while_loop(going, sweep, (first, J @ first, jnp.zeros((), jnp.int32)))
    return s, t


def integrate(
    *,
    g: float,
    s: float = 0.0,
    N: int = 500,
    samples: int = 4,
    time: float = 200.0,
    warmup: float = 100.0,
    step: float = 0.1,
    key=0,
) -> dict[str, Statistic]:
    """dx/dt = -x + s tanh x + g J tanh x by Runge-Kutta 4, Gaussian J of variance 1/N without diagonal, with one tangent vector.

    Delta0 = <x^2>, tanh2 = <tanh^2 x> over sites and time after `warmup`, lyapunov = growth rate of the tangent; one value a network.
    """
    N, samples = integer("N", N, 2), integer("samples", samples, 1)
    g, s = real("g", g, 0.0), real("s", s, 0.0)
    time, warmup, step = real("time", time, 0.0), real("warmup", warmup, 0.0), real("step", step, 1e-4, 1.0)
    before, during = round(warmup / step), max(1, round(time / step))
    seeds = sample_seeds(key, samples, "rates")
    keys = np.stack([seed.generate_state(2) for seed in seeds])
    values = in_blocks(lambda k: _integrate(k, g, s, step, N, before, during), (keys,), 1)
    return {
        name: Statistic.from_samples(x)
        for name, x in zip(("Delta0", "tanh2", "lyapunov"), np.moveaxis(values, 1, 0))
    }


@partial(jax.jit, static_argnums=(4, 5, 6))
@partial(jax.vmap, in_axes=(0, None, None, None, None, None, None))
def _integrate(key, g, s, step, N, before, during):
    one, two, three = jax.random.split(jax.random.wrap_key_data(key), 3)
    J = jax.random.normal(one, (N, N)) * (1.0 - jnp.eye(N)) / jnp.sqrt(N)
    start = jax.random.normal(two, (N,)), jax.random.normal(three, (N,))

    def velocity(x, v):
        rate = jnp.tanh(x)
        kick = (1.0 - rate**2) * v
        currents = J @ jnp.stack([rate, kick], 1)
        return s * rate - x + g * currents[:, 0], s * kick - v + g * currents[:, 1]

    def advance(carry, _):
        x, v = carry
        a1, b1 = velocity(x, v)
        a2, b2 = velocity(x + 0.5 * step * a1, v + 0.5 * step * b1)
        a3, b3 = velocity(x + 0.5 * step * a2, v + 0.5 * step * b2)
        a4, b4 = velocity(x + step * a3, v + step * b3)
        x = x + step * (a1 + 2 * a2 + 2 * a3 + a4) / 6.0
        v = v + step * (b1 + 2 * b2 + 2 * b3 + b4) / 6.0
        norm = jnp.linalg.norm(v)
        return (x, v / norm), jnp.stack([jnp.mean(x**2), jnp.mean(jnp.tanh(x) ** 2), jnp.log(norm) / step])

    carry, _ = jax.lax.scan(lambda c, t: (advance(c, t)[0], None), start, None, length=before)
    _, series = jax.lax.scan(advance, carry, None, length=during)
    return jnp.mean(series, 0)
