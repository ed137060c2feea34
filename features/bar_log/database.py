"""The database of the bar log: from URL to engine, transactions, and the translation of errors."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from features.errors import (
    BarLogUrlError,
    DamagedBarLogError,
    MissingPackageError,
    UnavailableBarLogError,
)

_DAMAGE = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
"""The beginnings of the names of SQLite's errors that a retry cannot fix."""

_POSTGRESQL_DEFAULTS = {
    "application_name": "tradeserve-bars",
    "connect_timeout": 10,
    # A server that disappears without closing the connection is detected within 30 s.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}


class Database:
    """An engine that raises the errors of the bar log and runs one writing transaction at a time.

    Args:
        url: of a SQLite file or of PostgreSQL.
        lock_timeout_s: how long a transaction waits for another process.
    """

    def __init__(self, url: str, lock_timeout_s: float = 30.0) -> None:
        parsed = _check(url)
        self.url = parsed.render_as_string(hide_password=True)
        self._engine = _create(parsed, self.url, lock_timeout_s)
        self._writing_engine = self._engine.execution_options(bars_write=True)
        self._one_writer = threading.Lock()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Yield a connection in a transaction that sees a single snapshot."""
        with self._translated(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Yield a connection in a transaction that is flushed to the disk when it is committed."""
        with self._one_writer, self._translated(), self._writing_engine.begin() as connection:
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
        except sqlite3.Error as error:
            raise _translate(error, self.url) from error


def _check(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        # The text may contain a password although it is not a URL: do not show it.
        raise BarLogUrlError("…", "it is not a URL") from error
    shown = parsed.render_as_string(hide_password=True)
    backend = parsed.get_backend_name()
    if backend == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    if backend != "sqlite":
        raise BarLogUrlError(shown, f"{backend} is not supported")
    if not parsed.database or ":memory:" in parsed.database or "mode=memory" in shown:
        raise BarLogUrlError(shown, "an in-memory database does not persist anything")
    return parsed


def _create(url: URL, shown: str, lock_timeout_s: float) -> Engine:
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, connect_args={"timeout": lock_timeout_s})
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    arguments = {
        name: value for name, value in _POSTGRESQL_DEFAULTS.items() if name not in url.query
    }
    try:
        return create_engine(
            url, connect_args=arguments, isolation_level="REPEATABLE READ", pool_pre_ping=True
        )
    except ImportError as error:
        raise MissingPackageError(f"the database {shown}", "psycopg", "postgres") from error


def _set_up_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    # The engine begins transactions explicitly; sqlite3 must not begin any implicitly.
    connection.isolation_level = None
    _use_wal(connection, time.monotonic() + 30)
    # With NORMAL a power failure could lose the last commits.
    connection.execute("PRAGMA synchronous = FULL")


def _use_wal(connection: sqlite3.Connection, until_s: float) -> None:
    # When several processes switch a new database at the same time, SQLite fails some of them
    # immediately; its own timeout does not apply here.
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
    writes = connection.get_execution_options().get("bars_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _translate(error: Exception, url: str) -> UnavailableBarLogError | DamagedBarLogError:
    cause = getattr(error, "orig", None) or error
    problem = str(cause).strip().replace("\n", " ")
    if getattr(cause, "sqlite_errorname", "").startswith(_DAMAGE):
        return DamagedBarLogError(url, problem)
    if isinstance(error, PoolTimeoutError):
        problem = "all connections of the pool are in use"
    return UnavailableBarLogError(url, problem)
