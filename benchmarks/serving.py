"""The benchmarks' server: a Ray cluster, and a registry that holds networks."""

import asyncio
import json
import re
import shutil
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.error import URLError

import aiohttp
import numpy as np
import psutil
import torch

from optimization.export.exporter import export_onnx
from registry import ModelRegistry
from registry.architectures import HybridCNNLSTM, save_checkpoint
from registry.layout import Layout
from serve_app.settings import AppSettings
from serve_app.state.serving import read_state
from testkit.cluster import Cluster, title_of

NAME = "hybrid_cnn_lstm"
SHAPE = (60, 110)
APPLICATION = "trading-models"
DEPLOY_S = 300.0
"""Longest wait for a deployment, on a machine that others share."""


class Server:
    """A running cluster and the registry in front of which it serves."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.registry = ModelRegistry(cluster.folder / "models")

    def register(self, version: str, seed: int, onnx: Path | None = None, name: str = NAME) -> None:
        """Register a network with weights of its own, and its ONNX file, made if none is given."""
        network = make_network(seed)
        checkpoint = self.cluster.folder / f"{version}.pt"
        save_checkpoint(network, checkpoint)
        if onnx is None:
            onnx = self.cluster.folder / f"{version}.onnx"
            export_onnx(network, onnx, SHAPE)
        asyncio.run(
            self.registry.register_model(
                name, version, checkpoint, "HybridCNNLSTM", artifacts={"model.onnx": onnx}
            )
        )

    async def reload(self, version: str | None = None) -> None:
        """Reload the model over HTTP; raise where the server rejects it."""
        body = {"model_name": NAME} | ({} if version is None else {"version": version})
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.cluster.url}/api/ml/models/reload", json=body) as answer,
        ):
            if answer.status != 200:
                raise RuntimeError(f"reload of {body}: {answer.status} {await answer.text()}")

    async def deploy(self, args: Mapping[str, Any]) -> None:
        """Deploy, and return when the requested state is up and the replaced processes are gone."""
        began_s = time.time()
        await asyncio.to_thread(self.cluster.deploy, dict(args))
        await until(lambda: self.is_settled(args, began_s), f"{args} is in effect", DEPLOY_S)

    def served(self) -> dict[str, bool]:
        """Return by version whether it is loaded; empty while the server does not respond."""
        try:
            url = f"{self.cluster.url}/api/ml/models"
            with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310  ours
                return {entry["version"]: entry["loaded"] for entry in json.load(answer)}
        except URLError:
            return {}

    def applications(self) -> dict[str, Any]:
        """Return Serve's details of its applications by name; see Ray's ServeInstanceDetails."""
        url = f"http://127.0.0.1:{self.cluster.dashboard_port}/api/serve/applications/"
        request = urllib.request.Request(url, headers=self.cluster.token_headers())
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            applications: dict[str, Any] = json.load(answer)["applications"]
        return applications

    def is_settled(self, args: Mapping[str, Any] | None = None, since_s: float = 0.0) -> bool:
        """Return whether everything is as the fleet wants it, and nothing else is left.

        Args:
            args: what was deployed last, if that is to be in effect.
            since_s: when, as `time.time()`; the routers have started after that.
        """
        path = Layout(self.cluster.folder / "models").serving("trading-models")
        if not path.exists():
            return False
        state = read_state(path.read_bytes(), path)
        if args is not None and state.settings != AppSettings.model_validate(args):
            return False
        launched = [
            version for version in state.versions if version.settings.placement == "replicas"
        ]
        is_applied = (
            state.stages == state.targets
            and not any(version.leaving for version in state.versions)
            and all(version.launched == version.load for version in launched)
            and not any(version.replaces for version in state.versions)
        )
        names = {APPLICATION, *(f"{APPLICATION}:{version.launch_id}" for version in launched)}
        applications = self.applications()
        if not is_applied or set(applications) != names:
            return False
        routers = applications[APPLICATION]["deployments"].get("Router", {"replicas": []})
        return (
            all(map(_is_up, applications.values()))
            and all(router["start_time_s"] > since_s for router in routers["replicas"])
            and self.served()
            == dict.fromkeys((one.metadata.version for one in state.versions), True)
        )

    def processes(self) -> dict[str, list[psutil.Process]]:
        """Return the cluster's processes by role."""
        found: dict[str, list[psutil.Process]] = {}
        for process in self.cluster.processes():
            if title := title_of(process):
                found.setdefault(_role(title), []).append(process)
        return found


def settings(versions: Sequence[Mapping[str, object]], **others: object) -> dict[str, Any]:
    """Return the application's `args` for versions, of the usual model where they name none."""
    declared = [{"model": NAME, **version} for version in versions]
    return {"registry_root": "models", "versions": declared, **others}


def make_network(seed: int) -> HybridCNNLSTM:
    """Return a network with weights of its own."""
    torch.manual_seed(seed)
    return HybridCNNLSTM()


@contextmanager
def server(
    versions: Sequence[str],
    onnx: Path | None = None,
    environment: Mapping[str, str] = MappingProxyType({}),
    disk: Callable[[Path], AbstractContextManager[None]] = lambda _: nullcontext(),
    make_cluster: Callable[[Path], Cluster] = Cluster,
) -> Iterator[Server]:
    """Run a cluster, with the first of these versions in production; nothing is deployed yet.

    Args:
        versions: each with weights of its own, by its place.
        onnx: the ONNX file of all, instead of one made for each.
        environment: further variables of the cluster.
        disk: prepares the empty folder of everything that the cluster writes.
        make_cluster: returns the cluster whose files are in a folder.
    """
    # Ray's sockets below it have at most 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="tb-"))
    cluster = make_cluster(folder)
    cluster.environment.update(environment)
    running = Server(cluster)
    try:
        with disk(folder):
            for seed, version in enumerate(versions):
                running.register(version, seed, onnx)
            asyncio.run(running.registry.promote_to_production(NAME, versions[0]))
            try:
                cluster.start()
                yield running
            finally:
                cluster.stop()
    finally:
        shutil.rmtree(folder)


def window() -> list[float]:
    """Return one seeded window in row order; 136 KB as JSON, as a bot sends it."""
    features = np.random.default_rng(0).standard_normal(SHAPE).ravel()
    return [float(feature) for feature in features]


async def until(condition: Callable[[], bool], what: str, timeout_s: float = 120) -> None:
    """Return when `condition` holds; it may use the network and the disk."""
    deadline_s = time.monotonic() + timeout_s
    while not await asyncio.to_thread(condition):
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"not within {timeout_s:g} s: {what}")
        await asyncio.sleep(0.1)


def _is_up(application: Mapping[str, Any]) -> bool:
    """Return whether exactly the wanted replicas run."""
    return application["status"] == "RUNNING" and all(
        deployment["status"] == "HEALTHY"
        and len(deployment["replicas"]) == deployment["target_num_replicas"]
        and all(replica["state"] == "RUNNING" for replica in deployment["replicas"])
        for deployment in application["deployments"].values()
    )


def _role(line: str) -> str:
    """Return a process's role from its command line, which Ray's actors set to a title."""
    if replica := _VERSION_REPLICA.match(line):
        return replica[1]
    return next((role for part, role in _ROLES.items() if part in line), "others of Ray")


_VERSION_REPLICA = re.compile(rf"ray::ServeReplica:({APPLICATION}:{NAME}:[0-9.]+):ModelServer")
_ROLES = {
    f"ray::ServeReplica:{APPLICATION}:Router": "router",
    f"ray::ServeReplica:{APPLICATION}:Fleet": "fleet",
    "ray::RegistryActor": "registry actor",
    "ray::ExperimentLogActor": "experiment log",
    "ray::ServeController": "controller",
    "ray::HAProxyManager": "proxy",
    "ray::ProxyActor": "proxy",
    "/gcs/gcs_server": "gcs",
    "/raylet/raylet": "raylet",
    "haproxy": "proxy",
    "dashboard": "dashboard and agents",
    "Agent": "dashboard and agents",
}
"""The role by a part of the command line; the first match counts."""
