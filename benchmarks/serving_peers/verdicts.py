"""From samples to the best way of each contestant, to ratios, and to what was reached. Pure."""

import math
import operator
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from benchmarks.serving_peers.measuring import Sample

Figure = Callable[[Sample], float]
Rounds = Mapping[int, float]
"""A figure by round."""

LONE, CROWD = 1, 32
"""The concurrencies that are judged."""


class Bound(Enum):
    """How a figure lies to its goal."""

    AT_MOST = "≤"
    AT_LEAST = "≥"
    BELOW = "<"

    def holds(self, value: float, limit: float) -> bool:
        """Return whether it lies so; not-a-number never does."""
        compare = {"≤": operator.le, "≥": operator.ge, "<": operator.lt}[self.value]
        return bool(compare(value, limit))


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A figure and its goal."""

    what: str
    value: float
    """NaN where it was not measured."""
    unit: str
    bound: Bound
    limit: float

    @property
    def reached(self) -> bool:
        """Whether the figure is as it should be; what was not measured is not."""
        return self.bound.holds(self.value, self.limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """A contestant's best way at one concurrency, with all its samples there."""

    entry: str
    samples: Sequence[Sample]

    def by_round(self, figure: Figure) -> Rounds:
        """Return a figure of each round."""
        return {sample.round: figure(sample) for sample in self.samples}

    def median(self, figure: Figure) -> float:
        """Return a figure's median over the rounds."""
        return statistics.median(figure(sample) for sample in self.samples)


def requests_per_s(sample: Sample) -> float:
    """Answers a second."""
    return sample.load.requests_per_s


def percentile_ms(percent: float) -> Figure:
    """Return the figure of one percentile of the latency."""
    return lambda sample: sample.load.percentiles_ms[percent]


def best(samples: Sequence[Sample], contestant: str, concurrency: int) -> Best | None:
    """Return the way of the lowest median p50 for one caller, of most answers a second for more.

    None where the contestant was not measured.
    """
    ways: dict[str, list[Sample]] = {}
    for sample in samples:
        if sample.entry.contestant == contestant and sample.concurrency == concurrency:
            ways.setdefault(sample.entry.name, []).append(sample)
    found = [Best(entry=name, samples=way) for name, way in ways.items()]
    if concurrency == LONE:
        return min(found, key=lambda way: way.median(percentile_ms(50)), default=None)
    return max(found, key=lambda way: way.median(requests_per_s), default=None)


def median_ratio(first: Rounds, second: Rounds) -> float:
    """Return the median over the rounds of the first divided by the second; NaN without any."""
    return _median_of(operator.truediv, first, second)


def median_difference(first: Rounds, second: Rounds) -> float:
    """Return the median over the rounds of the first less the second; NaN without any."""
    return _median_of(operator.sub, first, second)


def latency_ratio(samples: Sequence[Sample], ours: str, peer: str) -> float:
    """Return how long a lone request takes, p50, as a share of the peer's."""
    return _ratio(samples, ours, peer, LONE, percentile_ms(50))


def throughput_ratio(samples: Sequence[Sample], ours: str, peer: str) -> float:
    """Return how many answers a second 32 callers get, as a multiple of the peer's."""
    return _ratio(samples, ours, peer, CROWD, requests_per_s)


def as_markdown(verdicts: Sequence[Verdict]) -> list[str]:
    """Return a table of goals and what was reached."""
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
