"""Removes folders of earlier launches and commands: those that were killed leave theirs behind.

A folder is in use while a process names it, in its command line or its environment.
"""

import os
import shutil
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import psutil

from serve_app.launch.session_folder import FOLDER_VARIABLE, is_default

KEPT_SESSIONS = 5
"""Ended sessions of Ray whose logs are kept."""

MIN_AGE_S = 3600.0
"""The age from which folders of HAProxy are removed: a new launch may have no process yet."""

TEMPORARY_PREFIXES = (
    "tradeserve-convert-",
    "tradeserve-optimized-",
    "tradeserve-packed-",
    "tradeserve-upload-",
)
"""The names of working folders of the registry and of `modelctl` begin with one of these."""

MIN_WORKING_AGE_S = 24 * 3600.0
"""The age from which working folders are removed: no process names those that it uses."""


def remove_leftovers(
    environment: Mapping[str, str],
    haproxy_folders: Collection[Path],
    temporary: Path,
    now_s: float | None = None,
) -> None:
    """Remove old sessions below the user's own folder, folders of HAProxy, and working folders.

    Args:
        environment: names the folder of the sessions; one that the operator chose is left as it is.
        haproxy_folders: the folders of all launches.
        temporary: the folder that contains the working folders.
        now_s: the present time; None stands for that of the clock.
    """
    sessions: list[Path] = []
    if is_default(environment):
        sessions = sorted((Path(environment[FOLDER_VARIABLE]) / "ray").glob("session_[0-9]*"))
    working = [path for prefix in TEMPORARY_PREFIXES for path in temporary.glob(f"{prefix}*")]
    ages_s = dict.fromkeys(haproxy_folders, MIN_AGE_S) | dict.fromkeys(working, MIN_WORKING_AGE_S)
    if len(sessions) <= KEPT_SESSIONS and not ages_s:
        return
    words = "\n".join(_words())
    ended = [session for session in sessions if session.name not in words]
    now_s = time.time() if now_s is None else now_s
    unused = [folder for folder in ages_s if str(folder) not in words and _is_own(folder)]
    old = [folder for folder in unused if folder.stat().st_mtime < now_s - ages_s[folder]]
    for folder in (*ended[:-KEPT_SESSIONS], *old):
        shutil.rmtree(folder, ignore_errors=True)


def _is_own(folder: Path) -> bool:
    return folder.is_dir() and not folder.is_symlink() and folder.stat().st_uid == os.getuid()


def _words() -> Iterator[str]:
    """Yield the arguments and the environment of every process of this user."""
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):  # it has ended, or is another user's
            yield from process.cmdline()
            yield from process.environ().values()
