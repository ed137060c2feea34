"""The check finds each way in which rows can depend on more than their lookback."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import Bars, Timeframe
from features.errors import UnusableBarsError
from features.feature_sets import Rule, check_feature_set
from testkit.feature_sets import (
    ToyFeatureSet,
    ToyPanelFeatureSet,
    change_and_volume,
    last_change_and_volume,
    random_bars,
)

BARS = random_bars(400)


def check(function, **changes):
    return check_feature_set(ToyFeatureSet(function=function, **changes), BARS)


def with_column(column):
    """Return a function whose first feature is replaced by another column."""

    def compute(bars):
        rows = change_and_volume(bars)
        rows[:, 0] = column(bars)[2:]
        return rows

    return compute


def test_pure():
    """A pure function of the lookback passes; the report states what was checked."""
    report = check(change_and_volume)
    assert report.is_passed
    assert (report.name, report.version, report.lookback, report.bars) == ("toy", "1", 3, 400)
    assert 40 < report.cut_points <= 50


def test_seed():
    """The same seed gives the same report."""
    feature_set = ToyFeatureSet(function=with_column(lambda bars: bars.close / bars.close[0]))
    reports = [check_feature_set(feature_set, BARS, seed=seed) for seed in (7, 7, 8)]
    assert reports[0] == reports[1] != reports[2]


def next_close(bars):
    return np.append(bars.close[1:], bars.close[-1])


def late_maximum(bars):
    """Return the close, or the maximum of the later bars where it is far away."""
    later = np.maximum.accumulate(bars.close[::-1])[::-1]
    return np.where(later > 1.2 * bars.close, later, bars.close)


def early_minimum(bars):
    """Return the close, or 1 where an earlier bar was far below."""
    earlier = np.minimum.accumulate(bars.close)
    return np.where(earlier < 0.8 * bars.close, 1, bars.close)


@pytest.mark.parametrize(
    ("column", "rule"),
    [
        (next_close, Rule.LOOKBACK),
        (lambda bars: bars.close / bars.close.mean(), Rule.LOOKBACK),
        (lambda bars: np.cumsum(bars.volume), Rule.LOOKBACK),
        (lambda bars: np.arange(len(bars)), Rule.LOOKBACK),
        (lambda bars: np.append(np.zeros(3), bars.close[:-3]), Rule.LOOKBACK),
        (lambda bars: np.full(len(bars), bars.time[-1] / 1e12), Rule.LOOKBACK),
        (late_maximum, Rule.LATER_BARS),
        (early_minimum, Rule.EARLIER_BARS),
    ],
    ids=lambda value: value.__name__ if callable(value) else value.name,
)
def test_dependence(column, rule):
    """A leak of the future, or a dependence on the start, is found with a counterexample."""
    violation = check(with_column(column)).violation
    assert violation.rule is rule
    assert violation.difference.feature == "change"
    assert violation.difference.expected != violation.difference.received
    assert str(violation).startswith(f"expected that {rule}; change of the bar ")


@given(lag=st.integers(1, 390))
@settings(deadline=None, max_examples=30)
def test_any_lag(lag):
    """A leak from any distance is found, and so is a bar that is older than the lookback."""

    def from_future(bars):
        return np.append(bars.close, np.repeat(bars.close[-1], lag))[lag:]

    def from_past(bars):
        return np.append(np.repeat(bars.close[0], lag + 2), bars.close)[: len(bars)]

    assert check(with_column(from_future)).violation.rule is Rule.LOOKBACK
    assert check(with_column(from_past)).violation.rule is Rule.LOOKBACK


@given(lookback=st.integers(1, 80), declared=st.integers(1, 100))
@settings(deadline=None, max_examples=30)
def test_declared_lookback(lookback, declared):
    """A mean passes exactly if the declared lookback contains its window."""

    def mean(bars):
        windows = np.lib.stride_tricks.sliding_window_view(
            np.append(np.zeros(100), bars.close), lookback
        )
        rows = [np.sort(window).sum() for window in windows[-(len(bars) - declared + 1) :]]
        return np.array(rows, np.float32)[:, None]

    report = check(mean, lookback=declared, feature_names=("mean",))
    assert report.is_passed == (declared >= lookback)


def test_state():
    """A feature set whose rows depend on earlier calls is found."""
    calls = itertools.count()
    violation = check(with_column(lambda bars: bars.close + next(calls))).violation
    assert (violation.rule, violation.difference.feature) == (Rule.REPEATABLE, "change")


def test_state_of_other_bars():
    """A state that only calls with other bars change is found."""
    highest = {"close": 0.0}

    def largest_seen(bars):
        highest["close"] = max(highest["close"], bars.close.max() // 150)
        return bars.close + highest["close"]

    violation = check(with_column(largest_seen)).violation
    assert violation.rule in (Rule.LATER_BARS, Rule.EARLIER_BARS, Rule.REPEATABLE)


def test_random():
    """Random features are found."""
    random = np.random.default_rng(0)
    violation = check(with_column(lambda bars: random.normal(size=len(bars)))).violation
    assert violation.rule is Rule.REPEATABLE


def test_names():
    """Names that repeat are found."""
    violation = check(change_and_volume, feature_names=("x", "x")).violation
    assert violation.rule is Rule.NAMES
    assert violation.difference is None
    assert "'x' occurs more than once" in str(violation)


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (lambda bars: change_and_volume(bars).astype(np.float64), "float32, received float64"),
        (lambda bars: change_and_volume(bars)[:-1], "the shape"),
        (with_column(lambda bars: np.where(bars.close > 150, np.nan, 0)), "is nan"),
        (lambda _bars: [][0], "compute raised IndexError"),
    ],
)
def test_form(function, problem):
    """Rows of another form are found, also those of changed bars."""
    violation = check(function).violation
    assert violation.rule is Rule.ROWS
    assert problem in violation.problem


@pytest.mark.parametrize(
    ("bars", "problem"),
    [
        (BARS.take(slice(5)), "at least 6 bars, received 5"),
        (BARS.take(slice(None, None, -1)), "not ascending"),
        (Bars(BARS.time // 2, BARS.values), "not on the grid of the timeframe 1h"),
    ],
)
def test_unusable_bars(bars, problem):
    """Bars on which nothing can be concluded are rejected."""
    with pytest.raises(UnusableBarsError, match=problem):
        check_feature_set(ToyFeatureSet(function=change_and_volume), bars)


def test_other_timeframe():
    """Bars of a shorter timeframe are off the grid of a longer one."""
    daily = ToyFeatureSet(function=change_and_volume, timeframe=Timeframe.parse("1d"))
    with pytest.raises(UnusableBarsError, match="grid of the timeframe 1d"):
        check_feature_set(daily, BARS)


def mean_of_panel(panel):
    """Let each row depend on the other series of the panel."""
    rows = last_change_and_volume(panel)
    rows[:, 1] = rows[:, 1].mean()
    return rows


def one_bit_off(panel):
    rows = last_change_and_volume(panel)
    rows[:, 1] = np.nextafter(rows[:, 1], np.float32(0))
    return rows


@pytest.mark.parametrize(
    ("last_function", "rule"),
    [
        (last_change_and_volume, None),
        (mean_of_panel, Rule.PANEL),
        (one_bit_off, Rule.PANEL),
        (lambda panel: last_change_and_volume(panel)[::-1], Rule.PANEL),
        (lambda panel: last_change_and_volume(panel)[:1], Rule.ROWS),
    ],
)
def test_panel(last_function, rule):
    """Rows across symbols that differ from those of one symbol are found."""
    feature_set = ToyPanelFeatureSet(function=change_and_volume, last_function=last_function)
    violation = check_feature_set(feature_set, BARS).violation
    assert (violation and violation.rule) is rule
