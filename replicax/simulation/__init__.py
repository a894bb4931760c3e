"""Simulations: seeded instances, exact enumeration, Monte Carlo. Nothing here knows the theory."""

from .enumeration import (
    ErrorHistograms,
    enumerate_histograms,
    enumerate_perceptron,
    enumerate_stabilities,
)
from .fixed_points import ViolationHistograms, enumerate_fixed_points, enumerate_violations
from .instances import (
    NetworkInstances,
    PerceptronInstances,
    as_key,
    network_instances,
    number_of_patterns,
    perceptron_instances,
)
from .metropolis import metropolis_perceptron, metropolis_series
from .statistics import Statistic

__all__ = [
    "ErrorHistograms",
    "NetworkInstances",
    "PerceptronInstances",
    "Statistic",
    "ViolationHistograms",
    "as_key",
    "enumerate_fixed_points",
    "enumerate_histograms",
    "enumerate_perceptron",
    "enumerate_stabilities",
    "enumerate_violations",
    "metropolis_perceptron",
    "metropolis_series",
    "network_instances",
    "number_of_patterns",
    "perceptron_instances",
]
