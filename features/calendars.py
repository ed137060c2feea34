"""Market calendars: when a market is open, and which bars it therefore has."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import NamedTuple, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from features.bars import Ints
from features.errors import InvalidCalendarError
from features.timeframes import Timeframe

WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

_DAY = timedelta(days=1)
_FIRST_MS = -2_208_988_800_000
"""1900, before which no market has a session here."""
_OPEN_ENOUGH_MS = 4 * 3_600_000
"""Less than the session of any exchange, and more than the hours of the currency market that fall
on a Sunday in UTC."""


class Session(NamedTuple):
    """A period in which a market is open."""

    first_ms: int
    """Its opening."""
    end_ms: int
    """Its close."""


@dataclass(frozen=True, slots=True)
class MarketCalendar:
    """A market with one session per trading day.

    A trading day is named by the local date on which its session closes.
    """

    zone: str = "UTC"
    """The IANA name of the market's time zone."""
    opens: time = time(0)
    """The local time of the opening, on the day before if it is not earlier than that of the close.
    """
    closes: time = time(0)
    """The local time of the close."""
    weekdays: tuple[str, ...] = WEEKDAYS
    """The weekdays that are trading days."""
    closed: frozenset[str] = frozenset()
    """Dates without a session, such as 2026-04-03, or 12-25 for every year."""

    @classmethod
    def of(
        cls,
        zone: str,
        opens: str,
        closes: str,
        weekdays: tuple[str, ...] = WEEKDAYS,
        closed: tuple[str, ...] = (),
    ) -> Self:
        """Return a calendar from texts.

        Raises:
            InvalidCalendarError: a text has no meaning.
        """
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise InvalidCalendarError("zone", "an IANA time zone", zone) from None
        unknown = [name for name in weekdays if name not in WEEKDAYS]
        if unknown or not weekdays:
            expected = f"some of {', '.join(WEEKDAYS)}"
            raise InvalidCalendarError("weekdays", expected, ", ".join(unknown) or "none")
        for text in closed:
            try:
                date.fromisoformat(text if len(text) > 5 else f"2000-{text}")
            except ValueError:
                expected = "dates such as 2026-04-03 or 12-25"
                raise InvalidCalendarError("closed", expected, text) from None
        return cls(
            zone,
            _parse_time("opens", opens),
            _parse_time("closes", closes),
            tuple(weekdays),
            frozenset(closed),
        )

    def required(self, timeframe: Timeframe, first_ms: int, last_ms: int) -> Ints:
        """Return the openings of the bars between two times, inclusive, that the market has.

        A market has a bar if it is open for half of the bar's period, or for four hours.
        """
        step_ms = timeframe.length_ms
        start = timeframe.floor(first_ms + step_ms - 1)
        grid = np.arange(start, last_ms + 1, step_ms, dtype=np.int64)
        sessions = np.array(list(self._sessions(start, last_ms + step_ms)), np.int64)
        if not len(grid) or not len(sessions):
            return grid[:0]
        open_ms = _open_until(sessions, grid + step_ms) - _open_until(sessions, grid)
        return np.asarray(grid[open_ms >= min(step_ms / 2, _OPEN_ENOUGH_MS)])

    def after_open(self, since_ms: int, open_ms: int) -> int:
        """Return when the market will have been open for so long since a time."""
        # A market is open on some weekday; a decade also covers long closures.
        for first_ms, end_ms in self._sessions(since_ms, since_ms + 10 * 366 * 86_400_000):
            first_ms = max(first_ms, since_ms)
            if first_ms + open_ms <= end_ms:
                return first_ms + open_ms
            open_ms -= end_ms - first_ms
        return since_ms + open_ms

    def _sessions(self, first_ms: int, end_ms: int) -> Iterator[Session]:
        """Yield the sessions that overlap a period, by time."""
        first_ms = max(first_ms, _FIRST_MS)
        day = datetime.fromtimestamp(first_ms / 1000, UTC).date() - _DAY
        while (session := _session(self.zone, self.opens, self.closes, day)).first_ms < end_ms:
            iso = day.isoformat()
            is_trading_day = WEEKDAYS[day.weekday()] in self.weekdays
            if (
                is_trading_day
                and session.end_ms > first_ms
                and iso not in self.closed
                and iso[5:] not in self.closed
            ):
                yield session
            day += _DAY


def _parse_time(field: str, text: str) -> time:
    try:
        return datetime.strptime(text, "%H:%M").time()
    except ValueError:
        raise InvalidCalendarError(field, "a time such as 17:00", text) from None


def _open_until(sessions: Ints, times: Ints) -> Ints:
    """Return how long some sessions, one per row, were open until each time."""
    opened, closed = sessions.T
    index = np.searchsorted(opened, times, "right")
    latest = np.maximum(index, 1) - 1
    before = np.cumsum(closed - opened) - (closed - opened)
    running = np.minimum(times, closed[latest]) - opened[latest]
    return np.asarray(np.where(index == 0, 0, before[latest] + running))


@lru_cache(maxsize=4096)
def _session(zone: str, opens: time, closes: time, day: date) -> Session:
    opening = day if opens < closes else day - _DAY
    zone_info = ZoneInfo(zone)
    first, end = (
        datetime.combine(day, at, zone_info) for day, at in ((opening, opens), (day, closes))
    )
    return Session(round(first.timestamp() * 1000), round(end.timestamp() * 1000))


CALENDARS = {
    "always": MarketCalendar(),
    "fx": MarketCalendar(
        "America/New_York", time(17), time(17), WEEKDAYS[:5], frozenset({"12-25", "01-01"})
    ),
}
"""The calendars that need no declaration: markets without a close, and the currency market."""


@dataclass(frozen=True, slots=True)
class Markets:
    """The calendars of all symbols."""

    patterns: tuple[tuple[str, MarketCalendar], ...] = ()
    """Patterns of symbols such as `EUR*`, with their calendars; the first that matches holds."""

    def calendar(self, symbol: str) -> MarketCalendar:
        """Return the calendar of a symbol; that of a market without a close if none matches."""
        for pattern, calendar in self.patterns:
            if fnmatchcase(symbol, pattern):
                return calendar
        return CALENDARS["always"]
