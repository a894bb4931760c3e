"""Fixed points as a code: channel, Hebbian term, storage against a brute-force search and against the formula for typical points."""

import itertools

import numpy as np
import pytest

import replicax as rx
from replicax.simulation.codes import (
    _stabilised,
    attractors,
    correct,
    fixed_points_of,
    represent,
    separable,
    store,
)
from replicax.simulation.dynamics import parallel, sequential
from replicax.simulation.fixed_points import enumerate_violations, list_fixed_points
from replicax.simulation.instances import network_instances
from replicax.simulation.network_messages import reinforced_messages

NETWORKS = network_instances(N=60, samples=12, couplings="pm1", key=4)


def deltas(instances, s, J_D):
    J = instances.couplings / (instances.scale * np.sqrt(instances.N))
    return J_D + s * np.einsum("sij,sj->si", J, s)


def test_fixed_points_are_listed():
    instances = network_instances(N=11, samples=6, key=2)
    listed = list_fixed_points(instances, J_D=0.3)
    assert [len(x) for x in listed] == enumerate_violations(instances, J_D=0.3).number[:, 0].tolist()
    states = np.array(list(itertools.product((-1, 1), repeat=11)))
    J = instances.couplings[0] / (instances.scale * np.sqrt(11))
    fixed = states[np.all(0.3 + states * (states @ J.T) > 0, 1)]
    assert {tuple(x) for x in fixed} == {tuple(x) for x in listed[0]}


def test_dynamics_from_given_states():
    """A fixed point stays; a bias of messages beyond every field leads to it, where there is one."""
    word = sequential(NETWORKS, J_D=0.8, key=1)
    assert word.solved.all()
    for search in (parallel, sequential):
        again = search(NETWORKS, J_D=0.8, start=word.s)
        assert np.array_equal(again.s, word.s) and np.all(again.steps == 0)
    pulled = reinforced_messages(NETWORKS, J_D=0.8, bias=100.0 * word.s)
    assert np.array_equal(pulled.s, word.s) and np.all(pulled.steps == 1)
    with pytest.raises(ValueError, match=r"start\.shape"):
        parallel(NETWORKS, J_D=0.8, start=word.s[:3])
    with pytest.raises(ValueError, match=r"bias\.shape"):
        reinforced_messages(NETWORKS, J_D=0.8, bias=np.ones(60))


def test_hebbian_term():
    """J_ij += (eps/N) s_i s_j raises every stability of s by eps (N-1)/N (+-1 and Gaussian couplings)."""
    for couplings in ("pm1", "gaussian"):
        before = network_instances(N=25, samples=4, couplings=couplings, key=7)
        s = np.random.default_rng(0).choice([-1, 1], (4, 25)).astype(np.int8)
        after = _stabilised(before, s, 0.7)
        np.testing.assert_allclose(
            deltas(after, s, 0.2) - deltas(before, s, 0.2), 0.7 * 24 / 25, atol=2e-5 * 5
        )
        assert not np.any(np.diagonal(after.couplings, axis1=1, axis2=2))


def test_words_through_a_channel():
    """No noise, no error; errors decrease; a strong Hebbian term repairs all, the bare dynamics nearly nothing."""
    clean = correct(NETWORKS, J_D=0.6, flip=0.0, decoder="sequential").statistics()
    assert clean["corrected"].mean == 1.0 and clean["d_in"].mean == 0.0
    noisy = correct(NETWORKS, J_D=0.6, flip=0.1)
    numbers = noisy.statistics()
    assert np.all((noisy.received != noisy.words.s).sum(1) == 6)
    assert numbers["d_in"].mean == pytest.approx(0.1) and numbers["d_out"].mean < 0.08
    assert numbers["solved"].mean <= numbers["found"].mean
    dynamics = dict(J_D=0.6, flip=0.1, decoder="sequential", sweeps=100)
    weak, strong = (correct(NETWORKS, hebb=e, **dynamics).statistics()["corrected"] for e in (0.0, 2.0))
    assert strong.mean == 1.0 and weak.mean < 0.3


def test_representations():
    """Above the distance of the nearest fixed point of a random input (the Gilbert-Varshamov distance), far below 1/2."""
    numbers = represent(NETWORKS, J_D=0.8, flip=0.05).statistics()
    nearest = float(rx.threshold(rx.RecurrentNetwork(J_D=0.8), "shannon").value)
    assert numbers["solved"].mean > 0.8
    assert nearest < numbers["distance"].mean < 0.3
    assert numbers["d_in"].mean == pytest.approx(0.05) and numbers["d_out"].mean < 0.3


def test_separability():
    """Against all dichotomies in two dimensions, and Cover's count 2 sum_k C(P-1, k) in three."""
    rng = np.random.default_rng(3)
    for _ in range(20):
        rows = rng.standard_normal((5, 2))
        turn = np.linspace(0, 2 * np.pi, 20001)
        assert separable(rows) == bool(np.any(np.all(rows @ [np.cos(turn), np.sin(turn)] > 0, 0)))
    points = rng.standard_normal((6, 3))
    signs = itertools.product((-1, 1), repeat=6)
    assert sum(separable(points * np.array(s)[:, None]) for s in signs) == 2 * (1 + 5 + 10)


def test_storage():
    """Random words: Gardner's 2 (Cover: half of the rows of N - 1 weights at P = 2 (N - 1)); bisection against a scan."""
    words = np.random.default_rng(5).choice([-1, 1], (80, 25))
    kept = store(words, 80, 25)
    assert kept.stored.mean() / 24 == pytest.approx(2.0, abs=4 * 0.5 / np.sqrt(25))
    first = np.delete(words * words[:, :1], 0, 1).astype(float)
    scan = [separable(first[: p + 1]) for p in range(80)]
    assert scan.index(False) == kept.stored[0] and not any(scan[scan.index(False) :])
    assert kept.overlap == pytest.approx(np.sqrt(2 / np.pi), abs=0.05)


@pytest.mark.slow
def test_typical_fixed_points_store_like_the_formula():
    """Uniform among all fixed points of N = 18: above Gardner's 2, near the formula of N = inf (2.99 at J_D = 0.5)."""
    rng, alphas = np.random.default_rng(1), []
    for points in list_fixed_points(network_instances(N=18, samples=6, key=9), J_D=0.5):
        half = points[points[:, 0] > 0]
        if len(half) > 90:
            words = rng.permutation(half)[:90]
            alphas.append(store(words, 90, 18).stored.mean() / 18)
    formula = float(rx.threshold(rx.RecurrentNetwork(J_D=0.5), "attractor-capacity").value)
    assert len(alphas) > 2 and np.mean(alphas) == pytest.approx(formula, abs=0.4)


def test_found_fixed_points_store_more():
    """recurrent_network 6: far above 2, and correlated."""
    words = fixed_points_of(NETWORKS.couplings[0], NETWORKS.scale, J_D=0.8, starts=60)
    assert len(np.unique(words, axis=0)) == len(words) and np.all(words[:, 0] == 1)
    assert not any(np.array_equal(a, -b) for a, b in itertools.combinations(words, 2))
    network = network_instances(N=40, samples=2, couplings="pm1", key=6)
    numbers = attractors(network, J_D=0.8, starts=400, rows=6)
    assert numbers["alpha"].mean > 3.0 and numbers["overlap"].mean > 1.0


def test_faces():
    """The public face: columns, budgets, refusals."""
    model = rx.RecurrentNetwork(J_D=0.8, couplings="pm1")
    runs = rx.simulate(model, "code", N=40, samples=6, flip=0.05, sweeps=30)
    assert {"solved", "corrected", "d_out", "budget"} <= set(runs) and runs["budget"].mean == 30
    assert rx.simulate(model, "attractors", N=20, samples=2, starts=30, rows=2)["alpha"].n == 2
    with pytest.raises(ValueError, match="field"):
        rx.simulate(rx.RecurrentNetwork(J_D=0.8, field=0.1), "representation", N=40)
    with pytest.raises(ValueError, match="flip"):
        rx.simulate(model, "code", N=40, flip=1.5)
    with pytest.raises(ValueError, match="decoder"):
        rx.simulate(model, "code", N=40, decoder="oracle")
