"""The check of the ports before Ray starts."""

import os
import socket
from pathlib import Path

import pytest

from serve_app.launch.config import ServeConfig
from serve_app.launch.errors import ConfigError, PortRefusedError, PortTakenError
from serve_app.launch.ports import Port, check_ports, needed_ports

CONFIG = ServeConfig(path=Path("/srv/serve_config.yaml"), host="127.0.0.1", port=8001)


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def port_of(server, host="127.0.0.1"):
    number = server.getsockname()[1]
    return Port(number=number, host=host, purpose="HTTP", setting="http_options.port")


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_port_in_use(listener, host):
    """A port in use is rejected with the process that holds it and the remedy."""
    port = port_of(listener, host)
    with pytest.raises(PortTakenError) as caught:
        check_ports([port])
    assert f"port {port.number} (HTTP) is in use by" in str(caught.value)
    assert f"(pid {os.getpid()}); stop it with `kill {os.getpid()}`" in str(caught.value)
    assert "or choose another port with http_options.port" in str(caught.value)


def test_shared_port():
    """A port that another process has opened for sharing is in use."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        server.bind(("127.0.0.1", 0))
        server.listen()
        with pytest.raises(PortTakenError):
            check_ports([port_of(server)])


def test_free_port(listener):
    """The check leaves a free port free."""
    port = port_of(listener)
    listener.close()
    check_ports([port])
    check_ports([port])


def test_ended_server(listener):
    """Connections of a server that has ended do not block its port."""
    port = port_of(listener)
    with socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        accepted.close()  # the port stays in TIME_WAIT on the side that closes first
    listener.close()
    check_ports([port])


def test_foreign_address():
    """The address of another machine is rejected."""
    port = Port(number=8001, host="203.0.113.7", purpose="HTTP", setting="http_options.host")
    with pytest.raises(PortRefusedError, match=r"cannot listen on 203\.0\.113\.7:8001 \(HTTP\)"):
        check_ports([port])


def test_haproxy_ports():
    """With HAProxy, its ports are required as well."""
    environment = {"RAY_SERVE_ENABLE_HA_PROXY": "1", "RAY_SERVE_HAPROXY_STATS_PORT": "8999"}
    ports = needed_ports(CONFIG, environment)
    assert [port.number for port in ports] == [8001, 8999, 9101, 8500]
    assert ports[0].setting == "http_options.port in serve_config.yaml"
    assert ports[1].setting == "the environment variable RAY_SERVE_HAPROXY_STATS_PORT"


def test_http_port():
    """Without HAProxy, only the HTTP port is required."""
    assert [port.number for port in needed_ports(CONFIG, {})] == [8001]


@pytest.mark.parametrize("value", ["-1", "0", "65536", "8404.5", ""])
def test_invalid_variable(value):
    """A variable that is not a port number is reported by name."""
    environment = {"RAY_SERVE_ENABLE_HA_PROXY": "1", "RAY_SERVE_HAPROXY_STATS_PORT": value}
    with pytest.raises(ConfigError, match="RAY_SERVE_HAPROXY_STATS_PORT: expected a port number"):
        needed_ports(CONFIG, environment)
