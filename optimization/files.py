"""Files of results: checked before the work, written atomically after it."""

import os
from collections.abc import Callable
from pathlib import Path

from optimization.errors import OutputFileError
from registry.folder.atomic_io import write_file


def check_target(path: Path, source: Path | None = None) -> None:
    """Return if a file can be written to `path`, which must differ from its source.

    Raises:
        OutputFileError: the folder is missing or read-only, or `path` is a folder or `source`.
    """
    if source is not None and path.resolve() == source.resolve():
        raise OutputFileError(path, "it is the source file; choose another path")
    if path.is_dir():
        raise OutputFileError(path, "it is a folder; choose a file in it")
    if not path.parent.is_dir():
        raise OutputFileError(path, f"there is no folder {path.parent}; create it first")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise OutputFileError(
            path, f"the folder {path.parent} is read-only; change its permissions or choose another"
        )


def make_folder(folder: Path) -> None:
    """Create a folder for results if it does not exist; OutputFileError if that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputFileError(folder, str(error)) from error


def put(path: Path, content: bytes, stopped: Callable[[], bool] = lambda: False) -> None:
    """Write `content` to `path` atomically, unless the caller has been cancelled.

    Raises:
        OutputFileError: the file system reports an error.
    """
    if stopped():
        return
    try:
        write_file(path, content)
    except OSError as error:
        raise OutputFileError(path, str(error)) from error
