"""The registry actor on the head node: the cluster's single writer of the registry folder."""

import asyncio
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import ray
from filelock import FileLock, Timeout
from ray.actor import ActorHandle

from registry import ModelInfo, ModelRegistry
from registry.api import CHANGES, READS
from registry.errors import EmptyStageError, InvalidNameError, StorageError
from registry.folder.atomic_io import read_file, write_file
from registry.folder.trusted_keys import write_trusted_keys
from registry.layout import Layout
from registry.records import STAGE_NAMES, ModelMetadata, check_artifact_name
from serve_app import feature_sets
from serve_app.access.token_file import TokenFile
from serve_app.access.token_source import ReadTokens, Revision, TokenSource
from serve_app.deployments.actors.head_actor import NAMESPACE, head_actor
from serve_app.errors import ServedElsewhereError, SettingsError
from serve_app.state.serving import ServingState, read_state
from storage.disk_space import shortage_of

NAME_PREFIX = "registry:"
SERVING_STATE_MODE = 0o600
"""Only the server reads its serving state."""

ONCE = CHANGES - {"register_model", "add_artifacts"}
"""The changes that `call_once` makes; those with files have separate methods."""


class SentFile(NamedTuple):
    """A file sent to the actor."""

    suffix: str
    """The suffix of its name, for example `.onnx`."""
    content: bytes


class FollowedTokens(NamedTuple):
    """The response to a router that follows the tokens."""

    tokens: ReadTokens | None
    """None if they still have the revision that the router knows."""
    shortage: str | None
    """That the registry's disk is nearly full; in this response, since routers ask for no other
    twice per second."""


class RegistryActor:
    """Serves one registry folder to the whole cluster; files are sent through the object store.

    Error handling: if the actor dies during a call, Ray retries it, except for the changes, which
    would otherwise be applied twice.
    """

    def __init__(self, root: str) -> None:
        self._path = Path(root).absolute()
        self._registry = ModelRegistry(self._path, check=feature_sets.try_out)
        self._layout = Layout(self._path)
        self._locks: dict[str, FileLock] = {}
        self._token_sources: dict[str, TokenSource] = {}

    async def has_folder(self) -> bool:
        """Return whether the folder exists."""
        return self._path.is_dir()

    async def trust(self, key_ids: Sequence[str]) -> None:
        """Require that versions are signed with one of these keys; with none, lift this."""
        write_trusted_keys(self._layout, key_ids)

    async def find(self, model: str, reference: str) -> ModelMetadata | None:
        """Return the version that `reference` denotes, None for a stage without a version.

        Raises:
            FeatureSetMismatchError: its feature set is not installed here, or its source differs.
        """
        if not await self.has_folder():
            problem = f"no folder at {self._path} on the head node; register a model there first"
            raise SettingsError("registry_root", problem)
        try:
            if reference in STAGE_NAMES:
                stage = STAGE_NAMES[reference]
                metadata = await self._registry.get_model_metadata(model, stage=stage)
            else:
                metadata = await self._registry.get_model_metadata(model, reference)
        except EmptyStageError:
            return None
        await asyncio.to_thread(feature_sets.require_installed, metadata)
        return metadata

    async def read_artifact(self, model: str, version: str, artifact: str) -> bytes:
        """Return an artifact's content, verified against its sha256."""
        return await self._registry.read_artifact(model, version, artifact)

    async def serving_state(self, application: str, known_revision: int = 0) -> ServingState | None:
        """Return the serving state; None if its revision is the known one or it does not exist.

        Raises:
            ServedElsewhereError: an application of that name in another cluster serves the folder.
            ServingStateError: the stored state cannot be read.
        """
        self._reserve(application)
        state = self._read_serving_state(application)
        return None if state is None or state.revision == known_revision else state

    async def write_serving_state(
        self, application: str, state: ServingState, replaces: int
    ) -> bool:
        """Store the serving state if the stored one still is the revision `replaces`.

        A retry after a crash is harmless: a state that is already stored counts as written.

        Raises:
            StorageError: the disk does not take it; the stored state is unchanged.
        """
        self._reserve(application)
        present = self._read_serving_state(application)
        if present == state:
            return True
        if (0 if present is None else present.revision) != replaces:
            return False
        content = state.model_dump_json(indent=1).encode()
        try:
            write_file(self._layout.serving(application), content, SERVING_STATE_MODE)
        except OSError as error:
            raise StorageError.of(self._path, error) from error
        return True

    async def tokens(self, path: str, known: Revision | None = None) -> ReadTokens | None:
        """Return the tokens of the server whose token file is `path`, None if `known` still holds.

        Raises:
            TokenFileError: the file cannot be read.
        """
        source = self._token_sources.get(path)
        if source is None:
            source = self._token_sources[path] = TokenSource(Path(path))
        return source.read(known)

    async def follow_tokens(self, path: str, known: Revision | None) -> FollowedTokens:
        """Return changed tokens, and whether the registry's disk is nearly full.

        Raises:
            TokenFileError: the file cannot be read.
        """
        return FollowedTokens(await self.tokens(path, known), shortage_of(self._path))

    async def token_name(self, digest: str) -> str | None:
        """Return the name of the accepted token with this digest, None if there is none.

        Raises:
            TokenFileError: a token file cannot be read.
        """
        now = datetime.now(UTC)
        for path in {str(self._layout.tokens()), *self._token_sources}:
            for token in TokenFile(Path(path)).tokens():
                if token.digest == digest and token.rejection(now) is None:
                    return token.name
        return None

    def _reserve(self, application: str) -> None:
        """Prevent other clusters from serving as this application while this process lives."""
        if application in self._locks:
            return
        lock = FileLock(self._layout.serving_lock(application), blocking=False)
        try:
            lock.acquire()
        except Timeout:
            raise ServedElsewhereError(application, str(self._path)) from None
        except OSError as error:  # the serving state is stored there
            raise StorageError.of(self._path, error) from error
        self._locks[application] = lock

    def _read_serving_state(self, application: str) -> ServingState | None:
        path = self._layout.serving(application)
        try:
            return read_state(read_file(path), path)
        except FileNotFoundError:
            return None

    async def call(self, method: str, *args: object, **kwargs: object) -> object:
        """Return the result of a method of ModelRegistry that is one of READS."""
        return await self._call(READS, method, *args, **kwargs)

    @ray.method(max_task_retries=0)
    async def call_once(self, method: str, *args: object, **kwargs: object) -> object:
        """Return the result of a method of ModelRegistry that is one of ONCE."""
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
        """Register files sent as bytes; see RegistryApi.register_model."""
        with (
            _written({f"model{model.suffix}": model.content}) as models,
            _written(artifacts) as paths,
        ):
            (model_path,) = models.values()
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
        """Add files sent as bytes to a version; see RegistryApi.add_artifacts."""
        with _written(artifacts) as paths:
            return await self._registry.add_artifacts(name, version, paths, **fields)

    async def _call(
        self, allowed: frozenset[str], method: str, *args: object, **kwargs: object
    ) -> object:
        if method not in allowed:
            raise InvalidNameError("registry method", method, f"one of {sorted(allowed)}")
        return await getattr(self._registry, method)(*args, **kwargs)


@contextmanager
def _written(files: Mapping[str, bytes]) -> Iterator[Mapping[str, Path]]:
    """Write files to a temporary folder and yield their paths by name."""
    for name in files:
        check_artifact_name(name)
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="tradeserve-upload-"))
            paths = {name: Path(folder) / name for name in files}
            for name, path in paths.items():
                path.write_bytes(files[name])
        except OSError as error:
            raise StorageError.of(tempfile.gettempdir(), error) from error
        yield paths


def registry_actor(root: str) -> ActorHandle[Any]:
    """Return the cluster's registry actor for the folder `root`, and start it if there is none.

    There is one actor per folder, found by its name, so neither a deployment for another folder nor
    a rejected one affects the replicas that serve.
    """
    return head_actor(RegistryActor, f"{NAME_PREFIX}{root}", root, max_concurrency=8)


def running_registry_actors() -> dict[str, ActorHandle[Any]]:
    """Return the cluster's registry actors by their folder."""
    named = ray.util.list_named_actors(all_namespaces=True)
    names = [
        actor["name"]
        for actor in named
        if actor["namespace"] == NAMESPACE and actor["name"].startswith(NAME_PREFIX)
    ]
    return {name.removeprefix(NAME_PREFIX): ray.get_actor(name, NAMESPACE) for name in names}
