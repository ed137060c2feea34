"""How an experiment came to where it is: its tests and sums at some moments along the way.

A moment is what an analysis of the predictions made until then says, with the outcomes known today;
of bots and symbols, where these are assigned, with the outcomes known then.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from serve_app.experiments.blocks import Block, BlockClock
from serve_app.experiments.definition import (
    UNIT_ASSIGNMENTS,
    Assignment,
    ExperimentDefinition,
    Mode,
)
from serve_app.experiments.effects import accuracy_effect
from serve_app.experiments.sample_ratio import (
    ALARM,
    LOST_SHARE,
    PLANNED_COUNT,
    PLANNED_UNITS,
    check_sample_ratio,
    unit_variance,
)
from serve_app.experiments.significance import accuracy_significance
from serve_app.experiments.statistics.sequential import normal_mixture_boundary
from serve_app.experiments.summary import VariantSummary
from serve_app.experiments.table import Table, tabulate

Floats = NDArray[np.float64]

MOST_MOMENTS = 60
"""Each costs an analysis; a plot shows no more."""

MOST_POINTS = 400
"""Of a line of sums."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What was known of the predictions made until a time."""

    time: datetime
    difference: float | None
    """Treatment's accuracy minus control's; None while there are too few blocks to judge it."""
    interval: tuple[float, float] | None
    """Always valid."""
    treatment_share: float | None
    """Of the predictions, or of the bots or symbols assigned; None without any."""
    expected_share: float
    share_slack: float | None
    """How far the share may be from the expected one before it is an alarm; None where stretches of
    time were assigned."""


@dataclass(frozen=True, slots=True)
class Profit:
    """One variant's sum of returns along the way.

    Arrays of shape (points,), beginning with zeros.
    """

    times: Sequence[datetime]
    labelled: Floats
    """Predictions with an outcome so far."""
    total: Floats
    """Sum of their returns, as a fraction of the stake."""


def moments(
    definition: ExperimentDefinition, clock: BlockClock, blocks: Sequence[Block]
) -> list[Moment]:
    """Return the experiment at up to MOST_MOMENTS moments, evenly in time; the last is now."""
    ordered = [_without_latencies(each) for each in _in_order(blocks)]
    starts = [clock.start_s(each.block) for each in ordered]
    return [
        _moment(definition, tabulate(definition, clock, ordered[: place + 1]))
        for place in _evenly(starts, MOST_MOMENTS)
    ]


def profits(started_at: datetime, blocks: Sequence[Block]) -> tuple[Profit, Profit]:
    """Return the sums of returns of control and treatment."""
    ordered = _in_order(blocks)
    if not ordered:
        nothing = Profit([started_at], np.zeros(1), np.zeros(1))
        return nothing, nothing
    ends = np.maximum.accumulate([_last_s(each) for each in ordered])
    kept = _evenly(list(ends), MOST_POINTS)
    beginning = min(started_at, _time(ends[0]))
    times = [beginning, *(_time(ends[place]) for place in kept)]
    control, treatment = (
        Profit(
            times,
            _running([variant.labelled for variant in variants], kept),
            _running([variant.return_sum for variant in variants], kept),
        )
        for variants in (
            [each.control for each in ordered],
            [each.treatment for each in ordered],
        )
    )
    return control, treatment


def _moment(definition: ExperimentDefinition, table: Table) -> Moment:
    accuracy = accuracy_significance(
        definition, accuracy_effect(definition, table), at_planned_end=False
    )
    ratio = check_sample_ratio(definition, table)
    ends = [variant.last_s for variant in (table.control.total, table.treatment.total)]
    return Moment(
        time=_time(max((each for each in ends if each is not None), default=0.0)),
        difference=None if accuracy.standard_error is None else accuracy.difference,
        interval=accuracy.interval,
        treatment_share=ratio.observed_share,
        expected_share=ratio.expected_share,
        share_slack=_share_slack(definition, table),
    )


def _share_slack(definition: ExperimentDefinition, table: Table) -> float | None:
    """Return how far treatment's share may stray before the alarm sounds (nearly, for few)."""
    variants = table.control.total, table.treatment.total
    count = sum(variant.predictions for variant in variants)
    if definition.mode is Mode.MIRROR:
        return LOST_SHARE / (2 - LOST_SHARE) / 2
    if definition.assignment in UNIT_ASSIGNMENTS:
        return _slack(*unit_variance(table.units), PLANNED_UNITS)
    if definition.assignment is not Assignment.REQUEST:
        return None
    without = sum(variant.predictions - variant.assigned for variant in variants)
    share = definition.treatment_traffic
    variance = sum(variant.share_variance_sum for variant in variants) + without * share * (
        1 - share
    )
    return _slack(count, variance, PLANNED_COUNT)


def _slack(count: int, variance: float, planned_count: float) -> float | None:
    """Return how far the share of a count of that variance may stray; None without any."""
    if not variance:
        return None
    return normal_mixture_boundary(variance, ALARM, planned_count * variance / count) / count


def _in_order(blocks: Sequence[Block]) -> list[Block]:
    """Return the blocks that hold a prediction, in order of time."""
    some = (each for each in blocks if each.control.predictions or each.treatment.predictions)
    return sorted(some, key=lambda each: each.block)


def _without_latencies(block: Block) -> Block:
    """Return the block without its histograms, which cost most of the merging."""
    return replace(
        block,
        control=replace(block.control, latency_bins={}),
        treatment=replace(block.treatment, latency_bins={}),
    )


def _evenly(positions: Sequence[float], most: int) -> list[int]:
    """Return the places of up to `most` ascending positions, evenly spread; the last is among them.

    Blocks lie closer together early on: evenly by place would show the beginning alone.
    """
    if not positions:
        return []
    wanted = np.linspace(positions[0], positions[-1], most)
    places = np.searchsorted(positions, wanted, side="right") - 1
    return sorted({*(int(each) for each in places), len(positions) - 1})[-most:]


def _running(values: Sequence[float], kept: Sequence[int]) -> Floats:
    return np.concatenate([[0.0], np.cumsum(np.array(values, float))[list(kept)]])


def _last_s(block: Block) -> float:
    variants: tuple[VariantSummary, ...] = block.control, block.treatment
    return max(variant.last_s for variant in variants if variant.last_s is not None)


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
