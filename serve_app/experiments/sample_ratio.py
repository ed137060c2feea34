"""The sample ratio check: did the variants receive their intended shares of the traffic?

If treatment's slow responses are lost, or a router misdirects a symbol, the variants no longer see
the same market, and no other number is meaningful (Fabijan et al., KDD 2019).

The alarm is always valid: with an analysis every second for a month, the probability of a false
alarm is at most ALARM (a mixture over the alternative shares, as in Lindon and Malek,
"Anytime-valid inference for multinomial count data", NeurIPS 2022). Pearson's test is reported
as well, and is valid for one analysis.
"""

from dataclasses import dataclass, replace

import numpy as np

from serve_app.experiments.definition import (
    SERVED,
    UNIT_ASSIGNMENTS,
    Assignment,
    ExperimentDefinition,
    Mode,
)
from serve_app.experiments.statistics import counts as count_tests
from serve_app.experiments.statistics.estimates import Floats
from serve_app.experiments.table import Table
from serve_app.experiments.units import UnitTotals

ALARM = 0.001
"""An always-valid p-value below this is an alarm."""

PLANNED_COUNT = 10_000.0
PLANNED_BLOCKS = 100.0
PLANNED_UNITS = 100.0
"""Sizes that the always-valid tests are tuned to: a mismatch of 3 points is detected in this number
of requests, and one of 30 points in this number of units."""

LOST_SHARE = 0.01
"""In mirror mode a variant may lack this share of the other variant's records."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRatio:
    """Counts of predictions, or of units where these are assigned, against the intended split."""

    control: int
    treatment: int
    expected_share: float
    """Treatment's intended share, averaged over everything counted if it changed over time."""
    p_value: float | None
    """The p-value for one analysis; None if there is no test, see `explanation`."""
    always_valid_p_value: float | None
    """The p-value at any number of interim looks, on which `healthy` is based."""
    healthy: bool
    explanation: str
    counted: str = "predictions"
    """The plural of the counted unit: predictions, bots or symbols."""

    @property
    def observed_share(self) -> float | None:
        """Treatment's share of everything counted; None if nothing is."""
        total = self.control + self.treatment
        return self.treatment / total if total else None


def check_sample_ratio(definition: ExperimentDefinition, table: Table) -> SampleRatio:
    """Compare the counts of both variants with the intended shares.

    Where bots or symbols are assigned, each of them counts once, in the variant in which it was
    seen first: one that sends many requests splits the requests unevenly without any fault.
    """
    if definition.assignment in UNIT_ASSIGNMENTS:
        return _by_unit(definition, table.units)
    variants = (table.control.total, table.treatment.total)
    counts = (variants[0].predictions, variants[1].predictions)
    if definition.mode is Mode.MIRROR:
        fine = abs(counts[0] - counts[1]) <= max(1.0, LOST_SHARE * max(counts))
        return _untested(counts, 0.5, fine, "both variants must have received every request")
    if not sum(counts):
        share = definition.treatment_traffic
        return _untested(counts, share, True, "there are no predictions yet")
    without = sum(variant.predictions - variant.assigned for variant in variants)
    fixed = definition.treatment_traffic
    expected = sum(variant.share_sum for variant in variants) + without * fixed
    variance = sum(variant.share_variance_sum for variant in variants) + without * fixed * (
        1 - fixed
    )
    share = round(expected / sum(counts), 12)  # removes the rounding of a long sum
    if definition.assignment is Assignment.SWITCHBACK:
        found = count_tests.by_block(
            table.control.predictions, table.treatment.predictions, share, PLANNED_BLOCKS, ALARM
        )
        if found is None:
            explanation = (
                f"fewer than {count_tests.FEWEST_BLOCKS} blocks of time, too few for a test"
            )
            return _untested(counts, share, True, explanation)
        return _tested(counts, share, *found, "tested by block of time, Student's t")
    once, test = count_tests.fixed_p_value(counts, expected, variance)
    always = count_tests.always_valid_p_value(*_by_share(table), PLANNED_COUNT, ALARM)
    return _tested(counts, share, once, always, f"by request, {test}")


def _by_unit(definition: ExperimentDefinition, units: UnitTotals) -> SampleRatio:
    served = SERVED[definition.assignment]
    if not units.first_seen:
        none = _untested((0, 0), definition.treatment_traffic, True, f"there are no {served} yet")
        return replace(none, counted=served)
    shares, control, treated = _by_first_share(units)
    total = control + treated
    counts = int(control.sum()), int(treated.sum())
    expected, variance = float(shares @ total), unit_variance(units)[1]
    once, test = count_tests.fixed_p_value(counts, expected, variance)
    always = count_tests.always_valid_p_value(treated, total, shares, PLANNED_UNITS, ALARM)
    share = round(expected / sum(counts), 12)
    limit = (
        f"it detects {served} that are lost entirely, but no single lost requests, which can "
        f"distort the verdict"
    )
    found = _tested(counts, share, once, always, f"by number of {served}, {test}; {limit}")
    return replace(found, counted=served)


def unit_variance(units: UnitTotals) -> tuple[int, float]:
    """Return the number of units seen, and the variance of treatment's part of it."""
    shares, control, treated = _by_first_share(units)
    total = control + treated
    return int(total.sum()), float((shares * (1 - shares)) @ total)


def _by_first_share(units: UnitTotals) -> tuple[Floats, Floats, Floats]:
    """Return the shares at which units were seen first, and the counts of control and treatment
    for each share.
    """
    rows = [(share, *counts) for share, counts in sorted(units.first_seen.items())]
    shares, control, treated = np.array(rows, float).reshape(-1, 3).T
    return shares, control, treated


def _by_share(table: Table) -> tuple[Floats, Floats, Floats]:
    """Return treatment's count of predictions, both variants' count, and the intended share, by
    intended share.

    A block in which the share changed is compared with its mean share, which makes the evidence
    weaker, never stronger (Hoeffding 1956: it is convex in the count).
    """
    total = table.control.predictions + table.treatment.predictions
    chance = (table.control.chance_sum + table.treatment.chance_sum)[total > 0]
    treated, total = table.treatment.predictions[total > 0], total[total > 0]
    shares, place = np.unique((chance / total).round(9), return_inverse=True)
    by_share = [np.bincount(place, count).astype(float) for count in (treated, total)]
    return by_share[0], by_share[1], shares


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


def _untested(
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
