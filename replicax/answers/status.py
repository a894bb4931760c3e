"""How far an answer can be trusted: one small integer, whose meanings are the same in Python, in tables and in files."""

import jax
import numpy as np

from replicax.theory.free_entropy import BRANCHES

#: in this order: the code of a status is its position
STATUSES = (
    "ok",
    "negative entropy",
    "upper bound",
    "unstable (replicon)",
    "not converged",
    "no solution",
    "no reference",
    "outside domain",
    "inner saddle lost",
    "branch lost",
    "float32",
    "not computed",
)
CODE = {name: code for code, name in enumerate(STATUSES)}


def status_text(code):
    """The meaning of a status: a string, an array of strings, or (traced) the code itself."""
    if isinstance(code, jax.core.Tracer):
        return code
    text = np.asarray(STATUSES)[np.asarray(code, int)]
    return str(text) if text.ndim == 0 else text


def branch_text(code):
    """The name of a branch (blank: there is one solution only), in the manner of `status_text`."""
    if isinstance(code, jax.core.Tracer):
        return code
    text = np.asarray(BRANCHES)[np.nan_to_num(np.asarray(code, float)).astype(int)]
    return str(text) if text.ndim == 0 else text
