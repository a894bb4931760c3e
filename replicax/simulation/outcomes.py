"""Why a run ended. An integer in compiled code, a word in results; only `solved` and `converged` are successes."""

from __future__ import annotations

import numpy as np

#: code -> word. `budget`: the sweeps were used up; `floor`: the variance of the cavity fields vanished, where the equations are
#: singular and a small step proves nothing; `collapsed`: the messages fell onto the reference itself; `lost`: an earlier point of the
#: same curve did not converge
OUTCOMES = ("converged", "solved", "budget", "diverged", "floor", "collapsed", "lost")
CONVERGED, SOLVED, BUDGET, DIVERGED, FLOOR, COLLAPSED, LOST = range(len(OUTCOMES))


def words(codes) -> np.ndarray:
    """The outcome of each run, as words."""
    return np.array(OUTCOMES)[np.asarray(codes)]
