"""What enters and leaves a bar log, without the libraries that store it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.bars import Bars, Ints, KnownBars, Mask, Rejections, Symbol
from features.timeframes import Timeframe


@dataclass(frozen=True, slots=True, eq=False)
class Push:
    """Bars of one symbol and timeframe that are sent together."""

    symbol: Symbol
    timeframe: Timeframe
    bars: Bars
    is_final: Mask | None = None
    """Whether each bar is final; all are by default."""
    problems: NDArray[np.uint8] | None = None
    """The codes of rejections that are known already, 0 for none; see `parse_times`."""
    known_at: Ints | None = None
    """When each bar became known, in bars that another log exports; by default, now."""


@dataclass(frozen=True, slots=True, eq=False)
class Appended:
    """What became of the bars of a push; it is committed."""

    accepted: int
    """The number of bars that were new."""
    duplicates: int
    """The number of bars that the log had already, with the same numbers."""
    revised: int
    """The number of bars that the log had with other numbers."""
    rejected: Rejections
    """The bars that are not valid."""
    stored: KnownBars
    """The new bars and the revisions, by time and known_at."""
    provisional: KnownBars
    """The bar that is not final and replaced the latest such one, if there is one."""


@dataclass(frozen=True, slots=True)
class SeriesSummary:
    """What the log has of one symbol and timeframe."""

    symbol: str
    timeframe: str
    first_ms: int
    """The opening of the first bar."""
    last_ms: int
    """The opening of the last bar."""
    bars: int
    """The number of bars; revisions do not count."""
    gaps: int
    """The number of gaps between the first bar and the last; closed markets are gaps as well."""
    missing: int
    """The number of missing bars between the first and the last."""

    def age_ms(self, now_ms: int) -> int:
        """Return how long ago the last bar ended."""
        return now_ms - Timeframe.parse(self.timeframe).end(self.last_ms)
