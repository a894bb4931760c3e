"""A network with one hidden layer: its gradient steps against numpy, its local energy, and what it learns."""

import sys

import jax
import numpy as np
import pytest
import xarray as xr

from replicax.simulation.multilayer import (
    METHODS,
    Data,
    Layers,
    error,
    local_energy,
    logits,
    shaken,
    split,
    train,
)
from replicax.top.figures import figure
from replicax.top.figures.flatness import digits


@pytest.fixture(scope="module")
def clouds():
    """Three noisy clouds of points in 10 dimensions, 200 points to train and 100 to test, two runs."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300)
    x = 1.5 * rng.standard_normal((3, 10))[labels] + rng.standard_normal((300, 10))
    return split(x, labels, runs=2, patterns=200)


def test_split(clouds):
    learned, tested = clouds
    assert learned.x.shape == (2, 200, 10) and tested.labels.shape == (2, 100)
    both = np.concatenate([learned.x, tested.x], 1)
    assert np.allclose(np.sort(both[0, :, 0]), np.sort(both[1, :, 0])) and not np.allclose(both[0], both[1])
    assert abs(both[0].mean()) < 1e-6 and both[0].std() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_learns(clouds, method):
    learned, tested = clouds
    w = train(learned, method, hidden=8, gradients=1500)
    assert w.first.shape == (2, 8, 11) and w.second.shape == (2, 3, 9)
    assert np.all(error(w, learned) < 0.05) and np.all(error(w, tested) < 0.25)
    again = train(learned, method, hidden=8, gradients=1500)
    np.testing.assert_array_equal(w.first, again.first)


def test_one_step_by_hand():
    """All patterns alike: the minibatch is that pattern. Gradient of the cross entropy by hand, and SAM's by finite differences."""
    x, labels = np.tile([0.7, -1.1], (1, 4, 1)).astype(np.float32), np.full((1, 4), 1, np.int32)
    data = Data(x, labels)
    begin = train(data, "sgd", hidden=3, gradients=1, batch=4, rate=0.0)
    first, second = (np.asarray(a[0], np.float64) for a in begin)

    def loss(theta):
        A, B = theta[:9].reshape(3, 3), theta[9:].reshape(2, 4)
        h = np.maximum(A[:, :2] @ x[0, 0] + A[:, 2], 0.0)
        z = B[:, :3] @ h + B[:, 3]
        return np.log(np.exp(z).sum()) - z[1]

    def slope(theta, step=1e-5):
        eye = step * np.eye(len(theta))
        return np.array([(loss(theta + e) - loss(theta - e)) / (2 * step) for e in eye])

    theta = np.concatenate([first.ravel(), second.ravel()])
    g = slope(theta)
    wanted = {
        "sgd": theta - 0.1 * g,
        "sam": theta - 0.1 * slope(theta + 0.05 * g / np.linalg.norm(g)),
        "replicated-sgd": theta - 0.1 * g,  # replicas that see the same stay together
    }
    for method, result in wanted.items():
        cost = {"sgd": 1, "sam": 2, "replicated-sgd": 3}[method]
        w = train(data, method, hidden=3, gradients=cost, batch=4, rate=0.1, rho=0.05)
        np.testing.assert_allclose(
            np.concatenate([w.first[0].ravel(), w.second[0].ravel()]), result, atol=2e-6
        )


def test_local_energy(clouds):
    """0 without noise; of the noise that is drawn; blind to the scale of the layers."""
    learned, _ = clouds
    w = train(learned, "sgd", hidden=8, gradients=1000)
    profile = local_energy(w, learned, [0.0, 0.3, 1.0], draws=50)
    assert np.all(profile[:, 0] == 0.0) and np.all(np.diff(profile, axis=1) > 0.0)
    rng = np.random.default_rng(3)
    wrong, answers = [], jax.jit(logits)
    for _ in range(200):
        shaken = Layers(*(a[0] * (1.0 + rng.standard_normal(a[0].shape)) for a in map(np.asarray, w)))
        wrong.append(np.mean(np.argmax(answers(shaken, learned.x[0]), 1) != learned.labels[0]))
    base = error(w, learned)[0]
    assert profile[0, 2] == pytest.approx(np.mean(wrong) - base, abs=4 * np.std(wrong) / np.sqrt(40))
    scaled = Layers(4.0 * w.first, np.concatenate([w.second[..., :-1], 4.0 * w.second[..., -1:]], -1) * 2.0)
    np.testing.assert_allclose(
        local_energy(scaled, learned, [0.3, 1.0], draws=50), profile[:, 1:], atol=1e-12
    )


@pytest.mark.parametrize("weights", ["binary", "sphere"])
@pytest.mark.parametrize("method", METHODS)
def test_hidden_perceptrons(clouds, method, weights):
    """Hidden weights are what they claim to be, the bias is minus the margin, and the network learns."""
    learned, tested = clouds
    w = train(learned, method, weights=weights, kappa=-0.4, hidden=8, gradients=1500)
    hidden = np.asarray(w.first)[:, :, :-1] * np.sqrt(10.0)
    np.testing.assert_allclose((hidden**2).sum(-1), 10.0, rtol=1e-5)
    assert weights == "sphere" or np.allclose(np.abs(hidden), 1.0)
    assert np.all(np.asarray(w.first)[:, :, -1] == np.float32(0.4))
    assert np.all(error(w, learned) < 0.1) and np.all(error(w, tested) < 0.25)


@pytest.mark.parametrize("weights", ["binary", "sphere"])
def test_distances(clouds, weights):
    """Overlap 1 - 2d with w; as many errors as in networks turned by numpy."""
    learned, _ = clouds
    w = train(learned, "sgd", weights=weights, hidden=8, gradients=1000)
    one = Layers(*(a[0] for a in w))
    for d in (0.0, 0.1, 0.4, 1.0):
        near = shaken(one, jax.random.key(1), d, weights)
        overlap = np.sum(near.first[:, :-1] * one.first[:, :-1], 1)
        if weights == "binary":
            assert np.mean(near.first[:, :-1] != one.first[:, :-1]) == pytest.approx(d, abs=1e-12)
        else:
            np.testing.assert_allclose(overlap, 1.0 - 2.0 * d, atol=1e-6)
        np.testing.assert_array_equal(near.first[:, -1], one.first[:, -1])
    profile = local_energy(w, learned, [0.0, 0.1, 0.3], weights=weights, draws=100)
    assert np.all(np.abs(profile[:, 0]) < 1e-6) and np.all(np.diff(profile, axis=1) > 0.0)
    rng, wrong, answers = np.random.default_rng(4), [], jax.jit(logits)
    first = np.asarray(one.first)
    for _ in range(200):
        turned = first.copy()
        if weights == "binary":
            turned[:, :-1].flat = turned[:, :-1].ravel() * np.where(rng.permutation(80) < 24, -1, 1)
        else:
            z = rng.standard_normal((8, 10))
            z -= (z * first[:, :-1]).sum(1, keepdims=True) * first[:, :-1]
            z /= np.linalg.norm(z, axis=1, keepdims=True)
            turned[:, :-1] = 0.4 * first[:, :-1] + np.sqrt(0.84) * z
        answer = answers(Layers(turned, one.second), learned.x[0])
        wrong.append(np.mean(np.argmax(answer, 1) != learned.labels[0]))
    expected = np.mean(wrong) - error(w, learned)[0]
    assert profile[0, 2] == pytest.approx(expected, abs=4 * np.std(wrong) * np.sqrt(1 / 200 + 1 / 100))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda d: train(d, "adam"), "method = 'adam'"),
        (lambda d: train(d, "sgd", batch=201), "batch = 201"),
        (lambda d: train(d, "sgd", hidden=0), "hidden = 0"),
        (lambda d: train(d, "sgd", weights="ternary"), "weights = 'ternary'"),
        (lambda d: local_energy(train(d, "sgd", gradients=1), d, [1.5], weights="sphere"), "d = 1.5"),
        (lambda d: local_energy(train(d, "sgd", gradients=1), d, [-0.1]), "sigma = -0.1"),
        (lambda d: split(d.x[0], d.labels[0], runs=1, patterns=200), "patterns = 200"),
    ],
)
def test_bad_arguments(clouds, call, message):
    with pytest.raises(ValueError, match=message):
        call(clouds[0])


def test_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ValueError, match=r"pip install 'replicax\[digits\]'"):
        digits()


@pytest.mark.slow
def test_flatness(tmp_path):
    """All methods learn all digits; SAM's minimum is flatter than that of SGD, run by run."""
    pytest.importorskip("sklearn")
    image, table = figure("flatness", tmp_path, quick=True)
    data = xr.load_dataset(table)
    assert (
        image.stat().st_size > 1e4 and np.all(data["train_error"] < 0.01) and np.all(data["test_error"] < 0.1)
    )
    sam = METHODS.index("sam")
    difference, error = data["delta_E_difference"][0, sam, 5], data["delta_E_difference_err"][0, sam, 5]
    assert float(difference) < -3 * float(error) < 0.0
    assert data["delta_E"].shape == (3, 4, 10) and np.all(np.diff(data["delta_E"][..., 2:]) > 0.0)
