"""How long calls take, measured so that nothing flatters: every raw sample is kept."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from optimization.errors import InvalidInputError

Clock = Callable[[], int]
"""Nanoseconds of a clock that never goes back."""

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Latencies of one thing, in the order in which they were measured; none was left out."""

    batch: int
    samples_ms: tuple[float, ...]
    warm_up_ms: tuple[float, ...] = ()
    """What the calls before took, which is in no figure."""

    @property
    def mean_ms(self) -> float:
        """Return the mean."""
        return float(np.mean(self.samples_ms))

    @property
    def std_ms(self) -> float:
        """Return the standard deviation."""
        return float(np.std(self.samples_ms))

    @property
    def median_ms(self) -> float:
        """Return the median."""
        return self.percentile_ms(50)

    @property
    def throughput(self) -> float:
        """Return samples per second, a batch counting all of its samples."""
        return self.batch * 1000 / self.mean_ms

    def percentile_ms(self, percent: float) -> float:
        """Return a percentile of the raw samples, interpolated between neighbours."""
        return float(np.percentile(self.samples_ms, percent))

    def median_interval_ms(self) -> tuple[float, float]:
        """Return the 95 % confidence interval of the median.

        From order statistics, so for any distribution: the number of samples below the median is
        binomial(n, 1/2), approximated by the normal (Conover, Practical Nonparametric Statistics,
        3.2). With few samples it is all that was seen.
        """
        ordered = sorted(self.samples_ms)
        count = len(ordered)
        half_width = 1.96 * math.sqrt(count) / 2
        low = max(0, math.floor(count / 2 - half_width))
        high = min(count - 1, math.ceil(count / 2 + half_width))
        return ordered[low], ordered[high]

    def as_json(self) -> dict[str, object]:
        """Return the figures for a file, without the raw samples."""
        return {
            "batch": self.batch,
            "samples": len(self.samples_ms),
            "mean_ms": self.mean_ms,
            "std_ms": self.std_ms,
            "p50_ms": self.median_ms,
            "p50_interval_ms": list(self.median_interval_ms()),
            "p95_ms": self.percentile_ms(95),
            "p99_ms": self.percentile_ms(99),
            "min_ms": min(self.samples_ms),
            "max_ms": max(self.samples_ms),
            "throughput": self.throughput,
        }


def measure(
    calls: Mapping[str, Callable[[], object]],
    batch: int,
    runs: int,
    warm_up_runs: int,
    goes_on: Callable[[int], bool] = lambda _: True,
    clock: Clock = time.perf_counter_ns,
) -> dict[str, Timing]:
    """Time the calls in turn, round by round, so that a busy moment of the machine meets all.

    Every round begins with another call, so that none always runs in the wake of the same one.

    Args:
        calls: what to time, by name.
        batch: samples that one call works on.
        runs: rounds that count.
        warm_up_runs: rounds before them that do not.
        goes_on: given the number of rounds so far, tells whether another may begin; at least one
            round counts.
        clock: the time.
    """
    check_count("runs", runs, least=1)
    check_count("warm_up_runs", warm_up_runs, least=0)
    warm: dict[str, list[float]] = {name: [] for name in calls}
    counted: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(warm_up_runs):
        _round(calls, list(calls), warm, clock)
    order = list(calls)
    for number in range(runs):
        if number and not goes_on(number):
            break
        _round(calls, order, counted, clock)
        order = [*order[1:], order[0]]
    return {
        name: Timing(batch=batch, samples_ms=tuple(counted[name]), warm_up_ms=tuple(warm[name]))
        for name in calls
    }


def check_count(what: str, value: object, least: int) -> int:
    """Return a whole number of at least `least`, else raise InvalidInputError."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InvalidInputError(what, f"a whole number of at least {least}", repr(value))
    return value


def _round(
    calls: Mapping[str, Callable[[], object]],
    order: Sequence[str],
    samples: Mapping[str, list[float]],
    clock: Clock,
) -> None:
    for name in order:
        call = calls[name]
        began = clock()
        call()
        samples[name].append((clock() - began) / 1e6)
