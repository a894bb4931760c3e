"""Speed of the learning algorithms at N = 1001, alpha = 0.5, against numpy and numba loops in the same run.

    taskset -c 0 python benchmarks/algorithms.py          (figures per core)

Compilation is left out; fixed numbers of iterations (tol = 0, or instances that nobody solves).
"""

import time

import jax
import jax.numpy as jnp
import numba
import numpy as np
from scipy.special import erfcx

from replicax.simulation import (
    annealing,
    gamp,
    max_sum,
    perceptron_instances,
    sample_sphere,
    sbpi,
    stochastic_weights,
)
from replicax.simulation.focusing import focus, protocol

N, ALPHA = 1001, 0.5


def best(function, repeats=3):
    """The least processor time of several calls after a first one that compiles, in seconds, and the result."""
    result, times = function(), []
    for _ in range(repeats):
        start = time.process_time()
        result = function()
        times.append(time.process_time() - start)
    return min(times), result


def numpy_gamp(X, iterations, dtype):
    """GAMP of one instance, hard margin."""
    P, N = X.shape
    X = (X / np.sqrt(N)).astype(dtype)
    m, g = 1e-3 * np.random.default_rng(0).standard_normal(N), np.zeros(P)
    for _ in range(iterations):
        V = max(np.mean(1.0 - m**2), 1e-10)
        om = X @ m.astype(dtype) - V * g
        R = np.sqrt(2 / np.pi) / erfcx(-om / np.sqrt(2 * V))
        g, A = R / np.sqrt(V), np.sum(R * (om / np.sqrt(V) + R)) / (V * N)
        m = np.tanh(X.T @ g.astype(dtype) + A * m)
    return m


@numba.njit(fastmath=True, nogil=True)
def numba_annealing(columns, betas, rng):
    """Errors of one chain, integer fields, O(P) per proposal."""
    N, P = columns.shape
    W, F = np.empty(N, np.int16), np.zeros(P, np.int16)
    for i in range(N):
        W[i] = 1 if rng.random() < 0.5 else -1
        for mu in range(P):
            F[mu] += W[i] * columns[i, mu]
    E = 0
    for mu in range(P):
        E += F[mu] < 0
    for beta in betas:
        for i in range(N):
            step, E_new = np.int16(2 * W[i]), 0
            for mu in range(P):
                E_new += np.int16(F[mu] - step * columns[i, mu]) < 0
            if rng.random() < np.exp(-beta * (E_new - E)):
                for mu in range(P):
                    F[mu] -= step * columns[i, mu]
                W[i], E = -W[i], E_new
    return E


@numba.njit(fastmath=True, nogil=True)
def numba_sbpi(X, K, p_s, epochs, rng):
    """SBPI presentations in order, theta = 1."""
    P, N = X.shape
    h, W, t = np.ones(N, np.int16), np.ones(N, np.int8), 0
    while t < epochs:
        wrong, t = 0, t + 1
        for mu in range(P):
            D = 0
            for i in range(N):
                D += X[mu, i] * W[i]
            error = D < 0
            wrong += error
            if error or (D <= 1 and rng.random() < p_s):
                for i in range(N):
                    if error or W[i] == X[mu, i]:
                        h[i] = min(K, max(-K, h[i] + 2 * X[mu, i]))
                        W[i] = 1 if h[i] > 0 else -1
        if wrong == 0:
            break
    return t


def numpy_circles(X, beta, moves, rng):
    """Great-circle slice sampling of the errors, one chain."""
    N = X.shape[1]
    X = X / np.sqrt(N)
    W = rng.standard_normal(N)
    W *= np.sqrt(N) / np.linalg.norm(W)
    F = X @ W
    for _ in range(moves):
        u = rng.standard_normal(N)
        u -= W * (u @ W) / N
        u *= np.sqrt(N) / np.linalg.norm(u)
        delta, level = X @ u, -beta * np.sum(F < 0) + np.log1p(-rng.random())
        p = 2 * np.pi * rng.random()
        low, high = p - 2 * np.pi, p
        while -beta * np.sum(F * np.cos(p) + delta * np.sin(p) < 0) < level:
            low, high = (p, high) if p < 0 else (low, p)
            p = low + (high - low) * rng.random()
        W, F = W * np.cos(p) + u * np.sin(p), F * np.cos(p) + delta * np.sin(p)
    return W


def sphere():
    small = 101
    many = perceptron_instances(N=small, alpha=1.0, samples=16, key=5)
    seconds, _ = best(lambda: sample_sphere(many, beta=1.0, sweeps=20, warmup=0), 2)
    ours = 16 * 2 * 20 * small / seconds
    X = many.patterns[0] / many.scale
    seconds, _ = best(lambda: numpy_circles(X, 1.0, 2000, np.random.default_rng(0)), 2)
    print(
        f"great circles, N = P = {small}: {ours:.2e} moves/s of 32 chains; numpy {2000 / seconds:.2e}: ratio {ours * seconds / 2000:.2f}"
    )
    never = perceptron_instances(N=301, alpha=1.5, samples=4, patterns="pm1", key=6)
    seconds, found = best(lambda: max_sum(never, sweeps=40), 2)
    print(f"max-sum, N = 301, alpha = 1.5, 4 instances: {found.steps.sum() / seconds:.1f} sweeps/s")


def messages():
    one = perceptron_instances(N=N, alpha=ALPHA, patterns="pm1", key=1)
    print("message passing, iterations/s")
    for dtype in (np.float64, np.float32):
        ours = {
            columns: 600 * columns / best(lambda: _iterate(one, 600, columns, dtype))[0]
            for columns in (1, 64)
        }
        theirs = 200 / best(lambda: numpy_gamp(one.patterns[0], 200, dtype))[0]
        print(
            f"  gamp {np.dtype(dtype).name}: {ours[1]:.0f}, 64 columns {ours[64]:.0f};"
            f" numpy {theirs:.0f}: ratios {ours[1] / theirs:.2f}, {ours[64] / theirs:.2f}"
        )
        # a pattern and its negative: nobody solves it, and every sweep is run
        never = np.concatenate([one.patterns[0], -one.patterns[0][:1]])
        seconds, found = best(lambda: focus(never, schedule=protocol("pseudo", 300), dtype=dtype))
        rate = found.steps[0] / seconds
        print(
            f"  fbp {np.dtype(dtype).name}: {rate:.0f} with the test of sign(h), {ours[1] / rate:.2f} times gamp"
        )
    pair = 3200 / best(lambda: _pairs(one))[0]
    print(f"  products alone, 64 columns, float32: {pair:.0f}")


def _pairs(instances):
    """50 times the two products of an iteration, of 64 columns, as XLA does them."""
    x = jnp.asarray(instances.patterns[0] / np.sqrt(N), jnp.float32)
    begin = jnp.asarray(np.random.default_rng(0).uniform(-0.5, 0.5, (64, N)), jnp.float32)
    return _both(begin, x).block_until_ready()


@jax.jit
def _both(m, x):
    barrier = jax.lax.optimization_barrier
    return jax.lax.fori_loop(0, 50, lambda _, m: 0.1 * (barrier(m @ x.T) @ x), m)


def _iterate(instances, iterations, columns, dtype):
    start = 1e-3 * np.random.default_rng(0).standard_normal((1, columns, N))
    return gamp(instances, start_at=start, tol=0.0, iterations=iterations, dtype=dtype)


def solvers():
    print("solvers")
    many = perceptron_instances(N=N, alpha=ALPHA, samples=20, patterns="pm1", key=2)
    for rate in (0.3, 1.0):
        seconds, found = best(lambda: stochastic_weights(many, rate=rate))
        print(
            f"  stochastic weights, eta = {rate}: {1e3 * seconds / 20:.1f} ms an instance,"
            f" {found.solved.sum()}/20 in {np.median(found.steps):.0f} steps"
        )
    many = perceptron_instances(N=N, alpha=0.6, samples=16, patterns="pm1", key=3)
    seconds, found = best(lambda: sbpi(many), 1)
    ours = found.steps.sum() * many.P / seconds
    steps = numba_sbpi(many.patterns[0], 127, 0.3, 2, np.random.default_rng(0))
    seconds, steps = best(lambda: numba_sbpi(many.patterns[0], 127, 0.3, 1000, np.random.default_rng(0)), 2)
    theirs = steps * many.P / seconds
    print(f"  sbpi, alpha = 0.6: {ours:.2e} presentations/s, numba {theirs:.2e}: ratio {ours / theirs:.2f}")


def chains():
    print("annealing, proposals/s of all chains")
    columns = np.ascontiguousarray(perceptron_instances(N=N, alpha=ALPHA, patterns="pm1").patterns[0].T)
    betas = np.linspace(0.5, 6.0, 60)
    seconds, _ = best(lambda: numba_annealing(columns, betas, np.random.default_rng(0)))
    theirs = N * len(betas) / seconds
    many = perceptron_instances(N=N, alpha=ALPHA, samples=32, patterns="pm1", key=4)
    for loss in ("errors", "cross-entropy"):
        seconds, found = best(lambda: annealing(many, loss=loss, sweeps=60), 1)
        ours = found.steps.sum() * N / seconds
        print(
            f"  {loss}, 32 instances: {ours:.2e}; numba loop on errors {theirs:.2e}: ratio {ours / theirs:.2f}"
        )


if __name__ == "__main__":
    print(f"jax {jax.__version__} on {jax.devices()[0].platform}, N = {N}, alpha = {ALPHA}")
    messages()
    solvers()
    chains()
    sphere()
