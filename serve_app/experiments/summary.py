"""Summary of one variant's predictions during one block of time.

A summary has constant size, adding is independent of the order, and merging is exact: every metric
and every test is computed from summaries, never from single predictions. Summaries are
accumulators: `add_…` changes them, `merge` returns a new one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from operator import attrgetter
from typing import Any, Self, TypeVar

from features.labels import HOLD, market_class
from serve_app.experiments.records import (
    CIRCUIT_OPEN,
    POSITION,
    Outcome,
    PredictionRecord,
)
from serve_app.experiments.statistics import histogram

CLASSES = len(POSITION)

T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class _Summary:
    """A dataclass whose fields are summed, unless their metadata name another way to merge."""

    def merge(self, *others: Self) -> Self:
        """Return the summary of this one and all others, without changing any."""
        parts = (self, *others)
        return type(self)(
            **{
                field_.name: field_.metadata.get("merge", sum)(
                    list(map(attrgetter(field_.name), parts))
                )
                for field_ in fields(self)
            }
        )

    def copy(self) -> Self:
        """Return an independent copy."""
        values = {field_.name: getattr(self, field_.name) for field_ in fields(self)}
        return type(self)(
            **{
                name: value.copy() if isinstance(value, dict | list) else value
                for name, value in values.items()
            }
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as JSON values; floats are preserved exactly."""
        return {
            field_.name: field_.metadata.get("dump", _same)(getattr(self, field_.name))
            for field_ in fields(self)
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the summary that `to_dict` returned; a field that did not exist then is empty.

        Raises:
            TypeError: a field is unknown.
        """
        load = {field_.name: field_.metadata.get("load", _same) for field_ in fields(cls)}
        return cls(**{name: load.get(name, _same)(value) for name, value in values.items()})


def _same(value: T) -> T:
    return value


def _least(values: Iterable[float | None]) -> float | None:
    return min((value for value in values if value is not None), default=None)


def _greatest(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


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
    """Number of predictions: successful, failed and withheld."""
    errors: int = 0
    withheld: int = 0
    """Number of predictions that the open circuit breaker rejected: the variant never received
    them, so they are not separate events."""
    assigned: int = 0
    """Number of predictions with a known probability of treatment at their assignment."""
    share_sum: float = 0.0
    """Sum of these probabilities."""
    share_variance_sum: float = 0.0
    """Sum of share * (1 - share)."""
    latency_sum: float = 0.0
    latency_square_sum: float = 0.0
    """Sums over the successful predictions, in ms and ms²."""
    latency_bins: histogram.Bins = field(
        default_factory=dict, metadata={"merge": _sum_bins, "dump": _dump_bins, "load": _load_bins}
    )
    first_s: float | None = field(default=None, metadata={"merge": _least})
    last_s: float | None = field(default=None, metadata={"merge": _greatest})
    """Times of the earliest and the latest prediction, in seconds since 1970."""

    confusion: list[int] = field(
        default_factory=lambda: [0] * CLASSES**2, metadata={"merge": _sum_cells, "dump": list}
    )
    """Labelled predictions by class, row by row: `confusion[3 * market + predicted]`, both 0 HOLD,
    1 BUY, 2 SELL."""
    wins: int = 0
    """Number of positions (BUY or SELL) with a positive return."""
    return_sum: float = 0.0
    return_square_sum: float = 0.0
    """Sums over the labelled predictions of the returns, signed by the position, and their
    squares."""
    least_delay_s: float | None = field(default=None, metadata={"merge": _least})
    """Shortest time from a prediction to its outcome."""
    delay_sum_s: float = 0.0
    """Sum of the times from the labelled predictions to their outcomes."""

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

        A failed prediction has no direction, so its outcome is not counted.
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
    def attempted(self) -> int:
        """Number of predictions that the variant received, successful or failed."""
        return self.predictions - self.withheld

    @property
    def succeeded(self) -> int:
        """Number of predictions that did not fail."""
        return self.attempted - self.errors

    @property
    def labelled(self) -> int:
        """Number of successful predictions with an outcome."""
        return sum(self.confusion)

    @property
    def correct(self) -> int:
        """Number of labelled predictions that were correct."""
        return sum(self.confusion[:: CLASSES + 1])

    @property
    def positions(self) -> int:
        """Number of labelled predictions other than HOLD."""
        return self.labelled - sum(self.confusion[HOLD::CLASSES])


@dataclass(slots=True, kw_only=True)
class PairSummary(_Summary):
    """Requests that both variants processed (mirror mode) during one block: differences by pair."""

    pairs: int = 0
    """Number of requests for which both variants succeeded."""
    latency_difference_sum: float = 0.0
    latency_difference_square_sum: float = 0.0
    """Sums of treatment minus control, in ms and ms²."""
    labelled: int = 0
    """Number of pairs with an outcome, to which the fields below refer."""
    both_correct: int = 0
    only_control_correct: int = 0
    only_treatment_correct: int = 0
    control_return_sum: float = 0.0
    control_return_square_sum: float = 0.0
    treatment_return_sum: float = 0.0
    treatment_return_square_sum: float = 0.0
    return_product_sum: float = 0.0
    """Sum of control's return times treatment's."""

    def add_predictions(self, control: PredictionRecord, treatment: PredictionRecord) -> None:
        """Count a request that both variants received; it is no pair if either of them failed."""
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
        control_correct = control.direction == label
        treatment_correct = treatment.direction == label
        control_return = POSITION[control.direction] * outcome.market_return
        treatment_return = POSITION[treatment.direction] * outcome.market_return
        self.labelled += 1
        self.both_correct += control_correct and treatment_correct
        self.only_control_correct += control_correct and not treatment_correct
        self.only_treatment_correct += treatment_correct and not control_correct
        self.control_return_sum += control_return
        self.control_return_square_sum += control_return**2
        self.treatment_return_sum += treatment_return
        self.treatment_return_square_sum += treatment_return**2
        self.return_product_sum += control_return * treatment_return


def delay_s(predicted: datetime, arrived: datetime) -> float:
    """Return the seconds from a prediction to its outcome; 0 if the clocks disagree."""
    return max(0.0, (arrived - predicted).total_seconds())
