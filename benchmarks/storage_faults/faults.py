"""Faults of the storage, which begin, last and end."""

import sqlite3
from abc import abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from testkit import network
from testkit.postgresql import PostgresqlServer


class Fault(Protocol):
    """A fault that begins, lasts and ends."""

    lasts_s: float

    @abstractmethod
    def begin(self) -> None:
        """Cause it."""

    @abstractmethod
    def hold(self) -> None:
        """Keep it up; called several times per second."""

    @abstractmethod
    def end(self) -> None:
        """End it."""


class FullDisk(Fault):
    """A file that takes all free space of the disk."""

    lasts_s = 20.0

    def __init__(self, folder: Path) -> None:
        self._ballast = folder / "ballast"

    def begin(self) -> None:
        """Fill the disk."""
        self.hold()

    def hold(self) -> None:
        """Take what others have freed."""
        with self._ballast.open("ab", buffering=0) as file:
            for size in (1 << 20, 4096, 1):
                with suppress(OSError):
                    while True:
                        file.write(bytes(size))

    def end(self) -> None:
        """Free the space."""
        self._ballast.unlink()


class LockedDatabase(Fault):
    """A program that holds SQLite's lock."""

    lasts_s = 20.0

    def __init__(self, path: Path) -> None:
        self._path = path

    def begin(self) -> None:
        """Take the lock."""
        self._connection = sqlite3.connect(
            self._path, isolation_level=None, timeout=30, check_same_thread=False
        )
        self._connection.execute("BEGIN EXCLUSIVE")

    def hold(self) -> None:
        """Do nothing."""

    def end(self) -> None:
        """Release the lock."""
        self._connection.close()


class StoppedPostgresql(Fault):
    """PostgreSQL stops at once, and starts again at the end."""

    def __init__(self, postgresql: PostgresqlServer, lasts_s: float) -> None:
        self._postgresql = postgresql
        self.lasts_s = lasts_s

    def begin(self) -> None:
        """Stop it."""
        self._postgresql.stop_immediately()

    def hold(self) -> None:
        """Do nothing."""

    def end(self) -> None:
        """Start it."""
        self._postgresql.start()


class CutNetwork(Fault):
    """The link between the two nodes transports nothing."""

    def __init__(self, lasts_s: float) -> None:
        self.lasts_s = lasts_s

    def begin(self) -> None:
        """Cut it."""
        network.cut()

    def hold(self) -> None:
        """Do nothing."""

    def end(self) -> None:
        """Restore it."""
        network.connect()
