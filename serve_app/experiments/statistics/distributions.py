"""Tails and quantiles of the normal, Student's t and the chi-squared distribution.

They come from scipy.special, which scipy.stats uses as well. The import is inside the
functions, here and elsewhere: routers and the fleet import these modules when they start, and
compute nothing.
"""

import math


def normal_tail(z: float) -> float:
    """Return P(Z > z)."""
    from scipy.special import ndtr

    return float(ndtr(-z))


def normal_quantile(probability: float) -> float:
    """Return the z with P(Z <= z) = `probability`."""
    from scipy.special import ndtri

    return float(ndtri(probability))


def chi_squared_tail(value: float, freedom: float) -> float:
    """Return P(X > value) with `freedom` degrees of freedom."""
    from scipy.special import chdtrc

    return float(chdtrc(freedom, value))


def t_tail(t: float, freedom: float) -> float:
    """Return P(T > t) with `freedom` degrees of freedom, which may be infinite."""
    from scipy.special import stdtr

    return normal_tail(t) if math.isinf(freedom) else float(stdtr(freedom, -t))


def t_quantile(probability: float, freedom: float) -> float:
    """Return the t with P(T <= t) = `probability` and `freedom` degrees of freedom."""
    from scipy.special import stdtrit

    if math.isinf(freedom):
        return normal_quantile(probability)
    return float(stdtrit(freedom, probability))
