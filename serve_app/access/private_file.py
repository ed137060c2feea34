"""Files with a secret that only their owner can read. Imports the standard library only."""

import os
import stat
import tempfile
from pathlib import Path

_CONFIG = Path(".config") / "tradeserve"
"""The folder of the secrets below the home folder."""


def home_folder() -> Path:
    """Return the home folder or, if it cannot hold secrets, a private folder among temporary files.

    Users of containers that the system does not know have no home folder unless HOME is set, or
    they have `/` or another folder in which they may not write.

    Raises:
        PermissionError: another user has made the private folder.
    """
    try:
        home = Path.home()
    except RuntimeError:
        home = None
    if home is not None and _may_hold(home / _CONFIG):
        return home
    folder = Path(tempfile.gettempdir()) / f"tradeserve-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if status.st_uid != os.getuid() or status.st_mode & 0o077 or not stat.S_ISDIR(status.st_mode):
        raise PermissionError(f"{folder}: expected a folder of this user alone; set HOME instead")
    return folder


def _may_hold(folder: Path) -> bool:
    """Return whether a folder exists, or this user may create it."""
    if os.path.lexists(folder):
        return True
    parents = (parent for parent in folder.parents if os.path.lexists(parent))
    return os.access(next(parents), os.W_OK | os.X_OK)


def write_once(path: Path, content: str) -> None:
    """Write a new file with mode 0600, below new folders with mode 0700.

    A file that exists stays, as does one that another process writes at the same time.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # 0600
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)  # unlike a rename it never replaces another process's file
    except FileExistsError:
        pass
    finally:
        Path(temporary).unlink()
