"""Timings: honest by construction."""

import numpy as np
import pytest

from optimization.errors import InvalidInputError
from optimization.measurement.timing import Timing, measure, measure_timers


class Clock:
    """Goes on by a millisecond a look, and by what a call takes."""

    def __init__(self):
        self.now_ns = 0

    def __call__(self):
        return self.now_ns

    def taking(self, *durations_ms):
        durations = iter(durations_ms)

        def call():
            self.now_ns += int(next(durations) * 1e6)

        return call


def test_the_warm_up_counts_in_no_figure_and_outliers_stay():
    clock = Clock()
    (timing,) = measure({"a": clock.taking(90, 80, 1, 2, 50)}, 4, 3, 2, clock=clock).values()
    assert timing.samples_ms == (1, 2, 50)
    assert timing.warm_up_ms == (90, 80)
    assert timing.mean_ms == pytest.approx(53 / 3)
    assert max(timing.samples_ms) == 50


def test_throughput_counts_every_sample_of_a_batch():
    assert Timing(batch=8, samples_ms=(2.0, 2.0)).throughput == pytest.approx(4000)


def named(seen, names, took_ns=1000):
    """Return timers that note their turn."""
    return {name: (lambda name=name: seen.append(name) or took_ns) for name in names}


def test_calls_take_turns_by_blocks_and_another_one_begins_every_round():
    """The last round is as short as is needed; whatever a block holds counts."""
    seen = []
    timings = measure_timers(named(seen, "abc"), batch=1, runs=5, warm_up_runs=1, block=2)
    assert "".join(seen) == "abc" + "aabbcc" + "bbccaa" + "cab"
    assert {len(timing.samples_ms) for timing in timings.values()} == {5}


def test_a_block_of_one_is_call_by_call():
    seen = []
    measure_timers(named(seen, "abc"), batch=1, runs=3, warm_up_runs=0, block=1)
    assert "".join(seen) == "abc" + "bca" + "cab"


def test_long_calls_take_turns_one_by_one():
    """The slowest decides, by its quickest call: 30 ms leave no time for a second one."""
    seen = []
    timers = {**named(seen, "a"), **named(seen, "b", took_ns=30_000_000)}
    measure_timers(timers, batch=1, runs=2, warm_up_runs=1)
    assert "".join(seen) == "ab" + "ab" + "ba"


def test_it_ends_when_told_to_but_not_before_one_round():
    seen = []
    calls = {"a": lambda: seen.append(1)}
    measure(calls, 1, 100, 0, goes_on=lambda done: done < 3, block=1)
    assert len(seen) == 3
    measure(calls, 1, 100, 0, goes_on=lambda _: False)
    assert len(seen) == 4


def test_percentiles_are_those_of_the_raw_samples():
    samples = tuple(float(each) for each in np.random.default_rng(0).exponential(size=999))
    timing = Timing(batch=1, samples_ms=samples)
    assert timing.percentile_ms(95) == np.percentile(samples, 95)
    assert timing.median_ms == np.median(samples)


def test_the_interval_of_the_median_covers_it_as_often_as_it_says():
    """95 % of intervals hold the true median, here of a skewed distribution, ln 2."""
    random = np.random.default_rng(1)
    covered = 0
    for _ in range(2000):
        low, high = Timing(
            batch=1, samples_ms=tuple(random.exponential(size=101).tolist())
        ).median_interval_ms()
        covered += low <= np.log(2) <= high
    assert 0.94 < covered / 2000 < 0.98


@pytest.mark.parametrize(("runs", "warm_up"), [(0, 0), (-1, 0), (1, -1), (1.5, 0), (True, 0)])
def test_senseless_counts_are_refused(runs, warm_up):
    with pytest.raises(InvalidInputError, match="a whole number of at least"):
        measure({"a": lambda: None}, 1, runs, warm_up)


def test_a_senseless_block_is_refused():
    with pytest.raises(InvalidInputError, match="block: expected a whole number of at least 1"):
        measure({"a": lambda: None}, 1, 1, 0, block=0)
