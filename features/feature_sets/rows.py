"""Calls a feature set, and verifies that what it returns has the promised form."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from features.bars import BarColumns, BarPanel, Bars, Ints
from features.errors import InvalidRowsError
from features.feature_sets.feature_set import FeatureSet, PanelFeatureSet
from features.times import iso

Rows = NDArray[np.float32]
Columns = TypeVar("Columns", Bars, BarPanel)


def compute_rows(feature_set: FeatureSet, bars: Bars) -> Rows:
    """Return the rows of bars as an array of their own.

    The feature set receives read-only bars, so that it cannot change those of its caller.

    Args:
        feature_set: the feature set.
        bars: at least `lookback` bars in ascending order.

    Raises:
        InvalidRowsError: `compute` failed, or its result is not finite float32 of the shape
            (bars - lookback + 1, features).
    """
    bars = Bars(bars.time, bars.values)
    return _call(feature_set, "compute", _read_only(bars), bars.time[feature_set.lookback - 1 :])


def compute_last_rows(feature_set: PanelFeatureSet, panel: BarPanel) -> Rows:
    """Return the row of the last bar of each series of a panel, as an array of its own.

    Args:
        feature_set: the feature set.
        panel: `lookback` bars in ascending order of each series.

    Raises:
        InvalidRowsError: `compute_last` failed, or its result is not finite float32 of the shape
            (series, features).
    """
    return _call(feature_set, "compute_last", _read_only(panel), panel.time[:, -1])


def _call(feature_set: FeatureSet, method: str, bars: BarColumns, time: Ints) -> Rows:
    """Return the result of a method, which has a row for each of the times."""
    try:
        received: object = getattr(feature_set, method)(bars)
    # The feature set runs code of another distribution, which may raise any error.
    except Exception as error:
        problem = f"{method} raised {type(error).__name__}: {error}"
        raise InvalidRowsError(feature_set.name, problem) from error
    if not isinstance(received, np.ndarray):
        raise InvalidRowsError(
            feature_set.name, f"expected an array, received the type {type(received).__name__}"
        )
    shape = (len(time), len(feature_set.feature_names))
    if received.shape != shape:
        raise InvalidRowsError(
            feature_set.name,
            f"expected the shape {shape} for bars of the shape {bars.time.shape}, received "
            f"{received.shape}",
        )
    if received.dtype != np.float32:
        raise InvalidRowsError(
            feature_set.name, f"expected the type float32, received {received.dtype}"
        )
    is_wrong = ~np.isfinite(received)
    if is_wrong.any():
        row, column = np.argwhere(is_wrong)[0].tolist()
        raise InvalidRowsError(
            feature_set.name,
            f"{feature_set.feature_names[column]} of the bar {iso(int(time[row]))} is "
            f"{received[row, column]}",
        )
    # A copy, since a feature set may reuse its array in the next call.
    return np.array(received, np.float32, order="C")


def _read_only(bars: Columns) -> Columns:
    time, values = bars.time.view(), bars.values.view()
    time.flags.writeable = values.flags.writeable = False
    return type(bars)(time, values)
