"""Tests for one look at a moment that was planned beforehand.

Looked at again and again they reject far too often: 5 % become 25 % with twenty looks. They assume
independent values as well; overlapping returns are not.
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

VALIDITY = "at the planned end only, and only for independent predictions"
VALIDITY_BY_UNIT = (
    "at the planned end only, and too narrow where a few busy units carry a variant; not part of "
    "the verdict"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedTest:
    """A difference, treatment minus control, with its interval and two-sided p-value."""

    difference: float
    interval: tuple[float, float]
    p_value: float


def two_proportion(
    control_successes: int,
    control_trials: int,
    treatment_successes: int,
    treatment_trials: int,
    alpha: float = 0.05,
) -> FixedTest | None:
    """Return the two-proportion z-test (Fleiss, Levin and Paik 2003, section 3.1).

    The p-value is of the pooled test, the interval Wald's with unpooled errors.

    Returns:
        None when a variant has no trials, or when all trials of both variants ended alike.
    """
    if not control_trials or not treatment_trials:
        return None
    control, treatment = control_successes / control_trials, treatment_successes / treatment_trials
    pooled = (control_successes + treatment_successes) / (control_trials + treatment_trials)
    pooled_error = math.sqrt(pooled * (1 - pooled) * (1 / control_trials + 1 / treatment_trials))
    if pooled_error == 0:
        return None
    error = math.sqrt(
        control * (1 - control) / control_trials + treatment * (1 - treatment) / treatment_trials
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
        None with fewer than two values in a variant or without any variance.
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
