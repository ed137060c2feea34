"""The interface of Serve's gRPC server in a replica.

Serve opens one server per replica, for calls through handles, on every interface of the machine.
Other nodes reach it on the node's address, which suffices, and which is loopback on one machine.
Serve has no setting for it, so this module replaces the function with which Serve opens the port; a
release of Serve without the function starts no replica.
"""

import ray
from ray._common.tls_utils import add_port_to_grpc_server
from ray.serve._private import replica as serve_replica

FUNCTION = "add_port_to_grpc_server"
EVERY_INTERFACE = "[::]:0"


def listen_on_node_address() -> None:
    """Make the gRPC server of this process's replica listen on the node's address only.

    A deployment calls it in its constructor, after which Serve opens the port.

    Raises:
        RuntimeError: Serve opens the port by another function.
    """
    if not hasattr(serve_replica, FUNCTION):
        raise RuntimeError(
            f"ray.serve._private.replica: expected the function {FUNCTION}, found none, so that "
            f"the replica's gRPC server would listen on every interface; install the locked Ray"
        )
    setattr(serve_replica, FUNCTION, _add_port)


def _add_port(server: object, address: str) -> int:
    if address == EVERY_INTERFACE:
        host = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
        address = f"[{host}]:0" if ":" in host else f"{host}:0"
    port: int = add_port_to_grpc_server(server, address)  # type: ignore[no-untyped-call]
    return port
