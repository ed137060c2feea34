"""The feature set of the example: 110 causal, scale-free features per hourly bar.

Every feature of a bar is computed only from that bar and the 240 bars before it, relative to the
volatility, range or volume of the same period, and clipped to [-CLIP, CLIP], so that no scaler is
fitted. A bot that holds the last 241 + 59 bars can therefore compute exactly the window on which
the network was trained.
"""

from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from features import Bars, Timeframe
from features.feature_sets import FeatureSet

CLIP = 5.0

_RETURN_LAGS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 36, 48, 72, 96, 120)
_WINDOWS = (6, 12, 24, 48, 72, 96, 120)
_MACD_SPANS = ((5, 35), (6, 13), (12, 26), (24, 52))
_SLOW = 120
"""The number of bars of the reference period."""

_USUAL_VOLATILITY = 1e-3
"""The approximate standard deviation of an hourly return of a currency pair."""

_QUIET = 1e-6
_NO_SCALE = 1e-18
"""Less than any moment of moving prices, more than the rounding errors of constant prices."""

Series = NDArray[np.float64]
Feature = tuple[str, Series]


class HourlyFeatures:
    """The features of the example, for the hourly bars of any liquid instrument."""

    name = "eurusd_hourly"
    version = "1.0.0"
    timeframe = Timeframe.parse("1h")
    lookback = 241

    def __init__(self) -> None:
        self.feature_names = tuple(name for name, _ in _features(_flat_bars(self.lookback)))

    def compute(self, bars: Bars) -> NDArray[np.float32]:
        """Return the features of every bar with a complete lookback.

        Returns:
            (len(bars) - 240, 110) float32; the last row is that of the last bar.

        Raises:
            ValueError: fewer than 241 bars.
        """
        rows = len(bars) - self.lookback + 1
        if rows < 1:
            raise ValueError(f"expected at least {self.lookback} bars, received {len(bars)}")
        matrix = np.column_stack([values[-rows:] for _, values in _features(bars)])
        return np.clip(matrix, -CLIP, CLIP).astype(np.float32)


def _features(bars: Bars) -> Iterator[Feature]:
    """Yield each feature's name and its values, which end at the last bar."""
    log_return = np.diff(np.log(bars.close))
    volatility = _std(log_return, _SLOW)
    atr = _mean(_true_range(bars), _SLOW)
    yield from _trend(bars, volatility, atr)
    yield from _volatility(bars, log_return, volatility, atr)
    yield from _oscillators(bars)
    yield from _volume(bars, log_return)
    yield from _candles(bars, atr)
    yield from _shape_of_returns(log_return)
    yield from _calendar(bars)


def _trend(bars: Bars, volatility: Series, atr: Series) -> Iterator[Feature]:
    log_close = np.log(bars.close)
    for lag in _RETURN_LAGS:
        change = log_close[lag:] - log_close[:-lag]
        yield f"return_{lag}", _ratio(change, volatility * np.sqrt(lag))
    for window in _WINDOWS:
        distance = _last(bars.close, window) - _mean(bars.close, window)
        yield f"zscore_{window}", _ratio(distance, _std(bars.close, window))
    for span in (5, 10, 20, 50, 100):
        average = _ema(bars.close, span)
        distance = _minus(bars.close, average)
        yield f"ema_distance_{span}", 2 * _ratio(distance, atr * np.sqrt(span))
    for fast, slow in _MACD_SPANS:
        line = _minus(_ema(bars.close, fast), _ema(bars.close, slow))
        yield f"macd_{fast}_{slow}", _ratio(line, atr)
        yield f"macd_histogram_{fast}_{slow}", 2 * _ratio(_minus(line, _ema(line, 9)), atr)
    step = np.abs(np.diff(bars.close))
    for window in (6, 12, 24, 48, 96):
        change = bars.close[window:] - bars.close[:-window]
        yield f"efficiency_{window}", _ratio(change, window * _mean(step, window))


def _volatility(
    bars: Bars, log_return: Series, volatility: Series, atr: Series
) -> Iterator[Feature]:
    # The only feature with a scale, since it determines whether a return exceeds the dead band.
    yield "volatility_level", np.log(np.maximum(volatility, _QUIET) / _USUAL_VOLATILITY)
    for window in (6, 12, 24, 48, 72):
        yield f"volatility_{window}", _log_ratio(_std(log_return, window), volatility)
    yield "volatility_change", _log_ratio(volatility[_SLOW:], volatility[:-_SLOW])
    for window in (6, 12, 24, 48):
        yield f"atr_{window}", _log_ratio(_mean(_true_range(bars), window), atr)
    for window in (12, 20, 48, 96):
        width = _std(bars.close, window) / _mean(bars.close, window)
        yield f"band_width_{window}", _log_ratio(width, volatility * np.sqrt(window))


def _oscillators(bars: Bars) -> Iterator[Feature]:
    change = np.diff(bars.close)
    for window in (6, 9, 14, 21, 28, 48):
        rise = _mean(np.maximum(change, 0), window)
        fall = _mean(np.maximum(-change, 0), window)
        yield f"rsi_{window}", 2 * _ratio(rise - fall, rise + fall)
    for window in _WINDOWS:
        high = sliding_window_view(bars.high, window).max(axis=1)
        low = sliding_window_view(bars.low, window).min(axis=1)
        middle = (high + low) / 2
        yield f"range_position_{window}", 4 * _ratio(_last(bars.close, window) - middle, high - low)
    for window in (6, 12, 24, 48):
        rises = _mean(np.sign(change), window)
        yield f"rises_{window}", 4 * rises


def _volume(bars: Bars, log_return: Series) -> Iterator[Feature]:
    volume = np.log1p(bars.volume)
    for window in (24, 72, 120):
        distance = _last(volume, window) - _mean(volume, window)
        yield f"volume_zscore_{window}", _ratio(distance, _std(volume, window))
    yield "volume_change_1", np.diff(volume)
    yield "volume_change_24", volume[24:] - volume[:-24]
    for fast, slow in ((6, 24), (12, 72), (24, 120)):
        yield f"volume_trend_{fast}_{slow}", _minus(_mean(volume, fast), _mean(volume, slow))
    for window in (24, 72):
        yield (
            f"return_volume_correlation_{window}",
            2 * _correlation(np.abs(log_return), volume[1:], window),
        )


def _candles(bars: Bars, atr: Series) -> Iterator[Feature]:
    spread = bars.high - bars.low
    body = bars.close - bars.open
    upper = bars.high - np.maximum(bars.open, bars.close)
    lower = np.minimum(bars.open, bars.close) - bars.low
    for lag in (0, 1, 2):
        end = len(bars) - lag
        yield f"body_{lag}", 2 * _ratio(body[:end], spread[:end])
        yield f"wick_balance_{lag}", 2 * _ratio((lower - upper)[:end], spread[:end])
        usual = atr[: len(atr) - lag]
        yield f"range_{lag}", _log_ratio(spread[:end], usual)
    yield "gap", _ratio(bars.open[1:] - bars.close[:-1], atr)


def _shape_of_returns(log_return: Series) -> Iterator[Feature]:
    for window in (24, 72, 120):
        yield (
            f"autocorrelation_{window}",
            4 * _correlation(log_return[1:], log_return[:-1], window),
        )
    for window in (48, 120):
        deviation = sliding_window_view(log_return, window) - _mean(log_return, window)[:, None]
        variance = np.square(deviation).mean(axis=1)
        yield f"skewness_{window}", _ratio((deviation**3).mean(axis=1), variance**1.5)
        # A normal distribution's fourth moment is 3 times its variance squared.
        yield f"kurtosis_{window}", _log_ratio((deviation**4).mean(axis=1), 3 * variance**2)


def _calendar(bars: Bars) -> Iterator[Feature]:
    seconds = bars.time // 1000
    hour = seconds // 3600 % 24
    # 1970-01-01 was a Thursday, the fourth day of the week.
    weekday = (seconds // 86400 + 3) % 7
    for period in (24, 12):
        angle = np.asarray(2 * np.pi * hour / period)
        yield f"hour_sin_{period}", np.sin(angle)
        yield f"hour_cos_{period}", np.cos(angle)
    angle = np.asarray(2 * np.pi * weekday / 7)
    yield "weekday_sin", np.sin(angle)
    yield "weekday_cos", np.cos(angle)
    yield "london_open", ((hour >= 7) & (hour < 16)).astype(np.float64)
    yield "new_york_open", ((hour >= 12) & (hour < 21)).astype(np.float64)
    pauses = (np.diff(seconds) > 3600).astype(np.float64)
    yield "after_pause", np.asarray(sliding_window_view(pauses, 12).max(axis=1))


def _mean(values: Series, window: int) -> Series:
    return np.asarray(sliding_window_view(values, window).mean(axis=1))


def _std(values: Series, window: int) -> Series:
    return np.asarray(sliding_window_view(values, window).std(axis=1))


def _last(values: Series, window: int) -> Series:
    return values[window - 1 :]


def _ema(values: Series, span: int) -> Series:
    """Return the exponential average, truncated at weights below 2 % for a finite lookback."""
    window = 2 * span
    weights = (1 - 2 / (span + 1)) ** np.arange(window - 1, -1, -1)
    return np.asarray((sliding_window_view(values, window) * (weights / weights.sum())).sum(axis=1))


def _correlation(left: Series, right: Series, window: int) -> Series:
    a, b = sliding_window_view(left, window), sliding_window_view(right, window)
    covariance = ((a - a.mean(axis=1)[:, None]) * (b - b.mean(axis=1)[:, None])).mean(axis=1)
    return _ratio(covariance, _std(left, window) * _std(right, window))


def _true_range(bars: Bars) -> Series:
    before = bars.close[:-1]
    return np.maximum(bars.high[1:], before) - np.minimum(bars.low[1:], before)


def _minus(left: Series, right: Series) -> Series:
    rows = min(len(left), len(right))
    return left[-rows:] - right[-rows:]


def _ratio(values: Series, scale: Series) -> Series:
    """Return the ratio of two series aligned at their ends; 0 where the scale is 0."""
    rows = min(len(values), len(scale))
    values, scale = values[-rows:], scale[-rows:]
    return np.divide(values, scale, out=np.zeros(rows), where=scale > _NO_SCALE)


def _log_ratio(values: Series, usual: Series) -> Series:
    """Return the logarithm of the ratio, with a floor that keeps constant prices finite."""
    return np.asarray(np.log(np.maximum(_ratio(values, usual), np.exp(-CLIP))))


def _flat_bars(count: int) -> Bars:
    return Bars.of(np.arange(count) * 3_600_000, np.ones((5, count)))


FEATURE_SET: FeatureSet = HourlyFeatures()
"""The instance that the entry point names."""
