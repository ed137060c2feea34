"""Tails and quantiles of the normal, Student's t and the chi-squared distribution.

From scipy.special, on which scipy.stats builds too: to import that takes every process of a server
0.4 s when it starts.
"""

import math

from scipy.special import chdtrc, ndtr, ndtri, stdtr, stdtrit


def normal_tail(z: float) -> float:
    """Return P(Z > z)."""
    return float(ndtr(-z))


def normal_quantile(probability: float) -> float:
    """Return the z of P(Z <= z) = `probability`."""
    return float(ndtri(probability))


def chi_squared_tail(value: float, freedom: float) -> float:
    """Return P(X > value) with so many degrees of freedom."""
    return float(chdtrc(freedom, value))


def t_tail(t: float, freedom: float) -> float:
    """Return P(T > t) with so many degrees of freedom, which may be infinite."""
    return normal_tail(t) if math.isinf(freedom) else float(stdtr(freedom, -t))


def t_quantile(probability: float, freedom: float) -> float:
    """Return the t of P(T <= t) = `probability` with so many degrees of freedom."""
    if math.isinf(freedom):
        return normal_quantile(probability)
    return float(stdtrit(freedom, probability))
