"""Everything that the store of experiments refuses or fails at, as one tree.

    StoreError
    ├── InvalidUrlError             the URL names no database that the store can use
    ├── NewerSchemaError            the database was written by newer software
    ├── DamagedStoreError           the file is no database, or a damaged one
    ├── UnavailableStoreError       nothing was written; the same call may succeed later
    │   ├── LockedStoreError        another process held the write lock for too long
    │   ├── FullStoreError          the disk is full
    │   └── ReadOnlyStoreError      the database may not be written
    ├── RefusedRowError             the database cannot hold a value; sending it again will not help
    ├── UnknownExperimentError      no such experiment
    ├── ExperimentExistsError       an experiment of that id exists
    ├── ModelInExperimentError      another experiment is running on the model
    ├── BufferFullError             more waits for the database than may
    ├── LogClosedError              the log takes nothing more
    ├── ExportError                 the file cannot be written
    └── MissingPackageError         the library that a feature needs is not installed

Errors carry data, rebuild after pickling from `args`, and know nothing of HTTP. A URL in them never
shows its password.
"""

from collections.abc import Sequence


class StoreError(Exception):
    """Base of everything raised by the store."""


class InvalidUrlError(StoreError):
    """The URL names no database that the store can use."""

    def __init__(self, url: str, problem: str) -> None:
        super().__init__(url, problem)
        self.url, self.problem = url, problem

    def __str__(self) -> str:
        return (
            f"cannot store experiments at {self.url!r}: {self.problem}; expected "
            f"sqlite:///path/to/file.db or postgresql://user:password@host/database"
        )


class NewerSchemaError(StoreError):
    """The database was written by newer software than this."""

    def __init__(self, url: str, received: str, known: Sequence[str]) -> None:
        super().__init__(url, received, tuple(known))
        self.url, self.received, self.known = url, received, tuple(known)

    def __str__(self) -> str:
        return (
            f"the database {self.url} has schema {self.received!r}, and this software knows up to "
            f"{self.known[-1]!r}; upgrade the software, or name another database"
        )


class DamagedStoreError(StoreError):
    """What is there is no database, or a damaged one."""

    def __init__(self, url: str, problem: str) -> None:
        super().__init__(url, problem)
        self.url, self.problem = url, problem

    def __str__(self) -> str:
        return (
            f"the database {self.url} cannot be read: {self.problem}; "
            f"restore it from a backup, or name another one"
        )


class UnavailableStoreError(StoreError):
    """The database did not take it; nothing was acknowledged, and trying again is safe."""

    remedy = "see that it runs and can be reached, and try again"

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

    remedy = "free the disk, for example by a shorter retention, and try again"


class ReadOnlyStoreError(UnavailableStoreError):
    """The database may not be written."""

    remedy = "give this process the right to write it, and try again"


class RefusedRowError(StoreError):
    """The database cannot hold a value; the same row will be refused again."""

    def __init__(self, url: str, problem: str) -> None:
        super().__init__(url, problem)
        self.url, self.problem = url, problem

    def __str__(self) -> str:
        return f"the database {self.url} refuses the row: {self.problem}; correct the value"


class UnknownExperimentError(StoreError):
    """No experiment of that id is stored."""

    def __init__(self, experiment_id: str, known: Sequence[str]) -> None:
        super().__init__(experiment_id, tuple(known))
        self.experiment_id, self.known = experiment_id, tuple(known)

    def __str__(self) -> str:
        known = ", ".join(self.known) or "none"
        return f"no experiment {self.experiment_id!r}; the latest experiments: {known}"


class ExperimentExistsError(StoreError):
    """An experiment of that id is stored already; ids are not used again."""

    def __init__(self, experiment_id: str, status: str) -> None:
        super().__init__(experiment_id, status)
        self.experiment_id, self.status = experiment_id, status

    def __str__(self) -> str:
        return (
            f"experiment {self.experiment_id!r} exists already (it is {self.status}), and an id is "
            f"not used again; choose another experiment_id"
        )


class ModelInExperimentError(StoreError):
    """The model's requests are split by another experiment already."""

    def __init__(self, model: str, experiment_id: str) -> None:
        super().__init__(model, experiment_id)
        self.model, self.experiment_id = model, experiment_id

    def __str__(self) -> str:
        return (
            f"experiment {self.experiment_id!r} is running on model {self.model!r}, and a model is "
            f"in one experiment at a time; stop that one first"
        )


class BufferFullError(StoreError):
    """More waits for the database than may; what came was not taken."""

    def __init__(self, what: str, limit: int, waiting: int, refused: int) -> None:
        super().__init__(what, limit, waiting, refused)
        self.what, self.limit, self.waiting, self.refused = what, limit, waiting, refused

    def __str__(self) -> str:
        return (
            f"{self.refused} {self.what} were not recorded: {self.waiting} wait for the database, "
            f"and at most {self.limit} may; see why it does not keep up"
        )


class LogClosedError(StoreError):
    """The log was closed and takes nothing more."""

    def __init__(self) -> None:
        super().__init__()

    def __str__(self) -> str:
        return "the log of experiments is closed; open a new one"


class ExportError(StoreError):
    """The file cannot be written; one that was there before is as it was."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, problem)
        self.path, self.problem = path, problem

    def __str__(self) -> str:
        return f"cannot write {self.path}: {self.problem}; name a place with room and permission"


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
