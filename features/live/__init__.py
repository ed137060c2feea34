"""Live windows: the newest rows of every symbol, computed as bars arrive."""

from features.live.completeness import MissingBars, find_missing
from features.live.series import LiveSeries, Window
from features.live.windows import LiveWindows

__all__ = ["LiveSeries", "LiveWindows", "MissingBars", "Window", "find_missing"]
