"""Theory against simulation of the same model object; and that a wrong theory is found out."""

import dataclasses
import math

import jax
import numpy as np
import pytest

import replicax as rx
from replicax.simulation import (
    Statistic,
    enumerate_fixed_points,
    enumerate_neighbours,
    enumerate_perceptron,
    perceptron_instances,
)
from replicax.top import validate as room
from replicax.top.finite_size import (
    controls,
    default_sizes,
    extrapolate,
    finite_parameters,
    measure,
    satisfied_probability,
)
from replicax.top.runs import algorithms
from replicax.top.simulate import plain_parameters, simulate
from replicax.top.validate import COLUMNS, enumeration_points, validate


def limits(validation, quantity):
    return [row for row in validation.rows if row.quantity == quantity and row.extrapolated]


# -------------------------------------------------------------------------------------------------- simulate


def test_simulate_is_the_wing_with_plain_numbers():
    model = rx.BinaryPerceptron(alpha=0.5, kappa=0.1, beta=2.0)
    ours = simulate(model, "enumeration", N=9, samples=20, key=3, patterns="pm1", strict=True)
    theirs = enumerate_perceptron(
        N=9, alpha=0.5, kappa=0.1, beta=2.0, samples=20, key=3, patterns="pm1", strict=True
    )
    assert ours.keys() == theirs.keys()
    assert all(ours[k].mean == theirs[k].mean and ours[k].error == theirs[k].error for k in ours)
    table = ours.table()
    assert table["samples"] == 20 and table["N"] == 9 and table["phi_err"] == ours["phi"].error
    assert "solved_err" in table and "binary-perceptron, enumeration" in repr(ours)


def test_simulate_symmetric_and_network():
    u = simulate(rx.SymmetricPerceptron(alpha=0.5, kappa=0.5, constraint="u"), N=9, samples=20)
    assert (
        u["phi"].mean
        == enumerate_perceptron(N=9, alpha=0.5, kappa=0.5, constraint="u", samples=20)["phi"].mean
    )
    network = rx.RecurrentNetwork(J_D=[0.1, 0.5], couplings="pm1", N=8)
    ours = simulate(network, samples=20)
    theirs = enumerate_fixed_points(N=8, J_D=[0.1, 0.5], couplings="pm1", samples=20)
    np.testing.assert_array_equal(ours["number"].mean, theirs["number"].mean)


def test_metropolis_columns():
    model = rx.BinaryPerceptron(alpha=0.5, beta=0.5)
    run = simulate(model, "metropolis", N=50, samples=3, sweeps=20, warmup=10, chains=2)
    assert set(run) == {"energy", "q"} and {"r_hat", "tau"} <= set(run.table())
    assert set(simulate(model, "metropolis", N=50, samples=3, sweeps=20, chains=1)) == {"energy"}


@pytest.mark.parametrize("name", algorithms())
def test_every_parameter_is_documented_and_its_default_allowed(name):
    for run in algorithms()[name].runs.values():
        for parameter, meta in run.parameters.items():
            assert meta["doc"], parameter
            if "choices" in meta:
                assert meta["default"] in meta["choices"]
            elif meta["default"] is None:
                assert "not given" in meta["doc"]
            elif meta["numeric"]:
                assert meta["low"] <= meta["default"] <= meta["high"]


B, S, R = rx.BinaryPerceptron, rx.SymmetricPerceptron, rx.RecurrentNetwork


@pytest.mark.parametrize(
    "model, algorithm, params, words",
    [
        (B(alpha=[0.1, 0.2]), "enumeration", {}, ["alpha", "(2,)", "one number"]),
        (B(alpha=0.1, kappa=[0.0]), "enumeration", {}, ["kappa", "(1,)"]),
        (S(alpha=0.1, kappa=np.ones((2, 2))), "enumeration", {}, ["kappa", "(2, 2)"]),
        (R(J_D=0.1, eta=[0.1]), "enumeration", {}, ["eta", "one number"]),
        (B(kappa=0.1), "enumeration", {}, ["alpha", "missing"]),
        (B(alpha=0.1), "gibbs", {}, ["algorithm", "gibbs", "enumeration, metropolis"]),
        (B(alpha=0.1), "metropolis", {}, ["beta", "inf", "finite"]),
        (S(alpha=0.1, kappa=1.0), "metropolis", {}, ["symmetric-perceptron", "binary-perceptron"]),
        (rx.SphericalPerceptron(alpha=0.1), "enumeration", {}, ["spherical-perceptron", "recurrent-network"]),
        (B(alpha=0.1), "enumeration", {"N": 26}, ["N", "26", "[1, 25]"]),
        (B(alpha=0.1), "enumeration", {"N": 7.5}, ["N", "7.5", "integer"]),
        (B(alpha=0.1), "enumeration", {"samples": 0}, ["samples", "0", "[1, inf)"]),
        (B(alpha=0.1), "enumeration", {"samples": [3]}, ["samples", "[3]"]),
        (B(alpha=0.1), "enumeration", {"key": -1}, ["key", "-1"]),
        (B(alpha=0.1), "enumeration", {"patterns": "uniform"}, ["patterns", "uniform", "gaussian, pm1"]),
        (B(alpha=0.1), "enumeration", {"strict": "yes"}, ["strict", "yes", "True or False"]),
        (B(alpha=0.1), "enumeration", {"sweeps": 3}, ["sweeps", "3", "patterns"]),
        (R(J_D=0.1), "enumeration", {"patterns": "pm1"}, ["patterns", "pm1", "N, samples"]),
        (R(J_D=0.1, N=10), "enumeration", {"N": 9}, ["N", "9", "10"]),
        (B(alpha=0.1, beta=1.0), "metropolis", {"sweeps": 3}, ["sweeps", "3", "[4, inf)"]),
    ],
)
def test_bad_arguments(model, algorithm, params, words):
    with pytest.raises(ValueError) as error:
        simulate(model, algorithm, **params)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_not_inside_a_transformation():
    with pytest.raises(ValueError, match=r"alpha.*jit"):
        jax.jit(lambda a: simulate(B(alpha=a), N=5, samples=2)["phi"].mean)(0.5)


# ----------------------------------------------------------------------------------------------- finite size


@pytest.mark.parametrize("patterns", ["gaussian", "pm1"])
def test_control_variates_have_mean_zero(patterns):
    x = controls(perceptron_instances(N=7, alpha=5 / 7, samples=20000, key=1, patterns=patterns))
    error = x.std(0, ddof=1) / math.sqrt(len(x))
    assert np.all(np.abs(x.mean(0)) <= 4 * error)
    if patterns == "pm1":
        assert np.all(x[:, 1] == 0.0)


def test_control_variates_reduce_errors_and_keep_the_mean():
    """64 independent batches: the regressed means scatter as their errors say, and less than the raw ones."""
    plain = plain_parameters(B(alpha=0.5, beta=1.0))
    regressed = [measure(plain, 8, 100, key).observables["phi"] for key in range(64)]
    keys = [jax.random.fold_in(jax.random.key(key), 8) for key in range(64)]
    raw = [enumerate_perceptron(N=8, alpha=0.5, beta=1.0, samples=100, key=key)["phi"] for key in keys]
    mean, reference = (Statistic.from_samples([s.mean for s in x]) for x in (regressed, raw))
    assert abs(mean.mean - reference.mean) < 4 * reference.error
    assert mean.error < 0.6 * reference.error
    assert mean.error == pytest.approx(np.mean([s.error for s in regressed]) / 8, rel=0.35)


def test_extrapolation_of_known_series():
    N = np.array([17.0, 14.0, 11.0])
    r, error = extrapolate(N, 0.3 + 2.0 / N, [1e-6] * 3)
    assert r == pytest.approx(0.3, abs=1e-4) and error < 1e-3
    r, error = extrapolate(N, 0.3 + 2.0 / N + 1.0 / N**2, [1e-3] * 3)  # b one standard deviation of its prior
    assert abs(r - 0.3) < 1.5 * error and 0.003 < error < 0.01
    x = 0.3 + 0.05 / N + np.random.default_rng(0).normal(size=(2000, 3)) * 1e-2
    fits = np.array([extrapolate(N, row, [1e-2] * 3, curvature=1e-6) for row in x])
    assert np.std(fits[:, 0]) == pytest.approx(fits[0, 1], rel=0.08)  # the propagated error is the actual one
    assert np.isnan(extrapolate(N, [0.1, np.nan, 0.1], [1e-2] * 3)).all()


def test_default_sizes_hit_alpha():
    assert default_sizes(0.4, 20) == (20, 15, 12) or default_sizes(0.4, 20)[:2] == (20, 15)
    assert default_sizes(1.0, 17) == (17, 14, 11)
    assert all(n % 2 == 0 for a in (0.3, 0.5, 0.7) for n in default_sizes(a, 16, patterns="pm1"))
    assert all(len(default_sizes(a, 17)) == 3 for a in (0.0, 0.13, 0.5, 2.7))


@pytest.mark.parametrize(
    "constraint, kappa", [("margin", 0.0), ("margin", 0.3), ("rectangle", 1.1), ("u", 0.7)]
)
@pytest.mark.parametrize("strict", [False, True])
def test_lattice_margin_is_second_order(constraint, kappa, strict):
    """P(satisfied) of +-1 patterns is that of Gaussian ones at kappa_N, up to O(1/N)."""
    plain = dict(alpha=0.5, kappa=kappa, constraint=constraint)
    for N in (24, 25, 100, 101):
        _, effective = finite_parameters(plain, N, patterns="pm1", strict=strict)
        exact = satisfied_probability(kappa, N, constraint=constraint, patterns="pm1", strict=strict)
        assert abs(exact - satisfied_probability(effective, N, constraint=constraint)) < 0.1 / N
        assert abs(effective - kappa) <= 1.0 / math.sqrt(N) + 1e-9


def test_strict_convention_at_a_tie():
    """N even, kappa = 0: P(Delta >= 0) - P(Delta > 0) = P(Delta = 0)."""
    loose, tight = (satisfied_probability(0.0, 10, patterns="pm1", strict=s) for s in (False, True))
    assert loose - tight == pytest.approx(math.comb(10, 5) / 2**10) and loose + tight == pytest.approx(1.0)


# -------------------------------------------------------------------------------------------------- validate


def test_table_and_repr():
    found = validate(B(alpha=0.0), N=8, samples=20)
    assert tuple(found.table()) == COLUMNS and len({len(c) for c in found.table().values()}) == 1
    assert limits(found, "phi")[0].simulation == pytest.approx(math.log(2.0), abs=1e-9)
    assert found.worst < 1e-3 and "quantity" in repr(found)


@pytest.mark.parametrize(
    "model, options",
    [
        (B(alpha=0.4), {}),
        (B(alpha=1.0, kappa=-0.5), {}),
        (B(alpha=0.5, kappa=0.1, beta=2.0), {}),
        (B(alpha=0.3), {"patterns": "pm1"}),
        (B(alpha=0.5, beta=1.0), {"patterns": "pm1", "strict": True}),
        (B(alpha=0.25), {"patterns": "pm1", "N": 16}),
        (S(alpha=0.5, kappa=0.8), {}),
        (S(alpha=0.5, kappa=0.5, constraint="u"), {}),
    ],
)
def test_perceptrons_agree(model, options):
    found = validate(model, **dict(N=15, samples=300, key=1, algorithm="enumeration") | options)
    assert found.worst < 4, repr(found)
    (row,) = limits(found, "phi")
    assert row.N == math.inf and not math.isnan(row.z) and row.error < 0.012
    finite = [r for r in found.rows if not r.extrapolated]
    assert all(math.isnan(r.z) for r in finite if r.quantity != "first-moment")
    assert sum(not math.isnan(r.z) for r in finite) >= 2  # the exact first moments


@pytest.mark.parametrize("field, shift", [("kappa", 0.1), ("alpha", 0.1), ("beta", 0.5)])
def test_wrong_theory_is_found_out(monkeypatch, field, shift):
    """The theory of a model whose margin, load or temperature is another one."""
    model = B(alpha=0.4, beta=1.0) if field == "beta" else B(alpha=0.4)
    true = room.solve
    wrong = lambda m: true(dataclasses.replace(m, **{field: getattr(m, field) + shift}))
    assert validate(model, N=15, samples=600, key=2, algorithm="enumeration").worst < 4
    monkeypatch.setattr(room, "solve", wrong)
    found = validate(model, N=15, samples=600, key=2, algorithm="enumeration")
    assert max(abs(row.z) for row in found.rows if row.extrapolated) > 4, repr(found)


@pytest.mark.parametrize(
    "model, options",
    [
        (R(J_D=0.3), {}),
        (R(J_D=0.5, couplings="pm1"), {}),
        (R(J_D=0.5, couplings="pm1"), {"strict": True}),
        (R(J_D=0.3, eta=0.5), {}),
        (R(J_D=0.3, eta=-0.5), {}),
        (R(J_D=0.3, beta=1.0, field=0.4), {}),
    ],
)
def test_network_first_moment_is_exact_at_every_size(model, options):
    found = validate(model, sizes=(12, 9, 4), samples=2000, key=3, **options)
    phi = [row for row in found.rows if row.quantity == "phi"]
    assert [row.N for row in phi] == [12, 9, 4] and not any(math.isnan(row.z) for row in phi)
    assert found.worst < 4, repr(found)


def test_network_ties_follow_the_convention():
    """J_D sqrt(N) on the lattice: the two conventions differ by more than 4 sigma, each has its theory."""
    model = R(J_D=0.5, N=4, couplings="pm1")  # J_D sqrt(N) = 1, and fields of 3 couplings are odd
    (loose,), (strict,) = (validate(model, samples=4000, strict=s).rows for s in (False, True))
    assert strict.theory > loose.theory + 0.05 and strict.simulation > loose.simulation + 4 * loose.error
    assert abs(strict.z) < 4 and abs(loose.z) < 4


def test_wrong_network_is_found_out(monkeypatch):
    true = room.solve
    monkeypatch.setattr(room, "solve", lambda m: true(dataclasses.replace(m, J_D=m.J_D + 0.05)))
    assert validate(R(J_D=0.5, N=12), samples=2000).worst > 4


def test_no_z_where_it_would_be_unfair():
    beyond = validate(
        B(alpha=0.7), N=12, samples=200
    )  # finite systems without solutions: conditioned averages
    assert all(math.isnan(row.z) and "have solutions" in row.note for row in limits(beyond, "phi"))
    one = validate(B(alpha=0.4), sizes=(10,), samples=50)
    assert math.isnan(limits(one, "phi")[0].z)
    pm1 = validate(R(J_D=0.3, eta=0.5, couplings="pm1"), sizes=(8,), samples=50)
    assert math.isnan(pm1.worst)
    cold = validate(B(alpha=0.5, beta=3.0), N=60, samples=3, sweeps=30, algorithm="metropolis")
    assert math.isnan(cold.worst) and all("not equilibrated" in row.note for row in cold.rows)


def test_metropolis_agrees():
    found = validate(
        B(alpha=0.5, beta=1.0), N=201, samples=16, sweeps=200, algorithm="metropolis", patterns="pm1"
    )
    assert {row.quantity for row in found.rows} == {"energy", "q"} and found.worst < 4, repr(found)


def test_reproducible_and_keyed():
    first, again, other = (validate(B(alpha=0.5), N=10, samples=50, key=k) for k in (5, 5, 6))
    for name, column in first.table().items():
        np.testing.assert_array_equal(column, again.table()[name])
    assert limits(first, "phi")[0].simulation != limits(other, "phi")[0].simulation


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: validate(B(alpha=[0.1, 0.2])), ["alpha", "one number"]),
        (lambda: validate(B(alpha=0.1), N=40), ["N", "40", "25"]),
        (lambda: validate(B(alpha=0.1), sizes=(10, 40)), ["N", "40"]),
        (lambda: validate(B(alpha=0.1), samples=0), ["samples"]),
        (lambda: validate(B(alpha=0.1), sweeps=30), ["sweeps"]),
        (lambda: validate(R(J_D=0.1, N=8), N=9), ["N", "9", "8"]),
        (lambda: validate(rx.SphericalPerceptron(alpha=0.1)), ["spherical-perceptron"]),
        (lambda: validate("binary-perceptron"), ["model"]),
    ],
)
def test_bad_validations(call, words):
    with pytest.raises(ValueError) as error:
        call()
    assert all(word in str(error.value) for word in words), str(error.value)


def test_enumeration_points():
    points = [(0.25, 0.0), (0.5, -0.5), (0.75, 0.0)]
    found = enumeration_points(B, points, sizes=(12, 8), samples=200)
    assert np.all(np.abs(found["z"][:2]) < 4) and np.isnan(found["z"][2]) and found["solved"][2] < 0.99
    np.testing.assert_allclose(found["theory"][0], rx.solve(B(alpha=0.25)).phi, rtol=1e-12)
    u = enumeration_points(S, [(0.5, 0.5)], sizes=(12, 8), samples=200, constraint="u")
    assert abs(u["z"][0]) < 4


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [B(alpha=0.5), B(alpha=1.0, kappa=-0.5), B(alpha=1.0, beta=1.0), S(alpha=1.0, kappa=1.2), R(J_D=0.5)],
)
def test_z_scores_are_fair_with_many_samples(model):
    found = validate(model, samples=6000, N=16, key=11)
    assert found.worst < 4, repr(found)


# ------------------------------------------------------------------------------------ around references


@pytest.mark.parametrize(
    "model, ansatz",
    [
        (B(alpha=0.4), rx.FranzParisi(d=0.25)),
        (B(alpha=0.3, kappa=0.1), rx.Pair(d=0.2)),
        (S(alpha=0.5, kappa=0.5, constraint="u"), rx.Pair(d=0.3)),
        (B(alpha=0.4), rx.LocalEntropy(d=0.2, y=2.0, ensemble="reference")),
        (B(alpha=0.4, labels="teacher"), rx.LocalEntropy(d=0.2, y=2.0, ensemble="reference")),
        pytest.param(
            B(alpha=0.4),
            rx.LocalEntropy(d=0.2, y=2.0, ensemble="constrained", kappa_ref=0.1),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_surroundings_agree(model, ansatz):
    found = validate(model, ansatz, sizes=(15, 12, 10), samples=200, key=1)
    assert found.worst < 4, repr(found)
    moments = [row for row in found.rows if row.quantity == "first-moment"]
    if getattr(model, "labels", "random") == "random":
        assert len(moments) == 3 and not all(math.isnan(row.z) for row in moments)
    names = {row.quantity for row in found.rows} - {"first-moment"}
    if isinstance(ansatz, rx.Pair):  # exact at every size
        assert names == {"entropy"} and not any(row.extrapolated for row in found.rows)
    else:
        assert names == ({"entropy"} if isinstance(ansatz, rx.FranzParisi) else {"phi", "S_I", "S_E"})
        assert all(not math.isnan(limits(found, name)[0].z) for name in names), repr(found)


def test_another_distance_is_found_out(monkeypatch):
    """The theory of a distance that is larger by 0.03."""
    true = room.solve
    monkeypatch.setattr(room, "solve", lambda m, a: true(m, dataclasses.replace(a, d=a.d + 0.03)))
    assert validate(B(alpha=0.3), rx.Pair(d=0.2), sizes=(15, 10), samples=400).worst > 4


def test_counts_at_one_number_of_flips():
    """`flips` picks columns of the whole table."""
    instances = perceptron_instances(N=9, alpha=0.4, samples=6)
    whole, one = (enumerate_neighbours(instances, y=(2.0,), flips=f) for f in (None, (2,)))
    for name in ("log_count", "seen", "pairs", "log_moments", "log_sphere"):
        np.testing.assert_allclose(getattr(whole, name)[..., 2:3], getattr(one, name), rtol=1e-12)
    np.testing.assert_array_equal(whole.references, one.references)


@pytest.mark.parametrize(
    "ansatz, options, words",
    [
        (rx.LocalEntropy(d=0.2, ensemble="reference"), {}, ["finite y"]),
        (rx.LocalEntropy(d=0.2, y=2.0), {}, ["ensemble"]),
        (rx.OneRSB(), {}, ["1rsb", "franz-parisi"]),
        (rx.FranzParisi(d=0.02), dict(N=12), ["d = 0.02", "N = 12"]),
        (rx.FranzParisi(d=0.2), dict(N=23), ["N", "23", "22"]),
        (rx.FranzParisi(d=np.array([0.1, 0.2])), {}, ["d", "one number"]),
    ],
)
def test_bad_surroundings(ansatz, options, words):
    with pytest.raises(ValueError) as error:
        validate(B(alpha=0.3), ansatz, **options)
    assert all(word in str(error.value) for word in words), str(error.value)
