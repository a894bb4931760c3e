"""Simulations: seeded instances, exact enumeration, Monte Carlo, learning algorithms. Nothing here knows the theory."""

from .annealing import annealing
from .cavity import belief_propagation
from .descent import entropy_sgd, replicated_sgd
from .dynamics import integrate, parallel, sequential
from .edmc import edmc
from .enumeration import (
    ErrorHistograms,
    enumerate_histograms,
    enumerate_perceptron,
    enumerate_stabilities,
)
from .fixed_points import ViolationHistograms, enumerate_fixed_points, enumerate_violations
from .focusing import focus
from .gamp import gamp
from .gradient import spherical_gradient, stochastic_weights
from .instances import (
    NetworkInstances,
    PerceptronInstances,
    as_key,
    network_instances,
    number_of_patterns,
    perceptron_instances,
)
from .learning import Solutions, learnable
from .linear_program import linear_program
from .local_entropy import local_entropy
from .max_sum import max_sum
from .metropolis import metropolis_perceptron, metropolis_series
from .neighbours import Neighbours, enumerate_neighbours
from .network_messages import reinforced_messages
from .random_features import enumerate_random_features
from .regression import regression
from .relaxation import relaxation
from .sbpi import cpr, sbpi
from .sphere import langevin, sample_sphere, typical_solutions
from .statistics import Statistic

__all__ = [
    "ErrorHistograms",
    "Neighbours",
    "NetworkInstances",
    "PerceptronInstances",
    "Solutions",
    "Statistic",
    "ViolationHistograms",
    "annealing",
    "as_key",
    "belief_propagation",
    "cpr",
    "edmc",
    "entropy_sgd",
    "enumerate_fixed_points",
    "enumerate_histograms",
    "enumerate_neighbours",
    "enumerate_perceptron",
    "enumerate_random_features",
    "enumerate_stabilities",
    "enumerate_violations",
    "focus",
    "gamp",
    "integrate",
    "langevin",
    "learnable",
    "linear_program",
    "local_entropy",
    "max_sum",
    "metropolis_perceptron",
    "metropolis_series",
    "network_instances",
    "number_of_patterns",
    "parallel",
    "perceptron_instances",
    "regression",
    "reinforced_messages",
    "relaxation",
    "replicated_sgd",
    "sample_sphere",
    "sbpi",
    "sequential",
    "spherical_gradient",
    "stochastic_weights",
    "typical_solutions",
]
