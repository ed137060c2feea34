"""Timings: every sample counts, and blocks are interleaved."""

import numpy as np
import pytest

from optimization.errors import InvalidInputError
from optimization.measurement.timing import Timing, measure, measure_timers


class Clock:
    """A clock that only calls advance, each by its duration."""

    def __init__(self):
        self.now_ns = 0

    def __call__(self):
        return self.now_ns

    def call_of(self, *durations_ms):
        durations = iter(durations_ms)

        def call():
            self.now_ns += int(next(durations) * 1e6)

        return call


def test_warm_up_and_outliers():
    """The figures exclude the warm-up and include outliers."""
    clock = Clock()
    (timing,) = measure({"a": clock.call_of(90, 80, 1, 2, 50)}, 4, 3, 2, clock=clock).values()
    assert timing.samples_ms == (1, 2, 50)
    assert timing.warm_up_ms == (90, 80)
    assert timing.mean_ms == pytest.approx(53 / 3)
    assert max(timing.samples_ms) == 50


def test_throughput():
    """The throughput counts all samples of a batch."""
    assert Timing(batch=8, samples_ms=(2.0, 2.0)).throughput == pytest.approx(4000)


def named(seen, names, duration_ns=1000):
    """Return timers that record their name on each run."""
    return {name: (lambda name=name: seen.append(name) or duration_ns) for name in names}


def test_interleaved_blocks():
    """Each round starts with another timer, and the last one is only as long as needed."""
    seen = []
    timings = measure_timers(named(seen, "abc"), batch=1, runs=5, warm_up_runs=1, block=2)
    assert "".join(seen) == "abc" + "aabbcc" + "bbccaa" + "cab"
    assert {len(timing.samples_ms) for timing in timings.values()} == {5}


def test_single_calls():
    """A block of one interleaves single calls."""
    seen = []
    measure_timers(named(seen, "abc"), batch=1, runs=3, warm_up_runs=0, block=1)
    assert "".join(seen) == "abc" + "bca" + "cab"


def test_long_calls():
    """The fastest run of the slowest timer takes 30 ms, which leaves no time for a second call."""
    seen = []
    timers = {**named(seen, "a"), **named(seen, "b", duration_ns=30_000_000)}
    measure_timers(timers, batch=1, runs=2, warm_up_runs=1)
    assert "".join(seen) == "ab" + "ab" + "ba"


def test_early_end():
    """The measurement ends early on request, after at least one round."""
    seen = []
    calls = {"a": lambda: seen.append(1)}
    measure(calls, 1, 100, 0, goes_on=lambda done: done < 3, block=1)
    assert len(seen) == 3
    measure(calls, 1, 100, 0, goes_on=lambda _: False)
    assert len(seen) == 4


def test_percentiles():
    """Percentiles are those of the raw samples."""
    samples = tuple(np.random.default_rng(0).exponential(size=999).tolist())
    timing = Timing(batch=1, samples_ms=samples)
    assert timing.percentile_ms(95) == np.percentile(samples, 95)
    assert timing.median_ms == np.median(samples)


def test_median_interval():
    """95 % of the intervals contain the true median, here of a skewed distribution, ln 2."""
    random = np.random.default_rng(1)
    covered = 0
    for _ in range(2000):
        low, high = Timing(
            batch=1, samples_ms=tuple(random.exponential(size=101).tolist())
        ).median_interval_ms()
        covered += low <= np.log(2) <= high
    assert 0.94 < covered / 2000 < 0.98


@pytest.mark.parametrize(("runs", "warm_up"), [(0, 0), (-1, 0), (1, -1), (1.5, 0), (True, 0)])
def test_invalid_counts(runs, warm_up):
    """Numbers of calls are whole and not negative."""
    with pytest.raises(InvalidInputError, match="a whole number of at least"):
        measure({"a": lambda: None}, 1, runs, warm_up)


def test_invalid_block():
    """A block holds at least one call."""
    with pytest.raises(InvalidInputError, match="block: expected a whole number of at least 1"):
        measure({"a": lambda: None}, 1, 1, 0, block=0)
