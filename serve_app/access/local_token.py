"""The operator token of a user on one machine: clients of that user find it by themselves.

A server keeps it in a file that only its user can read, and accepts it in addition to the created
tokens. `modelctl` and `ModelClient` send it to a server on the same machine that asks for a token.
It works for every server of the user; deleting the file replaces the token within a second.

Imports the standard library and `private_file` only, since the client imports it.
"""

import os
import secrets
import stat
from pathlib import Path

from serve_app.access.private_file import home_folder, write_once

MAX_BYTES = 200
_PREFIX = "ts_"


def local_token_path() -> Path:
    """Return the file of the running user's token, below XDG_CONFIG_HOME or ~/.config."""
    config = os.environ.get("XDG_CONFIG_HOME", "")
    base = Path(config) if Path(config).is_absolute() else home_folder() / ".config"
    return base / "tradeserve" / "operator_token"


def read_local_token(path: Path | None = None) -> str | None:
    """Return the running user's token; None without a file that this user alone can read.

    Raises:
        OSError: the file exists and cannot be read.
    """
    try:
        descriptor = os.open(path or local_token_path(), os.O_RDONLY | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        status = os.fstat(descriptor)
        is_private = status.st_uid == os.getuid() and not stat.S_IMODE(status.st_mode) & 0o077
        content = os.read(descriptor, MAX_BYTES) if is_private else b""
    finally:
        os.close(descriptor)
    token = content.decode("ascii", errors="replace").strip()
    return token if token.startswith(_PREFIX) else None


def ensure_local_token(path: Path | None = None) -> str:
    """Return the running user's token, created if there is none.

    Raises:
        OSError: it can neither be read nor written, or the file is not the user's alone.
    """
    path = path or local_token_path()
    for _attempt in range(2):
        token = read_local_token(path)
        if token is not None:
            return token
        write_once(path, f"{_PREFIX}{secrets.token_urlsafe(32)}\n")
    raise OSError(f"{path}: expected a token that this user alone can read; remove the file")
