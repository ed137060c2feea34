"""The course of an experiment: its tests and sums at moments between its start and now.

The values of a moment come from an analysis of the predictions made until then, with the outcomes
known today; where bots or symbols are assigned, with the outcomes known at that moment.
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
"""The most moments of a timeline; each costs one analysis, and a plot shows no finer steps."""

MOST_POINTS = 400
"""The most points of a line of sums."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """The state of an experiment, computed from the predictions made until a time."""

    time: datetime
    difference: float | None
    """Treatment's accuracy minus control's; None while there are too few blocks to estimate it."""
    interval: tuple[float, float] | None
    """The always-valid confidence interval of the difference."""
    treatment_share: float | None
    """Treatment's share of the predictions, or of the bots or symbols assigned; None if none."""
    expected_share: float
    share_slack: float | None
    """The largest deviation from the expected share that raises no alarm; None where blocks of time
    are assigned."""


@dataclass(frozen=True, slots=True)
class Profit:
    """The cumulative returns of one variant: arrays of shape (points,) that begin with zero."""

    times: Sequence[datetime]
    labelled: Floats
    """The number of predictions with an outcome so far."""
    total: Floats
    """The sum of their returns, as a fraction of the stake."""


def moments(
    definition: ExperimentDefinition, clock: BlockClock, blocks: Sequence[Block]
) -> list[Moment]:
    """Return up to MOST_MOMENTS moments at even intervals; the last one includes all blocks."""
    ordered = [_without_latencies(block) for block in _in_order(blocks)]
    starts = [clock.start_s(block.block) for block in ordered]
    return [
        _moment(definition, tabulate(definition, clock, ordered[: index + 1]))
        for index in _evenly(starts, MOST_MOMENTS)
    ]


def profits(started_at: datetime, blocks: Sequence[Block]) -> tuple[Profit, Profit]:
    """Return the cumulative returns of control and treatment."""
    ordered = _in_order(blocks)
    if not ordered:
        nothing = Profit([started_at], np.zeros(1), np.zeros(1))
        return nothing, nothing
    ends = np.maximum.accumulate([_last_s(block) for block in ordered])
    kept = _evenly(list(ends), MOST_POINTS)
    start = min(started_at, _time(ends[0]))
    times = [start, *(_time(ends[index]) for index in kept)]
    control, treatment = (
        Profit(
            times,
            _running([variant.labelled for variant in variants], kept),
            _running([variant.return_sum for variant in variants], kept),
        )
        for variants in (
            [block.control for block in ordered],
            [block.treatment for block in ordered],
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
        time=_time(max((end_s for end_s in ends if end_s is not None), default=0.0)),
        difference=None if accuracy.standard_error is None else accuracy.difference,
        interval=accuracy.interval,
        treatment_share=ratio.observed_share,
        expected_share=ratio.expected_share,
        share_slack=_share_slack(definition, table),
    )


def _share_slack(definition: ExperimentDefinition, table: Table) -> float | None:
    """Return the deviation of treatment's share at which the alarm is raised (for few, roughly)."""
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
    """Return the deviation of a share at which its count, of this variance, raises the alarm."""
    if not variance:
        return None
    return normal_mixture_boundary(variance, ALARM, planned_count * variance / count) / count


def _in_order(blocks: Sequence[Block]) -> list[Block]:
    """Return the blocks that contain predictions, in order of time."""
    used = (block for block in blocks if block.control.predictions or block.treatment.predictions)
    return sorted(used, key=lambda block: block.block)


def _without_latencies(block: Block) -> Block:
    """Return the block without its histograms, which take most of the time to merge."""
    return replace(
        block,
        control=replace(block.control, latency_bins={}),
        treatment=replace(block.treatment, latency_bins={}),
    )


def _evenly(positions: Sequence[float], most: int) -> list[int]:
    """Return indices of up to `most` of the ascending positions, evenly spaced, with the last one.

    Early blocks are shorter: indices at even intervals would show mostly the start.
    """
    if not positions:
        return []
    wanted = np.linspace(positions[0], positions[-1], most)
    indices = np.searchsorted(positions, wanted, side="right") - 1
    return sorted({*(int(index) for index in indices), len(positions) - 1})[-most:]


def _running(values: Sequence[float], kept: Sequence[int]) -> Floats:
    return np.concatenate([[0.0], np.cumsum(np.array(values, float))[list(kept)]])


def _last_s(block: Block) -> float:
    variants: tuple[VariantSummary, ...] = block.control, block.treatment
    return max(variant.last_s for variant in variants if variant.last_s is not None)


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
