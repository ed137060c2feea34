"""Where results go: checked before the work, put in place in one step after it."""

import os
from collections.abc import Callable
from pathlib import Path

from optimization.errors import OutputFileError
from registry.folder.atomic_io import write_file


def check_target(path: Path, source: Path | None = None) -> None:
    """Return if a file can be written to `path` that is not `source`, from which it is made.

    Raises:
        OutputFileError: the folder is missing or read-only, or `path` is a folder or `source`.
    """
    if source is not None and path.resolve() == source.resolve():
        raise OutputFileError(path, "it is the file to start from; name another")
    if path.is_dir():
        raise OutputFileError(path, "it is a folder; name a file in it")
    if not path.parent.is_dir():
        raise OutputFileError(path, f"there is no folder {path.parent}; make it first")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise OutputFileError(path, f"the folder {path.parent} cannot be written to")


def make_folder(folder: Path) -> None:
    """Make a folder for results where there is none; OutputFileError if that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputFileError(folder, str(error)) from error


def put(path: Path, content: bytes, stopped: Callable[[], bool] = lambda: False) -> None:
    """Write `content` to `path` in one step, unless the caller does not wait for it any more.

    Raises:
        OutputFileError: the file system refuses.
    """
    if stopped():
        return
    try:
        write_file(path, content)
    except OSError as error:
        raise OutputFileError(path, str(error)) from error
