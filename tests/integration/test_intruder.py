"""Another user of the machine, who has no token, is rejected on every port of the cluster."""

import itertools
import json
import os
import subprocess
import urllib.request
from contextlib import closing
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError

import grpc
import pytest

from serve_app.launch.ray_token import PATH_VARIABLE
from testkit.paths import BIN
from testkit.sockets import listeners

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
"""One method of each service through which a stranger could run code or read data."""

WRONG_TOKEN = "0" * 64
METADATA = ((), (("authorization", f"Bearer {WRONG_TOKEN}"),))


def test_interfaces(cluster):
    """Every socket of the cluster listens on loopback."""
    found = listeners(cluster.processes())
    names = {listener.process.partition(":trading-models")[0] for listener in found}
    expected = {"gcs_server", "raylet", "haproxy", "ray::ServeReplica", "ray::DashboardAgent"}
    assert expected <= names
    assert [listener for listener in found if not listener.is_loopback] == []


def test_grpc(cluster):
    """Every gRPC server of Ray and Serve rejects a call without the token, and a wrong one."""
    rejecting = set()
    for listener in listeners(cluster.processes()):
        with closing(grpc.insecure_channel(f"127.0.0.1:{listener.port}")) as channel:
            for method, metadata in itertools.product(GRPC_METHODS, METADATA):
                code = status_of(channel, method, metadata)
                assert code is not grpc.StatusCode.OK, (listener, method)
                if code is grpc.StatusCode.UNAUTHENTICATED:
                    rejecting.add((listener.process, method))
                elif code is not grpc.StatusCode.UNIMPLEMENTED:
                    break  # the port speaks another protocol
    assert {method for _process, method in rejecting} == set(GRPC_METHODS)
    replicas = {process for process, _method in rejecting if "ServeReplica" in process}
    assert len(replicas) == 5  # a router, the fleet and three versions


def status_of(channel, method, metadata):
    try:
        channel.unary_unary(method)(b"", timeout=2, metadata=metadata)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


@pytest.mark.parametrize("token", [None, WRONG_TOKEN])
def test_job_api(cluster, tmp_path, token):
    """No port starts a command for a caller without the token; with it, the dashboard responds."""
    ran = tmp_path / "ran"
    statuses = {}
    for listener in listeners(cluster.processes()):
        for path in ("/api/jobs/", "/api/job_agent/jobs/", "/api/serve/applications/"):
            url = f"http://127.0.0.1:{listener.port}{path}"
            headers = {"Content-Type": "application/json"}
            if token is not None:
                headers["Authorization"] = f"Bearer {token}"
            body = json.dumps({"entrypoint": f"touch {ran}"}).encode()
            status = http_status(url, headers, body)
            assert status is None or status >= 400, listener
            statuses.setdefault(status, set()).add((listener.port, path))
    rejected = 401 if token is None else 403
    assert (cluster.dashboard_port, "/api/jobs/") in statuses[rejected]
    assert any(path == "/api/job_agent/jobs/" for _port, path in statuses[rejected])
    assert not ran.exists()
    states = f"http://127.0.0.1:{cluster.dashboard_port}/api/serve/applications/"
    assert http_status(states, cluster.token_headers()) == 200


def http_status(url, headers, body=None):
    """Return the status of the response; None if the port speaks another protocol."""
    request = urllib.request.Request(url, body, headers)
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            return response.status
    except HTTPError as error:
        return error.code
    except (OSError, HTTPException):
        return None


def test_channels(cluster):
    """A replica's channel closes the connection of a caller that does not know its token."""
    model_servers = [
        listener for listener in listeners(cluster.processes()) if "ModelServer" in listener.process
    ]
    assert model_servers
    for listener in model_servers:
        status = http_status(f"http://127.0.0.1:{listener.port}/", {}, b"{}")
        assert status in {None, 404}, listener


def test_other_token(cluster, tmp_path):
    """`modelctl` of a user with another token is rejected, and changes nothing."""
    other = tmp_path / "ray_token"
    other.write_text(WRONG_TOKEN)
    done = subprocess.run(
        [BIN / "modelctl", "list", "--server", cluster.address],
        env={**os.environ, PATH_VARIABLE: str(other)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "rejects the token" in done.stderr


def test_secrecy(cluster):
    """The token is in no argument, environment or log file of the cluster, and its file is 0600."""
    path = Path(cluster.client_environment[PATH_VARIABLE])
    token = path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    for process in cluster.processes():
        assert token not in " ".join(process.cmdline())
        assert token not in str(environment_of(process))
    logs = [log for log in (cluster.folder / "ray").rglob("*") if log.is_file()]
    assert len(logs) > 10
    assert [log for log in logs if token.encode() in log.read_bytes()] == []


def environment_of(process):
    try:
        return Path(f"/proc/{process.pid}/environ").read_bytes()
    except OSError:
        return b""
