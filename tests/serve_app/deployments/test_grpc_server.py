"""The interface of Serve's gRPC server in a replica."""

import inspect

import grpc
import pytest
import ray
from ray.serve._private import replica

from serve_app.deployments.grpc_server import EVERY_INTERFACE, FUNCTION, listen_on_node_address


@pytest.fixture
def opened(monkeypatch):
    """The addresses on which a server is opened, on a node with a loopback address."""
    monkeypatch.setattr(replica, FUNCTION, getattr(replica, FUNCTION))
    monkeypatch.setattr(ray.util, "get_node_ip_address", lambda: "127.0.0.1")
    addresses = []

    class Server:
        def add_insecure_port(self, address):
            addresses.append(address)
            server = grpc.server(None)
            try:
                return server.add_insecure_port(address)
            finally:
                server.stop(0)

    listen_on_node_address()
    port = getattr(replica, FUNCTION)(Server(), EVERY_INTERFACE)
    assert port > 0
    return addresses


def test_node_address(opened):
    """The server listens on the node's address, on a free port."""
    assert opened == ["127.0.0.1:0"]


def test_serve_opens_it_so():
    """Serve opens the port by the function that is replaced, with the address that is replaced."""
    source = inspect.getsource(replica)
    assert f'{FUNCTION}(self._server, "{EVERY_INTERFACE}")' in source


def test_changed_serve(monkeypatch):
    """With a release of Serve that opens the port otherwise, no replica starts."""
    monkeypatch.delattr(replica, FUNCTION)
    with pytest.raises(RuntimeError, match=f"expected the function {FUNCTION}, found none"):
        listen_on_node_address()
