"""The registry actor of a real cluster: its crashes, its operators, its other nodes."""

import hashlib
import json
import os
import signal
import subprocess
import sys

import pytest

from serve_app.launch.ray_token import PATH_VARIABLE
from testkit.cluster import free_ports
from testkit.paths import BIN, ROOT
from tests.integration.conftest import NAME, serving_args

ALL = {f"{NAME}:{version}" for version in ("1.0.0", "1.1.0", "1.2.0")}


@pytest.fixture
def modelctl(cluster):
    """Run a command against the cluster; with `refused` it is to end with exit code 1."""

    def run(*arguments, refused=False):
        done = subprocess.run(
            [BIN / "modelctl", *arguments, "--server", cluster.address],
            env={**os.environ, PATH_VARIABLE: cluster.client_environment[PATH_VARIABLE]},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == int(refused), (done.stdout, done.stderr)
        return done

    return run


@pytest.fixture
def query(modelctl):
    """Run a command and return its JSON; anything else on stdout fails."""

    def run(*arguments):
        return json.loads(modelctl(*arguments, "--json").stdout)

    return run


def kill(cluster):
    """SIGKILL the registry actor."""
    process = cluster.registry_actor()
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=10)


def drive(cluster, code):
    """Start a separate Ray driver, which runs `code`."""
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env=cluster.environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_killed_actor(cluster, query):
    """A killed registry actor restarts with its state."""
    before = query("list")
    assert {entry["version"]: entry["stage"] for entry in before} == {
        "1.0.0": "Production",
        "1.1.0": "Staging",
        "1.2.0": "None",
    }
    killed = cluster.registry_actor()
    kill(cluster)
    assert query("list") == before
    assert cluster.registry_actor().pid != killed.pid


def test_promote_and_roll_back(cluster, query, registry):
    """An operator promotes and rolls back through the cluster, and the history names the
    operator."""
    assert (
        query("promote", NAME, "1.1.0", "--by", "olga", "--reason", "candidate")["version"]
        == "1.1.0"
    )
    assert query("show", NAME, "production")["version"] == "1.1.0"
    assert query("rollback", NAME)["version"] == "1.0.0"
    assert query("stage", NAME, "1.1.0")["stage"] == "Staging"
    promoted, rolled_back, staged = query("history", NAME)[-3:]
    assert (promoted["action"], promoted["by"], promoted["reason"]) == (
        "promoted",
        "olga",
        "candidate",
    )
    assert (rolled_back["action"], rolled_back["version"]) == ("rolled back", "1.0.0")
    assert staged["action"] == "staged"
    assert query("verify") == []


def test_register_and_delete(cluster, query, folder):
    """A version's files are sent to the cluster, and a version can be deleted."""
    path = str(folder / "1.0.0.onnx")
    info = query("register", "sent", "0.1.0", path, "--type", "HybridCNNLSTM", "--metric", "f1=0.5")
    digest = hashlib.sha256((folder / "1.0.0.onnx").read_bytes()).hexdigest()
    assert info["artifacts"] == {"model.onnx": digest}
    assert info["path"] == str(folder / "models" / "sent" / "v0.1.0")
    assert query("delete", "sent", "0.1.0", "--yes")["deleted"]
    assert "sent" not in {entry["name"] for entry in query("list")}


def test_rejections(modelctl):
    """The registry's own error reaches the operator."""
    for arguments, problem in {
        ("show", NAME, "9.9.9"): "error: model 'hybrid_cnn_lstm' has no version '9.9.9'; its",
        ("promote", "absent", "1.0.0"): "error: no model 'absent' in the registry; registered",
        ("history", "../x"): "error: invalid model name '../x'",
        ("retire", NAME, "1.0.0"): "error: cannot retire version 1.0.0",
    }.items():
        done = modelctl(*arguments, "--json", refused=True)
        assert done.stdout == ""
        assert done.stderr.startswith(problem)
        assert done.stderr.count("\n") == 1


def test_no_cluster():
    """Without a cluster at the address the error names the remedy."""
    (port,) = free_ports(1)
    done = subprocess.run(
        [BIN / "modelctl", "list", "--server", f"127.0.0.1:{port}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert f"error: no Ray cluster at 127.0.0.1:{port}" in done.stderr


CHANGES = 150
CHANGING = f"""
import asyncio
from serve_app.deployments.actors.errors import InterruptedChangeError
from serve_app.deployments.actors.registry_client import connect

async def change(remote):
    for i in range({CHANGES}):
        try:
            await remote.update_metrics("{NAME}", "1.2.0", {{"tries": i}}, reason=f"try {{i}}")
        except InterruptedChangeError:
            print(i, "interrupted", flush=True)
        else:
            print(i, "done", flush=True)

with connect("auto") as remote:
    asyncio.run(change(remote))
"""


TASKS = """
import time

import ray
from ray.util.state import list_tasks

ray.init(log_to_driver=False, logging_level="ERROR")


@ray.remote(num_cpus=0)
def recorded():
    pass


ray.get(recorded.remote())
names = set()
while "recorded" not in names:  # sent to the GCS once per second
    time.sleep(0.2)
    names = {task.name for task in list_tasks(limit=10_000)}
print(*names, sep="\\n")
"""


def test_calls_in_gcs(cluster):
    """The GCS records no calls of our actors, which would fill its memory, as it does tasks."""
    with drive(cluster, TASKS) as driver:
        names, errors = driver.communicate(timeout=120)
    assert "recorded" in names, errors
    assert [name for name in names.split() if name.startswith(("Registry", "ExperimentLog"))] == []


def test_kills_during_changes(cluster, query):
    """Kills during changes lose none and repeat none."""
    ends = {}
    with drive(cluster, CHANGING) as changing:
        for line in changing.stdout:
            number, end = line.split()
            ends[int(number)] = end
            if int(number) in (20, 57, 103):
                kill(cluster)
        assert changing.wait(timeout=60) == 0, changing.stderr.read()
    assert sorted(ends) == list(range(CHANGES))
    reasons = [entry["reason"] for entry in query("history", NAME)]
    for number, end in ends.items():
        times = reasons.count(f"try {number}")
        assert times == 1 if end == "done" else times <= 1, (number, end, times)
    assert query("repair")["left"] == []  # a dead writer may leave an unfinished file
    assert query("verify") == []
    assert query("show", NAME, "production")["version"] == "1.0.0"


def test_deploy_and_shutdown(cluster, query):
    """The actor survives `serve deploy` and `serve shutdown`."""
    process = cluster.registry_actor()
    before = query("list")
    cluster.deploy(serving_args())
    cluster.wait_until_serving(ALL)
    assert cluster.registry_actor() == process
    try:
        cluster.shutdown()
        assert query("list") == before
        assert cluster.registry_actor() == process
    finally:
        cluster.deploy(serving_args())
        cluster.wait_until_serving(ALL)
    assert cluster.registry_actor() == process
