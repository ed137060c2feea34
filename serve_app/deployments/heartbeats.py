"""Replies to heartbeats from a thread of its own, so that a slow process is not taken for a stopped
one.

A process whose event loop runs a model, or parses a large body, replies to nothing meanwhile. The
thread still does, so that a missing reply means that the whole process is stopped, or gone. Routers
send heartbeats to the replicas of models, HAProxy to the routers.
"""

import asyncio
import logging
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

logger = logging.getLogger(__name__)

QUESTION, REPLY = b"?", b"!"
"""The heartbeat of a router and its reply. Anything else on a port of the network ends the
connection, since other programs reach it as well; HAProxy's socket is a private file."""

ALIVE = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
STALLED = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"

STALLED_S = 3.0
"""Time without a turn of the event loop after which the process counts as unresponsive; longer than
the longest run of a model or decoding of a body."""

TURN_PERIOD_S = 0.5
"""Period at which the event loop states that it turns."""

MAX_CONNECTIONS = 256
"""Connections for heartbeats; a further one is closed at once."""

FOLDER_VARIABLE = "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC"
DEFAULT_CONFIG = "/tmp/haproxy-serve/haproxy.cfg"  # noqa: S108  Ray's default


class HeartbeatServer:
    """Replies to heartbeats as long as the running loop turns: HAProxy's are requests of HTTP.

    Args:
        listeners: sockets that listen; they are closed with the process.
        clock: seconds of a monotonic clock.
    """

    def __init__(
        self, *listeners: socket.socket, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._selector = selectors.DefaultSelector()
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        for listener in listeners:
            listener.setblocking(False)
            self._selector.register(listener, selectors.EVENT_READ, data=True)
        self._turn()
        threading.Thread(target=self._serve_forever, name="heartbeats", daemon=True).start()

    def _turn(self) -> None:
        self._turned_s = self._clock()
        self._loop.call_later(TURN_PERIOD_S, self._turn)

    def _serve_forever(self) -> None:
        while True:
            for key, _ in self._selector.select():
                connection = key.fileobj
                assert isinstance(connection, socket.socket)
                if key.data:
                    self._accept(connection)
                else:
                    self._reply(connection)

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except OSError:  # closed by its peer, or no descriptor is left: the peer tries again
            return
        if len(self._selector.get_map()) > MAX_CONNECTIONS:
            connection.close()
            return
        connection.setblocking(False)
        self._selector.register(connection, selectors.EVENT_READ, data=False)

    def _reply(self, connection: socket.socket) -> None:
        has_turned = self._clock() - self._turned_s < STALLED_S
        try:
            received = connection.recv(4096)
            if received == QUESTION:
                if has_turned:
                    connection.send(REPLY)
                return
            if received and connection.family == socket.AF_UNIX:
                connection.send(ALIVE if has_turned else STALLED)
                return
        except OSError:  # reset by its peer, which no longer waits for the reply
            pass
        self._selector.unregister(connection)
        connection.close()


def listener_for_haproxy(replica: str) -> socket.socket | None:
    """Return a socket for the heartbeats of this node's HAProxy; None if there can be none.

    HAProxy then checks the router's HTTP server, less often. `serve_app.launch.haproxy` enters the
    path into HAProxy's configuration.
    """
    folder = Path(os.environ.get(FOLDER_VARIABLE, DEFAULT_CONFIG)).parent
    # The process id, by which haproxy_spare.py finds out that this process is stopped.
    path = folder / f"{replica}.{os.getpid()}.alive"
    listener = socket.socket(socket.AF_UNIX)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            path.unlink()
        listener.bind(str(path))
        listener.listen()
    except OSError as error:
        listener.close()
        logger.warning("no heartbeats for HAProxy at %s: %s", path, error)
        return None
    return listener


def listener_for_routers(host: str) -> socket.socket | None:
    """Return a socket for the heartbeats of routers on a free port; None if there can be none."""
    try:
        return socket.create_server((host, 0), family=_family(host))
    except OSError as error:
        logger.warning("no heartbeats for routers on %s: %s", host, error)
        return None


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
