"""Market data for models: bars, the log that keeps them, and feature sets.

The package depends on NumPy, pyarrow and SQL only. Times are milliseconds since 1970 in UTC, and
many bars are columns, never one object per bar.
"""

from features.bars import BarColumns, BarPanel, Bars, KnownBars, Rejection, Rejections, Symbol
from features.timeframes import Timeframe

__all__ = [
    "BarColumns",
    "BarPanel",
    "Bars",
    "KnownBars",
    "Rejection",
    "Rejections",
    "Symbol",
    "Timeframe",
]
