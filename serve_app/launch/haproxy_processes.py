"""The processes around HAProxy on one node: their states, and the sockets that control them."""

import csv
import re
import socket
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ADMIN_SOCKET = "admin.sock"
"""The socket that controls HAProxy, in the folder of its node; Serve names it."""

SPARE_SOCKET = "spare.sock"
"""The socket that controls the spare. No longer than Serve's, since the paths of sockets are
limited to 107 characters."""

SPARE_CONFIG = "spare.cfg"
"""The configuration of the spare."""

SERVING = "serving"
"""The file with the process ids of HAProxy and of its proxy actor."""

QUERY_S = 0.25
"""Period at which a HAProxy is queried, and the longest wait for its response."""

QUERIES_MISSED = 3
"""Queries without a response after which a HAProxy counts as unresponsive."""

START_S = 10.0
"""Longest wait for a HAProxy to listen."""

STOPPED_STATES = "Tt"
"""The states of a stopped process, see proc(5)."""


@dataclass(frozen=True, slots=True)
class Serving:
    """The HAProxy that listens for clients."""

    process: int
    actor: int
    """The process of the proxy actor that has started it."""

    def runs(self, config: Path) -> bool:
        """Return whether the process is a HAProxy with this configuration."""
        try:
            words = Path(f"/proc/{self.process}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        return str(config).encode() in words


def read_serving(folder: Path) -> Serving | None:
    """Return the HAProxy that was started last; None if there is none."""
    try:
        process, actor = (folder / SERVING).read_text().split()
    except FileNotFoundError:
        return None
    return Serving(int(process), int(actor))


def write_serving(folder: Path, serving: Serving) -> None:
    """Record the HAProxy that is about to listen."""
    write_file(folder / SERVING, f"{serving.process} {serving.actor}")


def write_file(path: Path, content: str) -> None:
    """Replace a file at once, so that no reader sees a part of it."""
    new = path.with_suffix(".new")
    new.write_text(content)
    new.replace(path)


class Admin:
    """The admin socket of a HAProxy."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def send(self, command: str) -> str:
        """Return the response to a command; OSError if there is none in time."""
        with socket.socket(socket.AF_UNIX) as admin:
            admin.settimeout(QUERY_S)
            admin.connect(str(self._path))
            admin.sendall(f"{command}\n".encode())
            response = b""
            while data := admin.recv(65536):
                response += data
        return response.decode(errors="replace")

    def process(self) -> int | None:
        """Return the id of the process that responds; None if none does."""
        with suppress(OSError):
            if found := re.search(r"^Pid: (\d+)", self.send("show info"), re.MULTILINE):
                return int(found[1])
        return None

    def accept(self, frontends: Sequence[str], connections: int) -> None:
        """Accept at most this number of connections, 0 for none."""
        for frontend in frontends:
            self.send(f"set maxconn frontend {frontend} {connections}")

    def has_router(self) -> bool:
        """Return whether a server of any backend is up."""
        with suppress(OSError):
            rows = csv.DictReader(self.send("show stat").lstrip("# ").splitlines())
            return any(
                row["svname"] not in ("FRONTEND", "BACKEND") and row["status"].startswith("UP")
                for row in rows
            )
        return False


class Health:
    """Finds out whether a process runs, is stopped, or does not respond."""

    def __init__(self, process: int, admin: Admin) -> None:
        self.process = process
        self._admin = admin
        self._queried_s = time.monotonic()
        self._stopped = 0
        self._missed = 0

    def is_gone(self) -> bool:
        """Return whether the process has ended."""
        return has_ended(self.process)

    def is_stuck(self) -> bool:
        """Return whether the process has been stopped, or has not responded, several times."""
        self._stopped = self._stopped + 1 if state_of(self.process) in STOPPED_STATES else 0
        if self._stopped >= 2:
            return True
        if time.monotonic() - self._queried_s >= QUERY_S:
            # While a new HAProxy takes over it responds instead, which is no failure of this one.
            self._missed = self._missed + 1 if self._admin.process() is None else 0
            self._queried_s = time.monotonic()
        return self._missed >= QUERIES_MISSED


class Routers:
    """The routers of this node: HAProxy sends the requests of a stopped one to another.

    Their heartbeat threads have sockets `<replica>.<process id>.alive`. HAProxy's own checks of
    these find a stopped router later, since they must not take a slow one for it; the state of the
    process leaves no doubt.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stopped: dict[str, int] = {}

    def newly_stopped(self) -> list[str]:
        """Return the replicas that have been stopped for two polls."""
        stopped = {}
        for found in self._folder.glob("*.alive"):
            replica, process, _ = found.name.split(".")
            state = state_of(int(process))
            if not state:
                found.unlink(missing_ok=True)
            elif state in STOPPED_STATES:
                stopped[replica] = self._stopped.get(replica, 0) + 1
        self._stopped = stopped
        return [replica for replica, polls in stopped.items() if polls == 2]


def servers_of(config: str, replicas: Collection[str]) -> list[str]:
    """Return the servers of replicas in a configuration of HAProxy, as `backend/server`."""
    found, backend = [], ""
    for line in config.splitlines():
        if line.startswith("backend "):
            backend = line.split()[1]
        server = re.match(r" +server (\S+-(\w+)) .* on-marked-down ", line)
        if server is not None and server[2] in replicas:
            found.append(f"{backend}/{server[1]}")
    return found


def wait_for(admin: Admin, process: int) -> bool:
    """Wait until a process listens on its admin socket; return whether it does."""
    deadline_s = time.monotonic() + START_S
    while time.monotonic() < deadline_s and not has_ended(process):
        if admin.process() == process:
            return True
        time.sleep(0.02)
    return False


def state_of(process: int) -> str:
    """Return the letter of a process's state, see proc(5); empty if there is no process."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[0]


def has_ended(process: int) -> bool:
    """Return whether a process has ended, or does not exist."""
    return state_of(process) in ("", "Z", "X")
