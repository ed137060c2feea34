"""Calls of an intruder, who reaches the ports of a cluster and has no token or another one."""

import itertools
import urllib.request
from collections.abc import Iterable, Mapping
from contextlib import closing
from http.client import HTTPException
from urllib.error import HTTPError

import grpc

from testkit.sockets import Listener

WRONG_TOKEN = "0" * 64

GRPC_METHODS = (
    "/ray.rpc.InternalKVGcsService/InternalKVPut",
    "/ray.rpc.NodeManagerService/RequestWorkerLease",
    "/ray.rpc.ObjectManagerService/Push",
    "/ray.rpc.CoreWorkerService/PushTask",
    "/ray.rpc.ReporterService/GetTraceback",
    "/ray.rpc.RayletDriver/KVPut",
    "/ray.serve.ASGIService/HandleRequest",
    "/ray.serve.ASGIService/HandleRequestWithRejection",
)
"""One method of each service through which an intruder could run code or read data."""


_METADATA = ((), (("authorization", f"Bearer {WRONG_TOKEN}"),))


def rejected_calls(listeners: Iterable[Listener]) -> set[tuple[Listener, str]]:
    """Call every gRPC method on every port; return the pairs whose calls were all rejected.

    Ports that speak another protocol, and services without the method, are left out.

    Raises:
        AssertionError: a call was accepted.
    """
    rejected = set()
    for listener in listeners:
        host = listener.reachable_host
        with closing(grpc.insecure_channel(f"{host}:{listener.port}")) as channel:
            for method, metadata in itertools.product(GRPC_METHODS, _METADATA):
                code = _status_of(channel, method, metadata)
                assert code is not grpc.StatusCode.OK, f"{listener} accepts {method}"
                if code is grpc.StatusCode.UNAUTHENTICATED:
                    rejected.add((listener, method))
                elif code is not grpc.StatusCode.UNIMPLEMENTED:
                    break  # the port speaks another protocol
    return rejected


def http_status(url: str, headers: Mapping[str, str], body: bytes | None = None) -> int | None:
    """Return the status of a GET, or of a POST with a body; None without a response in HTTP."""
    request = urllib.request.Request(url, body, dict(headers))
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            status: int = response.status
            return status
    except HTTPError as error:
        return error.code
    except (OSError, HTTPException):
        return None


def _status_of(
    channel: grpc.Channel, method: str, metadata: tuple[tuple[str, str], ...]
) -> grpc.StatusCode:
    try:
        channel.unary_unary(method)(b"", timeout=2, metadata=metadata)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK
