"""Ports are looked at before anything starts, and whoever holds one is named."""

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
def test_a_taken_port_is_refused_with_its_holder_and_the_remedy(listener, host):
    port = port_of(listener, host)
    with pytest.raises(PortTakenError) as caught:
        check_ports([port])
    assert f"port {port.number} (HTTP) is taken by" in str(caught.value)
    assert f"(pid {os.getpid()}); stop it with `kill {os.getpid()}`" in str(caught.value)
    assert "or choose another port with http_options.port" in str(caught.value)


def test_a_port_that_its_holder_would_share_is_taken():
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        server.bind(("127.0.0.1", 0))
        server.listen()
        with pytest.raises(PortTakenError):
            check_ports([port_of(server)])


def test_a_free_port_stays_free(listener):
    port = port_of(listener)
    listener.close()
    check_ports([port])
    check_ports([port])


def test_connections_of_a_server_that_has_ended_do_not_count(listener):
    port = port_of(listener)
    with socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        accepted.close()  # the side that closes first keeps the port for a while
    listener.close()
    check_ports([port])


def test_an_address_of_another_machine_is_refused():
    port = Port(number=8001, host="203.0.113.7", purpose="HTTP", setting="http_options.host")
    with pytest.raises(PortRefusedError, match=r"cannot listen on 203\.0\.113\.7:8001 \(HTTP\)"):
        check_ports([port])


def test_with_haproxy_its_ports_are_needed_too():
    environment = {"RAY_SERVE_ENABLE_HA_PROXY": "1", "RAY_SERVE_HAPROXY_STATS_PORT": "8999"}
    ports = needed_ports(CONFIG, environment)
    assert [each.number for each in ports] == [8001, 8999, 9101, 8500]
    assert ports[0].setting == "http_options.port in serve_config.yaml"
    assert ports[1].setting == "the environment variable RAY_SERVE_HAPROXY_STATS_PORT"


def test_without_haproxy_only_the_http_port_is_needed():
    assert [each.number for each in needed_ports(CONFIG, {})] == [8001]


@pytest.mark.parametrize("value", ["-1", "0", "65536", "8404.5", ""])
def test_a_variable_that_is_no_port_is_named(value):
    environment = {"RAY_SERVE_ENABLE_HA_PROXY": "1", "RAY_SERVE_HAPROXY_STATS_PORT": value}
    with pytest.raises(ConfigError, match="RAY_SERVE_HAPROXY_STATS_PORT: expected a port number"):
        needed_ports(CONFIG, environment)
