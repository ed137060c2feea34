"""Files with a secret that only their owner can read. Imports the standard library only."""

import os
import tempfile
from pathlib import Path


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
