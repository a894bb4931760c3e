r"""Points of the sphere at negative margin by a linear program.

The polytope x.W/sqrt(N) >= kappa, kappa < 0, contains 0. A random direction v is maximised over it; where the vertex W has |W|^2 >= N, it is drawn
back to the sphere, which shrinks all stabilities and keeps them above kappa. Montanari, Zhong & Zhou, arXiv:2110.15824. It reaches less than
descent: at N = 200, kappa = -1/2 (kappa = -1) 8 of 8 instances at alpha = 2.5 (4), 5 of 8 at 3 (7 of 8 at 6), none at 4 (7); projected gradient,
at N = 400, 8 of 8 at 4.25 (9).
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linprog

from .instances import sample_seeds
from .learning import Solutions, learnable, spherical_solutions

_BOX = 100.0  # |W_i| of a polytope that is not bounded


def linear_program(X, y=None, *, kappa: float, key=0) -> Solutions:
    """One linear program for each instance ([samples,] P, N), kappa < 0; where its vertex is inside the sphere, W is v. steps: 1."""
    instances = learnable(X, y, kappa=kappa)
    if kappa >= 0.0:
        raise ValueError(f"kappa = {kappa:g} is not allowed: kappa must be < 0, where 0 is in the polytope")
    N, W = instances.N, []
    for x, seed in zip(instances.patterns, sample_seeds(key, instances.samples, "direction")):
        v = np.random.default_rng(seed).standard_normal(N)
        rows = x / (instances.scale * np.sqrt(N))
        found = linprog(-v, A_ub=-rows, b_ub=np.full(len(rows), -kappa), bounds=(-_BOX, _BOX), method="highs")
        vertex = v if found.x is None or found.x @ found.x < N else found.x
        W.append(vertex * np.sqrt(N / (vertex @ vertex)))
    return spherical_solutions(instances, np.stack(W), np.ones(instances.samples, int), 1, kappa)
