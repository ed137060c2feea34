"""The registry of a running cluster, with the methods of `ModelRegistry`.

Every call goes through the registry actor, which so stays the folder's single writer.
"""

import asyncio
import getpass
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import ray
from ray.actor import ActorHandle

from registry import ModelInfo, ModelMetadata, ModelRegistry, ModelStage
from registry.comparison import Comparison
from registry.errors import MissingArtifactError
from registry.records import Finding, HistoryEntry
from serve_app.deployments.actors.errors import (
    ClusterUnreachableError,
    InterruptedChangeError,
    NoRegistryActorError,
    RegistryActorDownError,
    SeveralRegistriesError,
)
from serve_app.deployments.actors.registry import (
    NAMESPACE,
    ONCE,
    SentFile,
    running_registry_actors,
)
from serve_app.deployments.ray_errors import RAY_ERRORS, CallFailure, cause_of, failure_of

CONNECT_TIMEOUT_S = 5.0
"""How long the cluster's port may take to accept a connection."""

P = ParamSpec("P")
T = TypeVar("T")


class RemoteRegistry:
    """Asks the registry actor; a method does what the ModelRegistry's of its name does.

    It raises the same errors, and `serve_app.deployments.actors.errors.ClusterError` when the
    actor does not answer. A change is sent once: if the actor dies meanwhile,
    InterruptedChangeError says so.
    """

    def __init__(self, actor: ActorHandle[Any]) -> None:
        self._actor = actor

    async def register_model(
        self,
        name: str,
        version: str,
        model_path: Path | str,
        model_type: str,
        description: str = "",
        *,
        artifacts: Mapping[str, Path | str] | None = None,
        by: str | None = None,
        **fields: object,
    ) -> ModelInfo:
        """Send the files, read into memory here, and register them there."""
        content = await asyncio.to_thread(_read, Path(model_path), "the model's file")
        contents = {
            artifact: await asyncio.to_thread(_read, Path(path), f"the file for {artifact}")
            for artifact, path in (artifacts or {}).items()
        }
        described = {"model_type": model_type, "description": description, "by": by or _caller()}
        model = SentFile(Path(model_path).suffix, content)
        await self._wait_for_actor()
        info: ModelInfo = await _answer_to_change(
            self._actor.register.remote(name, version, model, contents, {**fields, **described}),
            "register_model",
            name,
        )
        return info

    async def get_model(
        self, name: str, version: str | None = None, stage: ModelStage | None = None
    ) -> ModelInfo:
        """Return a version by its number or stage; by default production, else the latest."""
        return await self._ask(ModelRegistry.get_model, name, version, stage)

    async def get_production_model(self, name: str) -> ModelInfo | None:
        """Return the version in production, None when there is none."""
        return await self._ask(ModelRegistry.get_production_model, name)

    async def get_staging_model(self, name: str) -> ModelInfo | None:
        """Return the version in staging, None when there is none."""
        return await self._ask(ModelRegistry.get_staging_model, name)

    async def get_model_metadata(
        self, name: str, version: str | None = None, stage: ModelStage | None = None
    ) -> ModelMetadata:
        """Return what is known of the version that `get_model` returns."""
        return (await self.get_model(name, version, stage)).metadata

    async def list_models(self, name: str | None = None) -> list[ModelInfo]:
        """Return every version of the model, or of all."""
        return await self._ask(ModelRegistry.list_models, name)

    async def set_model_stage(
        self,
        name: str,
        version: str,
        stage: ModelStage,
        *,
        by: str | None = None,
        reason: str = "",
    ) -> bool:
        """Move a version to a stage; what takes Production or Staging is tried out first."""
        by = by or _caller()
        return await self._ask(
            ModelRegistry.set_model_stage, name, version, stage, by=by, reason=reason
        )

    async def try_out(self, name: str, version: str) -> None:
        """Load and run a version on the head node; nothing changes."""
        await self._ask(ModelRegistry.try_out, name, version)

    async def promote_to_production(
        self, name: str, version: str, *, by: str | None = None, reason: str = ""
    ) -> bool:
        """Put a version into production."""
        return await self.set_model_stage(
            name, version, ModelStage.PRODUCTION, by=by, reason=reason
        )

    async def rollback(self, name: str, *, by: str | None = None, reason: str = "") -> ModelInfo:
        """Bring back the version that was in production before, and return it."""
        return await self._ask(ModelRegistry.rollback, name, by=by or _caller(), reason=reason)

    async def retire_model(
        self, name: str, version: str, *, by: str | None = None, reason: str = ""
    ) -> bool:
        """Archive a version."""
        by = by or _caller()
        return await self._ask(ModelRegistry.retire_model, name, version, by=by, reason=reason)

    async def delete_model(
        self, name: str, version: str, *, by: str | None = None, reason: str = ""
    ) -> bool:
        """Remove a version for good."""
        by = by or _caller()
        return await self._ask(ModelRegistry.delete_model, name, version, by=by, reason=reason)

    async def update_metrics(
        self,
        name: str,
        version: str,
        metrics: Mapping[str, float],
        *,
        by: str | None = None,
        reason: str = "",
    ) -> bool:
        """Add figures to a version, replacing those of the same names."""
        by = by or _caller()
        return await self._ask(
            ModelRegistry.update_metrics, name, version, dict(metrics), by=by, reason=reason
        )

    async def add_artifacts(
        self,
        name: str,
        version: str,
        artifacts: Mapping[str, Path | str],
        optimization: Mapping[str, Any],
        serving_artifact: str | None = None,
        *,
        by: str | None = None,
        reason: str = "",
    ) -> ModelInfo:
        """Send the files, read into memory here, and let them join the version there."""
        contents = {
            artifact: await asyncio.to_thread(_read, Path(path), f"the file for {artifact}")
            for artifact, path in artifacts.items()
        }
        fields = {
            "optimization": dict(optimization),
            "serving_artifact": serving_artifact,
            "by": by or _caller(),
            "reason": reason,
        }
        await self._wait_for_actor()
        sent: Awaitable[ModelInfo] = self._actor.add_artifacts.remote(
            name, version, contents, fields
        )
        return await _answer_to_change(sent, "add_artifacts", name)

    async def pin_artifact(
        self,
        name: str,
        version: str,
        artifact: str | None,
        *,
        by: str | None = None,
        reason: str = "",
    ) -> bool:
        """Choose the artifact that a version is served from."""
        by = by or _caller()
        return await self._ask(
            ModelRegistry.pin_artifact, name, version, artifact, by=by, reason=reason
        )

    async def compare_models(self, name: str, version1: str, version2: str) -> Comparison:
        """Return the metrics and sizes of two versions."""
        return await self._ask(ModelRegistry.compare_models, name, version1, version2)

    async def history(self, name: str) -> list[HistoryEntry]:
        """Return everything that happened to the model, oldest first."""
        return await self._ask(ModelRegistry.history, name)

    async def production_at(self, name: str, time: datetime) -> str | None:
        """Return the version in production at `time` (with a time zone)."""
        return await self._ask(ModelRegistry.production_at, name, time)

    async def verify(self, name: str | None = None) -> list[Finding]:
        """Return what is missing, changed or left over in the folder on the head node."""
        return await self._ask(ModelRegistry.verify, name)

    async def repair(self, name: str | None = None) -> list[Finding]:
        """Mend what loses nothing and return it."""
        return await self._ask(ModelRegistry.repair, name)

    async def read_artifact(self, name: str, version: str, artifact: str) -> bytes:
        """Return an artifact's content, checked against the sha256 in the metadata."""
        content: bytes = await _answer(self._actor.read_artifact.remote(name, version, artifact))
        return content

    async def _ask(
        self,
        method: Callable[Concatenate[ModelRegistry, P], Coroutine[Any, Any, T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Return what the actor's ModelRegistry answers to `method`."""
        answer: T
        if method.__name__ not in ONCE:
            answer = await _answer(self._actor.call.remote(method.__name__, *args, **kwargs))
            return answer
        await self._wait_for_actor()
        sent: Awaitable[T] = self._actor.call_once.remote(method.__name__, *args, **kwargs)
        answer = await _answer_to_change(sent, method.__name__, str(args[0]))
        return answer

    async def _wait_for_actor(self) -> None:
        """Wait while the actor comes back from a crash: a change is not sent a second time."""
        await _answer(self._actor.has_folder.remote())


@contextmanager
def connect(address: str) -> Iterator[RemoteRegistry]:
    """Connect to the Ray cluster at `address` (`auto`: the one on this machine) and to its actor.

    Raises:
        ClusterUnreachableError: nothing answers there.
        NoRegistryActorError: no application was deployed there yet.
        SeveralRegistriesError: applications with several folders were.
    """
    _refuse_silence(address)
    # Where something else listens, Ray gives up after 40 s, not after 20 times that.
    os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "1")
    try:
        ray.init(address, namespace=NAMESPACE, log_to_driver=False, logging_level=logging.CRITICAL)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ClusterUnreachableError(address, str(error)) from error
    try:
        yield RemoteRegistry(_actor(address))
    finally:
        ray.shutdown()


def _refuse_silence(address: str) -> None:
    """Raise ClusterUnreachableError if nothing listens at the address; Ray would try for minutes.

    An address of another kind is refused too: `local` would start a cluster.
    """
    named = os.environ.get("RAY_ADDRESS", "") if address == "auto" else address
    if not named:
        return
    host, _, port = named.rpartition(":")
    if not host or not port.isdecimal():
        raise ClusterUnreachableError(named, "not a HOST:PORT")
    try:
        socket.create_connection((host, int(port)), CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise ClusterUnreachableError(named, str(error)) from error


def _actor(address: str) -> ActorHandle[Any]:
    """Return the one registry actor; one whose folder is not there comes from a refused deploy."""
    actors = running_registry_actors()
    if len(actors) > 1:
        actors = {root: each for root, each in actors.items() if ray.get(each.has_folder.remote())}
    if len(actors) > 1:
        raise SeveralRegistriesError(address, sorted(actors))
    for actor in actors.values():
        return actor
    raise NoRegistryActorError(address)


async def _answer(sent: Awaitable[T]) -> T:
    """Return the actor's answer; what it raised comes out as it was raised there."""
    try:
        return await sent
    except RAY_ERRORS as error:
        failure = failure_of(error)
        if failure is CallFailure.RAISED:
            raise cause_of(error) from None
        if failure is CallFailure.LOST:
            raise RegistryActorDownError(str(error)) from error
        raise


async def _answer_to_change(sent: Awaitable[T], method: str, model: str) -> T:
    try:
        return await _answer(sent)
    except RegistryActorDownError as error:
        raise InterruptedChangeError(method, model) from error


def _read(path: Path, expected: str) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, IsADirectoryError):
        raise MissingArtifactError(path, expected) from None


def _caller() -> str:
    return f"{getpass.getuser()}@{socket.gethostname()}"
