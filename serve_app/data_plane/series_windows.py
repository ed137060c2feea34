"""The windows of consecutive bars, as a router receives them from where rows are computed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from features.bars import LATEST_MS
from serve_app.versions import VersionRef

MAX_PREDICTIONS = 10_000
"""The most predictions of one request: a year of hourly bars has at most 8784."""


class SeriesRange(NamedTuple):
    """The bars of a symbol of which predictions are requested."""

    symbol: str
    first_ms: int
    last_ms: int
    timeframe: str | None = None
    """None for that of the version's features; another one is rejected."""
    known_at_ms: int = LATEST_MS
    """What became known later is left out."""
    limit: int = MAX_PREDICTIONS
    """The most bars that the range may have."""


class WindowRun(NamedTuple):
    """The windows of consecutive bars that consist of the same rows."""

    first: int
    """The position of the first of these bars among those of the part."""
    rows: NDArray[np.float32]
    """(windows + timesteps - 1, features)."""


@dataclass(frozen=True, slots=True, eq=False)
class SeriesPart:
    """The first bars of a range, with their windows."""

    timeframe: str
    time: NDArray[np.int64]
    """The openings of the bars."""
    as_of_ms: NDArray[np.int64]
    """When the last bar of each one's window became known; 0 without a complete window."""
    runs: tuple[WindowRun, ...]
    problems: Mapping[int, str]
    """The code of the error of each bar without a window, by its position."""
    following_ms: int | None
    """The first bar of the next part, if there is one."""


class SeriesSource(Protocol):
    """Computes the windows of bars that are known."""

    async def series(self, version: VersionRef, wanted: SeriesRange) -> SeriesPart:
        """Return the windows of the first bars of a range.

        Raises:
            ServingError: the version has no windows, the range has too many bars, or the bars
                cannot be read.
        """
