"""Sharpe ratios, their errors and their difference."""

import math
from dataclasses import dataclass

import numpy as np

from serve_app.experiments.statistics.distributions import normal_tail
from serve_app.experiments.statistics.effect import Effect
from serve_app.experiments.statistics.estimates import Floats, VariantBlocks, from_contributions
from serve_app.experiments.statistics.sequential import Moments


def sharpe_ratio(returns: Moments) -> float | None:
    """Return the mean over the standard deviation of the returns, per prediction.

    There is no risk-free rate. The ratio is None with fewer than two returns or without variance.
    """
    if returns.n < 2 or returns.variance == 0:
        return None
    return returns.mean / math.sqrt(returns.variance)


def standard_error(ratio: float, n: float) -> float:
    """Return the standard error of a Sharpe ratio of `n` independent returns, per period.

    Lo (2002), "The Statistics of Sharpe Ratios", equation (9): sqrt((1 + SR² / 2) / n).
    """
    return math.sqrt((1 + ratio**2 / 2) / n)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedSharpeTest:
    """The result of Jobson and Korkie's test."""

    z: float
    p_value: float
    """The two-sided p-value, for one planned analysis."""


def jobson_korkie_memmel(
    first: float, second: float, correlation: float, n: int
) -> PairedSharpeTest | None:
    """Return the test of two Sharpe ratios of the same `n` periods, independent over time.

    Jobson and Korkie (1981) with the correction of Memmel (2003): z = (S1 - S2) / sqrt(theta),
    theta = (2 - 2 rho + (S1² + S2² - 2 S1 S2 rho²) / 2) / n. It is not valid for overlapping
    returns: see `difference`.

    Returns:
        None if both are the same series, so that there is nothing to test.
    """
    spread = first**2 + second**2 - 2 * first * second * correlation**2
    theta = (2 - 2 * correlation + spread / 2) / n
    if theta <= 0:
        return None
    z = (first - second) / math.sqrt(theta)
    return PairedSharpeTest(z=z, p_value=2 * normal_tail(abs(z)))


def of_pairs(control: Moments, treatment: Moments, product_total: float) -> PairedSharpeTest | None:
    """Return Jobson and Korkie's test of treatment against control for paired returns.

    Args:
        control, treatment: returns of the same n pairs.
        product_total: sum over the pairs of control's return times treatment's.

    Returns:
        None if a variant has no Sharpe ratio.
    """
    first, second = sharpe_ratio(treatment), sharpe_ratio(control)
    if first is None or second is None:
        return None
    covariance = (product_total - control.total * treatment.total / control.n) / (control.n - 1)
    correlation = covariance / math.sqrt(control.variance * treatment.variance)
    return jobson_korkie_memmel(first, second, min(1.0, max(-1.0, correlation)), control.n)


def difference(
    control: VariantBlocks, treatment: VariantBlocks, *, neighbours: bool
) -> Effect | None:
    """Return treatment's Sharpe ratio minus control's, per prediction, with a HAC error.

    Delta method on the first two moments (Ledoit and Wolf 2008, section 3.1). The standard error
    comes from the variance of the blocks' contributions and the covariance of neighbouring blocks,
    so that the test is valid for overlapping returns and for variants that trade at the same times.
    It is valid for one planned analysis.

    Args:
        control, treatment: returns by block, arrays of shape (blocks,).
        neighbours: see `estimates.within_blocks`.

    Returns:
        None if a variant has no Sharpe ratio.
    """
    value, freedom = 0.0, math.inf
    contribution = np.zeros(control.n.shape)
    counts = []
    for sign, variant in ((-1, control), (1, treatment)):
        moments = Moments(
            n=int(variant.n.sum()),
            total=float(variant.total.sum()),
            square_total=float(variant.square_total.sum()),
        )
        ratio = sharpe_ratio(moments)
        if ratio is None:
            return None
        value += sign * ratio
        contribution += sign * _contributions(variant, moments, ratio)
        freedom = min(freedom, moments.n**2 / float(np.square(variant.n).sum()) - 1)
        counts.append(moments.n)
    weight = counts[0] * counts[1] / (counts[0] + counts[1])
    return Effect.of(
        from_contributions(
            np.asarray(value),
            contribution,
            np.asarray(freedom),
            np.asarray(weight),
            0.0,
            neighbours,
        )
    )


def _contributions(variant: VariantBlocks, moments: Moments, ratio: float) -> Floats:
    """Return each block's contribution to the deviation of a variant's ratio from the truth."""
    mean, deviation = moments.mean, math.sqrt(moments.variance)
    first = (variant.total - mean * variant.n) / deviation
    second = (
        variant.square_total - 2 * mean * variant.total + mean**2 * variant.n
    ) / deviation**2 - variant.n
    blocks = moments.n**2 / float(np.square(variant.n).sum())
    few = math.sqrt(blocks / (blocks - 1)) if blocks > 1 else 1.0
    return np.asarray(few * (first - ratio / 2 * second) / moments.n)
