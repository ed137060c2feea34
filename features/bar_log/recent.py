"""The recent rows in the database: statements on a connection, columns in and out.

The statements of queries are built once: building one takes longer than executing it.
"""

from collections.abc import Mapping

import numpy as np
from sqlalchemy import Connection, Select, and_, bindparam, delete, func, insert, select

from features.bar_log.schema import PROVISIONAL, RECENT
from features.bars import COLUMNS, KnownBars

_FIELDS = ("time", "known_at", *COLUMNS)
_COLUMNS = [RECENT.c[name] for name in _FIELDS]
_BETWEEN = and_(
    RECENT.c.series_id == bindparam("of_series"),
    RECENT.c.time.between(bindparam("first_ms"), bindparam("last_ms")),
)
_ROWS = select(*_COLUMNS).where(_BETWEEN).order_by(RECENT.c.time, RECENT.c.known_at)
_COUNT = select(func.count()).select_from(RECENT).where(_BETWEEN)
_DELETE = delete(RECENT).where(_BETWEEN)
_INSERT = insert(RECENT)
_DELETE_PROVISIONAL = delete(PROVISIONAL).where(
    PROVISIONAL.c.series_id == bindparam("of_series"), PROVISIONAL.c.time <= bindparam("last_ms")
)
_PROVISIONAL = select(*(PROVISIONAL.c[name] for name in _FIELDS)).where(
    PROVISIONAL.c.series_id == bindparam("of_series")
)


def _visible(newest: bool) -> Select[tuple[object, ...]]:
    time, known_at = RECENT.c.time, RECENT.c.known_at
    winners = (
        select(time, func.max(known_at).label("known_at"))
        .where(_BETWEEN, known_at <= bindparam("known_at_ms"))
        .group_by(time)
        .order_by(time.desc() if newest else time)
        .limit(bindparam("bars"))
        .subquery()
    )
    joined = and_(time == winners.c.time, known_at == winners.c.known_at)
    # Without an order, SQLite looks up each of the winners instead of reading all rows.
    query = select(*_COLUMNS).select_from(winners).join(RECENT, joined)
    return query.where(RECENT.c.series_id == bindparam("of_series"))


def _latest() -> Select[tuple[object, ...]]:
    winners = (
        select(RECENT.c.time, func.max(RECENT.c.known_at).label("known_at"))
        .where(_BETWEEN)
        .group_by(RECENT.c.time)
        .subquery()
    )
    joined = and_(RECENT.c.time == winners.c.time, RECENT.c.known_at == winners.c.known_at)
    query = select(*_COLUMNS).select_from(winners).join(RECENT, joined)
    return query.where(RECENT.c.series_id == bindparam("of_series"))


_LATEST = _latest()
_NEWEST, _OLDEST = _visible(newest=True), _visible(newest=False)


def insert_rows(connection: Connection, series_id: int, rows: KnownBars) -> None:
    """Add rows."""
    if len(rows):
        connection.execute(_INSERT, _as_mappings(series_id, rows))


def select_visible(
    connection: Connection,
    series_id: int,
    first_ms: int,
    last_ms: int,
    known_at_ms: int,
    limit: int,
    newest: bool,
) -> KnownBars:
    """Return the newest or oldest bars between two times, inclusive, as known at a time."""
    view = _between(series_id, first_ms, last_ms) | {"known_at_ms": known_at_ms, "bars": limit}
    return _read(connection, _NEWEST if newest else _OLDEST, view).sorted()


def select_latest(connection: Connection, series_id: int, first_ms: int, last_ms: int) -> KnownBars:
    """Return the latest row of each of the bars between two times, inclusive, by time."""
    return _read(connection, _LATEST, _between(series_id, first_ms, last_ms)).sorted()


def select_rows(connection: Connection, series_id: int, first_ms: int, last_ms: int) -> KnownBars:
    """Return all rows of the bars between two times, inclusive, by time and known_at."""
    return _read(connection, _ROWS, _between(series_id, first_ms, last_ms))


def count_rows(connection: Connection, series_id: int, first_ms: int, last_ms: int) -> int:
    """Return the number of rows of the bars between two times, inclusive."""
    bounds = _between(series_id, first_ms, last_ms)
    return connection.execute(_COUNT, bounds).scalar_one()


def delete_rows(connection: Connection, series_id: int, first_ms: int, last_ms: int) -> int:
    """Delete the rows of the bars between two times, inclusive; return how many there were."""
    return connection.execute(_DELETE, _between(series_id, first_ms, last_ms)).rowcount


def select_provisional(connection: Connection, series_id: int) -> KnownBars:
    """Return the bar of a series that is not final, if there is one."""
    return _read(connection, _PROVISIONAL, {"of_series": series_id})


def replace_provisional(connection: Connection, series_id: int, row: KnownBars) -> None:
    """Replace the bar of a series that is not final."""
    connection.execute(delete(PROVISIONAL).where(PROVISIONAL.c.series_id == series_id))
    connection.execute(insert(PROVISIONAL), _as_mappings(series_id, row))


def delete_provisional(connection: Connection, series_id: int, last_ms: int) -> None:
    """Delete the bar that is not final if it is not later than a final one."""
    connection.execute(_DELETE_PROVISIONAL, {"of_series": series_id, "last_ms": last_ms})


def _between(series_id: int, first_ms: int, last_ms: int) -> dict[str, int]:
    return {"of_series": series_id, "first_ms": first_ms, "last_ms": last_ms}


def _as_mappings(series_id: int, rows: KnownBars) -> list[dict[str, object]]:
    columns = [rows.time.tolist(), rows.known_at.tolist(), *rows.values.tolist()]
    return [
        {"series_id": series_id, **dict(zip(_FIELDS, values, strict=True))}
        for values in zip(*columns, strict=True)
    ]


def _read(
    connection: Connection, query: Select[tuple[object, ...]], values: Mapping[str, int]
) -> KnownBars:
    rows = connection.execute(query, values).all()
    if not rows:
        return KnownBars.empty()
    # Milliseconds are exact as float64 until the year 287,396.
    table = np.array([tuple(row) for row in rows], np.float64).T
    return KnownBars(
        table[0].astype(np.int64), np.ascontiguousarray(table[2:]), table[1].astype(np.int64)
    )
