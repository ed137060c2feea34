"""Whether the variants got the requests they should: a mismatch means that something is broken.

When treatment's slow answers are lost, or a router sends a symbol astray, the variants no longer
see the same market, and every other number is worthless (Fabijan et al., KDD 2019).

The alarm is always valid: looked at once a second for a month, it sounds for nothing with
probability ALARM at most (a mixture over the shares there might be instead, as Lindon and Malek,
"Anytime-valid inference for multinomial count data", NeurIPS 2022). Pearson's test stands beside
it, and is valid for one look.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from serve_app.experiments.definition import (
    SERVED,
    UNIT_ASSIGNMENTS,
    Assignment,
    ExperimentDefinition,
    Mode,
)
from serve_app.experiments.statistics import sequential
from serve_app.experiments.statistics.distributions import chi_squared_tail, t_tail
from serve_app.experiments.statistics.estimates import Floats
from serve_app.experiments.table import Table
from serve_app.experiments.units import UnitTotals

ALARM = 0.001
"""An always-valid p-value below this is an alarm."""

PLANNED_COUNT = 10_000.0
PLANNED_BLOCKS = 100.0
PLANNED_UNITS = 100.0
"""What the always-valid tests are tuned to: a mismatch of 3 points in as many requests is seen, or
one of 30 points in as many units."""

LOST_SHARE = 0.01
"""In mirror mode one variant may lack this share of the other's records."""

SMALLEST_EXPECTED = 5
"""With fewer expected in a variant chi² is a poor approximation (Cochran 1954); exact then."""

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
    return chi_square, chi_squared_tail(chi_square, len(observed) - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRatio:
    """Counts of predictions, or of units where these are assigned, against the intended split."""

    control: int
    treatment: int
    expected_share: float
    """Treatment's, averaged over what is counted when it changed under way."""
    p_value: float | None
    """Of a single look; None where the counts of requests cannot tell, see `explanation`."""
    always_valid_p_value: float | None
    """However often one looks; what `healthy` rests on."""
    healthy: bool
    explanation: str
    counted: str = "predictions"
    """What `control` and `treatment` are counts of."""

    @property
    def observed_share(self) -> float | None:
        """Treatment's share of what is counted; None without any."""
        total = self.control + self.treatment
        return self.treatment / total if total else None


def check_sample_ratio(definition: ExperimentDefinition, table: Table) -> SampleRatio:
    """Hold the counts of both variants against the intended shares.

    Where bots or symbols are assigned they are counted, each once, in the variant in which it was
    seen first: a busy one makes the requests split unevenly with nothing wrong.
    """
    if definition.assignment in UNIT_ASSIGNMENTS:
        return _of_units(definition, table.units)
    variants = (table.control.total, table.treatment.total)
    counts = (variants[0].predictions, variants[1].predictions)
    if definition.mode is Mode.MIRROR:
        fine = abs(counts[0] - counts[1]) <= max(1.0, LOST_SHARE * max(counts))
        return _unproven(counts, 0.5, fine, "both variants must have seen every request")
    if not sum(counts):
        share = definition.treatment_traffic
        return _unproven(counts, share, True, "there are no predictions yet")
    without = sum(variant.predictions - variant.assigned for variant in variants)
    fixed = definition.treatment_traffic
    expected = sum(variant.share_sum for variant in variants) + without * fixed
    variance = sum(variant.share_variance_sum for variant in variants) + without * fixed * (
        1 - fixed
    )
    share = round(expected / sum(counts), 12)  # a sum of many equal shares is off by rounding
    if definition.assignment is Assignment.SWITCHBACK:
        found = _by_block(table, share)
        if found is None:
            explanation = f"fewer than {FEWEST_BLOCKS} blocks of time: too few to test"
            return _unproven(counts, share, True, explanation)
        return _tested(counts, share, *found, "tested by block of time, Student's t")
    once, test = _single_look(counts, expected, variance)
    always = _always_valid(*_by_share(table), PLANNED_COUNT)
    return _tested(counts, share, once, always, f"by request, {test}")


def _of_units(definition: ExperimentDefinition, units: UnitTotals) -> SampleRatio:
    served = SERVED[definition.assignment]
    if not units.first_seen:
        none = _unproven((0, 0), definition.treatment_traffic, True, f"there are no {served} yet")
        return replace(none, counted=served)
    shares, control, treated = _by_first_share(units)
    total = control + treated
    counts = int(control.sum()), int(treated.sum())
    expected, variance = float(shares @ total), unit_variance(units)[1]
    once, test = _single_look(counts, expected, variance)
    always = _always_valid(treated, total, shares, PLANNED_UNITS)
    share = round(expected / sum(counts), 12)
    blind = f"single lost requests, not whole {served}, are not seen by it and can fake a verdict"
    found = _tested(counts, share, once, always, f"by number of {served}, {test}; {blind}")
    return replace(found, counted=served)


def unit_variance(units: UnitTotals) -> tuple[int, float]:
    """Return how many units were seen, and the variance of how many of them are treatment's."""
    shares, control, treated = _by_first_share(units)
    total = control + treated
    return int(total.sum()), float((shares * (1 - shares)) @ total)


def _by_first_share(units: UnitTotals) -> tuple[Floats, Floats, Floats]:
    """Return the shares at which units were seen first, and those of control and treatment."""
    rows = [(share, *counts) for share, counts in sorted(units.first_seen.items())]
    shares, control, treated = np.array(rows, float).reshape(-1, 3).T
    return shares, control, treated


def _single_look(counts: tuple[int, int], expected: float, variance: float) -> tuple[float, str]:
    """Return the p-value of treatment's count, and the test; for a constant share Pearson's."""
    total = sum(counts)
    if variance > 0 and min(expected, total - expected) >= SMALLEST_EXPECTED:
        chi_square = (counts[1] - expected) ** 2 / variance
        return chi_squared_tail(chi_square, 1), "Pearson's chi²"
    share = min(max(expected / total, 0.0), 1.0)
    # Imported where it is needed, as distributions.py says.
    from scipy.stats import binomtest

    return float(binomtest(counts[1], total, share).pvalue), "exact binomial"


def _by_share(table: Table) -> tuple[Floats, Floats, Floats]:
    """Return treatment's predictions, both variants', and the intended share, by intended share.

    A block in which the share changed is held against its mean, which makes the evidence weaker,
    never stronger (Hoeffding 1956: it is convex in the count).
    """
    total = table.control.predictions + table.treatment.predictions
    chance = (table.control.chance_sum + table.treatment.chance_sum)[total > 0]
    treated, total = table.treatment.predictions[total > 0], total[total > 0]
    shares, place = np.unique((chance / total).round(9), return_inverse=True)
    by_share = [np.bincount(place, each).astype(float) for each in (treated, total)]
    return by_share[0], by_share[1], shares


def _always_valid(treated: Floats, total: Floats, share: Floats, planned: float) -> float:
    """Return the always-valid p-value of counts against their shares; exact.

    Evidence about separate requests, or units, multiplies.
    """
    evidence = sequential.log_bernoulli_e_value(treated, total, share, planned, ALARM)
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
    once = 2 * t_tail(t, blocks - 1)
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
    counts: tuple[int, int], share: float, healthy: bool, explanation: str
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
