"""Timings: honest by construction."""

import numpy as np
import pytest

from optimization.errors import InvalidInputError
from optimization.timing import Timing, measure


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


def test_calls_take_turns_and_another_one_begins_every_round():
    seen = []
    calls = {name: (lambda name=name: seen.append(name)) for name in "abc"}
    measure(calls, batch=1, runs=3, warm_up_runs=1)
    assert "".join(seen) == "abc" + "abc" + "bca" + "cab"


def test_it_ends_when_told_to_but_not_before_one_round():
    seen = []
    measure({"a": lambda: seen.append(1)}, 1, 100, 0, goes_on=lambda done: done < 3)
    assert len(seen) == 3
    measure({"a": lambda: seen.append(1)}, 1, 100, 0, goes_on=lambda _: False)
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
