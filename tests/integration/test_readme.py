"""The README's commands and snippets, run unchanged except for ports and folders."""

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid

import psutil
import yaml

from serve_app.api.rest import schemas
from serve_app.launch.process_tree import ProcessTree, launched_by
from testkit.cluster import free_ports, haproxy_ports, with_children
from testkit.environment import shell_environment
from testkit.paths import ROOT
from testkit.snippets import SERVER_URL, page, run, run_python, run_shell
from testkit.sockets import listeners
from tests.integration.conftest import NAME

README = page("README.md")


def test_curl(cluster):
    """The curl call returns the fields that the README shows."""
    command = README.block("bash", "Predict from features")
    shown = README.block("json", "Predict from features")
    response = run_shell(command.replace(SERVER_URL, cluster.url))
    schemas.PredictResponse.model_validate_json(response)
    assert list(json.loads(response)) == list(json.loads(shown))


def test_bot(cluster):
    """The bot of the README prints one direction and one confidence per bar."""
    code = README.block("python", "A bot in ten lines").replace(SERVER_URL, cluster.url)
    lines = [line.split() for line in run_python(code).splitlines()]
    assert len(lines) == 10
    assert all(int(direction) in (0, 1, 2) and 0 < float(sure) < 1 for direction, sure in lines)


def test_example_bot(cluster):
    """The bot of the example reports on every bar that it replays."""
    command = ["-m", "examples.eurusd.bot", "--bars", "50", "--url", cluster.url]
    printed = run([sys.executable, *command])
    assert re.search(r"predictions\s+│\s+50\b", printed), printed
    assert re.search(r"failed predictions\s+│\s+0\b", printed), printed
    assert f"{NAME}:1.0.0 (50)" in printed


def test_research_snippet(cluster):
    """The researchers' snippet prints a prediction of the router and one of a version."""
    code = README.block("python", "From Python, inside the cluster")
    printed = run([sys.executable, "-c", code], environment=cluster.client_environment)
    response, prediction = printed.splitlines()[-2:]
    assert "'model_version': '1.1.0'" in response
    assert prediction.startswith("Prediction(direction=")


def test_promotion_and_reload(cluster, folder):
    """The README's commands promote a version, and the server follows."""
    script = README.block("bash", "Promote a version")
    environment = {
        "COLUMNS": "120",
        "MODELCTL_REGISTRY": str(folder / "models"),
        "MODELCTL_URL": cluster.url,
    }
    try:
        printed = run_shell(script, environment=environment)
    finally:
        run_shell(
            f"modelctl rollback {NAME}\n"
            f"modelctl stage {NAME} 1.1.0 --to staging\n"
            f"modelctl reload {NAME}",
            environment=environment,
        )
    assert f"{NAME}:1.1.0 is loaded; production is 1.1.0" in printed
    assert re.search(r"1\.1\.0\s+│\s+Production\s+│\s+yes\b", printed), printed


def test_experiment(cluster):
    """The README's commands create, show and stop an experiment."""
    script = README.block("bash", "Compare two versions on live requests")
    # An id is never reused, and an earlier run on this cluster may have used this one.
    script = script.replace("v1_vs_v2", f"readme-{uuid.uuid4().hex[:8]}")
    printed = run_shell(script, environment={"COLUMNS": "120", "MODELCTL_URL": cluster.url})
    assert f"runs: {NAME}:1.0.0 against {NAME}:1.1.0" in printed
    assert [line for line in printed.splitlines() if line.endswith(": continue")] == [
        "running: continue",
        "completed: continue",
    ]


def test_example_experiment(cluster):
    """The example's experiment reaches its verdict; its models are untrained, its figures noise."""
    command = ["-m", "examples.eurusd.experiment", "--bars", "100", "--mode", "mirror"]
    printed = run([sys.executable, *command, "--url", cluster.url])
    # A treatment that is too slow on a busy machine has no response to be labelled.
    assert re.search(r"with an outcome\s+│\s+100\s+│\s+\d+\b", printed), printed
    assert "Verdict: " in printed


def test_make_serve(folder, registry):
    """`make serve` serves until Ctrl-C, and the curl call that it prints works when pasted.

    The registry is filled already, and a free port replaces 8001.
    """
    commands = README.blocks("bash", "Start")
    assert [command.strip() for command in commands] == ["make serve", "make test"]
    config = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    (port,) = free_ports(1)
    config["http_options"] = {"host": "127.0.0.1", "port": port}
    # The other tests' cluster serves the folder too, and two of one name would be refused.
    config["applications"][0]["name"] = "another"
    config["applications"][0]["args"]["registry_root"] = str(folder / "models")
    path = ROOT / f".test-{port}.yaml"
    path.write_text(yaml.safe_dump(config))
    with subprocess.Popen(
        ["make", "serve", f"CONFIG={path.name}", f"REGISTRY={folder / 'models'}"],
        env={**shell_environment(), **haproxy_ports()},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as server:
        try:
            printed = list(
                itertools.takewhile(lambda line: not line.startswith("Stop it"), server.stdout)
            )
            curl = next(line for line in printed if line.startswith("Try it:"))
            command = ["bash", "-ec", curl.removeprefix("Try it:")]
            answer = subprocess.run(command, capture_output=True, cwd="/", check=True)
            schemas.PredictResponse.model_validate_json(answer.stdout)
            assert [found for found in sockets_of(server.pid) if not found.is_loopback] == []
        finally:
            path.unlink()
            os.killpg(server.pid, signal.SIGINT)  # as a terminal does
        assert server.stdout.read().rstrip().endswith("Stopped.")


def sockets_of(pid):
    """Return the sockets of the launch that a process has started."""
    children = psutil.Process(pid).children(recursive=True)
    (launch,) = {launched_by(child) for child in children} - {None}
    expected = {"gcs_server", "raylet", "haproxy", "ray::ServeReplica"}
    deadline_s = time.monotonic() + 20
    names = set()
    while not expected <= names:  # HAProxy may be replaced by its successor just now
        assert time.monotonic() < deadline_s, names
        found = listeners(with_children(ProcessTree(launch).members()))
        names = {listener.process.partition(":another")[0] for listener in found}
    return found


def test_ci_commands():
    """`.ci/run` calls exactly the README's commands: `make check` and `make test`."""
    script = (ROOT / ".ci" / "run").read_text()
    assert "`make check`" in README.text
    test = README.blocks("bash", "Start")[1].strip()
    assert re.findall(r"^.*\bmake\b.*$", script, flags=re.MULTILINE) == ["make check", test]
