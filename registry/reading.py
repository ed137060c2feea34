"""Turns failed reads of the registry's folder into errors of the registry."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from registry.errors import UnreadablePathError


@contextmanager
def reading(path: Path | str) -> Iterator[None]:
    """Raise UnreadablePathError if a read fails; FileNotFoundError passes.

    Args:
        path: what is read, unless the failure names another path.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        where = error.filename or path
        problem = error.strerror or str(error)
        raise UnreadablePathError(where, problem, os.geteuid(), _owner(where)) from error


def _owner(path: Path | str) -> int | None:
    """Return the owner of a path; None if this process may not see it either."""
    try:
        return os.lstat(path).st_uid
    except OSError:
        return None
