"""Whether the arms got the requests they should: a mismatch means that something is broken.

When treatment's slow answers are lost, or a router sends a symbol astray, the arms no longer see
the same market, and every other number is worthless (Fabijan et al., KDD 2019).

The alarm is always valid: looked at once a second for a month, it sounds for nothing with
probability ALARM at most (a mixture over the shares there might be instead, as Lindon and Malek,
"Anytime-valid inference for multinomial count data", NeurIPS 2022). Pearson's test stands beside
it, and is valid for one look.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from serve_app.experiments import sequential
from serve_app.experiments.definition import Assignment, ExperimentDefinition, Mode
from serve_app.experiments.estimates import Floats
from serve_app.experiments.table import Table

ALARM = 0.001
"""An always-valid p-value below this is an alarm."""

PLANNED_COUNT = 10_000.0
PLANNED_BLOCKS = 100.0
"""What the always-valid tests are tuned to: a mismatch of 3 points in as many requests is seen."""

LOST_SHARE = 0.01
"""In mirror mode one arm may lack this share of the other's records."""

SMALLEST_EXPECTED = 5
"""With fewer expected in an arm chi² is a poor approximation (Cochran 1954); exact then."""

FEWEST_BLOCKS = 10


def pearson(observed: Sequence[int], expected_shares: Sequence[float]) -> tuple[float, float]:
    """Return chi² and its p-value for counts against their expected shares (Pearson 1900).

    Raises:
        ValueError: no counts, or the shares do not sum to 1 or one is not positive.
    """
    total = sum(observed)
    if total == 0 or min(expected_shares) <= 0 or abs(sum(expected_shares) - 1) > 1e-9:
        raise ValueError(
            f"expected at least one count and positive shares that sum to 1, got counts "
            f"{list(observed)} and shares {list(expected_shares)}"
        )
    chi_square = sum(
        (count - total * share) ** 2 / (total * share)
        for count, share in zip(observed, expected_shares, strict=True)
    )
    return chi_square, float(stats.chi2.sf(chi_square, len(observed) - 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRatio:
    """Counts of predictions against the intended split."""

    control: int
    treatment: int
    expected_share: float
    """Treatment's, averaged over the predictions when it changed under way."""
    p_value: float | None
    """Of a single look; None where the counts of requests cannot tell, see `explanation`."""
    always_valid_p_value: float | None
    """However often one looks; what `healthy` rests on."""
    healthy: bool | None
    """None where it is not checked: the arms were assigned by unit, and no units were counted."""
    explanation: str

    @property
    def observed_share(self) -> float | None:
        """Treatment's share of the predictions; None without any."""
        total = self.control + self.treatment
        return self.treatment / total if total else None


def check_sample_ratio(
    definition: ExperimentDefinition, table: Table, units: tuple[int, int] | None = None
) -> SampleRatio:
    """Hold the counts of both arms against the intended shares.

    Args:
        definition: says what was assigned as a whole.
        table: the experiment's counts.
        units: distinct units (bots or symbols) in control and treatment, for an assignment by
            unit, where requests need not split as the units do.
    """
    arms = (table.control.total, table.treatment.total)
    counts = (arms[0].predictions, arms[1].predictions)
    if definition.mode is Mode.MIRROR:
        fine = abs(counts[0] - counts[1]) <= max(1.0, LOST_SHARE * max(counts))
        return _unproven(counts, 0.5, fine, "both arms must have seen every request")
    if not sum(counts):
        share = definition.treatment_traffic
        return _unproven(counts, share, True, "there are no predictions yet")
    without = sum(arm.predictions - arm.assigned for arm in arms)
    fixed = definition.treatment_traffic
    expected = sum(arm.share_sum for arm in arms) + without * fixed
    variance = sum(arm.share_variance_sum for arm in arms) + without * fixed * (1 - fixed)
    share = round(expected / sum(counts), 12)  # a sum of many equal shares is off by rounding
    if definition.assignment is Assignment.SWITCHBACK:
        found = _by_block(table, share)
        if found is None:
            explanation = f"fewer than {FEWEST_BLOCKS} blocks of time: too few to test"
            return _unproven(counts, share, True, explanation)
        return _tested(counts, share, *found, "tested by block of time, Student's t")
    if definition.assignment is not Assignment.REQUEST:
        if units is None or not sum(units) or not 0 < share < 1:
            explanation = (
                f"not checked: assigned by {definition.assignment}, so that the requests need not "
                f"split as intended, and units are not counted"
            )
            return _unproven(counts, share, None, explanation)
        once = pearson(units, (1 - share, share))[1]
        always = _always_valid(units[1], sum(units), share)
        explanation = f"{units[0]} and {units[1]} units, Pearson's chi²"
        return _tested(counts, share, once, always, explanation)
    once, explanation = _by_request(counts, expected, variance)
    return _tested(counts, share, once, _always_valid(*_by_share(table)), explanation)


def _by_request(counts: tuple[int, int], expected: float, variance: float) -> tuple[float, str]:
    """Return the p-value of treatment's count, and the test; for a constant share Pearson's."""
    total = sum(counts)
    if variance > 0 and min(expected, total - expected) >= SMALLEST_EXPECTED:
        chi_square = (counts[1] - expected) ** 2 / variance
        return float(stats.chi2.sf(chi_square, 1)), "by request, Pearson's chi²"
    share = min(max(expected / total, 0.0), 1.0)
    return float(stats.binomtest(counts[1], total, share).pvalue), "by request, exact binomial"


def _by_share(table: Table) -> tuple[Floats, Floats, Floats]:
    """Return treatment's predictions, both arms', and the intended share, by intended share.

    A block in which the share changed is held against its mean, which makes the evidence weaker,
    never stronger (Hoeffding 1956: it is convex in the count).
    """
    total = table.control.predictions + table.treatment.predictions
    chance = (table.control.chance_sum + table.treatment.chance_sum)[total > 0]
    treated, total = table.treatment.predictions[total > 0], total[total > 0]
    shares, place = np.unique((chance / total).round(9), return_inverse=True)
    by_share = [np.bincount(place, each).astype(float) for each in (treated, total)]
    return by_share[0], by_share[1], shares


def _always_valid(treated: Floats | int, total: Floats | int, share: Floats | float) -> float:
    """Return the always-valid p-value of counts against their shares; exact.

    Evidence about separate requests multiplies.
    """
    evidence = sequential.log_bernoulli_e_value(treated, total, share, PLANNED_COUNT, ALARM)
    return math.exp(-max(float(evidence.sum()), 0.0))


def _by_block(table: Table, share: float) -> tuple[float, float] | None:
    """Return the p-values of a single look and of any; None with too few blocks.

    For any look a block counts once, with the share of it that was treatment's: it is all or
    nothing for one symbol, and something between for many. By the inequality of the weighted means
    that is at most the evidence of a bet on it, whose mean is 1 whatever its distribution
    (Waudby-Smith and Ramdas, arXiv 2010.09686).
    """
    control, treatment = table.control.predictions, table.treatment.predictions
    surplus = (treatment - share * (control + treatment))[control + treatment > 0]
    blocks = len(surplus)
    spread = math.sqrt(float(np.square(surplus).sum()))
    if blocks < FEWEST_BLOCKS or spread == 0:
        return None
    t = abs(float(surplus.sum())) / spread
    once = float(2 * stats.t.sf(t, blocks - 1))
    shares = (treatment / np.maximum(control + treatment, 1))[control + treatment > 0]
    evidence = sequential.log_bernoulli_e_value(shares.sum(), blocks, share, PLANNED_BLOCKS, ALARM)
    return once, math.exp(-max(float(evidence), 0.0))


def _tested(
    counts: tuple[int, int], share: float, once: float, always: float, explanation: str
) -> SampleRatio:
    return SampleRatio(
        control=counts[0],
        treatment=counts[1],
        expected_share=share,
        p_value=once,
        always_valid_p_value=always,
        healthy=always >= ALARM,
        explanation=explanation,
    )


def _unproven(
    counts: tuple[int, int], share: float, healthy: bool | None, explanation: str
) -> SampleRatio:
    return SampleRatio(
        control=counts[0],
        treatment=counts[1],
        expected_share=share,
        p_value=None,
        always_valid_p_value=None,
        healthy=healthy,
        explanation=explanation,
    )
