"""What every result column means, and its unit: for files, `replicax list` and the documentation.

All quantities are dimensionless; free entropies are natural-log ("nats") per weight, per spin for the
recurrent network.
"""

import re
from typing import NamedTuple

NATS = "nats per weight"


class Column(NamedTuple):
    """One line of definition, and the unit ("1": a pure number)."""

    definition: str
    units: str = "1"


#: results of a solve, a branch or a sweep
COLUMNS = {
    "phi": Column("free entropy at the stationary point (local entropies: per replica)", NATS),
    "entropy": Column("entropy: phi + beta energy (local entropies: S_I)", NATS),
    "energy": Column("-d phi/d beta: loss of the model per weight (recurrent network: 2 a violated spin)"),
    "q": Column("overlap of two typical configurations"),
    "q_hat": Column("conjugate of q"),
    "R": Column("overlap with the teacher"),
    "R_hat": Column("conjugate of R"),
    "R_ref": Column("overlap of the reference with the teacher"),
    "R_ref_hat": Column("conjugate of R_ref"),
    "q0": Column("overlap between different clusters (frozen: of typical configurations)"),
    "q1": Column("overlap inside a cluster, or of the replicas"),
    "q0_hat": Column("conjugate of q0"),
    "q1_hat": Column("conjugate of q1"),
    "m": Column("Parisi parameter (spherical krsb, T = 0: falls like c/beta, 0)"),
    "chi": Column("spherical, T = 0: lim beta (1 - q_k); random features: p_d - p"),
    "c": Column("spherical krsb, T = 0: lim beta m_1"),
    "t": Column("overlap of a configuration with an independent typical reference"),
    "p": Column("overlap of two solutions of different margins (random features: of hidden projections)"),
    "p_d": Column("squared norm of the hidden projections of one configuration, per input"),
    "r": Column("overlap of the hidden projections with the teacher"),
    "V": Column("variance of a preactivation at fixed quenched field"),
    "Q": Column("covariance of two preactivations (free weights: squared norm per weight)"),
    "M": Column("covariance of the preactivation with the teacher's field"),
    "b": Column("multiplier of the norm of the weights"),
    "r1": Column("conjugate of q1: variance of the local fields of the replicas"),
    "r0": Column("conjugate of q0: variance of the field of a quenched centre"),
    "Dr": Column("lim y (r1 - r0) around a quenched centre"),
    "delta": Column("lim y (q1 - q0) around a quenched centre"),
    "Q_d": Column("variance of the preactivation of one configuration"),
    "q_m": Column("spherical krsb, k = inf: smallest overlap"),
    "q_M": Column("spherical krsb, k = inf: largest overlap"),
    "x_m": Column("spherical krsb, k = inf: x(q) above q_m (T = 0: lim beta x)"),
    "x_M": Column("spherical krsb, k = inf: x(q) below q_M (T = 0: lim beta x)"),
    "marginality": Column("spherical krsb, k = inf: largest |stability| of a level of the continuous part"),
    "replicon": Column("stability against (further) replica symmetry breaking; > 0: stable"),
    "S_I": Column("internal (local) entropy, d(y phi)/dy", NATS),
    "S_E": Column("external entropy: logarithm of the number of groups of replicas, y (phi - S_I)", NATS),
    "y": Column("number of replicas of the local entropy"),
    "slope": Column("d phi/d(control) at fixed y; control = d or q1, whichever was given", NATS),
    "gamma": Column("local entropies: coupling whose soft form has this distance (see `LocalEntropy`)"),
    "eps": Column("clean test error of a typical student"),
    "eps_bary": Column("clean test error of the barycentre of the Gibbs measure"),
    "eps_center": Column("clean test error of the barycentre of the cluster"),
    "test": Column("error on noisy test labels (task=sign), or excess risk (task=linear)"),
    "train_error": Column("fraction of violated training constraints"),
    "mu0": Column("mean of the activation, <s(g)>"),
    "mu1": Column("linear part of the activation, <g s(g)>"),
    "mustar": Column("nonlinear part of the activation, (<s^2> - mu0^2 - mu1^2)^(1/2)"),
    "tau2": Column("squared correlation of the labels that the features explain"),
    "Delta0": Column("variance of the currents"),
    "tanh2": Column("mean squared activity, <tanh^2>"),
    "lyapunov": Column("largest Lyapunov exponent, per unit of time"),
    "branch": Column("which of several solutions"),
    "status": Column("how far the point can be trusted"),
    "converged": Column("1 where the saddle equations are solved; elsewhere the observables are NaN"),
    "residual": Column("largest undamped residual of the saddle equations, in the coordinates solved"),
    "quadrature_error": Column("estimated error of phi from refining every integration rule", NATS),
}

#: further columns of thresholds
THRESHOLD_COLUMNS = {
    "value": Column("the parameter at the threshold"),
    "alpha": Column("patterns per weight at the threshold"),
    "x_break": Column("breaking point of the bifurcating solution"),
    "xdot": Column("slope of the Parisi function at the bifurcation"),
    "error": Column("bracket of the extrapolation"),
    "contacts": Column("constraints with Delta = kappa per weight"),
    "d": Column("Hamming distance per weight"),
}

#: further columns of simulations and validations
SIMULATION_COLUMNS = {
    "samples": Column("number of independent instances"),
    "solved": Column("fraction of the instances solved"),
    "budget": Column("steps allowed per instance"),
    "r_hat": Column("Gelman-Rubin ratio of the chains"),
    "tau": Column("integrated autocorrelation time, in sweeps"),
    "quantity": Column("the quantity compared"),
    "theory": Column("its value for N = inf"),
    "simulation": Column("its simulated value"),
    "z": Column("(simulation - theory)/standard error"),
    "extrapolated": Column("1 where the simulated value is extrapolated to N = inf"),
}

_INDEXED = {
    "q": "overlap at level {} of the hierarchy",
    "p": "overlap of the hidden projections at level {}",
    "Q": "covariance of two preactivations at level {}",
    "m": "Parisi parameter of level {} (spherical krsb, T = 0: falls like c/beta, 0)",
    "c": "spherical krsb, T = 0: lim beta m of level {}",
    "stability": "stability of level {}; > 0: stable",
}


def column(name: str) -> Column:
    """Definition and unit of a column, also of q_3, m_2, stability_0, NAME_err; an unknown name is kept."""
    for table in (COLUMNS, THRESHOLD_COLUMNS, SIMULATION_COLUMNS):
        if name in table:
            return table[name]
    if found := re.fullmatch(r"(q|p|Q|m|stability)_?(\d+)", name):
        return Column(_INDEXED[found[1]].format(found[2]))
    if name.endswith("_hat") and name != "_hat":
        return Column(f"conjugate of {name[:-4]}")
    if name.endswith("_err") and name != "_err":
        return Column(f"standard error of {name[:-4]}", column(name[:-4]).units)
    return Column(name)
