"""The time from `serve run`, without a running Ray, to the first prediction.

In an environment of its own with the `server` extra alone, as on a machine that serves: Ray imports
pandas and pyarrow in each of its processes where it finds them.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from urllib.error import URLError

import psutil
import yaml

from benchmarks.environments import environment
from benchmarks.serving import NAME, Server, settings
from benchmarks.serving_peers.checking import RefusedError, ask
from benchmarks.serving_peers.requests import as_json, windows
from serve_app.launch.process_tree import MARKER, ProcessTree
from testkit.cluster import Cluster, with_children
from testkit.paths import ROOT

TIMEOUT_S = 120.0
POLL_S = 0.02
STOP_GRACE_S = 15.0


def measure_cold_start(model: Path) -> float:
    """Return the seconds until the first prediction of the default graph.

    Raises:
        PeerUnavailableError: the environment cannot be made.
        TimeoutError: there was none; with what the server wrote.
    """
    serve = _environment() / "serve"
    folder = Path(tempfile.mkdtemp(prefix="tb-"))
    try:
        cluster = Cluster(folder)
        prepared = Server(cluster)
        prepared.register("1.0.0", 0, model)
        asyncio.run(prepared.registry.promote_to_production(NAME, "1.0.0"))
        config = {
            "http_options": {"host": "127.0.0.1", "port": cluster.http_port},
            "applications": [
                {
                    "name": "trading-models",
                    "route_prefix": "/",
                    "import_path": "serve_app.app:build",
                    "args": settings([{"version": "production"}]),
                }
            ],
        }
        (folder / "serve_config.yaml").write_text(yaml.safe_dump(config))
        # The cluster is separate from any other on the machine.
        variables = {**cluster.environment, "RAY_ADDRESS": "local"}
        return _first_answer_s(serve, folder, cluster.url, variables)
    finally:
        shutil.rmtree(folder)


def _environment() -> Path:
    """Return the folder of the environment's commands."""
    lock, project = ROOT / "requirements.lock", ROOT / "pyproject.toml"
    requirements = ["--constraint", str(lock), "--editable", f"{ROOT}[server]"]
    return environment("server", requirements, [lock.read_text(), project.read_text()]).parent


def _first_answer_s(serve: Path, folder: Path, url: str, variables: Mapping[str, str]) -> float:
    request = as_json(windows(1)[0])
    tree = ProcessTree(uuid.uuid4().hex)
    log = folder / "serve.log"
    with log.open("w") as output:
        began_s = time.monotonic()
        child = subprocess.Popen(  # noqa: S603 - our own server
            [serve, "run", "serve_config.yaml"],
            cwd=folder,
            env={**variables, MARKER: tree.launch},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            while True:
                try:
                    ask(url, request)
                except (URLError, ConnectionError, RefusedError):
                    elapsed_s = time.monotonic() - began_s
                    if child.poll() is not None or elapsed_s > TIMEOUT_S:
                        raise TimeoutError(
                            f"no answer after {elapsed_s:.0f} s: {log.read_text()[-2000:]}"
                        ) from None
                    time.sleep(POLL_S)
                else:
                    return time.monotonic() - began_s
        finally:
            _end(child, tree)


def _end(child: "subprocess.Popen[bytes]", tree: ProcessTree) -> None:
    everything = with_children(tree.members())
    if child.poll() is None:
        os.kill(child.pid, signal.SIGINT)
    psutil.wait_procs(everything, timeout=STOP_GRACE_S)
    # Serve may just have started another HAProxy, for a router that was ready.
    everything = list({*everything, *with_children(tree.members())})
    for process in everything:
        if process.is_running():
            process.kill()
    _, alive = psutil.wait_procs(everything, timeout=10)
    child.wait()
    assert not alive, alive
