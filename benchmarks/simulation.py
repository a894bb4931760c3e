"""Speed of the simulations: exact enumeration against numpy, Metropolis against a numba loop.

    python benchmarks/simulation.py

Compilation and running are timed apart; baselines do the same work on the same instances and must agree.
"""

import itertools
import math
import os
import time
from concurrent.futures import ThreadPoolExecutor

import jax
import numba
import numpy as np
from scipy.special import log_ndtr, ndtr

from replicax.simulation import (
    enumerate_fixed_points,
    enumerate_histograms,
    enumerate_stabilities,
    metropolis_series,
    network_instances,
    perceptron_instances,
)
from replicax.simulation.dynamics import parallel
from replicax.simulation.network_messages import reinforced_messages


def timed(function, repeats=5):
    """(first call, fastest later call) in seconds, and the result."""
    start = time.perf_counter()
    result = function()
    first = time.perf_counter() - start
    later = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = function()
        later.append(time.perf_counter() - start)
    return first, min(later), result


def processor_time(function, repeats=3):
    """Least processor time of calls after a first one that compiles."""
    function()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return min(times)


def numpy_histogram(patterns, kappa, block=2**16):
    """All weights in blocks: float32 matrix product, comparison, bincount, sums of weights."""
    P, N = patterns.shape
    x = patterns.astype(np.float32)
    counts, sums = np.zeros(P + 1, np.int64), np.zeros((P + 1, N))
    bits = np.arange(N - 1, -1, -1)
    for start in range(0, 2**N, block):
        W = 1 - 2 * ((np.arange(start, min(start + block, 2**N))[:, None] >> bits) & 1).astype(np.float32)
        errors = (W @ x.T < kappa * math.sqrt(N)).sum(1)
        counts += np.bincount(errors, minlength=P + 1)
        sums += (errors[None, :] == np.arange(P + 1)[:, None]).astype(np.float32) @ W
    return counts, sums


@numba.njit(fastmath=True, nogil=True)
def numba_metropolis(columns, threshold, beta, sweeps, rng):
    """One chain, integer fields, sequential order: columns (N, P)."""
    N, P = columns.shape
    W = np.empty(N, np.int16)
    F = np.zeros(P, np.int16)
    for i in range(N):
        W[i] = 1 if rng.random() < 0.5 else -1
        for mu in range(P):
            F[mu] += W[i] * columns[i, mu]
    E = 0
    for mu in range(P):
        E += F[mu] < threshold
    energies = np.empty(sweeps)
    for t in range(sweeps):
        for i in range(N):
            step = np.int16(2 * W[i])
            E_new = 0
            for mu in range(P):
                E_new += np.int16(F[mu] - step * columns[i, mu]) < threshold
            if rng.random() < math.exp(-beta * (E_new - E)):
                for mu in range(P):
                    F[mu] -= step * columns[i, mu]
                W[i], E = -W[i], E_new
        energies[t] = E / N
    return energies


def benchmark_enumeration(N, P, samples):
    instances = perceptron_instances(N=N, alpha=P / N, samples=samples, key=1, patterns="pm1")
    first, later, result = timed(lambda: enumerate_histograms(instances), 3 if N < 25 else 1)
    start = time.perf_counter()
    counts, sums = numpy_histogram(instances.patterns[0], 0.0)
    baseline = time.perf_counter() - start
    np.testing.assert_array_equal(counts, result.counts[0])
    np.testing.assert_array_equal(sums, result.magnetisation[0])
    print(
        f"  N={N} P={P} samples={samples}: compile {first - later:.2f} s, run {1e3 * later / samples:.2f} ms,"
        f" numpy {1e3 * baseline:.0f} ms, ratio {baseline * samples / later:.0f}"
    )


def benchmark_others():
    first, later, _ = timed(lambda: enumerate_stabilities(N=21, alpha=10 / 21, samples=4), 2)
    print(
        f"  stabilities of all solutions, N=21 P=10: compile {first - later:.2f} s, run {250 * later:.0f} ms"
    )
    first, later, _ = timed(lambda: enumerate_fixed_points(N=16, J_D=0.5, samples=200), 3)
    print(f"  fixed points, N=16: compile {first - later:.2f} s, run {5 * later:.2f} ms")
    first, later, _ = timed(lambda: enumerate_fixed_points(N=20, J_D=0.5, samples=8), 3)
    print(f"  fixed points, N=20: compile {first - later:.2f} s, run {125 * later:.2f} ms")


def benchmark_metropolis(N, samples, chains, sweeps, patterns):
    instances = perceptron_instances(N=N, alpha=0.5, samples=samples, key=1, patterns=patterns)
    run = lambda: metropolis_series(instances, beta=1.0, chains=chains, sweeps=sweeps)
    first, later, (energy, _, _) = timed(run, 2)
    rate = samples * chains * N * sweeps / later
    text = f"  N={N} {patterns} samples={samples} chains={chains}: compile {first - later:.2f} s,"
    text += f" {rate / 1e6:.2f}e6/s"
    if patterns == "pm1":
        columns = [np.ascontiguousarray(x.T) for x in instances.patterns]
        chain = lambda x, seed: numba_metropolis(x, 0, 1.0, sweeps, np.random.default_rng(seed))
        chain(columns[0][:, :1], 0)
        _, baseline, _ = timed(lambda: chain(columns[0], 0), 2)
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            _, parallel, energies = timed(
                lambda: list(threads.map(chain, columns * chains, itertools.count())), 1
            )
        one, many = N * sweeps / baseline, rate * later / parallel
        text += f", numba one core {one / 1e6:.2f}e6, all cores {many / 1e6:.2f}e6: ratios"
        text += f" {rate / one:.2f}, {rate / many:.2f}  (e = {energy[..., sweeps // 2 :].mean():.4f},"
        text += f" numba {np.mean([e[sweeps // 2 :].mean() for e in energies]):.4f})"
    print(text)


def benchmark_parallel(N=2000, samples=100, steps=20):
    """One parallel step of all networks against the products J s alone (integers, from memory)."""
    instances = network_instances(N=N, samples=samples, couplings="pm1", key=2)
    run = lambda steps: timed(lambda: parallel(instances, J_D=0.0, steps=steps), 2)
    first, whole, states = run(2 * steps)
    later = whole - run(steps)[1]  # without what happens once: transfer, the check of the final states
    J, s = jax.device_put(instances.couplings), jax.device_put(states.s.astype(np.int32))
    products = jax.jit(jax.vmap(lambda J, s: J @ s))
    _, alone, _ = timed(lambda: jax.block_until_ready(products(J, s)), 3)
    print(
        f"  parallel, {samples} networks of N={N}: {1e3 * later / steps:.0f} ms a step, "
        f"products {1e3 * alone:.0f} ms: ratio {later / steps / alone:.2f} "
        f"(whole run of {2 * steps} steps {whole:.1f} s, compile {first - whole:.1f} s)"
    )


def numpy_messages(J, J_D, sweeps, rng):
    """`reinforced_messages` of one network, a vector operation for every visit; h after `sweeps` sweeps."""
    N = len(J)
    h, margin = 1e-3 * rng.standard_normal(N), J_D * math.sqrt(N)
    for _ in range(sweeps):
        for j in rng.permutation(N):
            w, m = J[j], np.clip(h, -1.0, 1.0)
            mean, sigma = w @ m, math.sqrt(max(w**2 @ (1.0 - m**2), 1e-3))
            up, down, rest = 0.5 * (1.0 + m[j]), 0.5 * (1.0 - m[j]), mean - w * m
            probability = lambda A: up * ndtr((margin + A) / sigma) + down * ndtr((margin - A) / sigma)
            plus, minus = probability(rest + w), probability(rest - w)
            push = (plus - minus) / (plus + minus)
            push[j] = 0.5 * (log_ndtr((mean + margin) / sigma) - log_ndtr((margin - mean) / sigma))
            h = np.clip(h + push, -1.0, 1.0)
    return h


def benchmark_messages(N=1000, samples=16, sweeps=20):
    """fbp over instances, per core, against a numpy loop over visits."""
    instances = network_instances(N=N, samples=samples, key=3)
    seconds = processor_time(lambda: reinforced_messages(instances, J_D=0.0, sweeps=sweeps))
    weights = instances.couplings[0] / instances.scale
    rng = np.random.default_rng(0)
    baseline = processor_time(lambda: numpy_messages(weights, 0.0, 2, rng)) / 2
    each = seconds / (samples * sweeps)
    print(
        f"  fbp, {samples} networks of N={N}: {1e3 * each:.2f} ms of a core for a sweep of a network, "
        f"numpy {1e3 * baseline:.0f} ms: ratio {baseline / each:.1f}"
    )


def main():
    print(f"jax {jax.__version__} on {jax.devices()[0].platform}, {os.cpu_count()} cores")
    print("exact enumeration, all 2^N weights: errors and mean weights, per instance")
    for N, P, samples in ((21, 10, 1), (21, 10, 16), (21, 42, 4), (15, 15, 512), (25, 10, 1)):
        benchmark_enumeration(N, P, samples)
    benchmark_others()
    print("recurrent networks")
    benchmark_parallel()
    benchmark_messages()
    print("Metropolis proposals, alpha = 0.5, beta = 1")
    for N, samples, chains, sweeps in (
        (101, 16, 4, 200),
        (1001, 1, 2, 100),
        (1001, 8, 4, 100),
        (4001, 8, 4, 10),
    ):
        benchmark_metropolis(N, samples, chains, sweeps, "pm1")
    benchmark_metropolis(1001, 8, 4, 100, "gaussian")


if __name__ == "__main__":
    main()
