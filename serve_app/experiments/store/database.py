"""The database connection: from URL to engine, transactions, and the translation of errors."""

import errno
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from registry.disk_space import free_space, shortage_of
from serve_app.experiments.store.database_file import (
    DatabaseFile,
    create_private_file,
    existing_file_uri,
    use_wal,
)
from serve_app.experiments.store_errors import (
    DamagedStoreError,
    FullStoreError,
    InvalidUrlError,
    LockedStoreError,
    MissingPackageError,
    MovedStoreError,
    ReadOnlyStoreError,
    RejectedRowError,
    StoreError,
    UnavailableStoreError,
)

logger = logging.getLogger(__name__)

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

    Args:
        url: the database's.
        lock_timeout_s: how long a writing transaction waits for the lock.
        prepare: called with this object once the database is open, and again once its file has been
            replaced.
    """

    def __init__(
        self,
        url: str,
        lock_timeout_s: float = 30.0,
        prepare: Callable[["Database"], None] = lambda _: None,
    ) -> None:
        parsed = _check(url)
        self.url = parsed.render_as_string(hide_password=True)
        self._prepare = prepare
        self._reopening = threading.RLock()
        self._folder = _folder_of(parsed)
        with self._translated():
            self._file, connected = _open_file(parsed)
        self._engine = _create(connected, self.url, lock_timeout_s)
        self._writing_engine = self._engine.execution_options(**{_WRITES: True})
        try:
            prepare(self)
        except BaseException:
            self.close()
            raise

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Yield a connection in a reading transaction; on SQLite it sees a single snapshot."""
        with self._translated():
            self._follow_file()
            with self._engine.begin() as connection:
                yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """Yield a connection whose reads all see what was committed at the first of them."""
        engine = self._engine
        if engine.dialect.name == "postgresql":
            engine = engine.execution_options(isolation_level="REPEATABLE READ")
        with self._translated():
            self._follow_file()
            with engine.begin() as connection:
                yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Yield a connection in the only writing transaction, which is committed on exit."""
        with self._translated():
            self._follow_file()
            with self._writing_engine.begin() as connection:
                yield connection
            if self._follow_file():
                raise MovedStoreError(self.url, "it was replaced during a transaction", None)

    def shortage(self) -> str | None:
        """Return that its disk is nearly full; None while it is not, and for a server's."""
        if self._folder is None:
            return None
        with self._translated():
            return shortage_of(self._folder)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()
        if self._file is not None:
            self._file.close()

    def _follow_file(self) -> bool:
        """Open the file that has the database's name now; return whether it is another one.

        Raises:
            MovedStoreError: no file has the name.
        """
        if self._file is None or self._file.is_unchanged():
            return False
        with self._reopening:
            if self._file.is_unchanged():
                return True  # another thread has opened it
            self._file.keep_content()
            self._engine.dispose()
            self._file.close()
            self._file = DatabaseFile(self._file.path)
            logger.warning("the database %s was replaced; the new file is used", self.url)
            self._prepare(self)
        return True

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (StatementError, PoolTimeoutError) as error:
            raise self._with_space(_translate(error, self.url)) from error
        except sqlite3.Error as error:
            kind = _known_sqlite_error(error) or UnavailableStoreError
            raise self._with_space(kind(self.url, str(error))) from error
        except OSError as error:
            kind = FullStoreError if error.errno == errno.ENOSPC else UnavailableStoreError
            raise self._with_space(kind(self.url, str(error))) from error

    def _with_space(self, error: StoreError) -> StoreError:
        """Return the error, that of a full disk with the space and the folder."""
        if not isinstance(error, FullStoreError) or self._folder is None:
            return error
        return FullStoreError(self.url, f"{error.problem}, {free_space(self._folder)}")


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
    folder = _folder_of(parsed)
    if folder is None or not folder.is_dir():
        raise InvalidUrlError(shown, f"the folder {folder} does not exist")
    return parsed


def _folder_of(url: URL) -> Path | None:
    """Return the folder of a SQLite database; None for a server's."""
    if url.get_backend_name() != "sqlite" or url.database is None:
        return None
    return Path(url.database.removeprefix("file:")).absolute().parent


def _open_file(url: URL) -> tuple[DatabaseFile | None, URL]:
    """Return the file of a SQLite database and the URL that opens it and never creates it.

    Another database, or a URI with options of its own, has no file to follow.
    """
    database = url.database or ""
    if url.get_backend_name() != "sqlite" or database.startswith("file:"):
        return None, url
    path = Path(database).absolute()
    create_private_file(path)
    location, _, _ = existing_file_uri(path).partition("?")
    options = {**url.query, "mode": "rw", "uri": "true"}
    return DatabaseFile(path), url.set(database=location, query=options)


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


def _set_up_sqlite(lock_timeout_s: float, connection: sqlite3.Connection, _record: object) -> None:
    # The engine begins transactions explicitly; sqlite3 must not begin any implicitly.
    connection.isolation_level = None
    use_wal(connection, time.monotonic() + lock_timeout_s)
    # With NORMAL a power failure could lose the last commits.
    connection.execute("PRAGMA synchronous = FULL")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _translate(error: StatementError | PoolTimeoutError, url: str) -> StoreError:
    cause = getattr(error, "orig", None)
    problem = str(cause or error).strip().replace("\n", " ")
    if isinstance(error, PoolTimeoutError):
        return UnavailableStoreError(url, "all connections of the pool are in use")
    if isinstance(cause, sqlite3.Error):
        if (known := _known_sqlite_error(cause)) is not None:
            return known(url, problem)
    else:
        state = getattr(cause, "sqlstate", None)
        if state in _BY_SQLSTATE:
            return _BY_SQLSTATE[state](url, problem)
    if isinstance(error, _ROW_IS_AT_FAULT) or not isinstance(error, DBAPIError):
        return RejectedRowError(url, problem)
    return UnavailableStoreError(url, problem)


def _known_sqlite_error(
    error: sqlite3.Error,
) -> type[UnavailableStoreError | DamagedStoreError] | None:
    name = getattr(error, "sqlite_errorname", "")
    return next((kind for start, kind in _BY_SQLITE_NAME.items() if name.startswith(start)), None)
