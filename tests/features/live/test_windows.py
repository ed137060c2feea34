"""Live windows equal those of the whole history, whatever arrives in whichever order."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples.eurusd.data import load_bars
from examples.eurusd.features import FEATURE_SET
from features import Bars, KnownBars
from features.feature_sets import compute_rows
from features.live import LiveWindows
from testkit.feature_sets import (
    ToyFeatureSet,
    ToyPanelFeatureSet,
    change_and_volume,
    last_change_and_volume,
    random_bars,
)

ROWS = 5
TOY = ToyFeatureSet(function=change_and_volume)
PANEL = ToyPanelFeatureSet(function=change_and_volume, last_function=last_change_and_volume)


def known(bars, known_at=0):
    return KnownBars(bars.time, bars.values, np.full(len(bars), known_at, np.int64))


def assert_equal(live, symbol, bars, feature_set=TOY, rows=ROWS):
    """The series has the newest bars, and the rows that all of the bars have."""
    series = live.series(symbol)
    assert series.bars.time.tolist() == bars.time[-(feature_set.lookback + rows - 1) :].tolist()
    expected = compute_rows(feature_set, bars)[-rows:]
    assert series.rows.tobytes() == expected.tobytes()


@pytest.mark.parametrize("feature_set", [TOY, PANEL])
def test_one_after_another(feature_set):
    """Each further bar adds one row."""
    bars = random_bars(30)
    live = LiveWindows(feature_set, ROWS)
    live.update({"A": known(bars.take(slice(3)))})
    for end in range(4, 31):
        assert live.update({"A": known(bars.take(slice(end - 1, end)))}) == {}
        assert_equal(live, "A", bars.take(slice(end)))


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 39), st.integers(0, 1)), min_size=1, max_size=12),
        min_size=1,
        max_size=8,
    )
)
@settings(deadline=None, max_examples=200)
def test_any_order(pushes):
    """Late bars, gaps that are closed, and revisions give the rows of the bars known by then."""
    versions = [random_bars(40), random_bars(40, seed=1)]
    live = LiveWindows(PANEL, ROWS)
    latest = {}
    for now, push in enumerate(pushes):
        parts = []
        for place, version in push:
            latest[place] = version
            bar = versions[version].take(slice(place, place + 1))
            bar = Bars(versions[0].time[place : place + 1], bar.values)
            parts.append(known(bar, known_at=100 * now + len(parts)))
        held = live.series("A").bars.time
        live.update({"A": KnownBars.concat(parts)})
        if len(held) == PANEL.lookback + ROWS - 1:
            # Bars before those that are held are of no use any more.
            latest = {
                place: version
                for place, version in latest.items()
                if versions[0].time[place] >= held[0]
            }
    places = np.array(sorted(latest))
    values = np.stack([versions[latest[place]].values[:, place] for place in places], axis=1)
    bars = Bars(versions[0].time[places], values)
    series = live.series("A")
    count = min(len(bars), PANEL.lookback + ROWS - 1)
    assert series.bars.time.tolist() == bars.time[-count:].tolist()
    assert series.bars.values.tobytes() == bars.values[:, -count:].tobytes()
    if len(bars) >= PANEL.lookback:
        assert series.rows.tobytes() == compute_rows(PANEL, bars)[-ROWS:].tobytes()
    else:
        assert len(series.rows) == 0


def test_symbols_at_once():
    """The bars of many symbols in one update are computed by one call."""
    calls = []

    def count(panel):
        calls.append(len(panel))
        return last_change_and_volume(panel)

    feature_set = ToyPanelFeatureSet(function=change_and_volume, last_function=count)
    live = LiveWindows(feature_set, ROWS)
    bars = {f"S{seed}": random_bars(20, seed) for seed in range(10)}
    live.update({symbol: known(some.take(slice(19))) for symbol, some in bars.items()})
    assert live.computes_at_once
    calls.clear()
    live.update({symbol: known(some.take(slice(19, 20))) for symbol, some in bars.items()})
    assert calls == [10]
    for symbol, some in bars.items():
        assert_equal(live, symbol, some)


def test_unequal_here():
    """Rows across symbols are not used on a machine on which they differ."""
    feature_set = ToyPanelFeatureSet(
        function=change_and_volume, last_function=lambda panel: last_change_and_volume(panel) + 1
    )
    live = LiveWindows(feature_set, ROWS)
    bars = random_bars(20)
    live.update({"A": known(bars.take(slice(19)))})
    assert not live.computes_at_once
    live.update({"A": known(bars.take(slice(19, 20)))})
    assert_equal(live, "A", bars)


def test_failure():
    """A symbol whose row cannot be computed fails alone, and recovers with its next bars."""

    def log_of_volume(bars):
        with np.errstate(divide="ignore"):
            return np.log(change_and_volume(bars)[:, 1:]).astype(np.float32)

    def last(panel):
        with np.errstate(divide="ignore"):
            return np.log(last_change_and_volume(panel)[:, 1:]).astype(np.float32)

    feature_set = ToyPanelFeatureSet(
        function=log_of_volume, last_function=last, feature_names=("log_volume",)
    )
    live = LiveWindows(feature_set, 2)
    good, bad = random_bars(12), random_bars(12, seed=1)
    bad.values[4, 10] = 0
    live.update({"good": known(good.take(slice(10))), "bad": known(bad.take(slice(10)))})
    assert live.computes_at_once
    failures = live.update(
        {"good": known(good.take(slice(10, 11))), "bad": known(bad.take(slice(10, 11)))}
    )
    assert list(failures) == ["bad"]
    assert "-inf" in str(failures["bad"])
    assert live.series("bad").window(2) is None
    assert_equal(live, "good", good.take(slice(11)), feature_set, rows=2)
    bad.values[4, 10] = 1
    assert live.update({"bad": known(bad.take(slice(10, 12)), known_at=1)}) == {}
    assert_equal(live, "bad", bad, feature_set, rows=2)


def test_window():
    """A window has the rows of the last bars with their times; there is none with fewer rows."""
    bars = random_bars(6)
    live = LiveWindows(TOY, ROWS)
    assert live.series("A").window(1) is None
    live.update({"A": known(bars)})
    window = live.series("A").window(4)
    assert window.time.tolist() == bars.time[2:].tolist()
    assert window.rows.tobytes() == change_and_volume(bars).tobytes()
    assert live.series("A").window(5) is None


def test_example():
    """The windows of the example, bar by bar, equal those of its whole history bit for bit."""
    bars = load_bars().take(slice(1000, 1400))
    whole = compute_rows(FEATURE_SET, bars)
    live = LiveWindows(FEATURE_SET, 60)
    symbols = ("EURUSD", "SAME")
    live.update({symbol: known(bars.take(slice(380))) for symbol in symbols})
    for end in range(381, 401):
        live.update({symbol: known(bars.take(slice(end - 1, end))) for symbol in symbols})
        for symbol in symbols:
            rows = live.series(symbol).window(60).rows
            assert rows.tobytes() == whole[end - 240 - 60 : end - 240].tobytes()
    assert live.computes_at_once
