"""The registry actor: the cluster's single writer of the registry folder, on the head node."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import ray
from filelock import FileLock, Timeout
from ray.actor import ActorHandle

from registry import ModelInfo, ModelRegistry
from registry.errors import EmptyStageError, InvalidNameError, StorageError
from registry.folder.atomic_io import read_file, write_file
from registry.layout import Layout
from registry.records import STAGE_NAMES, ModelMetadata, check_artifact_name
from serve_app.errors import ServedElsewhereError, SettingsError
from serve_app.state.serving import ServingState, read_state

NAME_PREFIX = "registry:"
NAMESPACE = "serve"
HEAD_NODE = "node:__internal_head__"

REPEATABLE = frozenset(
    {
        "get_model",
        "get_production_model",
        "get_staging_model",
        "list_models",
        "compare_models",
        "history",
        "production_at",
        "try_out",
        "verify",
        "repair",
    }
)
"""Methods of ModelRegistry that do no harm when they run twice."""

ONCE = frozenset(
    {
        "set_model_stage",
        "rollback",
        "retire_model",
        "delete_model",
        "update_metrics",
        "pin_artifact",
    }
)
"""Those that might undo, when they run again, what somebody else did in between."""


class SentFile(NamedTuple):
    """A file that travels to the actor."""

    suffix: str
    """Of its name, for example `.onnx`."""
    content: bytes


class RegistryActor:
    """Serves one registry folder to the whole cluster; files travel through the object store.

    Ray repeats a call whose answer was lost when the actor died, but for those that would do harm.
    """

    def __init__(self, root: str) -> None:
        self._path = Path(root).absolute()
        self._registry = ModelRegistry(self._path)
        self._layout = Layout(self._path)
        self._locks: dict[str, FileLock] = {}

    async def has_folder(self) -> bool:
        """Return whether the folder is there."""
        return self._path.is_dir()

    async def find(self, model: str, reference: str) -> ModelMetadata | None:
        """Return the version that `reference` means, None for a stage that no version holds."""
        if not await self.has_folder():
            problem = f"no folder at {self._path} on the head node; register a model there first"
            raise SettingsError("registry_root", problem)
        if reference not in STAGE_NAMES:
            return await self._registry.get_model_metadata(model, reference)
        try:
            return await self._registry.get_model_metadata(model, stage=STAGE_NAMES[reference])
        except EmptyStageError:
            return None

    async def read_artifact(self, model: str, version: str, artifact: str) -> bytes:
        """Return an artifact's content, checked against its sha256."""
        return await self._registry.read_artifact(model, version, artifact)

    async def serving_state(self, application: str, known_revision: int = 0) -> ServingState | None:
        """Return what is served, None where it is still the known revision or nothing yet.

        Raises:
            ServedElsewhereError: an application of that name in another cluster serves the folder.
            ServingStateError: what is kept cannot be read.
        """
        self._hold(application)
        state = self._read_serving_state(application)
        return None if state is None or state.revision == known_revision else state

    async def write_serving_state(
        self, application: str, state: ServingState, replaces: int
    ) -> bool:
        """Keep what is served from now on, on the disk, if it still is the revision `replaces`.

        Sent again after a crash it does no harm: what is there already counts as written.
        """
        self._hold(application)
        present = self._read_serving_state(application)
        if present == state:
            return True
        if (0 if present is None else present.revision) != replaces:
            return False
        write_file(self._layout.serving(application), state.model_dump_json(indent=1).encode())
        return True

    def _hold(self, application: str) -> None:
        """Keep other clusters from serving as this application, as long as this process lives."""
        if application in self._locks:
            return
        lock = FileLock(self._layout.serving_lock(application), blocking=False)
        try:
            lock.acquire()
        except Timeout:
            raise ServedElsewhereError(application, str(self._path)) from None
        self._locks[application] = lock

    def _read_serving_state(self, application: str) -> ServingState | None:
        path = self._layout.serving(application)
        try:
            return read_state(read_file(path), path)
        except FileNotFoundError:
            return None

    async def call(self, method: str, *args: object, **kwargs: object) -> object:
        """Return what the ModelRegistry's method, one of REPEATABLE, returns."""
        return await self._call(REPEATABLE, method, *args, **kwargs)

    @ray.method(max_task_retries=0)
    async def call_once(self, method: str, *args: object, **kwargs: object) -> object:
        """Return what the ModelRegistry's method, one of ONCE, returns."""
        return await self._call(ONCE, method, *args, **kwargs)

    @ray.method(max_task_retries=0)
    async def register(
        self,
        name: str,
        version: str,
        model: SentFile,
        artifacts: Mapping[str, bytes],
        fields: Mapping[str, Any],
    ) -> ModelInfo:
        """Register files that came as bytes; see ModelRegistry.register_model."""
        for artifact in artifacts:
            check_artifact_name(artifact)
        with tempfile.TemporaryDirectory(prefix="tradeserve-upload-") as folder:
            model_path = Path(folder) / f"model{model.suffix}"
            paths = {artifact: Path(folder) / "artifacts" / artifact for artifact in artifacts}
            try:
                (Path(folder) / "artifacts").mkdir()
                model_path.write_bytes(model.content)
                for artifact, path in paths.items():
                    path.write_bytes(artifacts[artifact])
            except OSError as error:
                raise StorageError(folder, str(error)) from error
            return await self._registry.register_model(
                name, version, model_path, artifacts=paths, **fields
            )

    @ray.method(max_task_retries=0)
    async def add_artifacts(
        self,
        name: str,
        version: str,
        artifacts: Mapping[str, bytes],
        fields: Mapping[str, Any],
    ) -> ModelInfo:
        """Let files that came as bytes join a version; see ModelRegistry.add_artifacts."""
        for artifact in artifacts:
            check_artifact_name(artifact)
        with tempfile.TemporaryDirectory(prefix="tradeserve-upload-") as folder:
            paths = {artifact: Path(folder) / artifact for artifact in artifacts}
            try:
                for artifact, path in paths.items():
                    path.write_bytes(artifacts[artifact])
            except OSError as error:
                raise StorageError(folder, str(error)) from error
            return await self._registry.add_artifacts(name, version, paths, **fields)

    async def _call(
        self, allowed: frozenset[str], method: str, *args: object, **kwargs: object
    ) -> object:
        if method not in allowed:
            raise InvalidNameError("registry method", method, f"one of {sorted(allowed)}")
        return await getattr(self._registry, method)(*args, **kwargs)


def registry_actor(root: str) -> ActorHandle[Any]:
    """Return the cluster's registry actor for the folder `root`, started if there is none.

    One actor a folder, found by its name: a deployment for another folder, or one that is refused,
    takes nothing away from the replicas that serve.
    """
    remote: Any = ray.remote(RegistryActor)
    actor: ActorHandle[Any] = remote.options(
        name=f"{NAME_PREFIX}{root}",
        namespace=NAMESPACE,
        lifetime="detached",
        get_if_exists=True,
        num_cpus=0,
        resources={HEAD_NODE: 0.001},
        max_restarts=-1,
        max_task_retries=3,
        max_concurrency=8,
    ).remote(root)
    return actor


def running_registry_actors() -> dict[str, ActorHandle[Any]]:
    """Return the cluster's registry actors by their folder."""
    named = ray.util.list_named_actors(all_namespaces=True)
    names = [
        each["name"]
        for each in named
        if each["namespace"] == NAMESPACE and each["name"].startswith(NAME_PREFIX)
    ]
    return {each.removeprefix(NAME_PREFIX): ray.get_actor(each, NAMESPACE) for each in names}
