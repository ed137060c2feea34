"""Errors of the file system on which the registry lies."""

from pathlib import Path

from registry.errors.base import RegistryError


class StorageError(RegistryError):
    """A file operation failed; the registry is unchanged."""

    def __init__(self, where: Path | str, problem: str) -> None:
        super().__init__(where, problem)
        self.where, self.problem = where, problem

    def __str__(self) -> str:
        return (
            f"cannot write below {self.where}: {self.problem}; nothing was changed; "
            f"free disk space or grant the permission, then retry"
        )


class UnsafePathError(RegistryError):
    """A link or special file is where the registry expects a regular file or folder."""

    def __init__(self, path: Path | str) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return (
            f"{self.path} is a link, which may lead out of the registry, or not a regular file or "
            f"folder; replace it with the regular one"
        )
