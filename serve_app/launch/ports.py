"""Checks before Ray starts that the server can listen on its ports.

HAProxy and Ray's proxy open their ports for sharing. A second server would therefore not fail, and
the system would split the connections between the two. The check prevents this.
"""

import errno
import os
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import psutil

from serve_app.launch.config import ServeConfig
from serve_app.launch.errors import ConfigError, PortRefusedError, PortTakenError
from serve_app.launch.process_tree import launched_by


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """A port that the server opens."""

    number: int
    host: str
    purpose: str
    setting: str
    """The setting that changes the port, as an operator names it."""


HAPROXY_PORTS = (
    ("RAY_SERVE_HAPROXY_STATS_PORT", "8404", "HAProxy's statistics"),
    ("RAY_SERVE_HAPROXY_METRICS_PORT", "9101", "HAProxy's metrics"),
    ("RAY_SERVE_FALLBACK_PROXY_HTTP_PORT", "8500", "Serve's fallback proxy"),
)
"""The ports that HAProxy requires: variable, Ray's default and purpose."""


def needed_ports(config: ServeConfig, environment: Mapping[str, str]) -> list[Port]:
    """Return the ports that a server with this configuration and environment opens.

    Raises:
        ConfigError: a variable of the environment is not a port number.
    """
    http = Port(
        number=config.port,
        host=config.host,
        purpose="HTTP",
        setting=f"http_options.port in {config.path.name}",
    )
    if environment.get("RAY_SERVE_ENABLE_HA_PROXY") != "1":
        return [http]
    others = [
        Port(
            number=_port_number(config, variable, environment.get(variable, default)),
            host="0.0.0.0",  # noqa: S104 - HAProxy ignores the HTTP host for these
            purpose=purpose,
            setting=f"the environment variable {variable}",
        )
        for variable, default, purpose in HAPROXY_PORTS
    ]
    return [http, *others]


def check_ports(ports: Iterable[Port]) -> None:
    """Check that every port can be opened now.

    Raises:
        PortTakenError: a process listens on a port; the error names it if this user may see it.
        PortRefusedError: the address is not of this machine, or the port is privileged.
    """
    for port in ports:
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(
                port.host, port.number, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            with socket.socket(family, kind, protocol) as probe:
                # Otherwise the connections of a server that has just ended would count.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise _taken(port) from error
            problem = error.strerror or str(error)
            raise PortRefusedError(
                port.host, port.number, port.purpose, port.setting, problem
            ) from error


def _port_number(config: ServeConfig, variable: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and 0 < int(value) < 65536):
        problem = f"the environment variable {variable}: expected a port number, received {value!r}"
        raise ConfigError(config.path, [problem])
    return int(value)


def _taken(port: Port) -> PortTakenError:
    holder = _listener(port.number)
    if holder is None:
        words = ("a process of another user", "stop it")
    elif launched_by(holder) is not None:
        # Ray's processes restart each other; the launcher ends them all.
        words = (
            f"{holder.name()} (pid {holder.pid}) of another `modelctl serve`",
            f"stop that server with Ctrl-C, or `kill -INT {os.getsid(holder.pid)}`",
        )
    else:
        words = (f"{holder.name()} (pid {holder.pid})", f"stop it with `kill {holder.pid}`")
    return PortTakenError(port.number, port.purpose, port.setting, *words)


def _listener(port: int) -> psutil.Process | None:
    """Return the process that listens on `port`; None if this user may not see it."""
    try:
        for connection in psutil.net_connections(kind="tcp"):
            local = connection.laddr
            listens = connection.status == psutil.CONN_LISTEN and local and local.port == port
            if listens and connection.pid is not None:
                return psutil.Process(connection.pid)
    except psutil.Error:
        return None
    return None
