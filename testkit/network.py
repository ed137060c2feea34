"""Two nodes of a cluster in separate network namespaces, and the link between them.

Each has an address of its own that survives a cut, as on two machines whose cable is unplugged.
Requires root.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from testkit.cluster import FAR_MARKER, Cluster, free_ports
from testkit.paths import BIN

NAMESPACE = "tradeserve-far"
HEAD, FAR = "10.213.2.1", "10.213.2.2"
_NEAR_LINK, _FAR_LINK = "tradeserve-near", "tradeserve-far"

_SET_UP = f"""
ip netns add {NAMESPACE}
ip link add {_NEAR_LINK} type veth peer name {_FAR_LINK} netns {NAMESPACE}
ip address add 10.213.1.1/30 dev {_NEAR_LINK}
ip address add {HEAD}/32 dev lo
ip link set {_NEAR_LINK} up
ip -n {NAMESPACE} address add 10.213.1.2/30 dev {_FAR_LINK}
ip -n {NAMESPACE} address add {FAR}/32 dev lo
ip -n {NAMESPACE} link set lo up
"""
_CONNECT = f"""
ip -n {NAMESPACE} link set {_FAR_LINK} up
ip -n {NAMESPACE} route replace {HEAD}/32 via 10.213.1.1 src {FAR}
ip route replace {FAR}/32 via 10.213.1.2 src {HEAD}
"""
_TEAR_DOWN = f"""
ip link delete {_NEAR_LINK}
ip address delete {HEAD}/32 dev lo
ip netns delete {NAMESPACE}
"""


def cut() -> None:
    """Cut the link: it transports nothing, and neither side is notified."""
    _run(f"ip -n {NAMESPACE} link set {_FAR_LINK} down")


def connect() -> None:
    """Restore the link."""
    _run(_CONNECT)


@contextmanager
def two_hosts() -> Iterator[None]:
    """Connect this host's namespace with another one."""
    with suppress(subprocess.CalledProcessError):
        _run(_TEAR_DOWN)  # of a run that was killed
    try:
        _run(_SET_UP)
        _run(_CONNECT)
        yield
    finally:
        _run(_TEAR_DOWN)


@contextmanager
def supervised_node(cluster: Cluster, folder: Path) -> Iterator[None]:
    """Run a node in the other namespace; when it ends it is started again, as systemd does."""
    agent_grpc, agent_http, metrics = free_ports(3)
    start = (
        f"{BIN}/ray start --block --address={cluster.address} --node-ip-address={FAR} --num-cpus=4"
        f" --object-store-memory=100000000 --metrics-export-port={metrics}"
        f" --dashboard-agent-grpc-port={agent_grpc} --dashboard-agent-listen-port={agent_http}"
    )
    script = f"while true; do {start} --temp-dir={folder}/ray-$RANDOM; sleep 1; done"
    command = ["ip", "netns", "exec", NAMESPACE, "bash", "-c", script]
    environment = {**cluster.environment, "TMPDIR": str(folder), FAR_MARKER: str(cluster.folder)}
    with (folder / "ray.log").open("wb") as log:
        node = subprocess.Popen(
            command, cwd=cluster.folder, env=environment, stdout=log, stderr=log
        )
        try:
            yield
        finally:
            supervisor = psutil.Process(node.pid)
            members = [supervisor, *supervisor.children(recursive=True)]
            for process in members:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(members, timeout=10)


def _run(script: str) -> None:
    subprocess.run(["bash", "-c", f"set -e\n{script}"], check=True, stderr=sys.stderr)
