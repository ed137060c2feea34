"""A SQL database: from URL to engine, transactions, and the classification of failures."""

import errno
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from storage.database_file import (
    DatabaseFile,
    create_private_file,
    existing_file_uri,
    use_wal,
)
from storage.disk_space import free_space, shortage_of
from storage.errors import DatabaseError, FailureKind

logger = logging.getLogger(__name__)

_WRITES = "storage_write"

_POSTGRESQL_DEFAULTS = {
    "connect_timeout": 10,
    # A server that disappears without closing the connection is detected within 30 s.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}

_BY_SQLITE_NAME: dict[str, FailureKind] = {
    "SQLITE_BUSY": FailureKind.LOCKED,
    "SQLITE_LOCKED": FailureKind.LOCKED,
    "SQLITE_FULL": FailureKind.FULL,
    "SQLITE_READONLY": FailureKind.READ_ONLY,
    "SQLITE_PERM": FailureKind.READ_ONLY,
    "SQLITE_CORRUPT": FailureKind.DAMAGED,
    "SQLITE_NOTADB": FailureKind.DAMAGED,
}
"""Failures by SQLite's primary result code; the names of extended codes begin with it."""

_BY_SQLSTATE: dict[str, FailureKind] = {
    "53100": FailureKind.FULL,
    "25006": FailureKind.READ_ONLY,
    "42501": FailureKind.READ_ONLY,
    "55P03": FailureKind.LOCKED,
    "40P01": FailureKind.LOCKED,
    "40001": FailureKind.LOCKED,
    "XX001": FailureKind.DAMAGED,
    "XX002": FailureKind.DAMAGED,
}

_ROW_IS_AT_FAULT = DataError, IntegrityError
"""Errors that a retry cannot fix; after any other error a retry may succeed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What distinguishes one user of this package from another."""

    application: str
    """The name that a PostgreSQL server shows."""
    write_lock: int
    """The key of the PostgreSQL advisory lock that every writing transaction holds."""
    as_error: Callable[[DatabaseError], Exception]
    """Returns the error to raise for a failure."""


class Database:
    """An engine that raises its user's errors and runs one writing transaction at a time.

    Every writing transaction acquires the database's single write lock before it reads: SQLite's
    own (BEGIN IMMEDIATE), or an advisory lock in PostgreSQL. No other process can therefore change
    rows between its reads and its writes, and two writing transactions cannot deadlock.

    Args:
        url: of a SQLite file or of PostgreSQL.
        profile: its user's.
        lock_timeout_s: how long a writing transaction waits for the lock.
        prepare: called with this object once the database is open, and again once its file has been
            replaced.
    """

    def __init__(
        self,
        url: str,
        profile: Profile,
        lock_timeout_s: float = 30.0,
        prepare: Callable[["Database"], None] = lambda _: None,
    ) -> None:
        self._profile = profile
        try:
            parsed = _check(url)
        except DatabaseError as failure:
            raise profile.as_error(failure) from failure
        self.url = parsed.render_as_string(hide_password=True)
        self._prepare = prepare
        self._reopening = threading.RLock()
        self._is_preparing = self._needs_preparation = False
        self._one_writer = threading.RLock()
        self._folder = _folder_of(parsed)
        with self._translated():
            self._file, connected = _open_file(parsed)
            self._engine = _create(connected, self.url, profile, lock_timeout_s)
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
            # SQLite would poll for the lock that another thread of this process holds.
            with self._one_writer, self._writing_engine.begin() as connection:
                yield connection
            if self._follow_file():
                problem = "it was replaced during a transaction"
                raise DatabaseError(FailureKind.MOVED, self.url, problem)

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

        A file that cannot be prepared is not used: every transaction attempts it again.

        Raises:
            DatabaseError: no file has the name.
        """
        if self._file is None or (self._file.is_unchanged() and not self._needs_preparation):
            return False
        with self._reopening:
            if self._is_preparing:
                return False  # a transaction of `prepare`
            if not self._file.is_unchanged():
                self._file.keep_content()
                self._engine.dispose()
                self._file.close()
                self._file = DatabaseFile(self._file.path)
                self._needs_preparation = True
                logger.warning("the database %s was replaced; the new file is used", self.url)
            if self._needs_preparation:  # otherwise another thread has opened it
                self._is_preparing = True
                try:
                    self._prepare(self)
                finally:
                    self._is_preparing = False
                self._needs_preparation = False
        return True

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except DatabaseError as failure:
            raise self._profile.as_error(failure) from failure
        except (StatementError, PoolTimeoutError) as error:
            raise self._error(*_classify(error)) from error
        except sqlite3.Error as error:
            kind = _known_sqlite_failure(error) or FailureKind.UNAVAILABLE
            raise self._error(kind, str(error)) from error
        except OSError as error:
            is_full = error.errno == errno.ENOSPC
            kind = FailureKind.FULL if is_full else FailureKind.UNAVAILABLE
            raise self._error(kind, str(error)) from error

    def _error(self, kind: FailureKind, problem: str) -> Exception:
        """Return the error for a failure, that of a full disk with the space and the folder."""
        if kind is FailureKind.FULL and self._folder is not None:
            problem = f"{problem}, {free_space(self._folder)}"
        return self._profile.as_error(DatabaseError(kind, self.url, problem))


def _check(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        # The text may contain a password although it is not a URL: do not show it.
        raise _invalid("…", "it is not a URL") from error
    shown = parsed.render_as_string(hide_password=True)
    backend = parsed.get_backend_name()
    if backend == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    if backend != "sqlite":
        raise _invalid(shown, f"{backend} is not supported")
    if not parsed.database or ":memory:" in parsed.database or "mode=memory" in shown:
        raise _invalid(shown, "an in-memory database does not persist anything")
    folder = _folder_of(parsed)
    if folder is None or not folder.is_dir():
        raise _invalid(shown, f"the folder {folder} does not exist")
    return parsed


def _invalid(url: str, problem: str) -> DatabaseError:
    return DatabaseError(FailureKind.INVALID_URL, url, problem)


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


def _create(url: URL, shown: str, profile: Profile, lock_timeout_s: float) -> Engine:
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, connect_args={"timeout": lock_timeout_s})
        event.listen(engine, "connect", partial(_set_up_sqlite, lock_timeout_s))
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    defaults = {"application_name": profile.application, **_POSTGRESQL_DEFAULTS}
    arguments: dict[str, Any] = {
        name: value for name, value in defaults.items() if name not in url.query
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
        raise DatabaseError(FailureKind.MISSING_PACKAGE, shown, str(error)) from error

    def begin(connection: Connection) -> None:
        if connection.get_execution_options().get(_WRITES):
            timeout_ms = round(lock_timeout_s * 1000)
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = {timeout_ms}")
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({profile.write_lock})")

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


def _classify(error: StatementError | PoolTimeoutError) -> tuple[FailureKind, str]:
    cause = getattr(error, "orig", None)
    problem = str(cause or error).strip().replace("\n", " ")
    if isinstance(error, PoolTimeoutError):
        return FailureKind.UNAVAILABLE, "all connections of the pool are in use"
    if isinstance(cause, sqlite3.Error):
        if (known := _known_sqlite_failure(cause)) is not None:
            return known, problem
    else:
        state = getattr(cause, "sqlstate", None)
        if state in _BY_SQLSTATE:
            return _BY_SQLSTATE[state], problem
    if isinstance(error, _ROW_IS_AT_FAULT) or not isinstance(error, DBAPIError):
        return FailureKind.REJECTED_ROW, problem
    return FailureKind.UNAVAILABLE, problem


def _known_sqlite_failure(error: sqlite3.Error) -> FailureKind | None:
    name = getattr(error, "sqlite_errorname", "")
    return next((kind for start, kind in _BY_SQLITE_NAME.items() if name.startswith(start)), None)
