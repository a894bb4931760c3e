"""Nanoseconds a value of replicax.numerics.special, beside jax.scipy.special.log_ndtr.

Run: `python benchmarks/special.py`.

One thread (the intra-op pool of XLA is switched off), float64, arrays that stay in the cache.
"""

import os
import time

os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false"
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import jax
import jax.numpy as jnp

import replicax  # noqa: F401  (turns on float64)
from replicax.numerics import special

SIZE, REPEATS = 20_000, 300


def nanoseconds(f, *args):
    """Best of five: time of a compiled call, divided by the number of values."""
    f = jax.jit(f)
    jax.block_until_ready(f(*args))
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(REPEATS // 5):
            result = f(*args)
        jax.block_until_ready(result)
        best = min(best, (time.perf_counter() - start) / (REPEATS // 5))
    return 1e9 * best / SIZE


def main():
    x = jnp.linspace(-8.0, 8.0, SIZE)
    y, rho = jnp.flip(x) + 8.1, jnp.tanh(x)
    value_and_slope = lambda x: jax.jvp(special.log_H, (x,), (jnp.ones_like(x),))
    second = lambda x: jax.jvp(special.mills, (x,), (jnp.ones_like(x),))
    rows = {
        "jax log_ndtr": (lambda x: jax.scipy.special.log_ndtr(-x), x),
        "jax tanh": (jnp.tanh, x),
        "jax exp": (jnp.exp, x),
        "log_H": (special.log_H, x),
        "mills": (special.mills, x),
        "mills_1": (special.mills_1, x),
        "mills_2": (special.mills_2, x),
        "mills_3": (special.mills_3, x),
        "log_H and mills": (value_and_slope, x),
        "mills and mills_1": (second, x),
        "H": (special.H, x),
        "log_2cosh": (special.log_2cosh, x),
        "softplus": (special.softplus, x),
        "log_add_exp": (special.log_add_exp, x, y),
        "log_diff_H": (special.log_diff_H, x, x + 0.1 + jnp.abs(y)),
        "bivariate_orthant": (special.bivariate_orthant, x, y, rho),
    }
    for name, (f, *args) in rows.items():
        print(f"{name:20s} {nanoseconds(f, *args):8.2f} ns")


if __name__ == "__main__":
    main()
