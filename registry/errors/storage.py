"""Errors of the file system on which the registry lies."""

import errno
from pathlib import Path

from registry.errors.base import RegistryError

_GRANT = "run the command as the owner of the registry, or have the owner grant write access"
_REMEDIES = {
    errno.EROFS: "the file system is mounted read-only: change the registry where it is writable",
    errno.EACCES: _GRANT,
    errno.EPERM: _GRANT,
}
"""The remedies of failed writes by their error numbers; any other is that of a full disk."""


class StorageError(RegistryError):
    """A file operation failed; the registry is unchanged."""

    def __init__(
        self, where: Path | str, problem: str, remedy: str = "free disk space, then retry"
    ) -> None:
        super().__init__(where, problem, remedy)
        self.where, self.problem, self.remedy = where, problem, remedy

    @classmethod
    def of(cls, where: Path | str, error: OSError) -> "StorageError":
        """Return the error of a failed file operation below `where`, with its remedy."""
        if isinstance(error, TimeoutError):
            return cls(where, str(error), "another process holds the lock: wait for it or end it")
        remedy = _REMEDIES.get(error.errno or 0)
        return cls(where, str(error)) if remedy is None else cls(where, str(error), remedy)

    def __str__(self) -> str:
        return (
            f"cannot write below {self.where}: {self.problem}; nothing was changed; {self.remedy}"
        )


class UnreadablePathError(RegistryError):
    """The process may not read a file or folder of the registry, or its disk does not respond."""

    def __init__(self, path: Path | str, problem: str, user: int, owner: int | None) -> None:
        super().__init__(path, problem, user, owner)
        self.path, self.problem, self.user, self.owner = path, problem, user, owner

    def __str__(self) -> str:
        owner = "" if self.owner is None else f", which user {self.owner} owns"
        return (
            f"cannot read {self.path}{owner}: {self.problem} for user {self.user}; the owner of "
            f"the registry makes it readable with `chmod -R a+rX` or `chmod -R g+rX`"
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
