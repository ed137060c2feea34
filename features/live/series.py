"""The newest bars of one symbol with their rows of features. Pure."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from features.bars import Bars, Ints, KnownBars
from features.feature_sets import FeatureSet, Rows


class Window(NamedTuple):
    """The input of a model for one symbol."""

    rows: Rows
    """(timesteps, features)."""
    time: Ints
    """The opening of each row's bar."""


class Pending(NamedTuple):
    """Bars whose last rows are still to be computed."""

    bars: KnownBars
    kept: Rows
    """The rows that hold, which precede the missing ones."""
    missing: int
    """The number of missing rows."""

    def input(self, lookback: int) -> Bars:
        """Return the bars from which the missing rows are computed."""
        start = len(self.bars) - self.missing - lookback + 1
        return Bars(self.bars.time[start:], self.bars.values[:, start:])

    def with_rows(self, rows: Rows) -> "LiveSeries":
        """Return the series with the missing rows."""
        return LiveSeries(self.bars, np.concatenate([self.kept, rows]))


@dataclass(frozen=True, slots=True, eq=False)
class LiveSeries:
    """The newest bars of a symbol, the latest revision of each, and the rows of the last ones."""

    bars: KnownBars
    """In ascending order, each time once."""
    rows: Rows
    """(rows, features), of the last bars."""

    @classmethod
    def empty(cls, feature_set: FeatureSet) -> "LiveSeries":
        """Return a series without bars."""
        rows = np.zeros((0, len(feature_set.feature_names)), np.float32)
        return cls(KnownBars.empty(), rows)

    def window(self, timesteps: int) -> Window | None:
        """Return the rows of the last bars; None if there are fewer."""
        if len(self.rows) < timesteps:
            return None
        return Window(self.rows[-timesteps:], self.bars.time[-timesteps:])

    def merge(self, changes: KnownBars, lookback: int, rows: int) -> Pending:
        """Return the series with further bars and revisions.

        Args:
            changes: at least one bar, in any order; of one time the latest known_at holds.
            lookback: the number of bars on which a row depends.
            rows: the number of rows to hold; `lookback + rows - 1` bars are held.
        """
        capacity = lookback + rows - 1
        merged = _newest(self.bars, changes, capacity)
        available = max(0, min(rows, len(merged) - lookback + 1))
        first_ms = _first_change(merged, changes)
        unchanged = int(np.searchsorted(self.bars.time, first_ms))
        kept = self.rows[: max(0, len(self.rows) - (len(self.bars) - unchanged))]
        after = len(merged) - int(np.searchsorted(merged.time, first_ms))
        # Rows before the change hold if they are followed by no gap up to it.
        kept = kept[max(0, len(kept) - max(0, available - after)) :]
        return Pending(merged, kept, available - len(kept))


def _newest(held: KnownBars, changes: KnownBars, capacity: int) -> KnownBars:
    """Return the newest bars of both, by time, the latest revision of each."""
    merged = KnownBars.concat([held, changes])
    if not (np.diff(merged.time[max(0, len(held) - 1) :]) > 0).all():
        merged = merged.sorted()
        merged = merged.take(np.append(np.diff(merged.time) > 0, True))
    return merged if len(merged) <= capacity else merged.take(slice(-capacity, None))


def _first_change(merged: KnownBars, changes: KnownBars) -> int:
    """Return the time of the first changed bar; later than all if none is among the newest."""
    times = changes.time[changes.time >= merged.time[0]]
    return int(times.min()) if len(times) else int(merged.time[-1]) + 1
