"""The tables of the bar log.

Times are milliseconds since 1970 in UTC. All types are portable: the same statements run on SQLite
and PostgreSQL.
"""

from sqlalchemy import BigInteger, Column, Double, Index, Integer, MetaData, Table, Text

from features.bars import COLUMNS

REVISION = 1
"""The revision of the schema that this software reads and writes."""

METADATA = MetaData()

LOG = Table(
    "bar_log",
    METADATA,
    Column("revision", Integer, primary_key=True, autoincrement=False),
    Column("log_id", Text, nullable=False),
)
"""One row: the schema's revision, and the id of the log, which its folder has as well."""

SERIES = Table(
    "bar_series",
    METADATA,
    Column("series_id", Integer, primary_key=True),
    Column("symbol", Text, nullable=False),
    Column("timeframe", Text, nullable=False),
    Column("first_time", BigInteger, nullable=False),
    Column("last_time", BigInteger, nullable=False),
    Column("bars", BigInteger, nullable=False),
    Column("adjacent", BigInteger, nullable=False),
    Column("retained_from", BigInteger, nullable=False),
)
"""One row per symbol and timeframe.

`bars` is the number of different times, and `adjacent` that of the bars whose next bar is known as
well. Bars before `retained_from` have been dropped.
"""

Index("bar_series_by_name", SERIES.c.symbol, SERIES.c.timeframe, unique=True)

RECENT = Table(
    "bars",
    METADATA,
    Column("series_id", Integer, primary_key=True, autoincrement=False),
    Column("time", BigInteger, primary_key=True, autoincrement=False),
    Column("known_at", BigInteger, primary_key=True, autoincrement=False),
    *(Column(name, Double, nullable=False) for name in COLUMNS),
    sqlite_with_rowid=False,
)
"""The recent rows: those that are in no part of the history."""

PROVISIONAL = Table(
    "provisional_bars",
    METADATA,
    Column("series_id", Integer, primary_key=True, autoincrement=False),
    Column("time", BigInteger, nullable=False),
    Column("known_at", BigInteger, nullable=False),
    *(Column(name, Double, nullable=False) for name in COLUMNS),
    sqlite_with_rowid=False,
)
"""The latest bar of each series that is not final; it is replaced, and never enters the history."""

PARTS = Table(
    "bar_parts",
    METADATA,
    Column("file", Text, primary_key=True),
    Column("series_id", Integer, nullable=False),
    Column("first_time", BigInteger, nullable=False),
    Column("last_time", BigInteger, nullable=False),
    Column("first_known_at", BigInteger, nullable=False),
    Column("last_known_at", BigInteger, nullable=False),
    Column("rows", BigInteger, nullable=False),
)
"""The manifest of the history: a file that it does not list does not belong to the log."""

Index("bar_parts_by_time", PARTS.c.series_id, PARTS.c.last_time)
