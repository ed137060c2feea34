"""The file of a SQLite database: notices that it was moved, deleted or replaced while it is open.

SQLite goes on writing to a file that has lost its name, so that commits would be acknowledged
that no process finds after a restart.
"""

import os
import sqlite3
import time
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from storage.errors import DatabaseError, FailureKind

RESCUED = ".rescued-"
"""Between the name of a database and the time at which the content of the deleted file was saved.
"""

_Identity = tuple[int, int] | None


def existing_file_uri(path: Path) -> str:
    """Return the URI with which SQLite opens a file and never creates it."""
    return f"file:{quote(str(path))}?mode=rw"


def create_private_file(path: Path) -> None:
    """Create a database that only its user can read; SQLite gives its journal the same mode.

    An existing one is left as it is.

    Raises:
        DatabaseError: there is none, but the saved content of a deleted one.
    """
    if path.exists():
        return
    if rescued := sorted(path.parent.glob(f"{path.name}{RESCUED}*")):
        raise _moved(str(path), "it was deleted", str(rescued[-1]))
    os.close(os.open(path, os.O_CREAT | os.O_CLOEXEC, 0o600))


class DatabaseFile:
    """An open database file and its journal.

    The object holds a connection of its own, through which the content of a file without a name can
    still be read.

    Args:
        path: the file, which must exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._journal = path.with_name(f"{path.name}-wal")
        self._rescued: Path | None = None
        self._resources = ExitStack()
        # A descriptor for its number of names only: closing an ordinary one would release the locks
        # that SQLite holds on the file in this process.
        self._descriptor = os.open(self.path, os.O_PATH | os.O_CLOEXEC)
        self._resources.callback(os.close, self._descriptor)
        self._connection = sqlite3.connect(
            existing_file_uri(self.path), uri=True, isolation_level=None, check_same_thread=False
        )
        self._resources.callback(self._connection.close)
        use_wal(self._connection, time.monotonic() + 30)
        self._connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        self._identity = _identity(self.path), _identity(self._journal)

    def is_unchanged(self) -> bool:
        """Return whether the names of database and journal still denote the open files."""
        return self._identity == (_identity(self.path), _identity(self._journal))

    def keep_content(self) -> None:
        """Make sure that every commit is in a file with a name.

        Raises:
            DatabaseError: the database's name denotes no file; the error names the content's.
        """
        # The journal may have lost its name as well: its content moves to the database.
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        if self.path.exists():
            return
        if os.fstat(self._descriptor).st_nlink > 0:
            raise _moved(str(self.path), "it was moved", None)
        if self._rescued is None:
            self._rescued = self._save()
        raise _moved(str(self.path), "it was deleted", str(self._rescued))

    def close(self) -> None:
        """Close the file."""
        self._resources.close()

    def _save(self) -> Path:
        saved_at = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        target = self.path.with_name(f"{self.path.name}{RESCUED}{saved_at}")
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        try:
            with closing(sqlite3.connect(target)) as copy:
                self._connection.backup(copy)
        except BaseException:
            target.unlink()  # it is not complete
            raise
        return target


def use_wal(connection: sqlite3.Connection, until_s: float) -> None:
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


def _moved(path: str, problem: str, rescued: str | None) -> DatabaseError:
    return DatabaseError(FailureKind.MOVED, path, problem, rescued)


def _identity(path: Path) -> _Identity:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
