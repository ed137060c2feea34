"""Ray's temporary folder, private to its user.

Ray keeps sockets, logs and spilled objects of a session there, by default below /tmp/ray, and makes
its folders writable for every user of the machine. Ours lie in a folder that only its user can
enter.
"""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from serve_app.launch.errors import SessionFolderError

FOLDER_VARIABLE = "RAY_TMPDIR"

MAX_FOLDER_BYTES = 32
"""Longest path of the folder. The path of a socket has at most 107 bytes, of which Ray uses 75
below the folder: /ray/session_<time, 26>_<process id, up to 7>/sockets/dash_TaskEventsHead"""


def default_folder(environment: Mapping[str, str]) -> Path:
    """Return the folder of the running user: below TMPDIR if that is short enough, or /tmp."""
    name = f"tradeserve-{os.getuid()}"
    folder = Path(environment.get("TMPDIR", "/tmp")) / name  # noqa: S108
    return folder if _length(folder) <= MAX_FOLDER_BYTES else Path("/tmp") / name  # noqa: S108


def is_default(environment: Mapping[str, str]) -> bool:
    """Return whether the environment names the folder of the running user, not another one."""
    return Path(environment[FOLDER_VARIABLE]) == default_folder(environment)


def prepare_folder(environment: Mapping[str, str]) -> None:
    """Create the folder that the environment names, and check it.

    A folder that the operator chose is used as it is.

    Raises:
        SessionFolderError: the path is too long, the folder cannot be created, or other users may
            enter it.
    """
    folder = Path(environment[FOLDER_VARIABLE])
    if _length(folder) > MAX_FOLDER_BYTES:
        raise SessionFolderError(
            folder,
            f"a path of at most {MAX_FOLDER_BYTES} bytes, since the paths of Ray's sockets are "
            f"limited",
            f"one of {_length(folder)}",
        )
    if not is_default(environment):
        return
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
    except OSError as error:
        raise SessionFolderError(
            folder, "a folder", error.strerror or type(error).__name__
        ) from error
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise SessionFolderError(folder, "a folder of this user", f"one of user {status.st_uid}")
    if (mode := stat.S_IMODE(status.st_mode)) != 0o700:
        raise SessionFolderError(folder, "mode 0700", f"{mode:04o}, with which others may enter it")


def logs_folder(environment: Mapping[str, str], process_id: int) -> Path:
    """Return the folder with Serve's logs of the session that a process started.

    Without such a session it is that of the session that was started last.
    """
    sessions = Path(environment[FOLDER_VARIABLE]) / "ray"
    started = sorted(sessions.glob(f"session_*_{process_id}"))
    return (started[-1] if started else sessions / "session_latest") / "logs" / "serve"


def _length(folder: Path) -> int:
    return len(os.fsencode(folder))
