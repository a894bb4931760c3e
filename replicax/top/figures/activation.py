"""The best activation of random features for dense solutions: ascent of a threshold by its derivative in a shape."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from replicax.answers.thresholds import threshold
from replicax.theory.models import RandomFeatures
from replicax.top.figures import drawn
from replicax.vocabulary.features import Activation, coefficients

#: labels are noisy (correlation of the teacher with its noisy field) and there are as many patterns as inputs
_RHO, _PATTERNS = 0.4, 1.0
#: log steepness and offset from which the ascents start
_STARTS = np.array([[-1.5, 0.2], [0.3, 2.2], [1.5, 1.0], [-0.5, 1.5]])
_RATE = 0.2


class Step(Activation):
    """tanh(e^steepness (g - offset)): from a linear function to a step, in the middle or on one side."""

    steepness: Array
    offset: Array

    def __call__(self, g: Array) -> Array:
        return jnp.tanh(jnp.exp(self.steepness) * (g - self.offset))


def _onset(shape: Array) -> Array:
    """alpha_LE of features of this shape (..., 2)."""
    model = RandomFeatures(alpha_T=_PATTERNS, rho=_RHO, activation=Step(shape[..., 0], shape[..., 1]))
    return threshold(model, "alpha-le").value


def _ascend(starts: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Shapes (starts, steps, 2) and alpha_LE along the ascents (Adam, on the implicit derivative of the threshold)."""
    slope = jax.jit(jax.vmap(jax.value_and_grad(_onset)))
    method = optax.adam(optax.cosine_decay_schedule(_RATE, steps), b1=0.7)
    shapes, state = jnp.asarray(starts), method.init(jnp.asarray(starts))
    path, values = [], []
    for _ in range(steps):
        value, gradient = slope(shapes)
        path.append(np.asarray(shapes))
        values.append(np.asarray(value))
        step, state = method.update(-gradient, state)
        shapes = optax.apply_updates(shapes, step)
    return np.stack(path, axis=1), np.stack(values, axis=1)


@drawn("activation-shape")
def activation_shape(quick: bool = False) -> tuple[Any, Any]:
    """Which activation keeps dense solutions longest, when labels are noisy: ascent of alpha_LE over the shape of the activation.

    Random features tanh(a (g - b)), binary weights, P/D = 1, a teacher with rho = 0.4. Left: alpha_LE(a, b) and ascents from four shapes by the
    derivative of the threshold (through the saddle, its condition and the integrals of the activation). Right: Gaussian equivalence leaves
    mu*/mu1 only: all paths climb one curve, whose maximum is neither a linear feature nor a purely nonlinear one.
    """
    import xarray as xr
    from matplotlib.figure import Figure

    steps = 30 if quick else 90
    path, along = _ascend(_STARTS[: 2 if quick else None], steps)
    steepness, offset = np.linspace(-2.0, 2.5, 10 if quick else 28), np.linspace(0.0, 3.0, 8 if quick else 20)
    grid = np.stack(np.meshgrid(steepness, offset, indexing="ij"), -1)
    onset = np.asarray(_onset(jnp.asarray(grid)))
    ratio = lambda shape: (lambda mu: np.asarray(mu.mustar / mu.mu1))(
        coefficients(Step(shape[..., 0], shape[..., 1]))
    )
    on_path, on_grid = ratio(jnp.asarray(path)), ratio(jnp.asarray(grid))

    drawing = Figure(figsize=(10, 4.2), layout="constrained")
    left, right = drawing.subplots(1, 2)
    shown = left.contourf(np.exp(steepness), offset, onset.T, 24, cmap="viridis")
    drawing.colorbar(shown, ax=left, label=r"$\alpha_{LE}$")
    order = np.argsort(on_grid, axis=None)
    right.plot(
        on_grid.ravel()[order],
        onset.ravel()[order],
        ".",
        color="0.75",
        ms=3,
        label="every shape of the left panel",
    )
    for i in range(path.shape[0]):
        left.plot(np.exp(path[i, :, 0]), path[i, :, 1], f"C{i + 1}-", lw=2)
        left.plot(np.exp(path[i, 0, 0]), path[i, 0, 1], f"C{i + 1}o")
        left.plot(np.exp(path[i, -1, 0]), path[i, -1, 1], "w*", ms=11, mec="k")
        right.plot(
            on_path[i],
            along[i],
            f"C{i + 1}-",
            lw=2,
            label=f"ascent from a = {np.exp(path[i, 0, 0]):.2f}, b = {path[i, 0, 1]:.1f}",
        )
        right.plot(on_path[i, 0], along[i, 0], f"C{i + 1}o")
        right.plot(on_path[i, -1], along[i, -1], "w*", ms=11, mec="k")
    left.set(xscale="log", xlabel="steepness $a$", ylabel="offset $b$")
    right.set(
        xscale="log",
        xlabel=r"nonlinearity $\mu_\star/\mu_1$",
        ylabel=r"onset of dense solutions $\alpha_{LE}$",
    )
    right.legend(fontsize="small")

    words = lambda text, units="1": dict(definition=text, units=units)
    data = xr.Dataset(
        dict(
            alpha_le=(
                ("log_steepness", "offset"),
                onset,
                words("patterns per feature below which there are dense solutions"),
            ),
            nonlinearity=(("log_steepness", "offset"), on_grid, words("mu*/mu1 of the activation")),
            path_log_steepness=(("ascent", "step"), path[..., 0], words("log a along the ascents")),
            path_offset=(("ascent", "step"), path[..., 1], words("b along the ascents")),
            path_alpha_le=(("ascent", "step"), along, words("alpha_LE along the ascents")),
            path_nonlinearity=(("ascent", "step"), on_path, words("mu*/mu1 along the ascents")),
        ),
        coords=dict(log_steepness=steepness, offset=offset),
    )
    return drawing, data
