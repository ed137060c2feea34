"""Finds out, before Ray starts, whether the server can listen where it should.

HAProxy and Ray's proxy share a port with whoever opens it the same way: a second server would not
fail, the two would take turns answering. So the check comes first.
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
    """A port that the server is going to open."""

    number: int
    host: str
    purpose: str
    setting: str
    """What an operator changes to move it."""


HAPROXY_PORTS = (
    ("RAY_SERVE_HAPROXY_STATS_PORT", "8404", "HAProxy's statistics"),
    ("RAY_SERVE_HAPROXY_METRICS_PORT", "9101", "HAProxy's metrics"),
    ("RAY_SERVE_FALLBACK_PROXY_HTTP_PORT", "8500", "Serve's fallback proxy"),
)
"""Variable, Ray's default and purpose of the ports that come with HAProxy."""


def needed_ports(config: ServeConfig, environment: Mapping[str, str]) -> list[Port]:
    """Return the ports that a server with this configuration and environment opens.

    Raises:
        ConfigError: a variable that should hold a port number does not.
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
            host="0.0.0.0",  # noqa: S104 - where HAProxy listens, whatever the HTTP host is
            purpose=purpose,
            setting=f"the environment variable {variable}",
        )
        for variable, default, purpose in HAPROXY_PORTS
    ]
    return [http, *others]


def check_ports(ports: Iterable[Port]) -> None:
    """Return if every port can be opened now.

    Raises:
        PortTakenError: something listens there; it says who, as far as this user may know.
        PortRefusedError: no address of this machine, or a port that needs more rights.
    """
    for port in ports:
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(
                port.host, port.number, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            with socket.socket(family, kind, protocol) as probe:
                # Without it the connections of a server that has just ended would count.
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
        words = ("a process that this user may not see", "stop it")
    elif launched_by(holder) is not None:
        # Ray's parts restart each other; the one that was launched ends them all.
        words = (
            f"{holder.name()} (pid {holder.pid}) of another `modelctl serve`",
            f"stop that server with Ctrl-C, or `kill -INT {os.getsid(holder.pid)}`",
        )
    else:
        words = (f"{holder.name()} (pid {holder.pid})", f"stop it with `kill {holder.pid}`")
    return PortTakenError(port.number, port.purpose, port.setting, *words)


def _listener(port: int) -> psutil.Process | None:
    """Return the process that listens on `port`, if this user may know it."""
    try:
        for connection in psutil.net_connections(kind="tcp"):
            local = connection.laddr
            listens = connection.status == psutil.CONN_LISTEN and local and local.port == port
            if listens and connection.pid is not None:
                return psutil.Process(connection.pid)
    except psutil.Error:
        return None
    return None
