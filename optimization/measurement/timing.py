"""Latencies of calls, measured without selection: every raw sample is kept."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from optimization.arguments import check_count
from optimization.progress import Report
from optimization.runtime import Model, Windows

Clock = Callable[[], int]
"""A monotonic clock in nanoseconds."""

Timer = Callable[[], int]
"""A function that runs a call once and returns its duration in nanoseconds."""

BLOCK = 30
"""Consecutive calls of one timer; only the first of them, one call in 30, finds cold caches."""

LONGEST_BLOCK_MS = 50.0
"""The longest duration of a block, so that a busy moment of the machine affects all timers."""

LEAST_GAIN = 1.03
"""The smallest ratio of two medians that counts as a gain; a smaller one may be chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """The latencies of one call in the order of measurement; none is left out."""

    batch: int
    samples_ms: tuple[float, ...]
    warm_up_ms: tuple[float, ...] = ()
    """The latencies of the preceding calls, which no figure includes."""

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
        """Return samples per second; each call counts all samples of its batch."""
        return self.batch * 1000 / self.mean_ms

    def percentile_ms(self, percent: float) -> float:
        """Return a percentile of the raw samples, interpolated between neighbours."""
        return float(np.percentile(self.samples_ms, percent))

    def median_interval_ms(self) -> tuple[float, float]:
        """Return the 95 % confidence interval of the median.

        It is based on order statistics and holds for any distribution: the number of samples below
        the median is binomial(n, 1/2), approximated by the normal (Conover, Practical Nonparametric
        Statistics, 3.2). With few samples it spans all of them.
        """
        ordered = sorted(self.samples_ms)
        count = len(ordered)
        half_width = 1.96 * math.sqrt(count) / 2
        low = max(0, math.floor(count / 2 - half_width))
        high = min(count - 1, math.ceil(count / 2 + half_width))
        return ordered[low], ordered[high]

    def as_json(self) -> dict[str, object]:
        """Return the figures as JSON, without the raw samples."""
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
    """Time interleaved blocks of calls of this process; see measure_timers for the arguments."""

    def timer(call: Callable[[], object]) -> Timer:
        def duration_ns() -> int:
            start = clock()
            call()
            return clock() - start

        return duration_ns

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
    """Interleave the timers in blocks, so that a busy moment of the machine affects all of them.

    In a block one timer runs several times in succession and finds its own data in the caches, as
    in a server that runs one model; call by call it would find the data of the others. Every call
    of a block counts, including the first. Each round starts with another timer, so that none
    always follows the same one. A block takes at most LONGEST_BLOCK_MS, estimated from the fastest
    run of the slowest timer: long calls are interleaved one by one.

    Args:
        timers: the timers by name.
        batch: samples per call.
        runs: measured calls per timer.
        warm_up_runs: unmeasured calls per timer before them.
        goes_on: receives the number of measured calls per timer and returns whether to start
            another round; at least one round is measured.
        block: maximum number of consecutive calls of one timer; 1 interleaves single calls.
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


def calls_of(models: Mapping[str, Model], windows: Windows) -> dict[str, Callable[[], object]]:
    """Return functions that run each model once on `windows`."""
    return {name: partial(model, windows) for name, model in models.items()}


def measure_models(
    models: Mapping[str, Model],
    windows: Windows,
    runs: int,
    warm_up_runs: int,
    report: Report,
    stopped: Callable[[], bool],
) -> dict[str, Timing]:
    """Time interleaved runs of models on `windows`, and report progress every 5 %.

    The measurement ends early once `stopped` returns True.
    """
    reported = {0}

    def goes_on(done: int) -> bool:
        step = done * 20 // runs
        if step not in reported:
            reported.add(step)
            report(f"{done} of {runs} calls per model", done / runs)
        return not stopped()

    return measure(calls_of(models, windows), len(windows), runs, warm_up_runs, goes_on)


def _block_size(slowest_ms: float, most: int) -> int:
    """Return the number of calls per block; one while no duration is known."""
    return max(1, math.floor(min(most, LONGEST_BLOCK_MS / max(slowest_ms, 1e-6))))


def _round(
    timers: Mapping[str, Timer], order: Sequence[str], samples: Mapping[str, list[float]], size: int
) -> None:
    for name in order:
        for _ in range(size):
            samples[name].append(timers[name]() / 1e6)
