"""The commands of the liveness probes, executed against a real cluster."""

import signal
import subprocess

import pytest
import yaml

from testkit.paths import ROOT


@pytest.fixture(scope="module")
def probes():
    """The commands of the head's probe and of the workers'."""
    path = ROOT / "deploy" / "kubernetes" / "rayservice.yaml"
    cluster = yaml.safe_load(path.read_text())["spec"]["rayClusterConfig"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    containers = [group["template"]["spec"]["containers"][0] for group in groups]
    return [container["livenessProbe"]["exec"]["command"] for container in containers]


def succeeds(cluster, command):
    """Execute a probe with the ports of this cluster; return whether it succeeds."""
    *shell, script = command
    for default, port in ((52365, cluster.agent_port), (8265, cluster.dashboard_port)):
        script = script.replace(f":{default}/", f":{port}/")
    return subprocess.run([*shell, script], check=False, timeout=30).returncode == 0


def test_probes(cluster, probes):
    """The probes succeed on a healthy cluster; that of the head fails while the GCS is stopped."""
    assert [succeeds(cluster, probe) for probe in probes] == [True, True]
    (gcs,) = [process for process in cluster.processes() if process.name() == "gcs_server"]
    gcs.send_signal(signal.SIGSTOP)
    try:
        assert not succeeds(cluster, probes[0])
    finally:
        gcs.send_signal(signal.SIGCONT)
    assert [succeeds(cluster, probe) for probe in probes] == [True, True]
