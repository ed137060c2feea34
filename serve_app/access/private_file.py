"""Files with a secret that only their owner can read. Imports the standard library only."""

import os
import stat
import tempfile
from pathlib import Path


def home_folder() -> Path:
    """Return the user's home folder or, without one, its private folder in the temporary folder.

    Users of containers that the system does not know have no home folder unless HOME is set.

    Raises:
        PermissionError: another user has made that folder.
    """
    try:
        return Path.home()
    except RuntimeError:
        folder = Path(tempfile.gettempdir()) / f"tradeserve-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if status.st_uid != os.getuid() or status.st_mode & 0o077 or not stat.S_ISDIR(status.st_mode):
        raise PermissionError(f"{folder}: expected a folder of this user alone; set HOME instead")
    return folder


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
