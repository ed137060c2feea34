"""The peers: each in its own environment, on a free port, with all its processes known."""

import os
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.environments import environment, read_requirements
from benchmarks.serving_peers.checking import is_answering
from benchmarks.serving_peers.running import Running
from serve_app.launch.process_tree import MARKER, ProcessTree
from testkit.cluster import free_ports

FOLDER = Path(__file__).parent
STARTUP_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """The command and the packages of a peer."""

    requirements: str
    """The name of the file with its pinned packages."""
    arguments: Callable[[int, int], Sequence[str]]
    """The arguments of Python, given a port and a number of worker processes."""
    variables: Callable[[int], Mapping[str, str]] = lambda _workers: {}
    """The environment variables, given a number of worker processes."""


def _uvicorn(module: str) -> Peer:
    return Peer(
        requirements="hand_written",
        arguments=lambda port, workers: [
            *("-m", "uvicorn", f"{module}:app", "--host", "127.0.0.1", "--port", str(port)),
            *("--workers", str(workers), "--loop", "uvloop", "--http", "httptools"),
            *("--no-access-log", "--log-level", "warning"),
        ],
    )


def _litserve(max_batch_size: int) -> Peer:
    return Peer(
        requirements="litserve",
        arguments=lambda port, workers: ["lit.py", str(port), str(workers), str(max_batch_size)],
    )


def _bentoml(service: str) -> Peer:
    return Peer(
        requirements="bentoml",
        arguments=lambda port, _workers: [
            *("-m", "bentoml", "serve", f"bento:{service}"),
            *("--host", "127.0.0.1", "--port", str(port)),
        ],
        variables=lambda workers: {"WORKERS": str(workers), "BENTOML_DO_NOT_TRACK": "True"},
    )


FASTAPI = _uvicorn("plain_fastapi")
HAND_TUNED = _uvicorn("hand_tuned")
LITSERVE = _litserve(max_batch_size=1)
LITSERVE_BATCHED = _litserve(max_batch_size=8)
BENTOML = _bentoml("Predictions")
BENTOML_BATCHED = _bentoml("BatchedPredictions")


def prepare(peer: Peer) -> Path:
    """Return the Python that runs the peer; its environment is created if it is missing."""
    path = FOLDER / "requirements" / f"{peer.requirements}.txt"
    return environment(peer.requirements, read_requirements(path))


@contextmanager
def running_peer(peer: Peer, model: Path, workers: int) -> Iterator[Running]:
    """Run a peer until the context closes.

    Raises:
        PeerUnavailableError: its environment cannot be made.
        RuntimeError: it ended or did not answer in time; with what it wrote.
    """
    (port,) = free_ports(1)
    tree = ProcessTree(uuid.uuid4().hex)
    variables = {"MODEL": str(model), "OMP_NUM_THREADS": "1", MARKER: tree.launch}
    with tempfile.TemporaryFile("w+") as output:
        child = subprocess.Popen(  # noqa: S603 - our own script
            [prepare(peer), *peer.arguments(port, workers)],
            cwd=FOLDER / "servers",
            env={**os.environ, **variables, **peer.variables(workers)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        running = Running(f"http://127.0.0.1:{port}", tree.members)
        try:
            deadline_s = time.monotonic() + STARTUP_TIMEOUT_S
            while not is_answering(running.url):
                if child.poll() is not None or time.monotonic() > deadline_s:
                    output.seek(0)
                    raise RuntimeError(f"{peer} does not answer: {output.read()[-2000:]}")
                time.sleep(0.1)
            yield running
        finally:
            running.resume()
            left = tree.end(lambda: True)
            child.wait()
            assert not left, left
