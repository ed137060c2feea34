"""Small file systems of a process of its own, which other processes do not see."""

import ctypes
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CLONE_NEWNS = 0x00020000


def private_mounts() -> None:
    """Keep the file systems that this process mounts from all others; they end with it.

    Raises:
        PermissionError: this user may not mount.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS):
        raise PermissionError(ctypes.get_errno(), "mounting a small disk requires root")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)


@contextmanager
def small_disk(folder: Path, size_mb: int) -> Iterator[None]:
    """Mount an empty file system of its own at `folder`."""
    options = f"size={size_mb}m,mode=700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
