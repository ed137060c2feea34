"""The database connection: from URL to engine, transactions, and the translation of errors."""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
    RejectedRowError,
    StoreError,
    UnavailableStoreError,
)

WRITE_LOCK = 7_246_113_105_240_871
"""The key of the PostgreSQL advisory lock that every writing transaction holds."""

_WRITES = "experiments_write"

_POSTGRESQL_DEFAULTS = {
    "application_name": "tradeserve-experiments",
    "connect_timeout": 10,
    # A server that disappears without closing the connection is detected within 30 s.
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
"""Errors by SQLite's primary result code; the names of extended codes begin with it."""

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
"""Errors that a retry cannot fix; after any other error a retry may succeed."""


class Database:
    """An engine that raises StoreErrors and runs one writing transaction at a time.

    Every writing transaction acquires the database's single write lock before it reads: SQLite's
    own (BEGIN IMMEDIATE), or an advisory lock in PostgreSQL. No other process can therefore change
    rows between its reads and its writes, and two writing transactions cannot deadlock.
    """

    def __init__(self, url: str, lock_timeout_s: float = 30.0) -> None:
        parsed = _check(url)
        self.url = parsed.render_as_string(hide_password=True)
        self._engine = _create(parsed, self.url, lock_timeout_s)
        self._writing_engine = self._engine.execution_options(**{_WRITES: True})

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Yield a connection in a reading transaction; on SQLite it sees a single snapshot."""
        with self._translated(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Yield a connection in the only writing transaction, which is committed on exit."""
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
        # The text may contain a password although it is not a URL: do not show it.
        raise InvalidUrlError("…", "it is not a URL") from error
    shown = parsed.render_as_string(hide_password=True)
    backend = parsed.get_backend_name()
    if backend == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    if backend != "sqlite":
        raise InvalidUrlError(shown, f"{backend} is not supported")
    if not parsed.database or ":memory:" in parsed.database or "mode=memory" in shown:
        raise InvalidUrlError(shown, "an in-memory database does not persist anything")
    folder = Path(parsed.database.removeprefix("file:")).absolute().parent
    if not folder.is_dir():
        raise InvalidUrlError(shown, f"the folder {folder} does not exist")
    return parsed


def _create(url: URL, shown: str, lock_timeout_s: float) -> Engine:
    if url.get_backend_name() == "sqlite":
        _create_private_file(url.database or "")
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
            # Statements must see what the previous holder of the write lock committed.
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


def _create_private_file(database: str) -> None:
    """Create a database that only its user can read; SQLite gives its journal the same mode."""
    if database.startswith("file:"):
        return  # its options may forbid that it is created
    with suppress(OSError):  # it exists, or SQLite reports the reason
        os.close(os.open(database, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _set_up_sqlite(lock_timeout_s: float, connection: sqlite3.Connection, _record: object) -> None:
    # The engine begins transactions explicitly; sqlite3 must not begin any implicitly.
    connection.isolation_level = None
    _use_wal(connection, time.monotonic() + lock_timeout_s)
    # With NORMAL a power failure could lose the last commits.
    connection.execute("PRAGMA synchronous = FULL")


def _use_wal(connection: sqlite3.Connection, until_s: float) -> None:
    """Switch to WAL mode, retrying until `until_s` on the monotonic clock.

    When several processes switch a new database at the same time, SQLite fails some of them
    immediately; its own `timeout` does not apply here.
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
        return UnavailableStoreError(url, "all connections of the pool are in use")
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
        return RejectedRowError(url, problem)
    return UnavailableStoreError(url, problem)
