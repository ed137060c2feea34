"""Access to new files: that of the folder in which they lie, whatever the umask of the process.

One writer with the umask 077 would otherwise lock every other user out of what it writes, and one
that runs as root would leave files that the registry's owner cannot change.
"""

import os
import stat
from contextlib import suppress
from pathlib import Path

_READ_WRITE = 0o666
_FOLDER_BITS = 0o777 | stat.S_ISGID
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def file_mode(folder: os.stat_result) -> int:
    """Return the permissions of a new file in a folder: those of the folder, without execution.

    In a folder with the sticky bit, such as /tmp, only the owner may write.
    """
    mode = stat.S_IMODE(folder.st_mode) & _READ_WRITE
    return mode & ~_OTHERS_WRITE if folder.st_mode & stat.S_ISVTX else mode


def share_file(descriptor: int, folder: Path, replaced: Path | None = None) -> None:
    """Give a new file the permissions of its folder, and those of the file that it replaces.

    Its group, and for root its owner too, become those of the replaced file or the folder.
    """
    parent = folder.stat()
    mode, model = file_mode(parent), parent
    if replaced is not None:
        with suppress(FileNotFoundError):
            model = replaced.lstat()
            if stat.S_ISREG(model.st_mode):
                mode |= stat.S_IMODE(model.st_mode) & _READ_WRITE
    _take_owner(descriptor, model)
    _set_mode(descriptor, mode)


def share_owner(descriptor: int, target: Path) -> None:
    """Give a private file that root writes the owner of the file that it replaces, or its folder's.

    A server of that user could not read it otherwise. For other users it does nothing.
    """
    if os.geteuid() == 0:
        present = target if target.exists() else target.parent
        _take_owner(descriptor, present.stat())


def make_folder(path: Path) -> None:
    """Make a folder with the permissions, the group and, for root, the owner of its parent.

    Raises:
        FileExistsError: it exists.
    """
    parent = path.parent.stat()
    path.mkdir()
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        _take_owner(descriptor, parent)
        mode = stat.S_IMODE(parent.st_mode) & _FOLDER_BITS
        if parent.st_mode & stat.S_ISVTX:
            mode &= ~_OTHERS_WRITE
        _set_mode(descriptor, mode | stat.S_IRWXU)
    finally:
        os.close(descriptor)


def _take_owner(descriptor: int, model: os.stat_result) -> None:
    present = os.fstat(descriptor)
    owner = model.st_uid if os.geteuid() == 0 else present.st_uid
    if (owner, model.st_gid) != (present.st_uid, present.st_gid):
        # A user cannot give files to a group that it is not in.
        with suppress(OSError):
            os.fchown(descriptor, owner, model.st_gid)


def _set_mode(descriptor: int, mode: int) -> None:
    if stat.S_IMODE(os.fstat(descriptor).st_mode) != mode:
        # Some file systems (FAT, SMB, buckets) have one mode for all files.
        with suppress(OSError):
            os.fchmod(descriptor, mode)
