"""The token that Ray's components require from each other and from their clients.

Access to a component of Ray is access to run code as the server's user, on loopback too, where it
is open to every user of the machine. The token is generated once per user and kept in a file that
only this user can read; the environment contains the path of the file, never the token.
"""

import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path

from serve_app.access.private_file import home_folder, write_once
from serve_app.launch.errors import RayTokenError

MODE_VARIABLE = "RAY_AUTH_MODE"
PATH_VARIABLE = "RAY_AUTH_TOKEN_PATH"
TOKEN_VARIABLE = "RAY_AUTH_TOKEN"  # noqa: S105 - the name of a variable
"""Contains the token itself and precedes the file; for containers with a secret store."""

DEFAULT_FILE = Path(".config") / "tradeserve" / "ray_token"
"""Below the home folder. Ray's own default there is readable by every user."""

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def token_path(environment: Mapping[str, str]) -> Path:
    """Return the path of the file with the token.

    Raises:
        RayTokenError: this user has no home folder.
    """
    named = environment.get(PATH_VARIABLE)
    try:
        return Path(named).expanduser() if named else home_folder() / DEFAULT_FILE
    except (OSError, RuntimeError) as error:
        raise RayTokenError(f"Ray's token: {error}; set {PATH_VARIABLE}") from error


def ensure_token(environment: Mapping[str, str]) -> None:
    """Generate the token if there is none.

    Raises:
        RayTokenError: the environment turns tokens off, the file cannot be written, or other users
            have access to it.
    """
    mode = environment.get(MODE_VARIABLE, "token")
    if mode != "token":
        raise RayTokenError(
            f"the environment variable {MODE_VARIABLE}: expected token, received {mode!r}, with "
            f"which every user of the machine can run code as this one; unset it"
        )
    if environment.get(TOKEN_VARIABLE):
        return
    path = token_path(environment)
    try:
        if not path.exists():
            write_once(path, secrets.token_hex(32))
        _check(path)
    except OSError as error:
        raise RayTokenError(
            f"Ray's token {path}: {error.strerror or error}; choose another file with the "
            f"environment variable {PATH_VARIABLE}"
        ) from error


def request_headers(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the headers with which Ray's dashboard accepts a request; {} without a token."""
    token = environment.get(TOKEN_VARIABLE)
    if not token:
        try:
            token = token_path(environment).read_text(encoding="utf-8").strip()
        except OSError:
            return {}
    return {"Authorization": f"Bearer {token}"}


def _check(path: Path) -> None:
    status = path.stat()
    if status.st_uid != os.getuid():
        raise RayTokenError(
            f"Ray's token {path}: expected a file of this user, received one of user "
            f"{status.st_uid}; choose another file with the environment variable {PATH_VARIABLE}"
        )
    if status.st_mode & _OTHERS:
        raise RayTokenError(
            f"Ray's token {path}: expected mode 0600, received {stat.S_IMODE(status.st_mode):04o}, "
            f"with which other users have access to it; delete the file, and the next start "
            f"generates a new token"
        )
    if not path.read_text(encoding="utf-8").strip():
        raise RayTokenError(f"Ray's token {path}: the file is empty; delete it")
