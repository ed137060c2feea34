"""The free space of the disk on which a folder lies."""

import shutil
from pathlib import Path

RESERVE_BYTES = 50_000_000
"""Free space below which a disk is reported: enough for many outcomes or some versions, so that it
can be freed before a write fails."""


def free_space(folder: Path) -> str:
    """Return how much of a folder's disk is free, for messages."""
    usage = shutil.disk_usage(folder)
    return f"{usage.free / 1e6:.1f} MB of {usage.total / 1e6:.0f} MB are free in {folder}"


def shortage_of(folder: Path) -> str | None:
    """Return that less than the reserve is free, with the remedy; None while more is.

    A folder that does not exist has no shortage; whatever uses it reports that.
    """
    try:
        if shutil.disk_usage(folder).free >= RESERVE_BYTES:
            return None
    except FileNotFoundError:
        return None
    return (
        f"expected {RESERVE_BYTES / 1e6:.0f} MB of free disk space, but {free_space(folder)}; "
        f"free disk space"
    )
