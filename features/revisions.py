"""Every row of a series of bars, and which of them was known when. Pure."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from features.bars import Ints, KnownBars


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Every row of the bars of one symbol and timeframe, of which a bar has one per revision."""

    rows: KnownBars
    """The rows by time and, for one time, by known_at."""
    first: Ints
    """The position of the first row of each bar; its known_at is when the bar became known."""

    @classmethod
    def of(cls, rows: KnownBars) -> Self:
        """Return the series of rows by time and, for one time, by known_at."""
        first = np.flatnonzero(np.append(True, np.diff(rows.time) > 0)[: len(rows)])
        return cls(rows, first)

    def __len__(self) -> int:
        return len(self.first)

    @property
    def time(self) -> Ints:
        """The opening of each bar."""
        return self.rows.time[self.first]

    @property
    def known_at(self) -> Ints:
        """When each bar became known."""
        return self.rows.known_at[self.first]

    @property
    def revisions(self) -> tuple[Ints, Ints]:
        """The bar of each revision, and when the revision became known."""
        is_revision = np.ones(len(self.rows), np.bool_)
        is_revision[self.first] = False
        at = np.flatnonzero(is_revision)
        return np.searchsorted(self.first, at, side="right") - 1, self.rows.known_at[at]

    def rows_at(self, bars: Ints, known_at: Ints | int) -> Ints:
        """Return the position of the row that each bar has as known at a time.

        Args:
            bars: positions of bars, all known by then.
            known_at: the time of the view, one for all or one for each.
        """
        low = self.first[bars]
        high = np.append(self.first[1:], len(self.rows))[bars] - 1
        while (low < high).any():
            middle = (low + high + 1) // 2
            is_visible = self.rows.known_at[middle] <= known_at
            low = np.where(is_visible, middle, low)
            high = np.where(is_visible, high, middle - 1)
        return low
