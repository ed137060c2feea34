"""Timeframes: the lengths of bars, and the grid on which bars of a length open."""

import re
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from features.errors import UnknownTimeframeError

_MINUTE_MS = 60_000
_HOUR_MS = 60 * _MINUTE_MS
_DAY_MS = 24 * _HOUR_MS
_MONDAY_MS = 4 * _DAY_MS
"""Weeks open on Monday; 1970 began on a Thursday."""


@dataclass(frozen=True, slots=True)
class Timeframe:
    """The length of a bar; bars of one timeframe open on a grid in UTC.

    The grid begins at midnight, that of weeks on Monday.
    """

    name: str
    """The name, such as `15m`; each length has exactly one."""
    length_ms: int
    """The time from the opening of a bar to its end."""
    origin_ms: int = 0
    """A time at which a bar opens."""

    @classmethod
    def parse(cls, name: str) -> Self:
        """Return the timeframe with a name.

        Raises:
            UnknownTimeframeError: no timeframe has the name.
        """
        if name not in NAMES:
            raise UnknownTimeframeError(name, NAMES)
        number, unit = re.fullmatch(r"(\d+)([mhdw])", name).groups()  # type: ignore[union-attr]
        if unit == "w":
            return cls(name, 7 * _DAY_MS, _MONDAY_MS)
        return cls(name, int(number) * {"m": _MINUTE_MS, "h": _HOUR_MS, "d": _DAY_MS}[unit])

    def __str__(self) -> str:
        return self.name

    def is_on_grid(self, time: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return whether a bar opens at each time."""
        return np.asarray((time - self.origin_ms) % self.length_ms == 0)

    def floor(self, time_ms: int) -> int:
        """Return the opening of the bar that contains a time."""
        return time_ms - (time_ms - self.origin_ms) % self.length_ms

    def end(self, time_ms: int) -> int:
        """Return the end of the bar that opens at a time, which is the opening of the next one."""
        return time_ms + self.length_ms


NAMES = (
    *(f"{number}m" for number in range(1, 60) if 60 % number == 0),
    *(f"{number}h" for number in range(1, 24) if 24 % number == 0),
    "1d",
    "1w",
)
"""The names of all timeframes, in ascending order of their lengths."""
