"""The derived moment maps against hand-written saddle equations, off the saddle, and the functional.

Everything on the right-hand side is written out here in numpy: dense Gauss-Legendre panels, scipy's log_ndtr.
"""

import functools

import jax
import numpy as np
import pytest
from scipy.special import log_ndtr, logsumexp, ndtr

from replicax.answers.solve import solve
from replicax.theory.ansatz import RS, LocalEntropy, OneRSB
from replicax.theory.ground_state import GroundState
from replicax.theory.models import BinaryPerceptron, Perceptron, RecurrentNetwork, SphericalPerceptron
from replicax.theory.recurrent import ReplicaCluster
from replicax.vocabulary.factors import HardMargin
from replicax.vocabulary.limits import INFINITE
from replicax.vocabulary.priors import Binary

pytestmark = pytest.mark.slow  # minutes of mpmath and compilation

INF = float("inf")
COUNT = 60
NODES = 256


@functools.cache
def unit():
    return np.polynomial.legendre.leggauss(20)


def normal(bends, limit=12.0):
    """Nodes and Gaussian weights: panels of one unit, halved towards every (bend, width)."""
    ends = set(np.arange(-limit, limit + 0.5))
    for bend, width in bends:
        steps = width * 2.0 ** np.arange(int(np.log2(4 * limit / width)) + 1)
        ends |= {bend, *(bend + steps), *(bend - steps)}
    ends = np.array(sorted(x for x in ends if abs(x) <= limit))
    x, w = unit()
    half = 0.5 * np.diff(ends)[:, None]
    z = (0.5 * (ends[1:] + ends[:-1])[:, None] + half * x).ravel()
    return z, (half * w).ravel() * np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)


def log_H(u):
    return log_ndtr(-u)


def log_G(u):
    return -0.5 * u * u - 0.5 * np.log(2 * np.pi)


def partition(kind, kappa, beta, h, V):
    """log f and g = d_h log f, equations (1)-(2) of the binary and 1.4 of the spherical specification."""
    s = np.sqrt(V)
    u = (kappa - h) / s
    if kind == "margin":
        return log_H(u), np.exp(log_G(u) - log_H(u)) / s
    if kind == "errors":
        f = np.logaddexp(-beta, np.log(-np.expm1(-beta)) + log_H(u))
        return f, -np.expm1(-beta) * np.exp(log_G(u) - f) / s
    t = 1 + beta * V
    below = -0.5 * beta * (kappa - h) ** 2 / t - 0.5 * np.log(t) + log_H(-u / np.sqrt(t))
    f = np.logaddexp(log_H(u), below)
    return f, np.exp(below - f) * beta * (kappa - h) / t + np.exp(log_G(u) - f) / s * (beta * V / t)


def factor_bends(kind, kappa, beta, q, V):
    """In units of z, h = sqrt(q) z."""
    bends = [(kappa / np.sqrt(q), np.sqrt(V / q))]
    if kind == "errors":
        u = np.sqrt(2 * beta)
        bends.append(((kappa - u * np.sqrt(V)) / np.sqrt(q), np.sqrt(V / q) / (1 + u)))
    return bends


def site_binary(q_hat):
    z, w = normal([(0.0, 1 / np.sqrt(q_hat))])
    y = np.abs(np.sqrt(q_hat) * z)
    e = np.exp(-2 * y)
    q, V = np.sum(w * np.tanh(y) ** 2), np.sum(w * 4 * e / (1 + e) ** 2)
    return q, V, np.sum(w * (y + np.log1p(e)))


def points(seed, kind, count=COUNT):
    """Random (alpha, kappa, beta, x): x the logarithm of the conjugate, nowhere near a saddle."""
    random = np.random.default_rng(seed)
    alpha = 10 ** random.uniform(-2, 1, count)
    beta = np.full(count, np.inf) if kind == "margin" else 10 ** random.uniform(-2, 1.7, count)
    return alpha, random.uniform(-2, 2, count), beta, random.uniform(-4, 6, count)


def close(found, exact, tolerance):
    found, exact = np.asarray(found), np.asarray(exact)
    error = np.abs(found - exact) / (1 + np.abs(exact))
    worst = np.nanargmax(error)
    assert np.all(np.isfinite(error)) and error[worst] <= tolerance, (worst, found[worst], exact[worst])


def states(make, *arguments, n=NODES):
    """order, residual, phi of the first problem of RS for a batch."""

    def one(x, *parameters):
        problem = make(*parameters)
        state = problem.state(x[None], n)
        return state.order, state.residual[0], problem.phi(state, n)

    return jax.jit(jax.vmap(one))(*arguments)


# ---------------------------------------------------------------- perceptrons


@pytest.mark.parametrize("kind", ["margin", "errors"])
def test_binary_map(kind):
    """q = E tanh^2(sqrt(q_hat) z), q_hat = alpha E g^2; the map compares the logarithms."""
    alpha, kappa, beta, x = points(1, kind)
    make = lambda a, k, b: RS().problems(BinaryPerceptron(a, k, INFINITE if kind == "margin" else b))[0]
    # the coordinate is the conjugate per pattern
    order, residual, phi = states(make, x - np.log(alpha), alpha, kappa, beta)
    rows = []
    for a, k, b, y in zip(alpha, kappa, beta, x):
        q, V, entropic = site_binary(np.exp(y))
        z, w = normal(factor_bends(kind, k, b, q, V))
        f, g = partition(kind, k, b, np.sqrt(q) * z, V)
        asked = a * np.sum(w * g * g)
        value = -0.5 * np.exp(y) * V + entropic + a * np.sum(w * f)
        rows.append((q, np.exp(y), y - np.log(asked), value))
    q, q_hat, mismatch, value = np.array(rows).T
    close(order["q"], q, 1e-13)
    close(order["q_hat"], q_hat, 1e-13)
    close(residual, mismatch, 1e-12)
    close(phi, value, 1e-12)


@pytest.mark.parametrize("kind", ["margin", "errors", "squared-hinge"])
def test_spherical_map(kind):
    """q = alpha (1-q)^2 E F'^2, with phi = log(1-q)/2 + q/(2(1-q)) + alpha E F."""
    alpha, kappa, beta, x = points(2, kind)
    loss = "errors" if kind == "margin" else kind
    cold = lambda b: INFINITE if kind == "margin" else b
    make = lambda a, k, b: RS().problems(SphericalPerceptron(a, k, cold(b), loss))[0]
    order, residual, phi = states(make, x - np.log(alpha), alpha, kappa, beta)
    q = np.asarray(order["q"])
    # s = e^x is the conjugate in units of the multiplier: q = s/(1+s)
    close(q, 1 / (1 + np.exp(-x)), 1e-14)
    close(order["q_hat"], np.exp(x) * (1 + np.exp(x)), 1e-13)
    rows = []
    for a, k, b, y in zip(alpha, kappa, beta, x):
        q, V = 1 / (1 + np.exp(-y)), 1 / (1 + np.exp(y))
        z, w = normal(factor_bends(kind, k, b, q, V))
        f, g = partition(kind, k, b, np.sqrt(q) * z, V)
        right = a * V**2 * np.sum(w * g * g)
        rows.append((np.log(q) - np.log(right), 0.5 * np.log(V) + 0.5 * q / V + a * np.sum(w * f)))
    mismatch, value = np.array(rows).T
    close(residual, mismatch, 1e-12)
    close(phi, value, 1e-12)


@pytest.mark.parametrize("loss", ["errors", "squared-hinge"])
def test_ground_state_map(loss):
    """1/chi^2 = alpha E g'^2 and -e = 1/(2 chi) + alpha E g, both averages in closed form."""
    random = np.random.default_rng(3)
    alpha, kappa = 10 ** random.uniform(-1, 1, COUNT), random.uniform(-2, 2, COUNT)
    x = random.uniform(-3, 3, COUNT)
    make = lambda a, k: GroundState(SphericalPerceptron(a, k, INFINITE, loss))
    order, residual, phi = states(make, x, alpha, kappa)
    close(order["chi"], np.exp(x), 1e-14)
    chi = np.exp(x)
    cut = np.sqrt(2 * chi) if loss == "errors" else np.inf
    width = chi if loss == "errors" else 1 + chi
    # second moment of (kappa - z)_+ up to the cut, from the moments of the truncated normal
    low, high = kappa - cut, kappa
    G = lambda z: np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)
    mass, edge = ndtr(high) - ndtr(low), np.where(np.isinf(low), 0.0, low) * G(low) - high * G(high)
    second = kappa**2 * mass + 2 * kappa * (G(high) - G(low)) + mass + edge
    energy = 0.5 * second / width + (ndtr(low) if loss == "errors" else 0.0)
    close(residual, -2 * x - np.log(alpha * second / width**2), 1e-12)
    close(phi, 0.5 / chi - alpha * energy, 1e-12)


# ---------------------------------------------------------------- recurrent network


def tilted(J_D, q1, m, r1, beta):
    """log G of equation (2.1), and the tilted measure (weights, arctanh d_y F, ..) on dense rules."""
    limit = m * np.sqrt(r1) + 11.0
    x, w = unit()
    ends = np.linspace(-limit, limit, 2 * int(4 * limit) + 1)
    half = 0.5 * np.diff(ends)[:, None]
    y = (0.5 * (ends[1:] + ends[:-1])[:, None] + half * x).ravel()
    log_y = np.log((half * w).ravel()) - 0.5 * y * y - 0.5 * np.log(2 * np.pi)
    s, far = np.sqrt(1 - q1), np.sqrt(2 * np.log(1 + m))
    edges = (J_D, J_D - far * s)
    bends = [(sign * e / np.sqrt(q1), s / np.sqrt(q1) / (1 + far)) for sign in (1, -1) for e in edges]
    t, w_t = normal(bends, 10.0)
    up, down = ((J_D + sign * np.sqrt(q1) * t) / s for sign in (1, -1))
    a, b = (np.logaddexp(log_ndtr(u), log_H(u) - 2 * beta) for u in (up, down))
    field = np.sqrt(r1) * y[:, None]
    with np.errstate(divide="ignore"):
        logs = m * np.logaddexp(field + a, -field + b) + log_y[:, None] + np.log(w_t)
    log_G = logsumexp(logs)
    return log_G, np.exp(logs - log_G), field + 0.5 * (a - b), up, down


@pytest.mark.parametrize("beta", [INF, 1.0])
def test_recurrent_map(beta):
    """(1/2) m (1-q1) + (1/2) m^2 q1 = d log G/dr1 = (1/2) E[m (1 - T^2) + m^2 T^2], and Phi."""
    random = np.random.default_rng(4)
    count = 50
    J_D, q1 = random.uniform(0.02, 0.8, count), 1 - 10 ** random.uniform(-2.5, -0.3, count)
    m = 10 ** random.uniform(-0.5, 1.2, count)
    r1 = 3.5 / m * 10 ** random.uniform(-0.7, 0.5, count)
    network = lambda J: RecurrentNetwork(J, beta=INFINITE if beta == INF else beta)
    make = lambda J, q, y: ReplicaCluster(network(J), q, y)
    order, residual, phi = states(make, np.log(r1), J_D, q1, m, n=192)
    rows = []
    for J, q, y, r in zip(J_D, q1, m, r1):
        log_G, weights, tilt, _, _ = tilted(J, q, y, r, beta)
        overlap = np.sum(weights * np.tanh(tilt) ** 2)
        rest = np.sum(weights / np.cosh(np.clip(tilt, -300, 300)) ** 2)
        # both sides of the equation are m/2 + m (m-1)/2 times an overlap; the map compares their logits
        logit = np.log(overlap / rest) - np.log(q / (1 - q))
        rows.append((logit, -0.5 * r * (1 + (y - 1) * q) + log_G / y))
    mismatch, value = np.array(rows).T
    close(order["r1"], r1, 1e-13)
    close(residual, mismatch, 1e-11)
    close(phi, value, 1e-12)


@pytest.mark.parametrize("J_D, q1, m", [(0.3, 0.95, 2.0), (0.3, 0.95, 8.0), (0.1, 0.9, 4.0), (0.2, 0.6, 3.0)])
def test_recurrent_stability(J_D, q1, m):
    """1 - (X_uv^2 + |X_uu X_vv|)/m^2, X = m E[F''] + m^2 E[F' F']; X_uu = m + m (m-1) q1."""
    solution = solve(RecurrentNetwork(J_D), LocalEntropy(q1=q1, y=m))
    _, weights, tilt, up, down = tilted(J_D, q1, m, float(solution.order.r1), INF)
    mean = lambda x: np.sum(weights * x)
    T, s = np.tanh(tilt), np.sqrt(1 - q1)
    p = 0.5 * (1 + T)
    rates = [np.exp(log_G(u) - log_ndtr(u)) for u in (up, down)]
    a, b = rates[0] / s, -rates[1] / s
    raw = p * a + (1 - p) * b
    bent = -p * rates[0] * (up + rates[0]) / s**2 - (1 - p) * rates[1] * (down + rates[1]) / s**2
    uu = mean(1 - T * T) + m * mean(T * T)
    uv = mean(0.5 * (1 - T * T) * (a - b)) + m * mean(T * raw)
    vv = mean(bent + p * (1 - p) * (a - b) ** 2) + m * mean(raw * raw)
    assert abs(uu - (1 + (m - 1) * q1)) < 1e-10
    exact = 1 - (uv**2 + abs(uu * vv))
    assert abs(solution.replicon - exact) < 1e-10 * (1 + abs(exact))


def test_local_entropy_inside_jit():
    """solve and problems with Python numbers for the untraced parameters, inside jit."""
    phi = lambda J_D: solve(RecurrentNetwork(J_D), LocalEntropy(q1=0.95, y=2.0)).phi
    assert abs(jax.jit(phi)(0.3) - 0.1126790261) < 1e-9


# ---------------------------------------------------------------- the gradient of the functional is the map


def random_orders(seed, count=COUNT):
    random = np.random.default_rng(seed)
    q = random.uniform(0.02, 0.97, count)
    alpha, kappa = 10 ** random.uniform(-1.5, 0.7, count), random.uniform(-2, 2, count)
    return alpha, kappa, q, 10 ** random.uniform(-1.5, 1.5, count)


@pytest.mark.parametrize("beta", [INF, 1.5])
def test_binary_gradient(beta):
    """d phi/dq = (q_hat - alpha E g^2)/2 and d phi/dq_hat = (q - E tanh^2)/2 at arbitrary (q, q_hat)."""
    alpha, kappa, q, q_hat = random_orders(5)
    model = lambda a, k: BinaryPerceptron(a, k, INFINITE if beta == INF else beta)
    phi = lambda q, q_hat, a, k: RS().functional(model(a, k), q=q, q_hat=q_hat)
    by_q, by_q_hat = jax.jit(jax.vmap(jax.grad(phi, (0, 1))))(q, q_hat, alpha, kappa)
    kind = "margin" if beta == INF else "errors"
    rows = []
    for a, k, x, y in zip(alpha, kappa, q, q_hat):
        z, w = normal(factor_bends(kind, k, beta, x, 1 - x))
        _, g = partition(kind, k, beta, np.sqrt(x) * z, 1 - x)
        rows.append((0.5 * (y - a * np.sum(w * g * g)), 0.5 * (x - site_binary(y)[0])))
    exact = np.array(rows).T
    close(by_q, exact[0], 1e-11)
    close(by_q_hat, exact[1], 1e-12)


@pytest.mark.parametrize("kind", ["margin", "errors", "squared-hinge"])
def test_spherical_gradient(kind):
    """d phi/dq = (q/(1-q)^2 - alpha E F'^2)/2, with the multiplier at its stationary value."""
    alpha, kappa, q, _ = random_orders(6)
    loss = "errors" if kind == "margin" else kind
    model = lambda a, k: SphericalPerceptron(a, k, INFINITE if kind == "margin" else 2.0, loss)
    by_q = jax.jit(jax.vmap(jax.grad(lambda q, a, k: RS().functional(model(a, k), q=q))))(q, alpha, kappa)
    exact = []
    for a, k, x in zip(alpha, kappa, q):
        z, w = normal(factor_bends(kind, k, 2.0, x, 1 - x))
        _, g = partition(kind, k, 2.0, np.sqrt(x) * z, 1 - x)
        exact.append(0.5 * (x / (1 - x) ** 2 - a * np.sum(w * g * g)))
    close(by_q, exact, 1e-11)


def one_rsb_orders(seed, count):
    random = np.random.default_rng(seed)
    q0 = random.uniform(0.05, 0.6, count)
    q1 = q0 + (0.95 - q0) * random.uniform(0.1, 1, count)
    q0_hat = 10 ** random.uniform(-1, 0.5, count)
    q1_hat = q0_hat + 10 ** random.uniform(-1, 0.7, count)
    m = random.uniform(0.1, 2.0, count)
    return dict(q0=q0, q1=q1, q0_hat=q0_hat, q1_hat=q1_hat, m=m)


def test_one_rsb_gradient():
    """Equations (5): d phi_1/d(q1, q0, q1_hat, q0_hat) against nested averages <.>_m, off the saddle."""
    alpha, kappa, beta, count = 0.7, 0.1, 2.0, 12
    orders = one_rsb_orders(7, count)
    model = BinaryPerceptron(alpha, kappa, beta)
    phi = lambda o: OneRSB().functional(model, **o)
    found = jax.jit(jax.vmap(jax.grad(phi)))(orders)
    for i in range(count):
        q0, q1, q0h, q1h, m = (float(orders[k][i]) for k in ("q0", "q1", "q0_hat", "q1_hat", "m"))
        s = np.sqrt(1 - q1)
        z, w = normal([])
        x, v = normal([(0.0, 0.2)])
        y = np.sqrt(q0h) * z[:, None] + np.sqrt(q1h - q0h) * x
        f = np.logaddexp(y, -y)
        tilt = v * np.exp(m * (f - f.max(1, keepdims=True)))
        tilt /= tilt.sum(1, keepdims=True)
        T = np.tanh(y)
        q0_site, q1_site = w @ np.sum(tilt * T, 1) ** 2, w @ np.sum(tilt * T * T, 1)
        rows = []
        for outer in z:
            h0 = np.sqrt(q0) * outer
            centre, width = (kappa - h0) / np.sqrt(q1 - q0), s / np.sqrt(q1 - q0)
            x, v = normal([(centre, width), (centre - 2 * width, width / 3)])
            f, g = partition("errors", kappa, beta, h0 + np.sqrt(q1 - q0) * x, 1 - q1)
            tilt = v * np.exp(m * (f - f.max()))
            tilt /= tilt.sum()
            rows.append(((tilt @ g) ** 2, tilt @ g**2))
        q0h_factor, q1h_factor = alpha * (w @ np.array(rows))
        exact = dict(
            q0=0.5 * m * (q0h - q0h_factor),
            q1=0.5 * (1 - m) * (q1h - q1h_factor),
            q0_hat=0.5 * m * (q0 - q0_site),
            q1_hat=0.5 * (1 - m) * (q1 - q1_site),
        )
        for name, value in exact.items():
            assert abs(found[name][i] - value) < 1e-10 * (1 + abs(value)), (name, i, found[name][i], value)


# ---------------------------------------------------------------- identities of one step of symmetry breaking


OFF_SHELL = [
    (INF, (0.2, 0.6, 0.4, 1.2, 0.5), 0.066109433351),
    (2.0, (0.2, 0.6, 0.4, 1.2, 0.5), 0.275764506040),
    (INF, (0.1, 0.5, 0.3, 0.9, 0.3), 0.066248233641),
    (2.0, (0.1, 0.5, 0.3, 0.9, 0.3), 0.264657446870),
]


@pytest.mark.parametrize("beta, orders, value", OFF_SHELL)
def test_off_shell_values(beta, orders, value):
    """Section 2 of the specification, twelve digits; eager and jitted."""
    names = ("q0", "q1", "q0_hat", "q1_hat", "m")
    model = BinaryPerceptron(0.7, 0.1, beta)
    phi = lambda o: OneRSB().functional(model, **o)
    orders = dict(zip(names, orders))
    for call in (phi, jax.jit(phi)):
        assert abs(call(orders) - value) < 1e-11


@pytest.mark.parametrize("beta", [INF, 2.0])
def test_equal_overlaps_give_rs(beta):
    """(a) q1 = q0 and q1_hat = q0_hat: phi_1 = phi_RS for every m, reached smoothly as the gap closes."""
    model = BinaryPerceptron(0.7, 0.1, beta)
    random = np.random.default_rng(8)

    @jax.jit
    def phi(q, gap, q_hat, m):
        return OneRSB().functional(model, q0=q, q1=q + gap, q0_hat=q_hat, q1_hat=q_hat + gap, m=m)

    for _ in range(15):
        q, q_hat, m = random.uniform(0.05, 0.9), 10 ** random.uniform(-1, 1), 10 ** random.uniform(-1, 1)
        rs = RS().functional(model, q=q, q_hat=q_hat)
        assert abs(phi(q, 0.0, q_hat, m) - rs) < 1e-12
        slope = (phi(q, 1e-3, q_hat, m) - rs) / 1e-3
        for gap in (1e-12, 1e-9, 1e-7, 1e-5):
            assert abs(phi(q, gap, q_hat, m) - rs) < 10 * gap * (1 + abs(slope)), (gap, q, q_hat, m)


@pytest.mark.parametrize("beta", [INF, 2.0])
def test_one_replica_is_rs(beta):
    """(b) m = 1: phi_1 = phi_RS(q0, q0_hat) whatever q1 and q1_hat."""
    model = BinaryPerceptron(0.7, 0.1, beta)
    orders = one_rsb_orders(9, 30) | dict(m=np.ones(30))
    found = jax.jit(jax.vmap(lambda o: OneRSB().functional(model, **o)))(orders)
    rs = jax.vmap(lambda q, q_hat: RS().functional(model, q=q, q_hat=q_hat))
    right = rs(orders["q0"], orders["q0_hat"])
    close(found, right, 1e-12)


def test_user_made_perceptron():
    """`Perceptron(alpha, Binary(), HardMargin(kappa))` is the binary perceptron, number by number."""
    alpha, kappa, _, x = points(10, "margin")
    named = states(lambda a, k: RS().problems(BinaryPerceptron(a, k))[0], x, alpha, kappa)
    made = states(lambda a, k: RS().problems(Perceptron(a, Binary(), HardMargin(k)))[0], x, alpha, kappa)
    for a, b in zip(jax.tree.leaves(named), jax.tree.leaves(made), strict=True):
        assert np.array_equal(a, b)
