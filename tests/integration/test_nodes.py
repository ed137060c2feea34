"""A cluster with nodes on several machines, here two nodes on one."""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from serve_app.launch.ray_token import PATH_VARIABLE
from testkit.cluster import Cluster
from testkit.intruder import WRONG_TOKEN, http_status, rejected_calls
from testkit.paths import BIN, ROOT
from testkit.sockets import listeners
from tests.integration.conftest import NAME, serving_args


@pytest.fixture(scope="module")
def nodes(folder, registry):
    """A cluster that listens on the node's address, so that further nodes can join it."""
    own = Path(tempfile.mkdtemp(prefix="ts-"))
    shutil.copytree(folder / "models", own / "models", symlinks=True)
    cluster = Cluster(own, is_multi_node=True)
    try:
        cluster.start()
        cluster.deploy(serving_args(versions=[{"model": NAME, "version": "production"}]))
        cluster.wait_until_serving({f"{NAME}:1.0.0"})
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(own)


FAR = f"""
import asyncio, hashlib, json, os, sys, tempfile
from pathlib import Path
import numpy as np, ray
from ray import serve
from serve_app.deployments.backends.artifacts import fetch, node_cache
from serve_app.deployments.model_server import ModelServer
from serve_app.settings import VersionSettings

ON_IT = {{"num_cpus": 0, "resources": {{"far": 0.1}}}}
MODELS = Path(sys.argv[1])

@ray.remote(**ON_IT)
def look(registry, metadata, artifact):
    folder = Path(tempfile.gettempdir()) / f"tradeserve-artifacts-{{os.getuid()}}"
    kept = {{path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}}
    content = asyncio.run(fetch(registry, metadata, artifact, node_cache()))
    return {{
        "node": ray.get_runtime_context().get_node_id(),
        "visible": sorted(map(str, MODELS.iterdir())),
        "folder": str(folder),
        "kept_by_the_replica": kept,
        "fetched": hashlib.sha256(content).hexdigest(),
    }}

async def main():
    registry = ray.get_actor("registry:models", "serve")
    metadata = await registry.find.remote("{NAME}", "production")
    settings = VersionSettings(model="{NAME}", version=metadata.version)
    deployment = serve.deployment(name="far", ray_actor_options=ON_IT)(ModelServer)
    bound = deployment.bind(metadata, settings, "models")
    far = await asyncio.to_thread(serve.run, bound, name="far", route_prefix=None)
    try:
        prefix = f"trading-models:{NAME}:{{metadata.version}}"
        names = [name for name in serve.status().applications if name.startswith(prefix)]
        near = serve.get_app_handle(*names)
        window = np.linspace(-1, 1, 6600, dtype=np.float32).reshape(60, 110)
        there, here = await far.predict.remote(window), await near.predict.remote(window)
        assert there == here, (there, here)
        seen = await look.remote(registry, metadata, "model.onnx")
        seen["extra"] = (await look.remote(registry, metadata, "model.pt"))["fetched"]
        seen["head"] = ray.get_runtime_context().get_node_id()
        seen["artifacts"] = metadata.artifacts
        print(json.dumps(seen))
    finally:
        await asyncio.to_thread(serve.delete, "far")

ray.init(namespace="serve", log_to_driver=False)
asyncio.run(main())
"""


def test_open_ports(nodes):
    """Every port that another machine reaches requires the token, or only shows metrics."""
    reached = {found for found in listeners(nodes.processes()) if not found.is_loopback}
    rejecting = rejected_calls(reached)
    assert {method for _listener, method in rejecting} >= {
        "/ray.rpc.InternalKVGcsService/InternalKVPut",
        "/ray.rpc.CoreWorkerService/PushTask",
        "/ray.serve.ASGIService/HandleRequest",
    }
    others = reached - {listener for listener, _method in rejecting}
    for listener in others:
        status = http_status(f"{listener.url}/api/job_agent/jobs/", {}, b"{}")
        is_channel = status is None and "ModelServer" in listener.process
        assert is_channel or status in {401, 405}, listener  # 405: a page of metrics
    assert any("ModelServer" in listener.process for listener in others)


@pytest.mark.usefixtures("mount_namespaces")
def test_node_with_another_token(nodes, tmp_path):
    """A node without the token of the head cannot join, and receives no state."""
    other = tmp_path / "ray_token"
    other.write_text(WRONG_TOKEN)
    other.chmod(0o600)
    command = [BIN / "ray", "start", f"--address={nodes.address}", "--node-ip-address=127.0.0.3"]
    done = subprocess.run(
        [*command, "--num-cpus=0", f"--temp-dir={nodes.folder / 'third'}"],
        env={**nodes.environment, PATH_VARIABLE: str(other)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode != 0
    assert "uthentication" in done.stdout + done.stderr


@pytest.fixture
def mount_namespaces():
    """Skip only if the kernel allows this user no mount namespace."""
    tried = subprocess.run(
        ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"],
        capture_output=True,
        text=True,
        check=False,
    )
    if tried.returncode:
        pytest.skip(f"no second node: no mount namespace of its own ({tried.stderr.strip()})")


@pytest.mark.usefixtures("mount_namespaces")
def test_node_without_folder(nodes):
    """A replica on a node without the registry's folder fetches its artifact through the object
    store."""
    with nodes.far_node() as temporary:
        done = subprocess.run(
            [sys.executable, "-c", FAR, nodes.folder / "models"],
            env=nodes.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        seen = json.loads(done.stdout.splitlines()[-1])
        assert seen["node"] != seen["head"]
        assert seen["visible"] == []
        digest = seen["artifacts"]["model.onnx"]
        assert seen["fetched"] == digest
        assert seen["folder"].startswith(str(temporary))
        assert seen["kept_by_the_replica"] == {digest: digest}
        assert seen["extra"] == seen["artifacts"]["model.pt"]
    assert any((nodes.folder / "models").iterdir())
    nodes.wait_until_serving({f"{NAME}:1.0.0"})
