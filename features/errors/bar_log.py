"""Errors of the bar log and its storage."""

from features.errors.base import FeaturesError


class BarLogError(FeaturesError):
    """Base class of the errors of the log's storage."""


class BarLogUrlError(BarLogError):
    """The URL does not name a database that the log can use."""

    def __init__(self, url: str, problem: str) -> None:
        super().__init__(url, problem)
        self.url, self.problem = url, problem

    def __str__(self) -> str:
        return (
            f"cannot store bars at {self.url!r}: {self.problem}; use sqlite:///path/to/file.db or "
            f"postgresql://user:password@host/database"
        )


class NewerBarLogError(BarLogError):
    """The log was written by a newer version of this software."""

    def __init__(self, url: str, received: int, known: int) -> None:
        super().__init__(url, received, known)
        self.url, self.received, self.known = url, received, known

    def __str__(self) -> str:
        return (
            f"the database {self.url} has revision {self.received} of the bar log, but this "
            f"software knows up to {self.known}; upgrade the software, or use another database"
        )


class ForeignBarLogError(BarLogError):
    """The folder and the database do not belong to one log."""

    def __init__(self, folder: str, url: str) -> None:
        super().__init__(folder, url)
        self.folder, self.url = folder, url

    def __str__(self) -> str:
        return (
            f"the folder {self.folder} and the database {self.url} do not belong to one bar log; "
            f"pass both of one log, or a new folder with a new database"
        )


class UsedBarLogError(BarLogError):
    """The place to which a log is to be copied holds something already."""

    def __init__(self, where: str) -> None:
        super().__init__(where)
        self.where = where

    def __str__(self) -> str:
        return (
            f"cannot copy a bar log to {self.where}: expected an empty folder and a database "
            f"without a bar log, received others; choose other ones, or move them away"
        )


class LockedBarLogError(BarLogError):
    """Another process has the log open for writing."""

    def __init__(self, folder: str) -> None:
        super().__init__(folder)
        self.folder = folder

    def __str__(self) -> str:
        return (
            f"another process writes the bar log in {self.folder}; send the bars to the server, or "
            f"stop it first"
        )


class UnavailableBarLogError(BarLogError):
    """The storage is not available; nothing was acknowledged, and a retry is safe."""

    def __init__(
        self,
        where: str,
        problem: str,
        remedy: str = "check the disk and the database, and try again",
    ) -> None:
        super().__init__(where, problem, remedy)
        self.where, self.problem, self.remedy = where, problem, remedy

    def __str__(self) -> str:
        return (
            f"the bar log cannot use {self.where}: {self.problem}; nothing was acknowledged, "
            f"{self.remedy}"
        )


class DamagedBarLogError(BarLogError):
    """The database or a part of the history is damaged or missing."""

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(where, problem)
        self.where, self.problem = where, problem

    def __str__(self) -> str:
        return (
            f"the bar log cannot read {self.where}: {self.problem}; restore folder and database "
            f"from one backup"
        )
