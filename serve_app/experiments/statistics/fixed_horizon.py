"""Tests for a single analysis at a time that was planned in advance.

Repeated at interim looks they reject far too often: 5 % becomes 25 % with twenty looks. They also
assume independent values, and overlapping returns are dependent.
"""

import math
from dataclasses import dataclass

from serve_app.experiments.statistics.distributions import (
    normal_quantile,
    normal_tail,
    t_quantile,
    t_tail,
)
from serve_app.experiments.statistics.sequential import Moments


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedTest:
    """A difference, treatment minus control, with its interval and two-sided p-value."""

    difference: float
    interval: tuple[float, float]
    p_value: float


def two_proportion(
    control_successes: int,
    control_n: int,
    treatment_successes: int,
    treatment_n: int,
    alpha: float = 0.05,
) -> FixedTest | None:
    """Return the two-proportion z-test (Fleiss, Levin and Paik 2003, section 3.1).

    The p-value is that of the pooled test, the interval is Wald's with unpooled errors.

    Returns:
        None if a variant has no values, or if all values of both variants are equal.
    """
    if not control_n or not treatment_n:
        return None
    control, treatment = control_successes / control_n, treatment_successes / treatment_n
    pooled = (control_successes + treatment_successes) / (control_n + treatment_n)
    pooled_error = math.sqrt(pooled * (1 - pooled) * (1 / control_n + 1 / treatment_n))
    if pooled_error == 0:
        return None
    error = math.sqrt(
        control * (1 - control) / control_n + treatment * (1 - treatment) / treatment_n
    )
    difference = treatment - control
    half_width = -normal_quantile(alpha / 2) * error
    return FixedTest(
        difference=difference,
        interval=(difference - half_width, difference + half_width),
        p_value=2 * normal_tail(abs(difference) / pooled_error),
    )


def welch(control: Moments, treatment: Moments, alpha: float = 0.05) -> FixedTest | None:
    """Return Welch's t-test for a difference in means (Welch 1947).

    Returns:
        None if a variant has fewer than two values or the variance is 0.
    """
    if min(control.n, treatment.n) < 2:
        return None
    parts = [(variant.variance / variant.n, variant.n - 1) for variant in (control, treatment)]
    variance = sum(part for part, _ in parts)
    if variance == 0:
        return None
    freedom = variance**2 / sum(part**2 / degrees for part, degrees in parts)
    difference, error = treatment.mean - control.mean, math.sqrt(variance)
    half_width = -t_quantile(alpha / 2, freedom) * error
    return FixedTest(
        difference=difference,
        interval=(difference - half_width, difference + half_width),
        p_value=2 * t_tail(abs(difference) / error, freedom),
    )
