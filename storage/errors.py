"""What may fail in a database, independent of what is stored in it."""

from enum import Enum, auto


class FailureKind(Enum):
    """The kinds of failures that callers distinguish."""

    INVALID_URL = auto()
    """The URL does not name a usable database."""
    MISSING_PACKAGE = auto()
    """The database's driver is not installed."""
    DAMAGED = auto()
    """The file is damaged or not a database."""
    UNAVAILABLE = auto()
    """Nothing was written; the same call may succeed later. So may it after the next four."""
    LOCKED = auto()
    """Another process held the write lock for too long."""
    FULL = auto()
    """The disk is full."""
    READ_ONLY = auto()
    """The database is read-only."""
    MOVED = auto()
    """The file was moved, deleted or replaced while it was open."""
    REJECTED_ROW = auto()
    """The database cannot store a value; a retry will fail too."""


class DatabaseError(Exception):
    """A failure of a database, which its owner turns into an error of its own.

    Args:
        kind: its kind.
        url: the database's, without a password, or the path of its file.
        problem: what failed.
        rescued: the file with the content of a deleted database.
    """

    def __init__(
        self, kind: FailureKind, url: str, problem: str, rescued: str | None = None
    ) -> None:
        super().__init__(kind, url, problem, rescued)
        self.kind, self.url, self.problem, self.rescued = kind, url, problem, rescued

    def __str__(self) -> str:
        return f"the database {self.url}: {self.problem}"
