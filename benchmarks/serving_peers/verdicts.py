"""From samples to the best entry of each contestant, to ratios and to reached goals. Pure."""

import math
import operator
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from benchmarks.serving_peers.measuring import Sample

Figure = Callable[[Sample], float]
Rounds = Mapping[int, float]
"""A figure of each round."""

ONE_CALLER, MANY_CALLERS = 1, 32
"""The concurrencies that are evaluated."""


class Bound(Enum):
    """The relation of a figure to its goal."""

    AT_MOST = "≤"
    AT_LEAST = "≥"
    BELOW = "<"

    def holds(self, value: float, limit: float) -> bool:
        """Return whether the relation holds; it never does for NaN."""
        compare = {"≤": operator.le, "≥": operator.ge, "<": operator.lt}[self.value]
        return bool(compare(value, limit))


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A figure and its goal."""

    what: str
    value: float
    """The measured value; NaN where it was not measured."""
    unit: str
    bound: Bound
    limit: float

    @property
    def reached(self) -> bool:
        """Return whether the goal is reached; one that was not measured is not."""
        return self.bound.holds(self.value, self.limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """A contestant's best entry at one concurrency, with all its samples."""

    entry: str
    samples: Sequence[Sample]

    def by_round(self, figure: Figure) -> Rounds:
        """Return a figure by round."""
        return {sample.round: figure(sample) for sample in self.samples}

    def median(self, figure: Figure) -> float:
        """Return a figure's median over the rounds."""
        return statistics.median(figure(sample) for sample in self.samples)


def requests_per_s(sample: Sample) -> float:
    """Return the requests per second of a sample."""
    return sample.load.requests_per_s


def percentile_ms(percent: float) -> Figure:
    """Return the figure of one percentile of the latency."""
    return lambda sample: sample.load.percentiles_ms[percent]


def best(samples: Sequence[Sample], contestant: str, concurrency: int) -> Best | None:
    """Return the entry with the lowest median p50 for one caller, or the highest throughput for
    more.

    None where the contestant was not measured.
    """
    ways: dict[str, list[Sample]] = {}
    for sample in samples:
        if sample.entry.contestant == contestant and sample.concurrency == concurrency:
            ways.setdefault(sample.entry.name, []).append(sample)
    found = [Best(entry=name, samples=way) for name, way in ways.items()]
    if concurrency == ONE_CALLER:
        return min(found, key=lambda way: way.median(percentile_ms(50)), default=None)
    return max(found, key=lambda way: way.median(requests_per_s), default=None)


def median_ratio(first: Rounds, second: Rounds) -> float:
    """Return the first divided by the second, the median over the rounds; NaN without any."""
    return _median_of(operator.truediv, first, second)


def median_difference(first: Rounds, second: Rounds) -> float:
    """Return the first minus the second, the median over the rounds; NaN without any."""
    return _median_of(operator.sub, first, second)


def latency_ratio(samples: Sequence[Sample], ours: str, peer: str) -> float:
    """Return the p50 of one caller divided by the peer's."""
    return _ratio(samples, ours, peer, ONE_CALLER, percentile_ms(50))


def throughput_ratio(samples: Sequence[Sample], ours: str, peer: str) -> float:
    """Return the throughput of 32 callers divided by the peer's."""
    return _ratio(samples, ours, peer, MANY_CALLERS, requests_per_s)


def as_markdown(verdicts: Sequence[Verdict]) -> list[str]:
    """Return a table of the goals and their measured values."""
    lines = ["| | measured | goal | reached |", "|---|---:|---:|---|"]
    for verdict in verdicts:
        measured = (
            "not measured" if math.isnan(verdict.value) else f"{verdict.value:.2f}{verdict.unit}"
        )
        goal = f"{verdict.bound.value} {verdict.limit:g}{verdict.unit}"
        lines.append(
            f"| {verdict.what} | {measured} | {goal} | {'yes' if verdict.reached else 'no'} |"
        )
    return lines


def _ratio(
    samples: Sequence[Sample], ours: str, peer: str, concurrency: int, figure: Figure
) -> float:
    first, second = best(samples, ours, concurrency), best(samples, peer, concurrency)
    if first is None or second is None:
        return math.nan
    return median_ratio(first.by_round(figure), second.by_round(figure))


def _median_of(operation: Callable[[float, float], float], first: Rounds, second: Rounds) -> float:
    shared = first.keys() & second.keys()
    if not shared:
        return math.nan
    return statistics.median(operation(first[round_], second[round_]) for round_ in shared)
