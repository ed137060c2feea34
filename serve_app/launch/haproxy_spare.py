"""Keeps a spare HAProxy that serves at once when HAProxy is killed, stopped or unresponsive.

The spare has the configuration of HAProxy and its listening sockets, and accepts no connection
while HAProxy runs. Connections that HAProxy has not accepted wait in the sockets' queue, so that
none is refused. Serve's proxy actor starts another HAProxy within seconds, which takes the sockets
over from the spare.

`haproxy.py` starts this script: `haproxy_spare.py FOLDER BINARY`, with the folder of a node.
"""

import ctypes
import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[2]))  # Python's -I omits every other folder

from serve_app.launch.haproxy_processes import (
    ADMIN_SOCKET,
    SPARE_CONFIG,
    SPARE_SOCKET,
    Admin,
    Health,
    Routers,
    Serving,
    has_ended,
    read_serving,
    servers_of,
    wait_for,
)

POLL_S = 0.05
"""Period at which the states of the processes are read."""

NO_ROUTER_S = 3.0
"""Time without a proxy actor and without a router after which the server has been shut down."""

NO_ACTOR_S = 60.0
"""Time without a proxy actor after which none will return, although there are routers."""

PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)

RETRY_S = 1.0
"""Shortest time between two starts of a spare that does not keep running."""


class Spare:
    """The spare of one node.

    Args:
        folder: the node's folder.
        binary: HAProxy.
    """

    def __init__(self, folder: Path, binary: str) -> None:
        self._folder = folder
        self._binary = binary
        self._config = folder / SPARE_CONFIG
        self._main, self._admin = Admin(folder / ADMIN_SOCKET), Admin(folder / SPARE_SOCKET)
        self._child: subprocess.Popen[bytes] | None = None
        self._health: Health | None = None
        self._replaced: list[subprocess.Popen[bytes]] = []

    def is_running(self) -> bool:
        """Return whether the spare runs and responds; end it if it is stuck."""
        self._replaced = [child for child in self._replaced if child.poll() is None]
        if self._child is None or self._health is None or self._child.poll() is not None:
            return False
        if self._health.is_stuck():
            log(f"the spare {self._child.pid} is stopped or unresponsive: killed")
            self._child.kill()
            self._child.wait()
            return False
        return True

    def start(self, serving: Serving) -> bool:
        """Start a spare for a HAProxy in place of the one before; return whether it runs.

        It accepts no connections while that HAProxy runs.
        """
        arguments = [self._binary, "-db", "-f", str(self._config)]
        source = self._main if wait_for(self._main, serving.process) else None
        old = self._child if self._child is not None and self._child.poll() is None else None
        if source is not None:
            arguments += ["-dR", "-x", str(self._folder / ADMIN_SOCKET)]
        elif old is not None:
            arguments += ["-dR", "-x", str(self._folder / SPARE_SOCKET)]
        child = subprocess.Popen(  # noqa: S603 - HAProxy
            arguments,
            stdin=subprocess.DEVNULL,
            # It ends with this process: nothing would ever make it accept connections, and the
            # port would remain in use.
            preexec_fn=lambda: _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL),
        )
        if not wait_for(self._admin, child.pid):
            log(f"the spare {child.pid} did not start")
            child.kill()
            child.wait()
            return False
        self._child, self._health = child, Health(child.pid, self._admin)
        self.accept(is_active=source is None)
        if old is not None:
            old.send_signal(signal.SIGUSR1)  # completes the requests in flight, then ends
            self._replaced.append(old)
        return True

    def accept(self, *, is_active: bool) -> None:
        """Accept connections, or none."""
        config = self._config.read_text()
        frontends = re.findall(r"^(?:frontend|listen) (\S+)", config, re.MULTILINE)
        limit = re.search(r"^ +maxconn (\d+)$", config, re.MULTILINE)
        with suppress(OSError):  # it has just ended, and is started again
            self._admin.accept(frontends, int(limit[1]) if is_active and limit else 0)

    def mark_down(self, replicas: Collection[str]) -> None:
        """Mark routers as down, in HAProxy and in the spare, until they pass a check."""
        for server in servers_of(self._config.read_text(), replicas):
            log(f"router {server} is stopped: its requests are sent to another one")
            for admin in (self._main, self._admin):
                with suppress(OSError):  # it is stopped itself, or ends
                    admin.send(f"set server {server} health down")

    def has_router(self) -> bool:
        """Return whether any router responds to the spare's checks."""
        return self._admin.has_router()

    def end(self) -> None:
        """End the spare and those before it."""
        for child in [*self._replaced, *([self._child] if self._child else [])]:
            child.kill()
            child.wait()


def keep(folder: Path, binary: str) -> None:
    """Keep a spare until the server has been shut down."""
    spare = Spare(folder, binary)
    main = Admin(folder / ADMIN_SOCKET)
    routers = Routers(folder.parent)
    serving: Serving | None = None
    health: Health | None = None
    actor_s = router_s = time.monotonic()
    retry_s = 0.0
    while True:
        now_s = time.monotonic()
        latest = read_serving(folder)
        if latest is None:
            break  # the folder has been removed
        if latest != serving:
            serving = latest
            spare.start(serving)
            health = Health(serving.process, main)
        elif not spare.is_running() and now_s >= retry_s:
            retry_s = now_s + RETRY_S
            spare.start(serving)
        if stopped := routers.newly_stopped():
            spare.mark_down(stopped)
        if health is not None:
            if not health.is_gone() and health.is_stuck():
                log(f"HAProxy {serving.process} is stopped or unresponsive: killed")
                with suppress(ProcessLookupError):
                    os.kill(serving.process, signal.SIGKILL)
            if health.is_gone():
                log(f"HAProxy {serving.process} has ended: the spare serves")
                spare.accept(is_active=True)
                health = None
        if not has_ended(serving.actor):
            actor_s = router_s = now_s
        elif now_s - actor_s > 1.0 and spare.has_router():
            router_s = now_s
        if now_s - actor_s > NO_ACTOR_S or now_s - router_s > NO_ROUTER_S:
            log("the server has been shut down")
            if health is not None:
                with suppress(ProcessLookupError):
                    os.kill(serving.process, signal.SIGTERM)
            break
        time.sleep(POLL_S)
    spare.end()


def log(event: str) -> None:
    """Write a line to the log of this process, which is a file in the node's folder."""
    print(time.strftime("%Y-%m-%d %H:%M:%S"), event, flush=True)  # noqa: T201


def main() -> None:
    """Keep the spare of a node, unless another process keeps it."""
    folder, binary = Path(sys.argv[1]), sys.argv[2]
    with (folder / "spare.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return
        keep(folder, binary)


if __name__ == "__main__":
    main()
