"""Speed of the theory: replica-symmetric points, a phase diagram, the large-deviation functional, the command line.

    python benchmarks/theory.py

Pinned to one core, and timed by what the process used of it, so that other work on the machine does not count.  Compilation and running are
timed apart.  The two baselines solve the same points to the same residual in the same
run: a damped iteration whose integrals are `scipy.integrate.quad`, and a vectorised numpy Newton on the same quadrature nodes.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time

import jax
import numpy as np
from scipy.integrate import quad
from scipy.special import log_ndtr

import replicax as rx
from replicax.numerics.quadrature import gaussian_rule

RESIDUAL = 1e-10
CAPACITY = 4.0 / np.pi  # q -> 1 for w = +-1 at kappa = 0
LOG_2PI = np.log(2 * np.pi)


def timed(function, repeats=5):
    """(first call, fastest later call) in seconds, and the result."""
    start = time.process_time()
    result = jax.block_until_ready(function())
    first, later = time.process_time() - start, []
    for _ in range(repeats):
        start = time.process_time()
        result = jax.block_until_ready(function())
        later.append(time.process_time() - start)
    return first, min(later), result


def mills(u):
    """G(u)/H(u)."""
    return np.exp(-0.5 * u * u - 0.5 * LOG_2PI - log_ndtr(-u))


def quad_overlap(alpha, damping=0.5):
    """q of the binary perceptron at kappa = 0 by damped iteration; every integral by `quad`."""
    weight = lambda z: np.exp(-0.5 * z * z - 0.5 * LOG_2PI)
    q = 0.5
    for _ in range(10_000):
        scale = np.sqrt(q / (1 - q))
        score = quad(lambda z: weight(z) * mills(scale * z) ** 2, -9, 9, epsabs=1e-13)[0] / (1 - q)
        field = np.sqrt(alpha * score)
        new = quad(lambda z: weight(z) * np.tanh(field * z) ** 2, -9, 9, epsabs=1e-13)[0]
        if abs(new - q) < RESIDUAL * q:
            return new
        q += damping * (new - q)
    raise RuntimeError(f"alpha = {alpha}: the damped iteration did not converge")


def numpy_overlaps(alpha, kappa, n=128):
    """q of many points at once: Newton in x = log(q_hat/alpha) on the nodes that replicax uses, slope by a difference."""

    def residual(x):
        q_hat = alpha * np.exp(x)
        root = np.sqrt(q_hat)
        site = gaussian_rule((np.zeros_like(x),), (1 / root,), n, even=True)
        y = root[:, None] * np.asarray(site.nodes)
        weights, e = np.asarray(site.weights), np.exp(-2 * np.abs(y))
        q, V = (weights * np.tanh(y) ** 2).sum(-1), (weights * 4 * e / (1 + e) ** 2).sum(-1)
        factor = gaussian_rule((kappa / np.sqrt(q),), (np.sqrt(V / q),), n)
        u = (kappa[:, None] - np.sqrt(q)[:, None] * np.asarray(factor.nodes)) / np.sqrt(V)[:, None]
        return x - np.log((np.asarray(factor.weights) * mills(u) ** 2).sum(-1) / V), q

    x = np.log(mills(kappa) ** 2)
    for _ in range(50):
        value, q = residual(x)
        if np.max(np.abs(value)) < RESIDUAL:
            return q
        slope = (residual(x + 1e-6)[0] - value) / 1e-6
        x = x - np.clip(value / slope, -2.0, 2.0)
    raise RuntimeError("numpy Newton did not converge")


def benchmark_points(count=1000):
    random = np.random.default_rng(0)
    alpha, kappa = random.uniform(0.05, 0.95, count) * CAPACITY, np.zeros(count)
    solve = jax.jit(jax.vmap(lambda a, k: rx.solve(rx.BinaryPerceptron(alpha=a, kappa=k))))
    first, later, answer = timed(lambda: solve(alpha, kappa))
    assert bool(np.all(answer.converged)) and float(np.max(answer.residual)) <= RESIDUAL
    root = jax.jit(jax.vmap(lambda a, k: rx.solve(rx.BinaryPerceptron(alpha=a, kappa=k)).order.q))
    bare = timed(lambda: root(alpha, kappa))[1]
    few = slice(0, 20)
    start = time.process_time()
    by_quad = np.array([quad_overlap(a) for a in alpha[few]])
    slow = (time.process_time() - start) / len(by_quad)
    _, newton, by_numpy = timed(lambda: numpy_overlaps(alpha, kappa), 2)
    np.testing.assert_allclose(answer.q[few], by_quad, rtol=1e-7)
    np.testing.assert_allclose(answer.q, by_numpy, rtol=1e-8)
    print(f"  compile {first - later:.2f} s, {count} points from a cold start, residual <= {RESIDUAL:g}:")
    print(f"  all observables, errors and flags      {1e6 * later / count:8.1f} us a point")
    print(f"  order parameters only                  {1e6 * bare / count:8.1f} us a point")
    print(
        f"  numpy Newton, same nodes (q only)      {1e6 * newton / count:8.1f} us a point, ratio {newton / bare:.1f}"
    )
    print(
        f"  scipy quad, damped iteration (q only)  {1e6 * slow:8.0f} us a point, ratio {slow * count / bare:.0f}"
    )


def benchmark_diagram():
    def diagram():
        alpha, kappa = np.meshgrid(np.linspace(0.01, 1.2, 200), np.linspace(-1, 1, 201), indexing="ij")
        return rx.solve(rx.BinaryPerceptron(alpha=alpha, kappa=kappa)).entropy

    first, later, entropy = timed(diagram, 2)
    share = float(np.mean(np.isfinite(entropy)))
    print(
        f"  200 x 201 points: first call {first:.1f} s, later {later:.2f} s ({100 * share:.0f} % below q = 1)"
    )


def benchmark_cluster():
    """Phi(m, q1) of the recurrent network, r1 solved for at every point."""
    m, q1 = np.meshgrid(np.geomspace(1, 32, 16), np.linspace(0.05, 0.95, 16))
    run = lambda: rx.solve(rx.RecurrentNetwork(J_D=0.3), rx.LocalEntropy(q1=q1, y=m)).phi
    first, later, phi = timed(run, 3)
    assert bool(np.all(np.isfinite(phi)))
    print(
        f"  m in [1, 32], q1 in [0.05, 0.95]: compile {first - later:.1f} s, {1e3 * later / m.size:.2f} ms a point"
    )


def benchmark_franz_parisi():
    """Along d around a typical solution, from cold starts, all columns."""
    d = np.geomspace(1e-3, 0.5, 64)
    run = lambda: rx.solve(rx.BinaryPerceptron(alpha=0.5), rx.FranzParisi(d=d))
    first, later, answer = timed(run, 3)
    assert bool(np.all(answer.converged))
    steps = np.asarray(answer.steps)
    print(
        f"  {d.size} distances: compile {first - later:.1f} s, {1e3 * later / d.size:.1f} ms a point, "
        f"{np.median(steps):.0f} Newton steps (at most {steps.max():.0f})"
    )


def benchmark_teacher():
    """All branches of the binary teacher: the matched student, and margins at which there are up to two branches of R < 1."""
    rng = np.random.default_rng(1)
    alpha = rng.uniform(0.05, 2.0, 512)
    for name, kappa in (("kappa = 0", 0.0), ("kappa in [-.3, -.001]", -(10 ** rng.uniform(-3.0, -0.5, 512)))):
        run = lambda: rx.solve(rx.BinaryPerceptron(alpha=alpha, kappa=kappa, labels="teacher"))
        first, later, answer = timed(run, 3)
        print(
            f"  {name:<22} compile {first - later:.1f} s, {1e3 * later / alpha.size:.2f} ms a point, "
            f"{np.mean(answer.converged):.0%} have a solution"
        )


def benchmark_local_entropy():
    """Along d from cold starts, all columns: y replicas, and references of either kind."""
    binary, sphere = rx.BinaryPerceptron(alpha=0.6), rx.SphericalPerceptron(alpha=2.0, kappa=-0.5)
    cases = (
        ("binary, replicas", binary, dict(), (4.0, np.inf, "star"), 64),
        ("binary, reference", binary, dict(ensemble="reference"), (4.0, np.inf, "star"), 64),
        ("binary, constrained", binary, dict(ensemble="constrained"), (4.0, np.inf), 8),
        ("sphere, replicas", sphere, dict(), (4.0, np.inf), 64),
        ("sphere, reference", sphere, dict(ensemble="reference"), (4.0, np.inf), 64),
        ("sphere, constrained", sphere, dict(ensemble="constrained"), (4.0,), 8),
    )
    for name, model, ensemble, numbers, count in cases:
        d = np.linspace(0.02, 0.1, count)
        for y in numbers:
            first, later, answer = timed(
                lambda y=y, d=d: rx.solve(model, rx.LocalEntropy(d=d, y=y, **ensemble)), 2
            )
            solved = 100 * float(np.mean(answer.converged))
            print(
                f"  {name:20s} y = {y!s:5s} compile {first - later:6.1f} s, {1e3 * later / count:7.2f} ms a point "
                f"({count} points, {solved:.0f} % have a solution)",
                flush=True,
            )


def benchmark_sphere(ks=(1, 2, 3, 6, np.inf)):
    """Steps of breaking of the sphere, from cold starts: solutions, ground states, jamming."""
    points = ((-0.5, 4.2), (-1.0, 10.0), (-1.5, 25.0), (-2.0, 105.0))
    for k in ks:
        seconds, errors, compiled = [], [], 0.0
        for kappa, alpha in points:
            run = lambda a=alpha, x=kappa: rx.solve(rx.SphericalPerceptron(alpha=a, kappa=x), rx.KRSB(k=k))
            first, later, answer = timed(run, 1)
            assert bool(answer.converged), (kappa, alpha, k, answer.status)
            seconds.append(later)
            errors.append(float(answer.quadrature_error))
            compiled = max(compiled, first - later)
        print(
            f"  k = {k}, {len(points)} solutions: compile {compiled:5.1f} s, {1e3 * np.median(seconds):6.0f} ms a point "
            f"(at most {1e3 * max(seconds):.0f}), quadrature error at most {max(errors):.0e}",
            flush=True,
        )
    alpha = np.linspace(1.0, 3.9, 32)
    run = lambda: rx.solve(rx.SphericalPerceptron(alpha=alpha, kappa=-0.5), rx.KRSB(k=1))
    first, later, answer = timed(run, 1)
    assert bool(np.all(answer.converged)) and bool(np.all(answer.m == 1.0))
    print(
        f"  k = 1, {alpha.size} solutions that break nothing: {1e3 * later / alpha.size:.0f} ms a point",
        flush=True,
    )
    for loss in ("errors", "squared-hinge"):
        run = lambda x=loss: rx.solve(rx.SphericalPerceptron(alpha=6.0, kappa=-0.5, loss=x), rx.KRSB(k=1))
        first, later, answer = timed(run, 3)
        print(
            f"  ground state, {loss}, k = 1: compile {first - later:.1f} s, {1e3 * later:.0f} ms, e = {float(answer.energy):.8f}",
            flush=True,
        )
    for kappa in (-0.5, -2.0):
        run = lambda x=kappa: rx.threshold(rx.SphericalPerceptron(kappa=x), "jamming", k=np.inf)
        first, later, answer = timed(run, 1)
        print(
            f"  jamming, k = inf, kappa = {kappa}: compile {first - later:.1f} s, {later:.2f} s, "
            f"alpha_J = {float(answer.value):.7f}, relative error bar {float(answer.error / answer.value):.1e}",
            flush=True,
        )


def benchmark_erm():
    """Minima of convex losses on random features along double descent, from cold starts, all columns."""
    alpha, lam = np.meshgrid(np.geomspace(0.1, 10, 64), 10.0 ** np.arange(-3.5, 0.1, 0.5))
    for loss in ("square", "logistic", "hinge", "margin"):
        model = rx.RandomFeaturesERM(alpha=alpha, alpha_T=3.0, lam=lam, rho=0.9, loss=loss)
        first, later, answer = timed(lambda model=model: rx.solve(model), 3)
        solved = 100 * float(np.mean(answer.converged))
        print(
            f"  {loss:9s} compile {first - later:5.1f} s, {1e3 * later / alpha.size:5.2f} ms a point "
            f"({alpha.size} points, {solved:.0f} % have a solution)"
        )


SWEEP = """
import resource, numpy as np, replicax as rx
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
rx.sweep(rx.BinaryPerceptron, rx.RS(), alpha=np.linspace(.01, 1.2, 200), kappa=np.linspace(-1, 1, 200))
print(before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def benchmark_memory():
    out = subprocess.run([sys.executable, "-c", SWEEP], capture_output=True, text=True, check=True).stdout
    before, after = (int(x) / 2**20 for x in out.split()[-2:])
    print(f"  sweep of 40000 points: {after:.2f} GB at most, {before:.2f} GB of it before the sweep")


def children():
    """Seconds of processor time that finished child processes have used."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def benchmark_command_line():
    commands = (
        ["list"],
        ["solve", "binary-perceptron", "alpha=0.5"],
        ["threshold", "binary-perceptron", "capacity", "kappa=0"],
        ["solve", "binary-perceptron", "alpha=-1"],
    )
    with tempfile.TemporaryDirectory() as cache:
        for command in commands:
            seconds = []
            for _ in range(2):
                before = children()
                subprocess.run(
                    [sys.executable, "-m", "replicax", *command],
                    env={**os.environ, "REPLICAX_CACHE": cache},
                    capture_output=True,
                )
                seconds.append(children() - before)
            print(f"  replicax {' '.join(command):44s} first {seconds[0]:5.1f} s, second {seconds[1]:4.1f} s")


def main():
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # before jax starts its threads
    print(f"jax {jax.__version__} on {jax.devices()[0].platform}, one core")
    print("memory")  # first: a child starts with the peak of its parent
    benchmark_memory()
    print("replica-symmetric points of the binary perceptron")
    benchmark_points()
    print("phase diagram")
    benchmark_diagram()
    print("large deviations of the recurrent network")
    benchmark_cluster()
    print("binary teacher, alpha in [.05, 2]")
    benchmark_teacher()
    print("Franz-Parisi entropy of the binary perceptron")
    benchmark_franz_parisi()
    print("local entropies of the perceptrons")
    benchmark_local_entropy()
    print("steps of replica symmetry breaking on the sphere")
    benchmark_sphere()
    print("convex losses on random features")
    benchmark_erm()
    print("command line")
    benchmark_command_line()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory of this process {peak:.2f} GB")


if __name__ == "__main__":
    main()
