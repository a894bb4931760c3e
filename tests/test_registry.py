"""The registry is derived from the classes: nothing is listed twice."""

import dataclasses
import re
from typing import ClassVar

import numpy as np
import pytest

import replicax as rx
from replicax.top import registry
from replicax.top.registry import Parameter


@pytest.mark.parametrize(
    "name, cls",
    [
        ("binary-perceptron", rx.BinaryPerceptron),
        ("symmetric-perceptron", rx.SymmetricPerceptron),
        ("spherical-perceptron", rx.SphericalPerceptron),
        ("recurrent-network", rx.RecurrentNetwork),
        ("rate-network", rx.RateNetwork),
    ],
)
def test_models_by_name(name, cls):
    assert registry.find_model(name) is cls
    assert list(registry.parameters(cls)) == [f.name for f in dataclasses.fields(cls)]


def test_names_are_kebab_case_of_the_classes():
    for name, cls in registry.models().items():
        assert name == re.sub("(?<=[a-z])(?=[A-Z])", "-", cls.__name__).lower()
    assert [registry.ansatze()[n] for n in ("rs", "1rsb", "krsb", "local-entropy")] == [
        rx.RS,
        rx.OneRSB,
        rx.KRSB,
        rx.LocalEntropy,
    ]


def test_every_model_with_a_name_is_public_and_listed():
    public = {
        getattr(rx, n) for room, names in rx._ROOMS.items() if room.startswith("theory.") for n in names
    }
    assert {c for c in public if issubclass(c, rx.Model) and c.name} == set(registry.models().values())
    assert {c for c in public if issubclass(c, rx.Ansatz) and c.name} == set(registry.ansatze().values())


def test_a_class_of_the_theory_appears_by_itself(monkeypatch):
    monkeypatch.setattr(registry, "models", lambda: registry._named_classes(rx.Model))

    class TernaryPerceptron(rx.BinaryPerceptron):
        name: ClassVar[str] = "ternary-perceptron"

    assert (
        "ternary-perceptron" not in registry.models()
    )  # a user's own class does not change the command line
    TernaryPerceptron.__module__ = "replicax.theory.ternary"
    assert registry.find_model("ternary-perceptron") is TernaryPerceptron
    TernaryPerceptron.__module__ = __name__


def test_ansatze_of_models():
    assert all("rs" in registry.ansatze_of(model) for model in registry.models().values())
    assert registry.solves(rx.KRSB, rx.SphericalPerceptron) and not registry.solves(
        rx.KRSB, rx.BinaryPerceptron
    )
    assert registry.solves(rx.LocalEntropy, rx.RecurrentNetwork)
    assert not registry.solves(rx.LocalEntropy, rx.SymmetricPerceptron)


def test_thresholds_of_models():
    of_binary = registry.thresholds_of(rx.BinaryPerceptron)
    assert {"capacity", "kappa-max", "freezing", "dat"} <= set(of_binary)
    assert of_binary["capacity"].parameter == "alpha" and of_binary["kappa-max"].parameter == "kappa"


@pytest.mark.parametrize(
    "call, words",
    [
        (
            lambda: registry.find_model("binary-percptron"),
            ("did you mean binary-perceptron?", "recurrent-network"),
        ),
        (lambda: registry.find_model("zzz"), ("unknown model 'zzz'; there are: binary-perceptron",)),
        (lambda: registry.find_ansatz("rsb", rx.BinaryPerceptron), ("unknown ansatz 'rsb'", "local-entropy")),
        (lambda: registry.find_ansatz("krsb", rx.BinaryPerceptron), ("krsb", "binary-perceptron", "rs")),
        (lambda: registry.find_threshold("capcity", rx.BinaryPerceptron), ("did you mean capacity?",)),
        (lambda: registry.find_threshold("freezing", rx.SymmetricPerceptron), ("which has: capacity",)),
        (lambda: registry.find_run("enumeraton", rx.BinaryPerceptron), ("did you mean enumeration?",)),
        (lambda: registry.find_run("metropolis", rx.RecurrentNetwork), ("which has: ", "enumeration")),
    ],
)
def test_errors_say_what_exists(call, words):
    with pytest.raises(ValueError) as error:
        call()
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


def parameter(cls, name) -> Parameter:
    return registry.parameters(cls)[name]


@pytest.mark.parametrize(
    "cls, name, text, value",
    [
        (rx.BinaryPerceptron, "alpha", "0.5", 0.5),
        (rx.BinaryPerceptron, "kappa", "-1e-3", -1e-3),
        (rx.BinaryPerceptron, "beta", "inf", np.inf),
        (rx.SymmetricPerceptron, "constraint", "u", "u"),
        (rx.LocalEntropy, "y", "star", "star"),
        (rx.LocalEntropy, "y", "4", 4.0),
        (rx.KRSB, "k", "0", 0),
    ],
)
def test_reading_values(cls, name, text, value):
    read = parameter(cls, name).read(text)
    assert read == value and type(read) is type(value)


@pytest.mark.parametrize(
    "cls, name, text, message",
    [
        (rx.BinaryPerceptron, "alpha", "-1", "alpha = -1 is outside the allowed range [0, inf)"),
        (rx.BinaryPerceptron, "alpha", "nan", "alpha = nan is outside the allowed range [0, inf)"),
        (rx.BinaryPerceptron, "alpha", "inf", "alpha = inf is outside the allowed range [0, inf)"),
        (rx.BinaryPerceptron, "alpha", "abc", "alpha = 'abc': expected a number in [0, inf)"),
        (rx.SymmetricPerceptron, "kappa", "0", "kappa = 0 is outside the allowed range (0, inf)"),
        (rx.SymmetricPerceptron, "constraint", "v", "constraint = v is not one of rectangle, u"),
        (rx.LocalEntropy, "y", "stars", "y = 'stars': expected a number in (0, inf] or star"),
        (rx.RecurrentNetwork, "N", "2.5", "N = 2.5 is outside the allowed range an integer in [2, inf]"),
    ],
)
def test_reading_bad_values(cls, name, text, message):
    with pytest.raises(ValueError) as error:
        parameter(cls, name).read(text)
    assert str(error.value) == message


def test_truth_values_of_algorithms():
    options = registry.run_parameters(registry.find_run("enumeration", rx.BinaryPerceptron))
    assert options["strict"].read("true") is True and options["strict"].read("false") is False
    assert str(options["strict"]) == "strict=false" and options["N"].read("21") == 21


def test_parameters_of_a_validation():
    both = registry.validation_parameters(rx.BinaryPerceptron)
    alone = registry.validation_parameters(rx.BinaryPerceptron, "metropolis")
    assert both["algorithm"].choices == alone["algorithm"].choices == ("enumeration", "metropolis")
    assert alone["N"].read("500") == 500
    with pytest.raises(ValueError, match="N = 500 is outside"):
        both["N"].read("500")


def test_the_catalogue_has_everything_with_its_documentation():
    catalogue = registry.catalogue()
    assert list(catalogue) == ["models", "ansatze", "thresholds", "algorithms", "figures"]
    assert set(catalogue["figures"]) == set(registry.figures())
    for entry in (*catalogue["models"].values(), *catalogue["ansatze"].values()):
        assert entry["summary"] and all(entry["parameters"].values())
    assert "alpha" in catalogue["models"]["binary-perceptron"]["parameters"]
    assert "beta=inf" in catalogue["models"]["binary-perceptron"]["parameters"]
    assert catalogue["models"]["symmetric-perceptron"]["thresholds"][0] == "capacity (alpha)"
    assert "binary-perceptron (alpha)" in catalogue["thresholds"]["capacity"]["models"]
