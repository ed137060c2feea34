"""The errors of a backup, as one tree.

BackupError
├── MissingRegistryError  there is no registry to back up
├── ArchiveError          the file is no complete backup of this software
└── InUseError            the place to restore to holds something already
"""

from pathlib import Path


class BackupError(Exception):
    """Base of the errors of a backup."""


class MissingRegistryError(BackupError):
    """There is no registry to back up."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return (
            f"{self.path}: expected the registry of the configuration, found no folder; nothing "
            f"was written: relative paths begin at the folder in which the server was started"
        )


class ArchiveError(BackupError):
    """The file is no complete backup, or was changed."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(path, problem)
        self.path, self.problem = path, problem

    def __str__(self) -> str:
        return (
            f"{self.path}: {self.problem}; nothing was restored: expected a complete file of "
            f"`modelctl backup`, made with this configuration"
        )


class InUseError(BackupError):
    """The place to restore to holds something already, which is kept."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return (
            f"{self.path}: expected an empty folder or none, received one with content; nothing "
            f"was restored: move it away, or name another folder in registry_root"
        )
