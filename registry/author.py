"""The author of a change that names none: the process's user and host."""

import getpass
import os
import socket


def default_author() -> str:
    """Return `USER@HOST`; `uid-N@HOST` for a user that the system does not know.

    The result can be encoded as UTF-8, whatever the environment contains.
    """
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):  # containers run as users without a name
        user = f"uid-{os.getuid()}"
    return f"{user}@{socket.gethostname()}".encode(errors="backslashreplace").decode()
