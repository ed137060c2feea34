"""The bar log: every bar that the system received, and when it became known."""

from features.bar_log.log import BarLog
from features.bar_log.maintenance import Dropped, Limits
from features.bar_log.reader import BarReader
from features.pushes import Appended, Push, SeriesSummary

__all__ = ["Appended", "BarLog", "BarReader", "Dropped", "Limits", "Push", "SeriesSummary"]
