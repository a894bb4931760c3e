"""What a simulation returns: a mean with its standard error.

Every Monte-Carlo answer of replicax is a `Statistic`, in the spirit of the statistics object of NetKet
(Vicentini et al., SciPost Phys. Codebases 7, 2022).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import equinox as eqx
import numpy as np
from scipy.stats import t as student

_WINDOW = 5.0  # Sokal's automatic window: sum the autocorrelation up to 5 tau


class Statistic(eqx.Module):
    """A mean and how far to trust it.

    Scalars, or arrays of one common shape (one entry per bin of a histogram, per coupling strength, ...).

    mean    the estimate
    error   its standard error (one sigma); nan when fewer than two samples
    n       number of independent samples; for chains on one instance the effective number, samples / tau
    r_hat   split R-hat of Gelman et al., Bayesian Data Analysis (2013), eq. 11.4: 1 when the chains agree
            (chains only)
    tau     integrated autocorrelation time 1 + 2 sum_t rho(t), in sweeps: 1 for independent samples
            (chains only)
    """

    mean: Any
    error: Any
    n: Any
    r_hat: Any = None
    tau: Any = None

    @classmethod
    def from_samples(cls, x) -> Statistic:
        """Statistic of independent samples x (samples, ...): error = standard deviation / sqrt(samples)."""
        x = np.asarray(x, dtype=np.float64)
        n = x.shape[0]
        missing = np.full(x.shape[1:], np.nan)
        mean = x.mean(0) if n > 0 else missing
        error = x.std(0, ddof=1) / math.sqrt(n) if n > 1 else missing
        return cls(_scalar(mean), _scalar(error), n)

    @classmethod
    def from_counts(cls, successes: int, trials: int) -> Statistic:
        """Statistic of a fraction successes / trials.

        The error is the standard deviation of the Jeffreys posterior Beta(successes + 1/2, failures +
        1/2): the binomial sqrt(p (1 - p) / n) for many trials, and not 0 when all runs succeed or all fail.
        """
        a, b = successes + 0.5, trials - successes + 0.5
        error = math.sqrt(a * b / (a + b + 1.0)) / (a + b)
        return cls(successes / trials if trials else math.nan, error, trials)

    @classmethod
    def from_chains(cls, x) -> Statistic:
        """Statistic of equilibrated chains: x (chains, sweeps), or (instances, chains, sweeps).

        One instance: error^2 = variance tau / (chains sweeps). Several instances (samples of the quenched
        disorder): the standard error over the instance means, which holds the thermal and the disorder
        fluctuations together. tau and R-hat pool the variances of all instances.
        """
        x = np.asarray(x, dtype=np.float64)
        if x.ndim not in (2, 3):
            raise ValueError(
                f"x.ndim = {x.ndim} is not allowed: x must be (chains, sweeps) or (instances, chains, sweeps)"
            )
        series = x if x.ndim == 3 else x[None]
        instances, _, sweeps = series.shape
        covariance = _autocovariance(series)
        tau = _integrated_time(covariance)
        if instances > 1:
            n, error = instances, float(series.mean((1, 2)).std(ddof=1)) / math.sqrt(instances)
        else:
            n = series.size / tau
            # covariance[0] is a variance about the measured mean: short by a factor 1 - 1/n
            error = math.sqrt(covariance[0] / (n - 1.0)) if n > 1.0 else math.nan
        r_hat = _split_r_hat(series) if sweeps > 3 else math.nan
        return cls(float(series.mean()), error, n, r_hat, tau)

    def z(self, value) -> Any:
        """(mean - value) / error: the distance from a predicted value, in standard errors."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return _scalar(np.divide(np.subtract(self.mean, value), self.error))

    def __repr__(self) -> str:
        if np.ndim(self.mean) > 0:
            entries = [_compact(m, e) for m, e in zip(np.ravel(self.mean), np.ravel(self.error))]
            shown = ", ".join(entries[:8]) + (", ..." if len(entries) > 8 else "")
            return f"[{shown}]"
        notes = "" if self.tau is None else f" [tau={self.tau:.3g}, r_hat={self.r_hat:.3f}]"
        return _compact(self.mean, self.error) + notes


class PowerLaw(NamedTuple):
    """y = exp(intercept) x^exponent, from least squares of log y; low and high bound the exponent at 95 percent (Student)."""

    exponent: Statistic
    low: float
    high: float
    intercept: float

    @classmethod
    def fit(cls, x, y) -> PowerLaw:
        """From independent runs: y > 0 at sizes x > 0, of which there must be two different ones, and three runs."""
        u, v = np.log(np.ravel(x)), np.log(np.ravel(y))
        n, spread = len(u), np.sum((u - u.mean()) ** 2)
        if n < 3 or not spread > 0.0 or not np.all(np.isfinite(v)):
            raise ValueError(
                f"{n} runs at x = {np.unique(x)} are not allowed: a power law needs 3, at 2 sizes, y > 0"
            )
        slope = float(np.sum((u - u.mean()) * v) / spread)
        rest = v - v.mean() - slope * (u - u.mean())
        error = float(np.sqrt(np.sum(rest**2) / (n - 2) / spread))
        width = float(student.ppf(0.975, n - 2)) * error
        return cls(
            Statistic(slope, error, n), slope - width, slope + width, float(v.mean() - slope * u.mean())
        )

    def __call__(self, x) -> np.ndarray:
        return np.exp(self.intercept) * np.asarray(x, np.float64) ** self.exponent.mean


def _scalar(x):
    return float(x) if np.ndim(x) == 0 else x


def _compact(mean, error) -> str:
    """0.1382(12): the error in units of the last digit shown, rounded to two digits."""
    mean, error = float(mean), float(error)
    if not math.isfinite(mean) or not math.isfinite(error) or error <= 0.0:
        return f"{mean:.6g}({'?' if not math.isfinite(error) else '0'})"
    power = math.floor(math.log10(max(abs(mean), error)))
    if power >= 6 or power <= -5:
        return f"{_compact(mean / 10.0**power, error / 10.0**power)}e{power:+03d}"
    decimals = 1 - math.floor(math.log10(error))
    if round(error * 10.0**decimals) == 100:  # 0.00996 rounds to 0.010
        decimals -= 1
    decimals = max(decimals, 0)
    return f"{mean:.{decimals}f}({round(error * 10.0**decimals)})"


def _autocovariance(x: np.ndarray) -> np.ndarray:
    """Autocovariance (sweeps,) of x (instances, chains, sweeps) about each instance's mean, averaged over
    all chains.

    The mean is that of all chains of the instance, so that chains that disagree show up as a long tau.
    """
    sweeps = x.shape[-1]
    centred = x - x.mean((1, 2), keepdims=True)
    spectrum = np.fft.rfft(centred, n=2 * sweeps, axis=-1)  # zero padding: no wrap-around
    sums = np.fft.irfft(np.abs(spectrum) ** 2, axis=-1)[..., :sweeps]
    return sums.mean((0, 1)) / sweeps


def _integrated_time(covariance: np.ndarray) -> float:
    """tau = 1 + 2 sum_{t=1}^M rho(t) with the smallest M >= 5 tau(M).  Sokal (1997), section 3."""
    if covariance[0] <= 0.0:
        return 1.0  # a constant series
    times = 2.0 * np.cumsum(covariance / covariance[0]) - 1.0
    enough = np.arange(len(times)) >= _WINDOW * times
    return max(float(times[np.argmax(enough)] if enough.any() else times[-1]), 1.0 / len(times))


def _split_r_hat(x: np.ndarray) -> float:
    """sqrt(((h - 1) W / h + B / h) / W) of the chains cut in halves of h sweeps; pooled over instances."""
    half = x.shape[-1] // 2
    halves = np.concatenate([x[..., :half], x[..., -half:]], axis=1)
    within = halves.var(-1, ddof=1).mean()
    between = halves.mean(-1).var(-1, ddof=1).mean()  # B / h
    if within == 0.0:
        return 1.0 if between == 0.0 else math.inf
    return float(np.sqrt((half - 1.0) / half + between / within))
