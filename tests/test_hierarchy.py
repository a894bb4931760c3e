"""Parisi functions, fields and gaps of ladders: against the backward equation, and integrals written out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import log_ndtr
from scipy.stats import norm

import replicax as rx
from replicax.numerics.stretched import Tabulated
from replicax.theory.continuous import strengths
from replicax.theory.hierarchy import Hierarchy
from replicax.theory.jamming import Contact
from replicax.theory.steps import GroundStates, Satisfied, Solutions
from replicax.vocabulary.fields import fields
from replicax.vocabulary.ladder import Ladder, Negative


def ladder(outer, steps, ms, rest, count=None):
    """From the outermost step inwards."""
    count = len(steps) if count is None else count
    inwards = lambda x: jnp.asarray(x[::-1], float)
    return Ladder(jnp.asarray(outer), inwards(steps), inwards(ms), jnp.asarray(rest), jnp.asarray(count))


def line(breaks=(0.0,)):
    """Nodes and weights on (-20, 20), with panels that end at `breaks` and shrink towards them."""
    far = np.logspace(-6, np.log10(20.0), 150)
    edges = np.unique(np.concatenate([*(b + np.concatenate([-far, [0.0], far]) for b in breaks)]))
    x, w = np.polynomial.legendre.leggauss(12)
    half = 0.5 * np.diff(edges)[:, None]
    return (half * x + 0.5 * (edges[1:] + edges[:-1])[:, None]).ravel(), (half * w).ravel()


SAT = rx.SphericalPerceptron(alpha=10.0, kappa=-1.0)
SOFT = rx.SphericalPerceptron(alpha=20.0, kappa=-1.0, loss="squared-hinge")
HARD = rx.SphericalPerceptron(alpha=6.0)
CASES = {
    "solutions": (Solutions(SAT, 2), ladder(0.6176, [0.19, 0.11], [0.19, 0.26], 0.0824), (0.0,)),
    "close to jamming": (Solutions(SAT, 2), ladder(0.6176, [0.36, 0.0219], [3e-3, 0.09], 5e-4), (0.0,)),
    "soft": (GroundStates(SOFT, 2), ladder(0.7, [0.25, 0.05], [1.2, 5.0], 1.3), (0.0,)),
    "errors": (GroundStates(HARD, 2), ladder(0.68, [0.27, 0.05], [3.5, 10.0], 0.08), (0.0, -0.4)),
}


@pytest.mark.parametrize("name", CASES)
def test_the_forward_equation_is_the_adjoint_of_the_backward_one(name):
    """1 at every level, and alpha <f_i'^2> by the derivatives of the energetic term in the variances (off any stationary point)."""
    landscape, steps, breaks = CASES[name]
    h, w = line(breaks)
    n = 128 if name == "errors" else 64  # two bends on one grid

    def at(h):
        found = fields(steps, landscape.pattern, jnp.asarray(landscape.model.kappa, float), n)

        def f(h):
            tables = [Negative(Tabulated(found.grid, c))(h) for c in found.f]
            return jnp.stack([landscape.pattern.bare(h, steps), *tables])

        slopes = jax.jvp(f, (h,), (jnp.ones_like(h),))[1]
        return found(h), slopes, strengths(landscape, steps, n), found.gaps(h)

    P, slopes, G, gaps = jax.jit(at)(h)
    np.testing.assert_allclose(P @ w, 1.0, atol=1e-11)
    np.testing.assert_allclose((P * slopes**2 @ w)[::-1] * landscape.model.alpha, G, rtol=1e-8)
    contacts = 0.0 if name != "errors" else P[0] @ (w * ((h < 0) & (h > -0.4)))
    assert float(gaps @ w) == pytest.approx(1.0 - float(contacts), abs=1e-10)
    assert np.all(gaps[h < 0] == 0) == (landscape.bounded)


def test_one_step_by_hand():
    """P(q_1, h) and P(Delta), kappa = -1, as single and double integrals."""
    kappa, q0, step, m = -1.0, 0.6276, 0.2908, 0.2192
    rest = 1.0 - q0 - step
    z = np.linspace(-10, 10, 4001)
    weights = norm.pdf(z) * (z[1] - z[0])
    f = lambda h: log_ndtr(h / np.sqrt(rest))
    f0 = lambda h: np.log(weights @ np.exp(m * f(h + np.sqrt(step) * z))) / m

    def inner(h):
        outer = lambda y: (
            norm.pdf(h, y, np.sqrt(step)) * np.exp(-m * f0(y)) * norm.pdf(y, -kappa, np.sqrt(q0))
        )
        return np.exp(m * f(h)) * quad(outer, -8, 8, points=[h, 0], epsabs=1e-12, limit=200)[0]

    def density(x):
        gap = x - kappa
        left = lambda h: inner(h) * norm.pdf(gap, h, np.sqrt(rest)) * np.exp(-f(h))
        return quad(left, -3.5, 6.5, points=[0.0, gap], epsabs=1e-9, epsrel=1e-7)[0] if gap > 0 else 0.0

    levels = Hierarchy(ladder(q0, [step], [m], rest), Satisfied(), jnp.asarray(kappa), jnp.zeros(2), 1)
    h = np.array([-0.8, -0.1, 0.0, 0.3, 2.0])
    found = levels.fields(jnp.asarray(h), 64)
    np.testing.assert_allclose(found[0], norm.pdf(h, -kappa, np.sqrt(q0)), rtol=1e-12)
    np.testing.assert_allclose(found[1], [inner(y) for y in h], rtol=1e-8)
    x = np.array([-1.1, -0.99, 0.2])
    np.testing.assert_allclose(levels.stabilities(jnp.asarray(x), 64), [density(y) for y in x], rtol=1e-7)


def test_absent_steps_have_no_width():
    """Two steps among three and none among two, as two and none."""
    two, three = (
        ladder(0.6, [0.2, 0.1], [0.2, 0.3], 0.1),
        ladder(0.6, [0.0, 0.2, 0.1], [0.0, 0.2, 0.3], 0.1, 2),
    )
    kappa, h = jnp.asarray(-1.0), jnp.linspace(-2, 3, 7)
    some = Hierarchy(two, Satisfied(), kappa, jnp.asarray([0.3, 0.2, 0.1]), 3)
    every = Hierarchy(three, Satisfied(), kappa, jnp.asarray([0.3, 0.3, 0.2, 0.1]), 3)
    for a, b in zip(some.parisi(), every.parisi()):
        np.testing.assert_allclose(a, b, rtol=1e-14)
    np.testing.assert_allclose(some.parisi().x, [0.0, 0.2, 0.3])
    np.testing.assert_allclose(some.parisi().q, [0.6, 0.6, 0.8, 0.9])
    np.testing.assert_allclose(some.fields(h, 64), every.fields(h, 64), rtol=1e-9)
    none = Hierarchy(ladder(1.0, [], [], 0.4), Contact(offset=1.0), kappa, jnp.ones(1), 2)
    np.testing.assert_allclose(none.fields(h, 64), np.tile(norm.pdf(h, 1.0), (3, 1)), rtol=1e-12)
    x = jnp.asarray([-3.0, 0.5])
    moved = [1.4 * norm.pdf(1.4 * -2.0, 1.0), norm.pdf(1.5, 1.0)]
    np.testing.assert_allclose(none.stabilities(x, 64), moved, rtol=1e-12)


def test_what_has_no_hierarchy_is_refused():
    for model, ansatz in (
        (rx.BinaryPerceptron(alpha=0.5), rx.RS()),
        (rx.SphericalPerceptron(alpha=1.0, beta=2.0), rx.RS()),
    ):
        solution = rx.solve(model, ansatz)
        with pytest.raises(ValueError, match="parisi: known for"):
            solution.parisi()
        with pytest.raises(ValueError, match=f"fields.*{model.name}"):
            solution.fields(0.0)


def test_replica_symmetric_solution():
    """Its own P(Delta) by two routes, in a batch, and under vmap."""
    alpha, x = np.array([1.0, 3.0]), jnp.asarray([[-0.51, -0.5], [0.0, 1.0]])
    plain = [rx.solve(rx.SphericalPerceptron(alpha=a, kappa=-0.5)) for a in alpha]
    both = rx.solve(rx.SphericalPerceptron(alpha=alpha, kappa=-0.5), rx.KRSB(k=0))
    assert both.parisi().x.shape == (2, 0) and both.fields(x).shape == (2, 1, 2, 2)
    np.testing.assert_allclose(both.parisi().q[:, 0], [s.q for s in plain], rtol=1e-12)
    np.testing.assert_allclose(both.parisi().stability[:, 0], [s.replicon for s in plain], rtol=1e-9)
    expected = np.stack([s.stabilities(x) for s in plain])
    np.testing.assert_allclose(both.stabilities(x), expected, rtol=1e-9)
    many = jax.vmap(
        lambda a: rx.solve(rx.SphericalPerceptron(alpha=a, kappa=-0.5), rx.KRSB(k=0)).stabilities(x)
    )
    np.testing.assert_allclose(many(jnp.asarray(alpha)), expected, rtol=1e-9)


@pytest.mark.slow
def test_batch_of_one_step():
    """Clusters, no step, and a ground state, whose violated patterns make up its energy."""
    model = rx.SphericalPerceptron(alpha=np.array([10.0, 2.0, 30.0]), kappa=-1.0)
    found = rx.solve(model, rx.OneRSB())
    parisi = found.parisi()
    np.testing.assert_allclose(parisi.q[0], [found.q0[0], found.q1[0]], rtol=1e-12)
    np.testing.assert_allclose(parisi.x[:, 0], [found.m[0], 0.0, found.c[2]], rtol=1e-12)
    np.testing.assert_allclose(parisi.stability[:2, 1], found.stability_1[:2], rtol=1e-9)
    x, w = line((-1.0, -1.0 - np.sqrt(2 * float(found.chi[2]))))
    density = np.asarray(found.stabilities(x))
    np.testing.assert_allclose(density[:2] @ w, 1.0, atol=1e-9)
    assert np.all(density[:2, x < -1.0] == 0)
    assert 30.0 * density[2] @ (w * (x < -1)) == pytest.approx(float(found.energy[2]), rel=1e-7)
    symmetric = rx.solve(rx.SphericalPerceptron(alpha=2.0, kappa=-1.0)).stabilities(x)
    np.testing.assert_allclose(density[1], symmetric, atol=1e-9)


@pytest.mark.slow
def test_one_step_with_m_or_q1_given():
    """At the stationary m and q1 all three are the stationary step; replicas have more than one m."""
    model, x = rx.SphericalPerceptron(alpha=10.0, kappa=-1.0), jnp.linspace(-1.2, 3.0, 9)
    found = rx.solve(model, rx.OneRSB())
    for given in (dict(m=found.m), dict(q1=found.q1), dict(m=found.m, q1=found.q1)):
        other = rx.solve(model, rx.OneRSB(**given))
        for values, expected in zip(other.parisi(), found.parisi()):
            np.testing.assert_allclose(values, expected, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(other.fields(x), found.fields(x), atol=1e-9)
    replicas = rx.solve(model, rx.OneRSB(m=2.0, q1=0.9)).parisi()
    assert replicas.x == 2.0 and float(replicas.q[1]) == pytest.approx(0.9, abs=1e-9)


@pytest.mark.slow
def test_full_breaking():
    """All levels of the finest ladder: its ends are the columns, its levels marginal."""
    found = rx.solve(rx.SphericalPerceptron(alpha=10.0, kappa=-1.0), rx.KRSB(k=float("inf")))
    x, q, stability = (np.asarray(v) for v in found.parisi())
    assert np.all(np.diff(x) > 0) and np.all(np.diff(q) > 0)
    ends = [found.x_m, found.x_M, found.q_m, found.q_M]
    np.testing.assert_allclose([x[0], x[-1], q[0], q[-1]], ends, rtol=1e-12)
    assert np.max(np.abs(stability[1:])) == pytest.approx(float(found.marginality), rel=1e-9)
    h, w = line((0.0,))
    P = np.asarray(found.fields(h))
    assert P.shape == (q.size, h.size)
    np.testing.assert_allclose(P @ w, 1.0, atol=1e-9)
    density = np.asarray(found.stabilities(h - 1.0))
    assert density @ w == pytest.approx(1.0, abs=1e-9) and np.all(density[h < 0] == 0)


@pytest.mark.slow
def test_gaps_and_forces_at_jamming():
    """kappa = -1, no step, one and three; and kappa = 0.5, where nothing breaks: normalisation, contacts, <h^2> = T_k/alpha; k = 1 by hand."""
    model = rx.SphericalPerceptron(kappa=np.array([-1.0, -1.0, -1.0, 0.5]))
    k = np.array([0.0, 1.0, 3.0, 2.0])
    found = rx.threshold(model, "jamming", k=k)
    q, c = np.asarray(found.parisi().q), np.asarray(found.parisi().x)
    assert q.shape == (4, 4) and c.shape == (4, 3)
    assert np.all(c[[0, 3]] == 0) and np.all(c[1, :2] == 0) and np.all(np.diff(c[2]) > 0)
    x, w = line()
    x, w = x[x > 0], w[x > 0]
    gaps, forces = np.asarray(found.gaps(x)), np.asarray(found.forces(x))
    np.testing.assert_allclose(gaps @ w, 1.0 - found.contacts / found.value, atol=1e-9)
    np.testing.assert_allclose(forces @ w, 1.0, atol=1e-8)
    np.testing.assert_allclose(forces @ (w * x), 1.0, atol=1e-8)
    assert np.all(found.forces(-x) == 0) and np.all(found.gaps(-x) == 0)
    # <f^2> in units of <f>: without steps 1/alpha = <h^2> over contacts
    share = norm.cdf([-1.0, 0.5])
    means = np.array([norm.pdf(1.0) - norm.cdf(-1.0), 0.5 * norm.cdf(0.5) + norm.pdf(0.5)])
    expected = share / (means**2 * np.asarray(found.value)[[0, 3]])
    np.testing.assert_allclose((forces @ (w * x * x))[[0, 3]], expected, rtol=1e-8)
    # one step: P_1 from its closed f_0
    q0, c1, step = q[1, 2], c[1, 2], 1.0 - q[1, 2]

    def P(h):
        stretch, kernel = 1.0 + c1 * step, lambda y: norm.pdf(h, y, np.sqrt(step))
        below = lambda y: np.exp(-0.5 * c1 * y * y / stretch) / np.sqrt(stretch)
        f0 = lambda y: norm.cdf(y / np.sqrt(step)) + below(y) * norm.cdf(-y / np.sqrt(step * stretch))
        outer = lambda y: kernel(y) / f0(y) * norm.pdf(y, 1.0, np.sqrt(q0))
        return (
            np.exp(-0.5 * c1 * min(h, 0.0) ** 2)
            * quad(outer, -9, 9, points=[0, h], epsabs=1e-13, limit=300)[0]
        )

    h = np.array([0.01, 0.3, 2.0])
    np.testing.assert_allclose(found.gaps(h)[1], [P(y) for y in h], rtol=1e-8)
    share = float(found.contacts[1] / found.value[1])
    scale = quad(lambda y: -y * P(y), -4, 0, epsabs=1e-10)[0] / share
    np.testing.assert_allclose(found.forces(h)[1], [P(-scale * y) * scale / share for y in h], rtol=1e-7)


def test_other_thresholds_have_no_gaps():
    found = rx.threshold(rx.SphericalPerceptron(kappa=0.0), "capacity")
    for read in (found.parisi, lambda: found.gaps(1.0), lambda: found.forces(1.0)):
        with pytest.raises(ValueError, match="jamming"):
            read()
