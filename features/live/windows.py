"""The newest windows of all symbols for one feature set."""

from collections.abc import Mapping

import numpy as np

from features.bars import BarPanel, KnownBars
from features.errors import InvalidRowsError
from features.feature_sets import (
    FeatureSet,
    PanelFeatureSet,
    Rows,
    compute_last_rows,
    compute_rows,
)
from features.live.series import LiveSeries, Pending


class LiveWindows:
    """Holds the newest bars and rows of each symbol, and computes only the rows that change.

    A further bar costs one row, and the rows of several symbols are computed at once if the feature
    set can do so. Its check has compared these rows with those of one symbol, though perhaps on
    another processor: they are used once the last row of a symbol is equal here as well.

    Args:
        feature_set: computes the rows.
        rows: the number of rows to hold per symbol, those of the longest window.
    """

    def __init__(self, feature_set: FeatureSet, rows: int) -> None:
        self._feature_set = feature_set
        self._rows = rows
        self._series: dict[str, LiveSeries] = {}
        self._at_once: PanelFeatureSet | None = None
        self._is_compared = not isinstance(feature_set, PanelFeatureSet)

    @property
    def computes_at_once(self) -> bool:
        """Whether the rows of several symbols are computed at once."""
        return self._at_once is not None

    def series(self, symbol: str) -> LiveSeries:
        """Return the bars and rows of a symbol; empty if there are none."""
        return self._series.get(symbol) or LiveSeries.empty(self._feature_set)

    def update(self, changes: Mapping[str, KnownBars]) -> dict[str, InvalidRowsError]:
        """Add bars and revisions; return the symbols whose rows cannot be computed.

        Such a symbol has its bars, but no row of a changed one; the next change tries again.
        """
        lookback = self._feature_set.lookback
        pending = {
            symbol: self.series(symbol).merge(bars, lookback, self._rows)
            for symbol, bars in changes.items()
            if len(bars)
        }
        single = [symbol for symbol, each in pending.items() if each.missing == 1]
        failures: dict[str, InvalidRowsError] = {}
        computed = self._compute_at_once({symbol: pending[symbol] for symbol in single})
        for symbol, waiting in pending.items():
            try:
                rows = computed[symbol] if symbol in computed else self._compute(waiting)
            except InvalidRowsError as error:
                failures[symbol] = error
                rows = waiting.kept[:0]
                waiting = waiting._replace(kept=rows)
            self._series[symbol] = waiting.with_rows(rows)
        return failures

    def _compute(self, pending: Pending) -> Rows:
        if not pending.missing:
            return pending.kept[:0]
        bars = pending.input(self._feature_set.lookback)
        rows = compute_rows(self._feature_set, bars)
        if not self._is_compared:
            self._compare(BarPanel.of([bars.take(slice(-self._feature_set.lookback, None))]), rows)
        return rows

    def _compute_at_once(self, pending: Mapping[str, Pending]) -> dict[str, Rows]:
        """Return the last row of each symbol, or nothing if one of them cannot be computed."""
        if self._at_once is None or not pending:
            return {}
        lookback = self._feature_set.lookback
        panel = BarPanel.of([waiting.input(lookback) for waiting in pending.values()])
        try:
            rows = compute_last_rows(self._at_once, panel)
        except InvalidRowsError:
            return {}  # one after another, so that only the symbol at fault fails
        return dict(zip(pending, rows[:, None], strict=True))

    def _compare(self, panel: BarPanel, rows: Rows) -> None:
        """Use `compute_last` from now on if it returns the last of some rows."""
        assert isinstance(self._feature_set, PanelFeatureSet)
        self._is_compared = True
        try:
            received = compute_last_rows(self._feature_set, panel)
        except InvalidRowsError:
            return
        if np.array_equal(received.view(np.uint32), rows[-1:].view(np.uint32)):
            self._at_once = self._feature_set
