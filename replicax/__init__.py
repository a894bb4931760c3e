"""replicax: the replica theory of neural networks, differentiable and in batches, checked against simulation.

Importing replicax turns on 64-bit floats in JAX (the theory needs them); set ``REPLICAX_ENABLE_X64=0`` to leave the
setting alone.
"""

import importlib as _importlib
import os as _os

import jax as _jax

if _os.environ.get("REPLICAX_ENABLE_X64", "1") != "0":
    _jax.config.update("jax_enable_x64", True)

#: every public name, once, and the room it lives in
_ROOMS = {
    "theory.models": (
        "Model", "Perceptron", "BinaryPerceptron", "SymmetricPerceptron", "SphericalPerceptron", "RecurrentNetwork",
        "RateNetwork", "RandomFeatures", "RandomFeaturesERM",
    ),
    "vocabulary.priors": ("Prior", "Binary", "Spherical"),
    "vocabulary.labels": ("Labels", "Teacher"),
    "vocabulary.losses": ("Loss",),
    "vocabulary.spectra": ("Spectrum", "MarchenkoPastur", "Orthogonal", "Empirical"),
    "vocabulary.factors": ("Factor", "HardMargin", "Errors", "SquaredHinge", "Rectangle", "UFunction"),
    "theory.ansatz": ("Ansatz", "RS", "Frozen", "OneRSB", "KRSB", "FranzParisi", "Pair", "Interpolation", "LocalEntropy"),
    "answers.solve": ("solve", "Solution"),
    "answers.thresholds": ("threshold", "Threshold"),
    "answers.phase": ("phase",),
    "answers.branch": ("branch", "Branch"),
    "answers.sweep": ("sweep", "load_dataset", "save_dataset"),
    "answers.functional": ("free_entropy",),
    "simulation.statistics": ("Statistic",),
    "top.simulate": ("simulate",),
    "top.validate": ("validate",),
    "top.cite": ("cite",),
    "top.figures": ("figure",),
}  # fmt: skip
_NAMES = {name: room for room, names in _ROOMS.items() for name in names}
__all__ = sorted(_NAMES)


def __getattr__(name: str):
    if name not in _NAMES:
        raise AttributeError(f"module 'replicax' has no attribute {name!r}")
    value = getattr(_importlib.import_module(f"replicax.{_NAMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
