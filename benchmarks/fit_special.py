"""Fits the table `replicax/numerics/_special_coefficients.py` of the inverse Mills ratio (mpmath, 50 digits).

For x >= 0 each of

    mills(x) - x  ~  1 / x,        mills''(x)  ~  2 / x^3,        mills'''(x)  ~  -6 / x^4

is written as P(x) / Q(x) with the degrees that give the right power at infinity, and interpolated at
Chebyshev nodes of t = (x - K) / (x + K), the map of [0, inf] on [-1, 1] of Shepherd and Laframboise (Math.
Comp. 36, 249, 1981). A rational function needs two thirds of the operations of a polynomial in t (degree
30), and all its coefficients come out with one sign (checked below): the sums have no cancellation, so the
relative error is that of the rounding, everywhere. K is chosen by scanning.

Run: `python benchmarks/fit_special.py` (five seconds; rewrites the table and prints the error of each fit).
"""

from pathlib import Path

import mpmath as mp

mp.mp.dps = 50
_TABLE = Path(__file__).parent.parent / "replicax" / "numerics" / "_special_coefficients.py"
# name, derivative of mills (0: mills - x), degree of P, decay at infinity
_FITS = [("MILLS_MINUS_X", 0, 10, 1), ("MILLS_2", 2, 11, 3), ("MILLS_3", 3, 11, 4)]
_SCALES = [mp.mpf(k) / 4 for k in range(8, 33)]


def mills_chain(x):
    """(mills - x, mills', mills'', mills''') at x; the recurrences cancel as x^8, hence 120 digits inside."""
    with mp.workdps(120):
        x = mp.mpf(x)
        g = mp.sqrt(2 / mp.pi) * mp.exp(-(x**2) / 2) / mp.erfc(x / mp.sqrt(2))
        g1 = g * (g - x)
        g2 = g1 * (2 * g - x) - g
        g3 = g2 * (2 * g - x) - 2 * g1 * (1 - g1)
        return g - x, g1, g2, g3


def fit(order, degree, decay, scale):
    """Coefficients (lowest power first) of P and monic Q, P / Q = f at the Chebyshev nodes."""
    size = 2 * degree + decay + 1
    matrix, right = mp.matrix(size, size), mp.matrix(size, 1)
    for i in range(size):
        t = mp.cos(mp.pi * (2 * i + 1) / (2 * size))
        x = scale * (1 + t) / (1 - t)
        f, row = mills_chain(x)[order], (1 + x) ** -degree
        for k in range(degree + 1):
            matrix[i, k] = row * x**k
        for k in range(degree + decay):
            matrix[i, degree + 1 + k] = -row * f * x**k
        right[i] = row * f * x ** (degree + decay)
    solution = list(mp.lu_solve(matrix, right))
    return solution[: degree + 1], [*solution[degree + 1 :], mp.mpf(1)]


def main():
    points = [mp.mpf(j) / 20 for j in range(200)] + [10 * mp.mpf("1.1") ** j for j in range(100)]
    chains = [mills_chain(x) for x in points]
    lines = [
        '"""Rational functions P(x) / Q(x) on x >= 0, coefficients from the lowest power, Q monic.',
        "",
        "Written by benchmarks/fit_special.py (mpmath, 50 digits); do not edit. Interpolation at Chebyshev",
        "nodes of t = (x - K) / (x + K). The largest relative errors, before rounding to float64:",
        "",
    ]
    body = []
    for name, order, degree, decay in _FITS:
        best = None
        for scale in _SCALES:
            try:
                p, q = fit(order, degree, decay, scale)
            except ZeroDivisionError:
                continue
            if min(q) <= 0 or min(p) * max(p) <= 0:
                continue
            error = max(
                abs(mp.polyval(p[::-1], x) / mp.polyval(q[::-1], x) / chain[order] - 1)
                for x, chain in zip(points, chains)
            )
            if best is None or error < best[0]:
                best = error, scale, p, q
        assert best is not None
        error, scale, p, q = best
        degrees = f"degrees {degree}/{degree + decay}"
        text = f"    {name:14s} {degrees}, K = {mp.nstr(scale, 4)}: {mp.nstr(error, 2)}"
        print(text)
        lines.append(text)
        for part, coefficients in (("P", p), ("Q", q)):
            body += ["", f"{name}_{part} = (", *(f"    {float(c)!r}," for c in coefficients), ")"]
    _TABLE.write_text("\n".join([*lines, '"""', *body]) + "\n")


if __name__ == "__main__":
    main()
