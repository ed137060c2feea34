"""The database of the experiment store, and its errors."""

from collections.abc import Callable, Mapping

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
from storage.database import Database, Profile
from storage.errors import DatabaseError, FailureKind

_ERRORS: Mapping[FailureKind, Callable[[str, str], StoreError]] = {
    FailureKind.INVALID_URL: InvalidUrlError,
    FailureKind.DAMAGED: DamagedStoreError,
    FailureKind.UNAVAILABLE: UnavailableStoreError,
    FailureKind.LOCKED: LockedStoreError,
    FailureKind.FULL: FullStoreError,
    FailureKind.READ_ONLY: ReadOnlyStoreError,
    FailureKind.REJECTED_ROW: RejectedRowError,
}


def open_database(
    url: str,
    lock_timeout_s: float = 30.0,
    prepare: Callable[[Database], None] = lambda _: None,
) -> Database:
    """Open a database that raises StoreErrors; see `Database`."""
    return Database(url, _PROFILE, lock_timeout_s, prepare)


def _as_error(failure: DatabaseError) -> StoreError:
    if failure.kind is FailureKind.MOVED:
        return MovedStoreError(failure.url, failure.problem, failure.rescued)
    if failure.kind is FailureKind.MISSING_PACKAGE:
        return MissingPackageError(f"the database {failure.url}", "psycopg", "postgres")
    return _ERRORS[failure.kind](failure.url, failure.problem)


_PROFILE = Profile(
    application="tradeserve-experiments",
    write_lock=7_246_113_105_240_871,
    as_error=_as_error,
)
