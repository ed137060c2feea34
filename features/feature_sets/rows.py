"""Calls a feature set, and verifies that what it returns has the promised form."""

import numpy as np
from numpy.typing import NDArray

from features.bars import Bars
from features.errors import InvalidRowsError
from features.feature_sets.feature_set import FeatureSet
from features.times import iso

Rows = NDArray[np.float32]


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
    try:
        received: object = feature_set.compute(_read_only(bars))
    # The feature set runs code of another distribution, which may raise any error.
    except Exception as error:
        problem = f"compute raised {type(error).__name__}: {error}"
        raise InvalidRowsError(feature_set.name, problem) from error
    if not isinstance(received, np.ndarray):
        raise InvalidRowsError(
            feature_set.name, f"expected an array, received the type {type(received).__name__}"
        )
    shape = (len(bars) - feature_set.lookback + 1, len(feature_set.feature_names))
    if received.shape != shape:
        raise InvalidRowsError(
            feature_set.name,
            f"expected the shape {shape} for {len(bars)} bars, received {received.shape}",
        )
    if received.dtype != np.float32:
        raise InvalidRowsError(
            feature_set.name, f"expected the type float32, received {received.dtype}"
        )
    is_wrong = ~np.isfinite(received)
    if is_wrong.any():
        row, column = np.argwhere(is_wrong)[0].tolist()
        bar = iso(int(bars.time[feature_set.lookback - 1 + row]))
        raise InvalidRowsError(
            feature_set.name,
            f"{feature_set.feature_names[column]} of the bar {bar} is {received[row, column]}",
        )
    # A copy, since a feature set may reuse its array in the next call.
    return np.array(received, np.float32, order="C")


def _read_only(bars: Bars) -> Bars:
    time, values = bars.time.view(), bars.values.view()
    time.flags.writeable = values.flags.writeable = False
    return Bars(time, values)
