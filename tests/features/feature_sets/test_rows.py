"""The form of rows."""

import numpy as np
import pytest

from features import BarPanel
from features.errors import InvalidRowsError
from features.feature_sets import compute_last_rows, compute_rows
from testkit.feature_sets import (
    ToyFeatureSet,
    ToyPanelFeatureSet,
    change_and_volume,
    last_change_and_volume,
    random_bars,
)

BARS = random_bars(10)


def test_rows():
    """Rows are one per bar with a complete lookback."""
    rows = compute_rows(ToyFeatureSet(function=change_and_volume), BARS)
    assert (rows.shape, rows.dtype) == ((8, 2), np.float32)
    assert rows[-1, 1] == np.float32(BARS.volume[-1])


def test_copy():
    """An array that the feature set uses again does not change earlier rows."""
    shared = np.zeros((8, 2), np.float32)

    def reuse(bars):
        shared[:] = change_and_volume(bars)
        return shared

    feature_set = ToyFeatureSet(function=reuse)
    rows = compute_rows(feature_set, BARS)
    compute_rows(feature_set, random_bars(10, seed=1))
    assert np.array_equal(rows, change_and_volume(BARS))


def test_bars_unchanged():
    """A feature set cannot change the bars of its caller."""

    def scale(bars):
        bars.close[:] /= bars.close[-1]
        return change_and_volume(bars)

    with pytest.raises(InvalidRowsError, match=r"compute raised ValueError: .*read-only"):
        compute_rows(ToyFeatureSet(function=scale), BARS)
    assert BARS.values.flags.writeable


def wrong_value(bars):
    rows = change_and_volume(bars)
    rows[4, 1] = np.nan
    return rows


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (lambda bars: change_and_volume(bars).tolist(), "expected an array, received .* list"),
        (lambda bars: change_and_volume(bars)[1:], r"the shape \(8, 2\) for bars.*\(7, 2\)"),
        (lambda bars: change_and_volume(bars).T, r"the shape \(8, 2\)"),
        (lambda bars: change_and_volume(bars).astype(float), "float32, received float64"),
        (wrong_value, "volume of the bar 197.* is nan"),
        (lambda bars: change_and_volume(bars) / np.float32(0), "is -?inf"),
        (lambda _bars: 1 / 0, "compute raised ZeroDivisionError: division by zero"),
    ],
)
def test_invalid(function, problem):
    """Rows of another form are rejected with the reason."""
    with np.errstate(all="ignore"), pytest.raises(InvalidRowsError, match=problem) as caught:
        compute_rows(ToyFeatureSet(function=function), BARS)
    assert caught.value.name == "toy"


def test_last_rows():
    """The last row of each series of a panel, from read-only bars."""
    feature_set = ToyPanelFeatureSet(
        function=change_and_volume, last_function=last_change_and_volume
    )
    panel = BarPanel.of([BARS.take(slice(start, start + 3)) for start in range(8)])
    rows = compute_last_rows(feature_set, panel)
    assert np.array_equal(rows, compute_rows(feature_set, BARS))


@pytest.mark.parametrize(
    ("last_function", "problem"),
    [
        (lambda panel: last_change_and_volume(panel)[0], r"the shape \(8, 2\) .*\(8, 3\)"),
        (lambda _panel: 1 / 0, "compute_last raised ZeroDivisionError"),
        (lambda panel: panel.close.fill(0), "read-only"),
    ],
)
def test_invalid_last_rows(last_function, problem):
    """Last rows of another form are rejected with the reason."""
    feature_set = ToyPanelFeatureSet(function=change_and_volume, last_function=last_function)
    panel = BarPanel.of([BARS.take(slice(start, start + 3)) for start in range(8)])
    with pytest.raises(InvalidRowsError, match=problem):
        compute_last_rows(feature_set, panel)
