"""Solutions around solutions, counted: against the double loop, and against the Franz-Parisi and pair entropies."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

import replicax as rx
from replicax.simulation import enumerate_neighbours, perceptron_instances


@pytest.mark.parametrize(
    "constraint, satisfied, kappa, kappa_ref",
    [("margin", lambda x, k: x >= k, -0.1, 0.2), ("rectangle", lambda x, k: np.abs(x) <= k, 0.8, 0.6)],
)
def test_double_loop(constraint, satisfied, kappa, kappa_ref):
    N = 9
    instances = perceptron_instances(N=N, alpha=0.5, samples=12)
    near = enumerate_neighbours(
        instances, kappa=kappa, kappa_ref=kappa_ref, y=(1.0, 2.5), constraint=constraint
    )
    W = 1 - 2 * ((np.arange(2**N)[:, None] >> np.arange(N)) & 1)
    distance = (N - W @ W.T) // 2
    for s, x in enumerate(instances.patterns / instances.scale):
        delta = W @ x.T / np.sqrt(N)
        solution, reference = (np.all(satisfied(delta, k), axis=1) for k in (kappa, kappa_ref))
        assert near.references[s] == reference.sum()
        if not reference.any():
            continue
        for t in range(N + 1):
            n = ((distance == t) & solution).sum(1)[reference].astype(float)
            assert near.pairs[s, t] == n.sum()
            assert abs(near.seen[s, t] - np.mean(n > 0)) < 1e-12
            if n.any():
                assert abs(near.log_count[s, t] - np.log(n[n > 0]).mean()) < 1e-12
                assert np.allclose(near.log_moments[s, :, t], np.log([n.sum(), np.sum(n**2.5)]))


@pytest.mark.parametrize("kappa_ref", [0.0, 0.3])
def test_franz_parisi(kappa_ref):
    """(1/N) E log of the counts over their binomial, 17 weights; 1/N corrections are below the errors (specification, section 5)."""
    N, t = 17, np.array([4, 5])
    instances = perceptron_instances(N=N, alpha=7 / N, samples=100)
    near = enumerate_neighbours(instances, kappa=0.0, kappa_ref=kappa_ref)
    x = (near.log_count - near.log_sphere)[:, t] / N
    seen, error = np.nanmean(x, axis=0), np.nanstd(x, axis=0) / np.sqrt(np.isfinite(x[:, 0]).sum())
    d = t / N
    theory = rx.solve(rx.BinaryPerceptron(alpha=7 / N), rx.FranzParisi(d=d, kappa_ref=kappa_ref))
    entropy = -d * np.log(d) - (1 - d) * np.log(1 - d)
    assert np.all(np.abs(seen - (theory.entropy - entropy)) < 3.5 * error + 0.005)


def test_pairs():
    """The mean number of pairs of solutions is exact at every size: 2^N C(N, t) P(both satisfied)^P."""
    N, P, kappa, samples = 11, 4, 1.0, 2000
    instances = perceptron_instances(N=N, alpha=P / N, samples=samples)
    near = enumerate_neighbours(instances, kappa=kappa, constraint="rectangle")
    for t in (1, 3, 5):
        rho = 1 - 2 * t / N
        both = multivariate_normal([0, 0], [[1, rho], [rho, 1]])
        inside = both.cdf([kappa, kappa], lower_limit=[-kappa, -kappa])
        exact = 2**N * np.exp(near.log_sphere[t]) * inside**P
        mean, error = near.pairs[:, t].mean(), near.pairs[:, t].std() / np.sqrt(samples)
        assert abs(mean - exact) < 4 * error
