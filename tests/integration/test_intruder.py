"""Another user of the machine, who has no token, is rejected on every port of the cluster."""

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from serve_app.launch.ray_token import PATH_VARIABLE
from testkit.intruder import GRPC_METHODS, WRONG_TOKEN, http_status, rejected_calls
from testkit.paths import BIN
from testkit.sockets import listeners


def test_interfaces(cluster):
    """Every socket of the cluster listens on loopback."""
    expected = {"gcs_server", "raylet", "haproxy", "ray::ServeReplica", "ray::DashboardAgent"}
    deadline_s = time.monotonic() + 20
    names = set()
    while not expected <= names:  # HAProxy may be replaced by its successor just now
        assert time.monotonic() < deadline_s, names
        found = listeners(cluster.processes())
        names = {listener.process.partition(":trading-models")[0] for listener in found}
    assert [listener for listener in found if not listener.is_loopback] == []


def test_grpc(cluster):
    """Every gRPC server of Ray and Serve rejects a call without the token, and a wrong one."""
    rejecting = rejected_calls(listeners(cluster.processes()))
    assert {method for _listener, method in rejecting} == set(GRPC_METHODS)
    names = {listener.process for listener, _method in rejecting}
    # A router, the fleet and three versions.
    assert len({name for name in names if "ServeReplica" in name}) == 5


@pytest.mark.parametrize("token", [None, WRONG_TOKEN])
def test_job_api(cluster, tmp_path, token):
    """No port starts a command for a caller without the token; with it, the dashboard responds."""
    ran = tmp_path / "ran"
    statuses = {}
    for listener in listeners(cluster.processes()):
        for path in ("/api/jobs/", "/api/job_agent/jobs/", "/api/serve/applications/"):
            url = f"{listener.url}{path}"
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


def test_channels(cluster):
    """A replica's channel closes the connection of a caller that does not know its token."""
    model_servers = [
        listener for listener in listeners(cluster.processes()) if "ModelServer" in listener.process
    ]
    assert model_servers
    for listener in model_servers:
        status = http_status(f"{listener.url}/", {}, b"{}")
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
        assert token.encode() not in file_of_process(process, "cmdline")
        assert token.encode() not in file_of_process(process, "environ")
    logs = [log for log in (cluster.folder / "ray").rglob("*") if log.is_file()]
    assert len(logs) > 10
    assert [log for log in logs if token.encode() in log.read_bytes()] == []


def file_of_process(process, name):
    """Return a file below /proc; it is empty if the process has ended."""
    try:
        return Path(f"/proc/{process.pid}/{name}").read_bytes()
    except OSError:
        return b""
