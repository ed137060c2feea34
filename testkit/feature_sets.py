"""Small feature sets and random bars."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from features import BarPanel, Bars, Timeframe

HOURLY = Timeframe.parse("1h")


@dataclass(frozen=True, slots=True, kw_only=True)
class ToyFeatureSet:
    """A feature set around a function."""

    function: Callable[[Bars], Any]
    """Returns the rows of bars; it may break the rules."""
    name: str = "toy"
    version: str = "1"
    timeframe: Timeframe = HOURLY
    lookback: int = 3
    feature_names: tuple[str, ...] = ("change", "volume")

    def compute(self, bars: Bars) -> Any:
        """Return the function's rows."""
        return self.function(bars)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToyPanelFeatureSet(ToyFeatureSet):
    """A feature set around two functions."""

    last_function: Callable[[BarPanel], Any]
    """Returns the last row of each series; it may break the rules."""

    def compute_last(self, panel: BarPanel) -> Any:
        """Return the function's rows."""
        return self.last_function(panel)


def last_change_and_volume(panel: BarPanel) -> Any:
    """Return what `change_and_volume` returns for the last bar of each series."""
    change = panel.close[:, -1] - panel.close[:, -3]
    return np.column_stack([change, panel.volume[:, -1]]).astype(np.float32)


def change_and_volume(bars: Bars) -> Any:
    """Return the change of the close over two bars, and the volume, of each bar from the third."""
    change = bars.close[2:] - bars.close[:-2]
    return np.column_stack([change, bars.volume[2:]]).astype(np.float32)


def random_bars(count: int, seed: int = 0) -> Bars:
    """Return valid hourly bars of a random walk, with some gaps."""
    random = np.random.default_rng(seed)
    time = np.cumsum(random.choice([1, 1, 1, 1, 1, 1, 1, 49], count)) * HOURLY.length_ms
    close = 100 * np.exp(np.cumsum(random.normal(0, 1e-3, count)))
    opened = close * np.exp(random.normal(0, 1e-3, count))
    high = np.maximum(opened, close) * 1.001
    low = np.minimum(opened, close) * 0.999
    return Bars.of(time, [opened, high, low, close, random.uniform(0, 1e4, count)])
