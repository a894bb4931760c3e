"""`cite`: every source that a model or an ansatz names exists, and nothing else is listed."""

import re

import pytest

import replicax as rx
from replicax.top.cite import PAPERS, bibtex


def test_sources_exist_and_are_used():
    models = (
        rx.BinaryPerceptron,
        rx.SymmetricPerceptron,
        rx.SphericalPerceptron,
        rx.RecurrentNetwork,
        rx.RateNetwork,
        rx.RandomFeaturesERM,
        rx.RandomFeatures,
    )
    ansaetze = (
        rx.RS,
        rx.Frozen,
        rx.OneRSB,
        rx.KRSB,
        rx.FranzParisi,
        rx.Pair,
        rx.Interpolation,
        rx.LocalEntropy,
    )
    named = {key for thing in (*models, *ansaetze) for key in thing.sources}
    assert named == set(PAPERS)


def test_entries_of_this_very_computation():
    text = rx.cite(rx.BinaryPerceptron(alpha=0.5), rx.RS())
    assert re.findall(r"@(\w+)\{(\w+),", text) == [("article", "krauth1989"), ("article", "gardner1988")]
    assert "baldassi2015" in rx.cite(rx.RecurrentNetwork, rx.LocalEntropy)


@pytest.mark.parametrize("key", PAPERS)
def test_bibtex_is_balanced_and_dated(key):
    entry = bibtex(key)
    assert entry.count("{") == entry.count("}") and re.search(r"year = \{\d{4}\}", entry)


def test_a_model_without_sources_says_so():
    model = rx.Perceptron(alpha=0.5, prior=rx.Binary(), factor=rx.HardMargin(0.0))
    with pytest.raises(ValueError, match="names no sources"):
        rx.cite(model)
