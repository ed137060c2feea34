"""The bar log: every bar that the system received, and when it became known."""

from features.bar_log.log import Appended, BarLog, Push
from features.bar_log.maintenance import Dropped, Limits
from features.bar_log.manifest import SeriesSummary
from features.bar_log.reader import BarReader

__all__ = ["Appended", "BarLog", "BarReader", "Dropped", "Limits", "Push", "SeriesSummary"]
