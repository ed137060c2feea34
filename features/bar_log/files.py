"""Durable files: a reader sees a complete file or none."""

import os
import uuid
from collections.abc import Callable
from pathlib import Path


def write_durably(target: Path, write: Callable[[Path], None]) -> None:
    """Create or replace a file; it has its name only once it is complete and on the disk.

    Args:
        target: the file; its folder must exist.
        write: writes the content to the path that it receives.
    """
    beside = target.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        write(beside)
        _flush(beside, os.O_RDONLY)
        beside.replace(target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    _flush(target.parent, os.O_RDONLY | os.O_DIRECTORY)


def make_folder(folder: Path) -> None:
    """Make a folder unless it exists, so that its name survives a power failure."""
    if not folder.is_dir():
        folder.mkdir(exist_ok=True)
        _flush(folder.parent, os.O_RDONLY | os.O_DIRECTORY)


def _flush(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
