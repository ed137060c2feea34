"""The registry actor: the cluster's single writer of the registry folder, on the head node."""

import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ray
from ray.actor import ActorHandle

from registry.errors import EmptyStageError
from registry.folder import RegistryFolder
from registry.records import STAGE_NAMES, ModelMetadata
from serve_app.errors import SettingsError

NAME = "registry"
NAMESPACE = "serve"
_HEAD_NODE = "node:__internal_head__"


class RegistryActor:
    """Serves one registry folder to the whole cluster; artifacts leave through the object store."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._path = Path(root).absolute()
        self._folder = RegistryFolder(self._path)

    def identity(self) -> tuple[str, str]:
        """Return what makes another actor necessary: the folder and the code's version."""
        return self._root, _code_version()

    def find(self, model: str, reference: str) -> ModelMetadata | None:
        """Return the version that `reference` means, None for a stage that no version holds."""
        if not self._path.is_dir():
            problem = f"no folder at {self._path} on the head node; register a model there first"
            raise SettingsError("registry_root", problem)
        if reference not in STAGE_NAMES:
            return self._folder.get(model, version=reference).metadata
        try:
            return self._folder.get(model, stage=STAGE_NAMES[reference]).metadata
        except EmptyStageError:
            return None

    def read_artifact(self, model: str, version: str, artifact: str) -> bytes:
        """Return an artifact's content, checked against its sha256."""
        return self._folder.read_artifact(model, version, artifact)


def start_registry_actor(root: str) -> ActorHandle[Any]:
    """Return the cluster's registry actor for the folder `root`, started if there is none.

    An actor for another folder, or from other code, is replaced: its state is on the disk.
    """
    actor = _get_or_start(root)
    identity: Any = ray.get(actor.identity.remote())
    if identity != (root, _code_version()):
        ray.kill(actor)
        _wait_until_gone()
        actor = _get_or_start(root)
    return actor


def _get_or_start(root: str) -> ActorHandle[Any]:
    remote: Any = ray.remote(RegistryActor)
    actor: ActorHandle[Any] = remote.options(
        name=NAME,
        namespace=NAMESPACE,
        lifetime="detached",
        get_if_exists=True,
        num_cpus=0,
        resources={_HEAD_NODE: 0.001},
        max_restarts=-1,
        max_task_retries=3,
        max_concurrency=8,
    ).remote(root)
    return actor


def _wait_until_gone(timeout_s: float = 10.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        try:
            ray.get_actor(NAME, NAMESPACE)
        except ValueError:
            return
        time.sleep(0.05)
    raise SettingsError("registry_root", f"the former registry actor did not stop in {timeout_s} s")


def _code_version() -> str:
    return version("tradeserve")
