"""The users whose programs listen on a port of this machine. Imports the standard library only.

While a server is down, any other user may listen on its port and receive what its clients send.
"""

import os
from collections.abc import Sequence
from pathlib import Path

SOCKET_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
"""The kernel's tables of sockets, as proc_net_tcp(5) describes them."""

_LISTENING = "0A"


def users_of_port(port: int, tables: Sequence[Path] = SOCKET_TABLES) -> frozenset[int] | None:
    """Return the users whose programs listen on a port; None without the kernel's tables."""
    present = [table for table in tables if table.exists()]
    users = set()
    for table in present:
        for line in table.read_text().splitlines()[1:]:
            _, local, _, state, _, _, _, user, *_ = line.split()
            if state == _LISTENING and int(local.rpartition(":")[2], 16) == port:
                users.add(int(user))
    return frozenset(users) if present else None


def is_port_of_user(
    port: int, user: int | None = None, tables: Sequence[Path] = SOCKET_TABLES
) -> bool:
    """Return whether only one user, or root, listens on a port of this machine.

    Systems without the kernel's tables of sockets are trusted.

    Args:
        port: the port.
        user: the user; None stands for the running one.
        tables: the tables.
    """
    users = users_of_port(port, tables)
    expected = os.getuid() if user is None else user
    return users is None or (bool(users) and users <= {0, expected})
