"""A feature set of TA-Lib's indicators, most of which are recursive.

A recursive indicator depends on where its input starts. The lookback was found by `find_lookback`
on the bars of the example, with half as many bars added. Features for which there is none are left
out, such as OBV and the distance of the close from KAMA.

It requires the package `ta-lib`: pip install -e 'examples[talib]'
"""

from dataclasses import dataclass

import numpy as np
import talib
from numpy.typing import NDArray

from features import Bars, Timeframe
from features.feature_sets import FeatureSet

_HOURLY = Timeframe.parse("1h")
_FEATURES = ("rsi_14", "adx_14", "cci_20", "atr_14", "macd", "ema_distance_20")


@dataclass(frozen=True, slots=True)
class TalibFeatures:
    """TA-Lib's indicators, relative to their range, to the price or to the average true range."""

    lookback: int = 704
    name: str = "eurusd_talib"
    version: str = "1.0.0"
    timeframe: Timeframe = _HOURLY
    feature_names: tuple[str, ...] = _FEATURES

    def compute(self, bars: Bars) -> NDArray[np.float32]:
        """Return (len(bars) - lookback + 1, features) float32."""
        _, high, low, close, _ = (np.ascontiguousarray(column) for column in bars.values)
        range_ = talib.ATR(high, low, close, 14)
        columns = (
            talib.RSI(close, 14) / 100,
            talib.ADX(high, low, close, 14) / 100,
            talib.CCI(high, low, close, 20) / 100,
            100 * range_ / close,
            _ratio(talib.MACD(close)[0], range_),
            _ratio(close - talib.EMA(close, 20), range_),
        )
        return np.column_stack(columns)[self.lookback - 1 :].astype(np.float32)


def _ratio(values: NDArray[np.float64], scale: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the ratio; 0 where the scale is 0."""
    return np.divide(values, scale, out=np.zeros(len(values)), where=scale > 0)


FEATURE_SET: FeatureSet = TalibFeatures()
"""The instance that the entry point names."""
