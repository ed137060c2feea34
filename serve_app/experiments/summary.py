"""What is kept of the predictions of one variant during one block of time.

A summary has constant size, adding is order-free, and merging two is exact: every metric and every
test is computed from summaries, never from single predictions. They are accumulators: `add_…`
changes them, `merge` returns a new one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Self, TypeVar

from serve_app.experiments.records import (
    CIRCUIT_OPEN,
    HOLD,
    POSITION,
    Outcome,
    PredictionRecord,
    market_class,
)
from serve_app.experiments.statistics import histogram

CLASSES = len(POSITION)

T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class _Summary:
    """Fields that add up, but for those that name their own merging."""

    def merge(self, *others: Self) -> Self:
        """Return the summary of all of them; none is changed."""
        parts = (self, *others)
        return type(self)(
            **{
                each.name: each.metadata.get("merge", sum)(
                    [getattr(part, each.name) for part in parts]
                )
                for each in fields(self)
            }
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as JSON values; floats survive exactly."""
        return {
            each.name: each.metadata.get("dump", _same)(getattr(self, each.name))
            for each in fields(self)
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the summary that `to_dict` gave; a field that did not exist then is empty.

        Raises:
            TypeError: a field is unknown.
        """
        load = {each.name: each.metadata.get("load", _same) for each in fields(cls)}
        return cls(**{name: load.get(name, _same)(value) for name, value in values.items()})


def _same(value: T) -> T:
    return value


def _least(values: Iterable[float | None]) -> float | None:
    return min((each for each in values if each is not None), default=None)


def _greatest(values: Iterable[float | None]) -> float | None:
    return max((each for each in values if each is not None), default=None)


def _sum_cells(values: Iterable[list[int]]) -> list[int]:
    return [sum(cells) for cells in zip(*values, strict=True)]


def _sum_bins(values: Iterable[histogram.Bins]) -> histogram.Bins:
    merged: histogram.Bins = {}
    for bins in values:
        for index, count in bins.items():
            merged[index] = merged.get(index, 0) + count
    return merged


def _dump_bins(bins: histogram.Bins) -> dict[str, int]:
    return {str(index): count for index, count in sorted(bins.items())}


def _load_bins(values: Mapping[str, int]) -> histogram.Bins:
    return {int(index): count for index, count in values.items()}


@dataclass(slots=True, kw_only=True)
class VariantSummary(_Summary):
    """One variant's predictions during one block."""

    predictions: int = 0
    """Answered, failed and withheld."""
    errors: int = 0
    withheld: int = 0
    """Those the variant was not asked for, its circuit breaker being open.

    No events of their own.
    """
    assigned: int = 0
    """Those that came with the chance of treatment they were assigned with."""
    share_sum: float = 0.0
    """Sum of these chances."""
    share_variance_sum: float = 0.0
    """Sum of share * (1 - share)."""
    latency_sum: float = 0.0
    latency_square_sum: float = 0.0
    """In ms and ms², over the answered predictions."""
    latency_bins: histogram.Bins = field(
        default_factory=dict, metadata={"merge": _sum_bins, "dump": _dump_bins, "load": _load_bins}
    )
    first_s: float | None = field(default=None, metadata={"merge": _least})
    last_s: float | None = field(default=None, metadata={"merge": _greatest})
    """Earliest and latest prediction, in seconds since 1970."""

    confusion: list[int] = field(
        default_factory=lambda: [0] * CLASSES**2, metadata={"merge": _sum_cells, "dump": list}
    )
    """Labelled predictions by class, row by row: `confusion[3 * market + predicted]`, both 0 HOLD,
    1 BUY, 2 SELL."""
    wins: int = 0
    """Positions (BUY or SELL) that earned more than nothing."""
    return_sum: float = 0.0
    return_square_sum: float = 0.0
    """Of the returns signed by the position, over the labelled predictions."""
    least_delay_s: float | None = field(default=None, metadata={"merge": _least})
    """Shortest time from a prediction to its outcome."""
    delay_sum_s: float = 0.0
    """Of the times from the labelled predictions to their outcomes."""

    def add_prediction(self, record: PredictionRecord) -> None:
        """Count a prediction of this variant."""
        self.predictions += 1
        if record.treatment_share is not None:
            self.assigned += 1
            self.share_sum += record.treatment_share
            self.share_variance_sum += record.treatment_share * (1 - record.treatment_share)
        time_s = record.time.timestamp()
        self.first_s = _least((self.first_s, time_s))
        self.last_s = _greatest((self.last_s, time_s))
        if record.error == CIRCUIT_OPEN:
            self.withheld += 1
            return
        if record.error is not None:
            self.errors += 1
            return
        self.latency_sum += record.latency_ms
        self.latency_square_sum += record.latency_ms**2
        latency_bin = histogram.bin_of(record.latency_ms)
        self.latency_bins[latency_bin] = self.latency_bins.get(latency_bin, 0) + 1

    def add_outcome(self, record: PredictionRecord, outcome: Outcome, dead_band: float) -> None:
        """Count the outcome of a prediction that was added before.

        A prediction that failed has no direction: its outcome labels nothing.
        """
        if record.direction is None:
            return
        label = market_class(outcome.market_return, dead_band)
        earned = POSITION[record.direction] * outcome.market_return
        self.confusion[CLASSES * label + record.direction] += 1
        self.wins += earned > 0
        self.return_sum += earned
        self.return_square_sum += earned**2
        delay = delay_s(record.time, outcome.time)
        self.least_delay_s = _least((self.least_delay_s, delay))
        self.delay_sum_s += delay

    @property
    def asked(self) -> int:
        """Predictions that the variant was asked for."""
        return self.predictions - self.withheld

    @property
    def answered(self) -> int:
        """Predictions that did not fail."""
        return self.asked - self.errors

    @property
    def labelled(self) -> int:
        """Predictions that were answered and have an outcome."""
        return sum(self.confusion)

    @property
    def correct(self) -> int:
        """Labelled predictions that were right."""
        return sum(self.confusion[:: CLASSES + 1])

    @property
    def positions(self) -> int:
        """Labelled predictions that were no HOLD."""
        return self.labelled - sum(self.confusion[HOLD::CLASSES])


@dataclass(slots=True, kw_only=True)
class PairSummary(_Summary):
    """Requests that both variants answered (mirror mode), during one block: differences by pair."""

    pairs: int = 0
    """Requests that both variants answered."""
    latency_difference_sum: float = 0.0
    latency_difference_square_sum: float = 0.0
    """Treatment minus control, in ms and ms²."""
    labelled: int = 0
    """Pairs with an outcome; the fields below are over these."""
    both_correct: int = 0
    only_control_correct: int = 0
    only_treatment_correct: int = 0
    control_return_sum: float = 0.0
    control_return_square_sum: float = 0.0
    treatment_return_sum: float = 0.0
    treatment_return_square_sum: float = 0.0
    return_product_sum: float = 0.0
    """Of control's return times treatment's."""

    def add_predictions(self, control: PredictionRecord, treatment: PredictionRecord) -> None:
        """Count a request that both variants saw; one that a variant failed is no pair."""
        if control.error is not None or treatment.error is not None:
            return
        difference = treatment.latency_ms - control.latency_ms
        self.pairs += 1
        self.latency_difference_sum += difference
        self.latency_difference_square_sum += difference**2

    def add_outcome(
        self,
        control: PredictionRecord,
        treatment: PredictionRecord,
        outcome: Outcome,
        dead_band: float,
    ) -> None:
        """Count the outcome of a request that was added before."""
        if control.direction is None or treatment.direction is None:
            return
        label = market_class(outcome.market_return, dead_band)
        control_right, treatment_right = control.direction == label, treatment.direction == label
        control_return = POSITION[control.direction] * outcome.market_return
        treatment_return = POSITION[treatment.direction] * outcome.market_return
        self.labelled += 1
        self.both_correct += control_right and treatment_right
        self.only_control_correct += control_right and not treatment_right
        self.only_treatment_correct += treatment_right and not control_right
        self.control_return_sum += control_return
        self.control_return_square_sum += control_return**2
        self.treatment_return_sum += treatment_return
        self.treatment_return_square_sum += treatment_return**2
        self.return_product_sum += control_return * treatment_return


def delay_s(predicted: datetime, arrived: datetime) -> float:
    """Return the seconds from a prediction to its outcome; clocks that disagree give 0."""
    return max(0.0, (arrived - predicted).total_seconds())
