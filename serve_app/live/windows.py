"""The windows of the versions that share a feature set, and what is to be predicted from them."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.bars import Ints, KnownBars
from features.calendars import MarketCalendar, Markets
from features.errors import InvalidRowsError
from features.feature_sets import FeatureSet, Rows
from features.live import LiveWindows, find_missing
from features.times import iso
from registry.records import ModelMetadata
from serve_app.data_plane.decoding import Prediction
from serve_app.data_plane.live_results import LiveResult
from serve_app.errors import IncompleteWindowError, PredictionFailedError, ServingError
from serve_app.versions import VersionRef

MAX_LISTED = 100
"""The most missing bars that an error lists."""

STALE_TIMEFRAMES = 1.5
"""The age, in timeframes of an open market, that a request allows by default."""


class Job(NamedTuple):
    """A window of which a version makes a prediction."""

    version: VersionRef
    symbol: str
    timeframe: str
    bar_ms: int
    as_of_ms: int
    stale_from_ms: int
    rows: NDArray[np.float32]
    """(timesteps, features)."""

    def result(self, outcome: Prediction | ServingError) -> LiveResult:
        """Return the result."""
        return LiveResult(*self[:-1], outcome)


class WindowRules(NamedTuple):
    """What decides whether a version has a window of a symbol."""

    version: VersionRef
    symbol: str
    feature_set: FeatureSet
    timesteps: int
    calendar: MarketCalendar

    @property
    def bars(self) -> int:
        """The number of bars on which the window depends."""
        return self.feature_set.lookback + self.timesteps - 1

    def job(
        self, time: Ints, as_of_ms: int, rows: Rows | InvalidRowsError | None
    ) -> Job | LiveResult:
        """Return the window as a job, or the result without a prediction.

        Args:
            time: the openings of the known bars up to the window's last one; at least one.
            as_of_ms: when they were known.
            rows: those of the last bars; why they cannot be computed; None if bars are missing.
        """
        timeframe, bar_ms = self.feature_set.timeframe, int(time[-1])
        open_ms = round(STALE_TIMEFRAMES * timeframe.length_ms)
        stale_from_ms = self.calendar.after_open(timeframe.end(bar_ms), open_ms)
        fields = self.version, self.symbol, timeframe.name, bar_ms, as_of_ms, stale_from_ms
        missing = find_missing(time, self.bars, timeframe, self.calendar)
        if missing is not None:
            return LiveResult(*fields, self.incomplete(bar_ms, missing.missing))
        if isinstance(rows, InvalidRowsError):
            return LiveResult(*fields, PredictionFailedError(*self.version, str(rows)))
        if rows is None or len(rows) < self.timesteps:
            return LiveResult(*fields, self.incomplete(bar_ms, time[:0]))
        return Job(*fields, rows[-self.timesteps :])

    def incomplete(self, bar_ms: int, missing: Ints) -> IncompleteWindowError:
        """Return the error for a window that lacks bars; some may be before those of the log."""
        listed = [iso(time) for time in missing[-MAX_LISTED:].tolist()]
        timeframe = self.feature_set.timeframe.name
        return IncompleteWindowError(
            self.symbol, timeframe, iso(bar_ms), self.bars, listed, len(missing)
        )


class FeatureGroup:
    """The newest windows of all symbols for the versions that share a feature set.

    Args:
        feature_set: computes the rows.
        versions: the versions, at least one.
        markets: the calendars of the symbols.
    """

    def __init__(
        self,
        feature_set: FeatureSet,
        versions: Iterable[ModelMetadata],
        markets: Markets,
    ) -> None:
        self.feature_set = feature_set
        self.versions = {VersionRef.of(metadata): metadata for metadata in versions}
        self._markets = markets
        rows = max(metadata.input_shape[0] for metadata in self.versions.values())
        self.bars = feature_set.lookback + rows - 1
        """The number of bars on which the longest window depends."""
        self._windows = LiveWindows(feature_set, rows)
        self._failures: dict[str, InvalidRowsError] = {}
        self._as_of_ms: dict[str, int] = {}
        self._predicted_ms: dict[tuple[VersionRef, str], int] = {}

    def is_for(self, versions: Iterable[ModelMetadata], markets: Markets) -> bool:
        """Return whether the group is one for these versions and calendars."""
        wanted = {VersionRef.of(metadata): metadata for metadata in versions}
        return wanted == self.versions and markets == self._markets

    def rules(self, version: VersionRef, symbol: str) -> WindowRules:
        """Return what decides whether a version of the group has a window of a symbol."""
        timesteps = self.versions[version].input_shape[0]
        calendar = self._markets.calendar(symbol)
        return WindowRules(version, symbol, self.feature_set, timesteps, calendar)

    def update(self, changes: Mapping[str, KnownBars], as_of_ms: int) -> None:
        """Add bars and revisions that became known at a time."""
        failures = self._windows.update(changes)
        for symbol, bars in changes.items():
            if len(bars):
                self._as_of_ms[symbol] = as_of_ms
                self._failures.pop(symbol, None)
        self._failures |= failures

    def jobs(self, symbols: Iterable[str]) -> tuple[list[Job], list[LiveResult]]:
        """Return the windows of which predictions are to be made, and results without one.

        A window whose last bar has a prediction is left out: revisions change later ones only.
        """
        jobs: list[Job] = []
        failed: list[LiveResult] = []
        for symbol in symbols:
            series = self._windows.series(symbol)
            if not len(series.bars):
                continue
            for version in self.versions:
                if self._predicted_ms.get((version, symbol)) == series.bars.time[-1]:
                    continue
                rules = self.rules(version, symbol)
                rows = self._failures.get(symbol, series.rows)
                found = rules.job(series.bars.time, self._as_of_ms[symbol], rows)
                if isinstance(found, Job):
                    self._predicted_ms[version, symbol] = found.bar_ms
                    jobs.append(found)
                else:
                    failed.append(found)
        return jobs, failed
