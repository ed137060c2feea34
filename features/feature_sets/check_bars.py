"""The bars on which a feature set is checked, and changes of them."""

import numpy as np

from features.bars import Bars
from features.errors import UnusableBarsError
from features.feature_sets.feature_set import FeatureSet
from features.timeframes import Timeframe

_MOST_STEPS = 200
"""The greatest shift of the times of changed bars, in bars."""


def require_bars(feature_set: FeatureSet, bars: Bars, count: int) -> None:
    """Require a number of ascending bars of the feature set's timeframe.

    Raises:
        UnusableBarsError: they are fewer, not ascending or off the grid.
    """
    if len(bars) < count:
        problem = f"expected at least {count} bars, received {len(bars)}"
        raise UnusableBarsError(feature_set.name, problem)
    if not (np.diff(bars.time) > 0).all():
        raise UnusableBarsError(feature_set.name, "their times are not ascending")
    if not feature_set.timeframe.is_on_grid(bars.time).all():
        problem = f"they are not on the grid of the timeframe {feature_set.timeframe}"
        raise UnusableBarsError(feature_set.name, problem)


def change_bars(bars: Bars, part: slice, timeframe: Timeframe, random: np.random.Generator) -> Bars:
    """Return bars that differ in a part at their start or at their end.

    The changed bars are valid: the prices of each are multiplied by one random factor from 0.5 to
    2, its volume changes, and the times of all move away from the other bars on the grid.
    """
    time, values = bars.time.copy(), bars.values.copy()
    count = len(time[part])
    steps = int(random.integers(1, _MOST_STEPS)) * (1 if part.stop is None else -1)
    time[part] += steps * timeframe.length_ms
    values[:4, part] *= random.uniform(0.5, 2, count)
    values[4, part] = values[4, part] * random.uniform(0.5, 2, count) + random.uniform(0, 2, count)
    return Bars(time, values)
