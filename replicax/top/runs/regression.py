"""Random features fitted by a convex loss."""

import numpy as np

from replicax.simulation.regression import regression
from replicax.top.runs import KEY, Run, enter, integer

_PARAMETERS = dict(
    N=integer(200, 1, 2**14, "number of features"),
    samples=integer(16, 1, np.inf, "number of instances"),
    key=KEY,
    tests=integer(4000, 1, np.inf, "fresh patterns for test, eps, Q and M"),
)

enter(
    "regression",
    "the minimum of the loss on real features: linear equations, Newton, or the dual of the margin",
    {"random-features-erm": Run(regression, _PARAMETERS)},
)
