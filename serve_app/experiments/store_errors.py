"""The errors of the experiment store, as one tree.

    StoreError
    ├── InvalidUrlError             the URL does not name a usable database
    ├── NewerSchemaError            the database was written by newer software
    ├── DamagedStoreError           the file is damaged or not a database
    ├── UnavailableStoreError       nothing was written; the same call may succeed later
    │   ├── LockedStoreError        another process held the write lock for too long
    │   ├── FullStoreError          the disk is full
    │   ├── ReadOnlyStoreError      the database is read-only
    │   └── MovedStoreError         the file was moved, deleted or replaced while it was open
    ├── UsedStoreError              a database to be filled holds rows already
    ├── RejectedRowError            the database cannot store a value; a retry will fail too
    ├── UnknownExperimentError      the experiment is not stored
    ├── ExperimentExistsError       an experiment with this id exists
    ├── ModelInExperimentError      another experiment is running on the model
    ├── LatePredictionsError        predictions that waited for the database are still arriving
    ├── BufferFullError             the buffer in front of the database is full
    ├── LogClosedError              the log is closed
    ├── ExportError                 the file cannot be written
    └── MissingPackageError         the library that a feature needs is not installed

Errors carry data, are rebuilt from `args` after pickling, and are independent of HTTP. A URL in an
error never shows its password.
"""

from collections.abc import Sequence


class StoreError(Exception):
    """Base class of all errors of the store."""


class InvalidUrlError(StoreError):
    """The URL does not name a database that the store can use."""

    def __init__(self, url: str, problem: str) -> None:
        super().__init__(url, problem)
        self.url, self.problem = url, problem

    def __str__(self) -> str:
        return (
            f"cannot store experiments at {self.url!r}: {self.problem}; use "
            f"sqlite:///path/to/file.db or postgresql://user:password@host/database"
        )


class NewerSchemaError(StoreError):
    """The database was written by a newer version of this software."""

    def __init__(self, url: str, received: str, known: Sequence[str]) -> None:
        super().__init__(url, received, tuple(known))
        self.url, self.received, self.known = url, received, tuple(known)

    def __str__(self) -> str:
        return (
            f"the database {self.url} has schema {self.received!r}, but this software knows up to "
            f"{self.known[-1]!r}; upgrade the software, or use another database"
        )


class DamagedStoreError(StoreError):
    """The file is damaged or not a database."""

    def __init__(self, url: str, problem: str) -> None:
        super().__init__(url, problem)
        self.url, self.problem = url, problem

    def __str__(self) -> str:
        return (
            f"the database {self.url} cannot be read: {self.problem}; "
            f"restore it from a backup, or use another one"
        )


class UnavailableStoreError(StoreError):
    """The database is not available; nothing was acknowledged, and a retry is safe."""

    remedy = "check that it is running and reachable, and try again"

    def __init__(self, url: str, problem: str) -> None:
        super().__init__(url, problem)
        self.url, self.problem = url, problem

    def __str__(self) -> str:
        return f"the database {self.url} is not available: {self.problem}; {self.remedy}"


class LockedStoreError(UnavailableStoreError):
    """Another process held the write lock for too long."""

    remedy = "end the other process or transaction that writes to it, and try again"


class FullStoreError(UnavailableStoreError):
    """The disk is full."""

    remedy = "free disk space, for example by a shorter retention, and try again"


class ReadOnlyStoreError(UnavailableStoreError):
    """The database is read-only."""

    remedy = "grant this process write access, and try again"


class MovedStoreError(UnavailableStoreError):
    """The file was moved, deleted or replaced while it was open."""

    def __init__(self, url: str, problem: str, rescued: str | None) -> None:
        super().__init__(url, problem)
        self.args = url, problem, rescued
        self.rescued = rescued

    @property
    def remedy(self) -> str:  # type: ignore[override]
        """Return how to continue with the same content."""
        if self.rescued is None:
            return "move it back; nothing is stored until then, and the server continues by itself"
        return (
            f"its content was saved: mv {self.rescued} to that path; nothing is stored until then, "
            f"and the server continues by itself"
        )


class UsedStoreError(StoreError):
    """A database that was to be filled holds rows already, which are kept."""

    def __init__(self, url: str, table: str) -> None:
        super().__init__(url, table)
        self.url, self.table = url, table

    def __str__(self) -> str:
        return (
            f"the database {self.url} is in use: expected no rows, received some in its table "
            f"{self.table!r}; choose another database, or drop its tables"
        )


class RejectedRowError(StoreError):
    """The database cannot store a value; the same row will be rejected again."""

    def __init__(self, url: str, problem: str) -> None:
        super().__init__(url, problem)
        self.url, self.problem = url, problem

    def __str__(self) -> str:
        return f"the database {self.url} rejects the row: {self.problem}; correct the value"


class UnknownExperimentError(StoreError):
    """No experiment with this id is stored."""

    def __init__(self, experiment_id: str, known: Sequence[str]) -> None:
        super().__init__(experiment_id, tuple(known))
        self.experiment_id, self.known = experiment_id, tuple(known)

    def __str__(self) -> str:
        known = ", ".join(self.known) or "none"
        return f"no experiment {self.experiment_id!r}; the latest experiments: {known}"


class ExperimentExistsError(StoreError):
    """An experiment with this id is already stored; ids are not reused."""

    def __init__(self, experiment_id: str, status: str) -> None:
        super().__init__(experiment_id, status)
        self.experiment_id, self.status = experiment_id, status

    def __str__(self) -> str:
        return (
            f"experiment {self.experiment_id!r} already exists (it is {self.status}), and ids are "
            f"not reused; choose another experiment_id"
        )


class ModelInExperimentError(StoreError):
    """Another experiment is already running on the model."""

    def __init__(self, model: str, experiment_id: str) -> None:
        super().__init__(model, experiment_id)
        self.model, self.experiment_id = model, experiment_id

    def __str__(self) -> str:
        return (
            f"experiment {self.experiment_id!r} is running on model {self.model!r}, and a model is "
            f"in one experiment at a time; stop that one first"
        )


class BufferFullError(StoreError):
    """The buffer in front of the database is full; the new records were not accepted."""

    def __init__(self, what: str, limit: int, waiting: int, rejected: int) -> None:
        super().__init__(what, limit, waiting, rejected)
        self.what, self.limit, self.waiting, self.rejected = what, limit, waiting, rejected

    def __str__(self) -> str:
        return (
            f"{self.rejected} {self.what} were not recorded: {self.waiting} are waiting for the "
            f"database, and at most {self.limit} may; check why the database is too slow"
        )


class LatePredictionsError(StoreError):
    """The prediction is not stored, but may be among those that waited for the database."""

    def __init__(self, prediction_id: str) -> None:
        super().__init__(prediction_id)
        self.prediction_id = prediction_id

    def __str__(self) -> str:
        return (
            f"prediction {self.prediction_id!r} is not recorded yet: those that waited while the "
            f"database was unavailable are being recorded; send the outcome again in a few seconds"
        )


class LogClosedError(StoreError):
    """The log is closed and accepts no more records."""

    def __init__(self) -> None:
        super().__init__()

    def __str__(self) -> str:
        return "the experiment log is closed; open a new one"


class ExportError(StoreError):
    """The file cannot be written; an existing file is unchanged."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, problem)
        self.path, self.problem = path, problem

    def __str__(self) -> str:
        return f"cannot write {self.path}: {self.problem}; choose a writable path with free space"


class MissingPackageError(StoreError):
    """The library that a feature needs is not installed."""

    def __init__(self, feature: str, package: str, extra: str) -> None:
        super().__init__(feature, package, extra)
        self.feature, self.package, self.extra = feature, package, extra

    def __str__(self) -> str:
        return (
            f"{self.feature} needs {self.package}, which is not installed; "
            f"install tradeserve[{self.extra}]"
        )
