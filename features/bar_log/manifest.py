"""The manifest of the history, and the series: statements on a connection."""

from collections.abc import Iterator
from typing import NamedTuple, Self

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from features.bar_log.schema import PARTS, SERIES
from features.bars import EARLIEST_MS, KnownBars
from features.pushes import SeriesSummary
from features.timeframes import Timeframe

_BY_NAME = select(SERIES).where(
    SERIES.c.symbol == bindparam("named"), SERIES.c.timeframe == bindparam("length")
)
_PARTS_BETWEEN = (
    select(PARTS)
    .where(PARTS.c.series_id == bindparam("of_series"))
    .where(PARTS.c.first_known_at <= bindparam("known_at_ms"))
    .where(PARTS.c.first_time <= bindparam("last_ms"), PARTS.c.last_time >= bindparam("first_ms"))
)
_NEWEST_PARTS = _PARTS_BETWEEN.order_by(PARTS.c.last_time.desc())
_OLDEST_PARTS = _PARTS_BETWEEN.order_by(PARTS.c.first_time)


_CHANGED = ("first_time", "last_time", "bars", "adjacent", "retained_from")
_UPDATE = (
    update(SERIES)
    .where(SERIES.c.series_id == bindparam("of_series"))
    .values({name: bindparam(f"new_{name}") for name in _CHANGED})
)


class Series(NamedTuple):
    """A symbol and timeframe of the log, as the table of series has it."""

    series_id: int
    symbol: str
    timeframe: str
    first_time: int
    last_time: int
    bars: int
    adjacent: int
    retained_from: int


class PartEntry(NamedTuple):
    """A part of the history, as the manifest has it."""

    file: str
    series_id: int
    first_time: int
    last_time: int
    first_known_at: int
    last_known_at: int
    rows: int

    @classmethod
    def of(cls, file: str, series_id: int, rows: KnownBars) -> Self:
        """Return the entry of a file with rows that are sorted by time."""
        known_at = rows.known_at
        return cls(
            file,
            series_id,
            int(rows.time[0]),
            int(rows.time[-1]),
            int(known_at.min()),
            int(known_at.max()),
            len(rows),
        )


def summary_of(series: Series) -> SeriesSummary:
    """Return the summary of a series."""
    step_ms = Timeframe.parse(series.timeframe).length_ms
    slots = (series.last_time - series.first_time) // step_ms + 1
    return SeriesSummary(
        series.symbol,
        series.timeframe,
        series.first_time,
        series.last_time,
        series.bars,
        series.bars - series.adjacent - 1,
        slots - series.bars,
    )


def select_series(connection: Connection) -> list[Series]:
    """Return all series that have bars, by symbol and then by the length of their bars."""
    rows = connection.execute(select(SERIES).where(SERIES.c.bars > 0)).all()
    series = [Series(*row) for row in rows]
    return sorted(series, key=lambda s: (s.symbol, Timeframe.parse(s.timeframe).length_ms))


def find_series(connection: Connection, symbol: str, timeframe: str) -> Series | None:
    """Return a series, also one whose bars have all been dropped."""
    row = connection.execute(_BY_NAME, {"named": symbol, "length": timeframe}).one_or_none()
    return None if row is None else Series(*row)


def create_series(connection: Connection, symbol: str, timeframe: str) -> Series:
    """Create a series without bars."""
    values: dict[str, int | str] = {
        "symbol": symbol,
        "timeframe": timeframe,
        "first_time": 0,
        "last_time": EARLIEST_MS - 1,
        "bars": 0,
        "adjacent": 0,
        "retained_from": EARLIEST_MS,
    }
    query = insert(SERIES).values(values).returning(SERIES)
    return Series(*connection.execute(query).one())


def update_series(connection: Connection, series: Series) -> None:
    """Replace the numbers of a series."""
    values = {f"new_{name}": getattr(series, name) for name in _CHANGED}
    connection.execute(_UPDATE, {"of_series": series.series_id, **values})


def add_part(connection: Connection, part: PartEntry) -> None:
    """Add a part, whose file must be on the disk."""
    connection.execute(insert(PARTS).values(part._asdict()))


def select_parts(
    connection: Connection,
    series_id: int,
    first_ms: int,
    last_ms: int,
    known_at_ms: int,
    newest: bool = False,
) -> Iterator[PartEntry]:
    """Yield the parts that may have rows between two times, known by a time.

    They are in the order in which a reader needs them: by their last bar, the newest first, or by
    their first bar.
    """
    view = {
        "of_series": series_id,
        "first_ms": first_ms,
        "last_ms": last_ms,
        "known_at_ms": known_at_ms,
    }
    rows = connection.execute(_NEWEST_PARTS if newest else _OLDEST_PARTS, view)
    return (PartEntry(*row) for row in rows)


def select_all_parts(connection: Connection) -> list[PartEntry]:
    """Return all parts, by series and time."""
    query = select(PARTS).order_by(PARTS.c.series_id, PARTS.c.first_time, PARTS.c.file)
    return [PartEntry(*row) for row in connection.execute(query)]


def last_time_in_parts(connection: Connection, series_id: int) -> int | None:
    """Return the last time in the parts of a series, None without parts."""
    query = select(func.max(PARTS.c.last_time)).where(PARTS.c.series_id == series_id)
    last: int | None = connection.execute(query).scalar_one()
    return last


def delete_parts(connection: Connection, files: list[str]) -> None:
    """Remove parts from the manifest; their files may be deleted once this is committed."""
    connection.execute(delete(PARTS).where(PARTS.c.file.in_(files)))
