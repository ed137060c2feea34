"""How long calls take, measured so that nothing flatters: every raw sample is kept."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from optimization.errors import InvalidInputError

Clock = Callable[[], int]
"""Nanoseconds of a clock that never goes back."""

Timer = Callable[[], int]
"""Runs something once and tells how many nanoseconds it took."""

BLOCK = 30
"""Calls on end of what takes turns; the first of them finds the caches cold, as one call in 30."""

LONGEST_BLOCK_MS = 50.0
"""Of one block, so that a busy moment of the machine still meets all."""


LEAST_GAIN = 1.03
"""Between medians; below it a difference may be chance."""


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
    block: int = BLOCK,
) -> dict[str, Timing]:
    """Time calls of this process in turn, block by block; see measure_timers for the arguments."""

    def timer(call: Callable[[], object]) -> Timer:
        def took_ns() -> int:
            began = clock()
            call()
            return clock() - began

        return took_ns

    timers = {name: timer(call) for name, call in calls.items()}
    return measure_timers(timers, batch, runs, warm_up_runs, goes_on, block)


def measure_timers(
    timers: Mapping[str, Timer],
    batch: int,
    runs: int,
    warm_up_runs: int,
    goes_on: Callable[[int], bool] = lambda _: True,
    block: int = BLOCK,
) -> dict[str, Timing]:
    """Let timers take turns, block by block, so that a busy moment of the machine meets all.

    In a block one of them runs several times on end and finds its own data in the caches, as in a
    server that runs one model; call by call it would find the others'. No call of a block is left
    out, not its first one either. Every round begins with another timer, so that none always runs
    in the wake of the same one. A block ends at LONGEST_BLOCK_MS, judged by the quickest run of the
    slowest: long calls take turns one by one.

    Args:
        timers: what to time, by name.
        batch: samples that one call works on.
        runs: calls of each that count.
        warm_up_runs: calls of each before them that do not.
        goes_on: given the number of calls of each so far, tells whether another round of blocks
            may begin; at least one round counts.
        block: calls of one timer on end, at most; 1 is call by call.
    """
    check_count("runs", runs, least=1)
    check_count("warm_up_runs", warm_up_runs, least=0)
    check_count("block", block, least=1)
    warm: dict[str, list[float]] = {name: [] for name in timers}
    counted: dict[str, list[float]] = {name: [] for name in timers}
    order = list(timers)
    _round(timers, order, warm, warm_up_runs)
    done = 0
    while done < runs and (not done or goes_on(done)):
        quickest = (min([*warm[name], *counted[name]], default=math.inf) for name in timers)
        size = _block_size(max(quickest, default=math.inf), min(block, runs - done))
        _round(timers, order, counted, size)
        order = [*order[1:], *order[:1]]
        done += size
    return {
        name: Timing(batch=batch, samples_ms=tuple(counted[name]), warm_up_ms=tuple(warm[name]))
        for name in timers
    }


def check_count(what: str, value: object, least: int) -> int:
    """Return a whole number of at least `least`, else raise InvalidInputError."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InvalidInputError(what, f"a whole number of at least {least}", repr(value))
    return value


def _block_size(slowest_ms: float, most: int) -> int:
    """Return how many calls on end the slowest makes in a block; one while nothing is known."""
    return max(1, math.floor(min(most, LONGEST_BLOCK_MS / max(slowest_ms, 1e-6))))


def _round(
    timers: Mapping[str, Timer], order: Sequence[str], samples: Mapping[str, list[float]], size: int
) -> None:
    for name in order:
        for _ in range(size):
            samples[name].append(timers[name]() / 1e6)
