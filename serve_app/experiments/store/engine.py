"""Opens the database: URL to engine, transactions, and what its errors mean."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from serve_app.experiments.store_errors import (
    DamagedStoreError,
    FullStoreError,
    InvalidUrlError,
    LockedStoreError,
    MissingPackageError,
    ReadOnlyStoreError,
    RefusedRowError,
    StoreError,
    UnavailableStoreError,
)

WRITE_LOCK = 7_246_113_105_240_871
"""Key of PostgreSQL's advisory lock that every writing transaction holds."""

_WRITES = "experiments_write"

_POSTGRESQL_DEFAULTS = {
    "application_name": "tradeserve-experiments",
    "connect_timeout": 10,
    # A server that vanished without a word is noticed within half a minute.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}

_BY_SQLITE_NAME: dict[str, type[UnavailableStoreError | DamagedStoreError]] = {
    "SQLITE_BUSY": LockedStoreError,
    "SQLITE_LOCKED": LockedStoreError,
    "SQLITE_FULL": FullStoreError,
    "SQLITE_READONLY": ReadOnlyStoreError,
    "SQLITE_PERM": ReadOnlyStoreError,
    "SQLITE_CORRUPT": DamagedStoreError,
    "SQLITE_NOTADB": DamagedStoreError,
}
"""Primary result codes; extended ones begin with the same name."""

_BY_SQLSTATE: dict[str, type[UnavailableStoreError | DamagedStoreError]] = {
    "53100": FullStoreError,
    "25006": ReadOnlyStoreError,
    "42501": ReadOnlyStoreError,
    "55P03": LockedStoreError,
    "40P01": LockedStoreError,
    "40001": LockedStoreError,
    "XX001": DamagedStoreError,
    "XX002": DamagedStoreError,
}

_ROW_IS_AT_FAULT = DataError, IntegrityError
"""Everything else may be mended, and is worth another attempt."""


class Database:
    """An engine whose errors are StoreErrors, and in which one transaction writes at a time.

    Every writing transaction takes the database's one write lock before it reads: SQLite's own
    (BEGIN IMMEDIATE), or an advisory lock of PostgreSQL. What it reads is then what it changes,
    whoever else has the database open, and two of them cannot wait for each other.
    """

    def __init__(self, url: str, lock_timeout_s: float = 30.0) -> None:
        parsed = _check(url)
        self.url = parsed.render_as_string(hide_password=True)
        self._engine = _create(parsed, self.url, lock_timeout_s)
        self._writing_engine = self._engine.execution_options(**{_WRITES: True})

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection in a transaction that sees one state of the database (SQLite)."""
        with self._translated(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Give a connection in the only writing transaction; it is committed at the end."""
        with self._translated(), self._writing_engine.begin() as connection:
            yield connection

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (StatementError, PoolTimeoutError) as error:
            raise _translate(error, self.url) from error


def _check(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        # What is no URL may still hold a password: it is not shown.
        raise InvalidUrlError("…", "it is no URL") from error
    shown = parsed.render_as_string(hide_password=True)
    backend = parsed.get_backend_name()
    if backend == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    if backend != "sqlite":
        raise InvalidUrlError(shown, f"{backend} is not supported")
    if not parsed.database or ":memory:" in parsed.database or "mode=memory" in shown:
        raise InvalidUrlError(shown, "a database in memory keeps nothing")
    folder = Path(parsed.database.removeprefix("file:")).absolute().parent
    if not folder.is_dir():
        raise InvalidUrlError(shown, f"there is no folder {folder}")
    return parsed


def _create(url: URL, shown: str, lock_timeout_s: float) -> Engine:
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, connect_args={"timeout": lock_timeout_s})
        event.listen(engine, "connect", partial(_set_up_sqlite, lock_timeout_s))
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    arguments: dict[str, Any] = {
        name: value for name, value in _POSTGRESQL_DEFAULTS.items() if name not in url.query
    }
    try:
        engine = create_engine(
            url,
            connect_args=arguments,
            # A later statement sees what the former holder of the write lock committed.
            isolation_level="READ COMMITTED",
            pool_pre_ping=True,
        )
    except ImportError as error:
        raise MissingPackageError(f"the database {shown}", "psycopg", "postgres") from error

    def begin(connection: Connection) -> None:
        if connection.get_execution_options().get(_WRITES):
            timeout_ms = round(lock_timeout_s * 1000)
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = {timeout_ms}")
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITE_LOCK})")

    event.listen(engine, "begin", begin)
    return engine


def _set_up_sqlite(lock_timeout_s: float, connection: sqlite3.Connection, _record: object) -> None:
    # Transactions begin where the engine says, not where sqlite3 guesses.
    connection.isolation_level = None
    _use_wal(connection, time.monotonic() + lock_timeout_s)
    # NORMAL would lose the last commits in a power failure.
    connection.execute("PRAGMA synchronous = FULL")


def _use_wal(connection: sqlite3.Connection, until_s: float) -> None:
    """Switch to WAL; of several that switch a new database at once SQLite refuses some unasked.

    It does not wait there, whatever `timeout` says.
    """
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            is_busy = error.sqlite_errorname.startswith("SQLITE_BUSY")
            if not is_busy or time.monotonic() >= until_s:
                raise
            time.sleep(0.005)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _translate(error: StatementError | PoolTimeoutError, url: str) -> StoreError:
    cause = getattr(error, "orig", None)
    problem = str(cause or error).strip().replace("\n", " ")
    if isinstance(error, PoolTimeoutError):
        return UnavailableStoreError(url, "all its connections are in use")
    if isinstance(cause, sqlite3.Error):
        name = getattr(cause, "sqlite_errorname", "")
        known = [kind for start, kind in _BY_SQLITE_NAME.items() if name.startswith(start)]
        if known:
            return known[0](url, problem)
    else:
        state = getattr(cause, "sqlstate", None)
        if state in _BY_SQLSTATE:
            return _BY_SQLSTATE[state](url, problem)
    if isinstance(error, _ROW_IS_AT_FAULT) or not isinstance(error, DBAPIError):
        return RefusedRowError(url, problem)
    return UnavailableStoreError(url, problem)
