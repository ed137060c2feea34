"""Counts of two variants against their expected split."""

import math
from collections.abc import Sequence

import numpy as np

from serve_app.experiments.statistics import sequential
from serve_app.experiments.statistics.distributions import chi_squared_tail, t_tail
from serve_app.experiments.statistics.estimates import Floats

SMALLEST_EXPECTED = 5
"""With a smaller expected count in a variant, chi² is a poor approximation (Cochran 1954) and the
exact binomial test replaces it."""

FEWEST_BLOCKS = 10
"""Number of blocks that the test by block of time needs."""


def pearson(observed: Sequence[int], expected_shares: Sequence[float]) -> tuple[float, float]:
    """Return chi² and its p-value for counts against their expected shares (Pearson 1900).

    Raises:
        ValueError: there are no counts, the shares do not sum to 1, or a share is not positive.
    """
    total = sum(observed)
    if total == 0 or min(expected_shares) <= 0 or abs(sum(expected_shares) - 1) > 1e-9:
        raise ValueError(
            f"expected at least one count and positive shares that sum to 1, received counts "
            f"{list(observed)} and shares {list(expected_shares)}; correct them"
        )
    chi_square = sum(
        (count - total * share) ** 2 / (total * share)
        for count, share in zip(observed, expected_shares, strict=True)
    )
    return chi_square, chi_squared_tail(chi_square, len(observed) - 1)


def fixed_p_value(counts: tuple[int, int], expected: float, variance: float) -> tuple[float, str]:
    """Return the p-value of treatment's count for one analysis, and the name of the test.

    With a constant share it is Pearson's test.

    Args:
        counts: control's and treatment's, at least one in total.
        expected: expected value of treatment's count.
        variance: variance of treatment's count.
    """
    total = sum(counts)
    if variance > 0 and min(expected, total - expected) >= SMALLEST_EXPECTED:
        chi_square = (counts[1] - expected) ** 2 / variance
        return chi_squared_tail(chi_square, 1), "Pearson's chi²"
    share = min(max(expected / total, 0.0), 1.0)
    # Imported on use, see `distributions`.
    from scipy.stats import binomtest

    return float(binomtest(counts[1], total, share).pvalue), "exact binomial"


def always_valid_p_value(
    treated: Floats, total: Floats, share: Floats, planned_n: float, alpha: float
) -> float:
    """Return the always-valid p-value of counts against their shares; exact for any count.

    The evidence of separate draws multiplies.

    Args:
        treated, total: treatment's count and the count of both variants, by intended share.
        share: treatment's intended shares.
        planned_n: count that the test is tuned to.
        alpha: level that the test is tuned to.
    """
    evidence = sequential.log_bernoulli_e_value(treated, total, share, planned_n, alpha)
    return math.exp(-max(float(evidence.sum()), 0.0))


def by_block(
    control: Floats, treatment: Floats, share: float, planned_blocks: float, alpha: float
) -> tuple[float, float] | None:
    """Return the p-values of one analysis and of the always-valid test by block of time.

    In the always-valid test a block counts once, with treatment's share of it: 0 or 1 with one
    symbol, and something between with several. By the inequality of the weighted means this is at
    most the evidence of a bet on that share, whose mean is 1 for any distribution (Waudby-Smith and
    Ramdas, arXiv 2010.09686).

    Args:
        control, treatment: counts by block.
        share: treatment's intended share.
        planned_blocks: number of blocks that the always-valid test is tuned to.
        alpha: level that it is tuned to.

    Returns:
        None with fewer than FEWEST_BLOCKS blocks.
    """
    total = (control + treatment)[control + treatment > 0]
    treated = treatment[control + treatment > 0]
    surplus = treated - share * total
    blocks = len(surplus)
    spread = math.sqrt(float(np.square(surplus).sum()))
    if blocks < FEWEST_BLOCKS or spread == 0:
        return None
    once = 2 * t_tail(abs(float(surplus.sum())) / spread, blocks - 1)
    evidence = sequential.log_bernoulli_e_value(
        (treated / total).sum(), blocks, share, planned_blocks, alpha
    )
    return once, math.exp(-max(float(evidence), 0.0))
