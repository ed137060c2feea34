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

from features import BarColumns, BarPanel, Bars, Timeframe
from features.feature_sets import PanelFeatureSet

CLIP = 5.0

_RETURN_LAGS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 36, 48, 72, 96, 120)
_WINDOWS = (6, 12, 24, 48, 72, 96, 120)
_MACD_SPANS = ((5, 35), (6, 13), (12, 26), (24, 52))
_SIGNAL_SPAN = 9
_CANDLE_LAGS = (0, 1, 2)
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
        flat = Bars.of(np.arange(self.lookback) * 3_600_000, np.ones((5, self.lookback)))
        self.feature_names = tuple(name for name, _ in _features(flat, 1))

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
        return _stack(_features(bars, rows))

    def compute_last(self, panel: BarPanel) -> NDArray[np.float32]:
        """Return the features of the last bar of each series of a panel.

        Returns:
            (series, 110) float32.
        """
        return _stack(_features(panel, 1))[:, 0]


def _stack(features: Iterator[Feature]) -> NDArray[np.float32]:
    matrix = np.stack([values for _, values in features], axis=-1)
    return np.clip(matrix, -CLIP, CLIP).astype(np.float32)


def _features(bars: BarColumns, rows: int) -> Iterator[Feature]:
    """Yield each feature's name and its values at the last `rows` bars.

    The last axis is that of the bars; those of a panel have the axis of its series before it.
    """
    log_return = np.diff(np.log(bars.close))
    volatility = _std(log_return, _SLOW, rows + _SLOW)
    atr = _mean(_true_range(bars), _SLOW, rows + _CANDLE_LAGS[-1])
    yield from _trend(bars, volatility, atr, rows)
    yield from _volatility(bars, log_return, volatility, atr, rows)
    yield from _oscillators(bars, rows)
    yield from _volume(bars, log_return, rows)
    yield from _candles(bars, atr, rows)
    yield from _shape_of_returns(log_return, rows)
    yield from _calendar(bars, rows)


def _trend(bars: BarColumns, volatility: Series, atr: Series, rows: int) -> Iterator[Feature]:
    log_close = np.log(bars.close)
    for lag in _RETURN_LAGS:
        yield f"return_{lag}", _ratio(_change(log_close, lag, rows), volatility * np.sqrt(lag))
    for window in _WINDOWS:
        distance = _last(bars.close, rows) - _mean(bars.close, window, rows)
        yield f"zscore_{window}", _ratio(distance, _std(bars.close, window, rows))
    for span in (5, 10, 20, 50, 100):
        distance = _last(bars.close, rows) - _ema(bars.close, span, rows)
        yield f"ema_distance_{span}", 2 * _ratio(distance, atr * np.sqrt(span))
    for fast, slow in _MACD_SPANS:
        count = rows + 2 * _SIGNAL_SPAN - 1
        lines = _ema(bars.close, fast, count) - _ema(bars.close, slow, count)
        line = _last(lines, rows)
        yield f"macd_{fast}_{slow}", _ratio(line, atr)
        yield (
            f"macd_histogram_{fast}_{slow}",
            2 * _ratio(line - _ema(lines, _SIGNAL_SPAN, rows), atr),
        )
    step = np.abs(np.diff(bars.close))
    for window in (6, 12, 24, 48, 96):
        change = _change(bars.close, window, rows)
        yield f"efficiency_{window}", _ratio(change, window * _mean(step, window, rows))


def _volatility(
    bars: BarColumns, log_return: Series, volatility: Series, atr: Series, rows: int
) -> Iterator[Feature]:
    now, before = _last(volatility, rows), volatility[..., :rows]
    # The only feature with a scale, since it determines whether a return exceeds the dead band.
    yield "volatility_level", np.log(np.maximum(now, _QUIET) / _USUAL_VOLATILITY)
    for window in (6, 12, 24, 48, 72):
        yield f"volatility_{window}", _log_ratio(_std(log_return, window, rows), now)
    yield "volatility_change", _log_ratio(now, before)
    for window in (6, 12, 24, 48):
        yield f"atr_{window}", _log_ratio(_mean(_true_range(bars), window, rows), atr)
    for window in (12, 20, 48, 96):
        width = _std(bars.close, window, rows) / _mean(bars.close, window, rows)
        yield f"band_width_{window}", _log_ratio(width, volatility * np.sqrt(window))


def _oscillators(bars: BarColumns, rows: int) -> Iterator[Feature]:
    change = np.diff(bars.close)
    for window in (6, 9, 14, 21, 28, 48):
        rise = _mean(np.maximum(change, 0), window, rows)
        fall = _mean(np.maximum(-change, 0), window, rows)
        yield f"rsi_{window}", 2 * _ratio(rise - fall, rise + fall)
    for window in _WINDOWS:
        high = _windows(bars.high, window, rows).max(axis=-1)
        low = _windows(bars.low, window, rows).min(axis=-1)
        distance = _last(bars.close, rows) - (high + low) / 2
        yield f"range_position_{window}", 4 * _ratio(distance, high - low)
    for window in (6, 12, 24, 48):
        yield f"rises_{window}", 4 * _mean(np.sign(change), window, rows)


def _volume(bars: BarColumns, log_return: Series, rows: int) -> Iterator[Feature]:
    volume = np.log1p(bars.volume)
    for window in (24, 72, 120):
        distance = _last(volume, rows) - _mean(volume, window, rows)
        yield f"volume_zscore_{window}", _ratio(distance, _std(volume, window, rows))
    for lag in (1, 24):
        yield f"volume_change_{lag}", _change(volume, lag, rows)
    for fast, slow in ((6, 24), (12, 72), (24, 120)):
        trend = _mean(volume, fast, rows) - _mean(volume, slow, rows)
        yield f"volume_trend_{fast}_{slow}", trend
    for window in (24, 72):
        yield (
            f"return_volume_correlation_{window}",
            2 * _correlation(np.abs(log_return), volume[..., 1:], window, rows),
        )


def _candles(bars: BarColumns, atr: Series, rows: int) -> Iterator[Feature]:
    spread = bars.high - bars.low
    body = bars.close - bars.open
    upper = bars.high - np.maximum(bars.open, bars.close)
    lower = np.minimum(bars.open, bars.close) - bars.low
    for lag in _CANDLE_LAGS:
        range_ = _lagged(spread, lag, rows)
        yield f"body_{lag}", 2 * _ratio(_lagged(body, lag, rows), range_)
        yield f"wick_balance_{lag}", 2 * _ratio(_lagged(lower - upper, lag, rows), range_)
        yield f"range_{lag}", _log_ratio(range_, _lagged(atr, lag, rows))
    gap = bars.open[..., 1:] - bars.close[..., :-1]
    yield "gap", _ratio(_last(gap, rows), atr)


def _shape_of_returns(log_return: Series, rows: int) -> Iterator[Feature]:
    for window in (24, 72, 120):
        yield (
            f"autocorrelation_{window}",
            4 * _correlation(log_return[..., 1:], log_return[..., :-1], window, rows),
        )
    for window in (48, 120):
        deviation = _deviation(log_return, window, rows)
        variance = np.square(deviation).mean(axis=-1)
        yield f"skewness_{window}", _ratio((deviation**3).mean(axis=-1), variance**1.5)
        # A normal distribution's fourth moment is 3 times its variance squared.
        yield f"kurtosis_{window}", _log_ratio((deviation**4).mean(axis=-1), 3 * variance**2)


def _calendar(bars: BarColumns, rows: int) -> Iterator[Feature]:
    seconds = bars.time // 1000
    pauses = (np.diff(seconds) > 3600).astype(np.float64)
    seconds = seconds[..., -rows:]
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
    yield "after_pause", np.asarray(_windows(pauses, 12, rows).max(axis=-1))


def _windows(values: Series, window: int, rows: int) -> Series:
    """Return the windows that end at the last `rows` values, each along a new last axis."""
    return sliding_window_view(values[..., -(rows + window - 1) :], window, axis=-1)


def _mean(values: Series, window: int, rows: int) -> Series:
    return np.asarray(_windows(values, window, rows).mean(axis=-1))


def _std(values: Series, window: int, rows: int) -> Series:
    return np.asarray(_windows(values, window, rows).std(axis=-1))


def _deviation(values: Series, window: int, rows: int) -> Series:
    """Return the windows less their means."""
    windows = _windows(values, window, rows)
    return np.asarray(windows - windows.mean(axis=-1)[..., None])


def _last(values: Series, rows: int) -> Series:
    return values[..., -rows:]


def _lagged(values: Series, lag: int, rows: int) -> Series:
    end = values.shape[-1] - lag
    return values[..., end - rows : end]


def _change(values: Series, lag: int, rows: int) -> Series:
    return _last(values, rows) - _lagged(values, lag, rows)


def _ema(values: Series, span: int, rows: int) -> Series:
    """Return the exponential average, truncated at weights below 2 % for a finite lookback."""
    window = 2 * span
    weights = (1 - 2 / (span + 1)) ** np.arange(window - 1, -1, -1)
    weighted = _windows(values, window, rows) * (weights / weights.sum())
    return np.asarray(weighted.sum(axis=-1))


def _correlation(left: Series, right: Series, window: int, rows: int) -> Series:
    product = _deviation(left, window, rows) * _deviation(right, window, rows)
    scale = _std(left, window, rows) * _std(right, window, rows)
    return _ratio(product.mean(axis=-1), scale)


def _true_range(bars: BarColumns) -> Series:
    before = bars.close[..., :-1]
    return np.maximum(bars.high[..., 1:], before) - np.minimum(bars.low[..., 1:], before)


def _ratio(values: Series, scale: Series) -> Series:
    """Return the ratio of values and the last of a scale; 0 where the scale is 0."""
    scale = _last(scale, values.shape[-1])
    return np.divide(values, scale, out=np.zeros(values.shape), where=scale > _NO_SCALE)


def _log_ratio(values: Series, usual: Series) -> Series:
    """Return the logarithm of the ratio, with a floor that keeps constant prices finite."""
    return np.asarray(np.log(np.maximum(_ratio(values, usual), np.exp(-CLIP))))


FEATURE_SET: PanelFeatureSet = HourlyFeatures()
"""The instance that the entry point names."""
