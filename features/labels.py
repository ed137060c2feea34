"""The outcome of a prediction by the market's bars; its direction is the label of a sample.

There is one rule for datasets, for the outcomes that a server records, and for experiments.
Horizons count bars, so that a weekend does not consume them.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.bars import Bars, Floats
from features.errors import InvalidLabelRuleError

HOLD, BUY, SELL = 0, 1, 2
"""The directions as encoded on the wire."""


def market_return(close: Floats, later_close: Floats) -> Floats:
    """Return the market's return from each close to a later one, as a fraction.

    It is infinite or NaN if the first close is 0.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.asarray(later_close / close - 1)


def market_class(market_return: float, dead_band: float) -> int:
    """Return the correct direction: HOLD if |market_return| <= dead_band, otherwise its sign's.

    Args:
        market_return: the return as a fraction.
        dead_band: in the same unit, not negative.

    >>> [market_class(market_return, dead_band=0.001) for market_return in (0.0005, 0.01, -0.01)]
    [0, 1, 2]
    """
    if abs(market_return) <= dead_band:
        return HOLD
    return BUY if market_return > 0 else SELL


def market_classes(returns: Floats, dead_band: float) -> NDArray[np.int8]:
    """Return `market_class` of each return.

    >>> market_classes(np.array([0.0005, 0.01, -0.01]), dead_band=0.001).tolist()
    [0, 1, 2]
    """
    classes = np.where(returns > 0, BUY, SELL)
    classes[np.abs(returns) <= dead_band] = HOLD
    return classes.astype(np.int8)


@dataclass(frozen=True, slots=True)
class BarOutcome:
    """The outcome of a prediction."""

    market_return: float
    """The market's return over the horizon as a fraction."""
    direction: int
    """The direction that was correct: HOLD, BUY or SELL."""
    time_ms: int
    """The opening of the bar at the horizon."""


@dataclass(frozen=True, slots=True)
class LabelRule:
    """The horizon of a prediction, and the returns that are no movement.

    Raises:
        InvalidLabelRuleError: the horizon is less than one bar, or the dead band is no finite
            number of at least 0.
    """

    horizon_bars: int
    """The number of bars after its own that a prediction covers."""
    dead_band: float
    """Returns up to this size in either direction are HOLD."""

    def __post_init__(self) -> None:
        if self.horizon_bars < 1:
            raise InvalidLabelRuleError("horizon_bars", "at least 1 bar", str(self.horizon_bars))
        if not (math.isfinite(self.dead_band) and self.dead_band >= 0):
            expected = "a finite number of at least 0"
            raise InvalidLabelRuleError("dead_band", expected, str(self.dead_band))

    def outcome(self, bars: Bars) -> BarOutcome | None:
        """Return the outcome of the prediction at the first of some bars.

        It is evaluated once, when the bar at the horizon becomes known, with the numbers that both
        bars have then; a later revision does not change it.

        Args:
            bars: the bars from that of the prediction on, in ascending order, as known at one time.

        Returns:
            The outcome, or None while the bar at the horizon is not known, or if the close of the
            first bar is 0.
        """
        if len(bars) <= self.horizon_bars:
            return None
        close, later_close = bars.close[[0, self.horizon_bars]]
        earned = float(market_return(close, later_close))
        if not math.isfinite(earned):
            return None
        direction = market_class(earned, self.dead_band)
        return BarOutcome(earned, direction, int(bars.time[self.horizon_bars]))
