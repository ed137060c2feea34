"""The database of the bar log, and its errors."""

from collections.abc import Callable, Mapping

from features.errors import (
    BarLogUrlError,
    DamagedBarLogError,
    FeaturesError,
    MissingPackageError,
    UnavailableBarLogError,
)
from storage.database import Database, Profile
from storage.errors import DatabaseError, FailureKind

_REMEDIES: Mapping[FailureKind, str] = {
    FailureKind.LOCKED: "end the other process or transaction that writes to it, and try again",
    FailureKind.FULL: "free disk space, for example by a shorter retention, and try again",
    FailureKind.READ_ONLY: "grant this process write access, and try again",
    FailureKind.MOVED: "move it back; the server continues by itself",
}


def open_database(
    url: str,
    lock_timeout_s: float = 30.0,
    prepare: Callable[[Database], None] = lambda _: None,
) -> Database:
    """Open a database that raises the errors of the bar log; see `Database`."""
    return Database(url, _PROFILE, lock_timeout_s, prepare)


def _as_error(failure: DatabaseError) -> FeaturesError:
    url, problem = failure.url, failure.problem
    match failure.kind:
        case FailureKind.INVALID_URL:
            return BarLogUrlError(url, problem)
        case FailureKind.DAMAGED:
            return DamagedBarLogError(url, problem)
        case FailureKind.MISSING_PACKAGE:
            return MissingPackageError(f"the database {url}", "psycopg", "postgres")
        case FailureKind.MOVED if failure.rescued is not None:
            remedy = f"its content was saved: mv {failure.rescued} to that path"
            return UnavailableBarLogError(url, problem, remedy)
    if failure.kind not in _REMEDIES:
        return UnavailableBarLogError(url, problem)
    return UnavailableBarLogError(url, problem, _REMEDIES[failure.kind])


_PROFILE = Profile(
    application="tradeserve-bars", write_lock=7_246_113_105_240_872, as_error=_as_error
)
