"""The registry of a running cluster, reached through the cluster's registry actor.

Every call goes through the actor, which thus remains the folder's single writer.
"""

import asyncio
import logging
import os
import pwd
import re
import socket
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import update_wrapper
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import grpc
import psutil
import ray
from ray._private import services
from ray.actor import ActorHandle
from ray.exceptions import AuthenticationError

from registry import ModelInfo
from registry.api import CHANGES, RegistryApi
from registry.author import default_author
from registry.errors import MissingArtifactError
from registry.feature_sets import FeatureSetRecord
from registry.folder.source_files import read_packed
from serve_app.access.loopback import is_loopback
from serve_app.access.port_users import is_port_of_user, users_of_port
from serve_app.access.tokens import digest_of
from serve_app.client.credentials import TOKEN_VARIABLE
from serve_app.deployments.actors.errors import (
    ClusterTokenError,
    ClusterUnreachableError,
    ForeignClusterError,
    InterruptedChangeError,
    NoRegistryActorError,
    RegistryActorDownError,
    SeveralRegistriesError,
)
from serve_app.deployments.actors.head_actor import NAMESPACE
from serve_app.deployments.actors.registry import SentFile, running_registry_actors
from serve_app.deployments.ray_errors import RAY_ERRORS, CallFailure, cause_of, failure_of
from serve_app.errors import InvalidTokenError

CONNECT_TIMEOUT_S = 5.0
"""How long the cluster's port may take to accept a connection."""

ANY_GCS_METHOD = "/ray.rpc.NodeInfoGcsService/CheckAlive"

P = ParamSpec("P")
T = TypeVar("T")


def _forwarded(
    method: Callable[Concatenate[RegistryApi, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate["RemoteRegistry", P], Coroutine[Any, Any, T]]:
    """Return a method with the signature of `method` that calls it on the registry actor."""
    name = method.__name__

    async def read(self: "RemoteRegistry", /, *args: P.args, **kwargs: P.kwargs) -> T:
        sent: Awaitable[T] = self.actor.call.remote(name, *args, **kwargs)
        return await _result(sent)

    async def change(self: "RemoteRegistry", /, *args: P.args, **kwargs: P.kwargs) -> T:
        await self.wait_for_actor()
        named: dict[str, Any] = {**kwargs, "by": kwargs.get("by") or await self._author()}
        sent: Awaitable[T] = self.actor.call_once.remote(
            name, *map(_picklable, args), **{key: _picklable(named[key]) for key in named}
        )
        return await _result_of_change(sent, name, str(args[0] if args else named["name"]))

    forwarded = change if name in CHANGES else read
    update_wrapper(forwarded, method)
    return forwarded


class RemoteRegistry(RegistryApi):
    """Calls the registry actor; `RegistryApi` documents the methods.

    Error handling: a method raises the same errors as that of `ModelRegistry`, and a
    `serve_app.deployments.actors.errors.ClusterError` if the actor does not respond. A change is
    sent once; if the actor dies while it is in flight, the method raises InterruptedChangeError.
    """

    def __init__(self, actor: ActorHandle[Any]) -> None:
        self.actor = actor

    async def register_model(
        self,
        name: str,
        version: str,
        model_path: Path | str,
        model_type: str,
        description: str = "",
        *,
        framework: str = "pytorch",
        metrics: Mapping[str, float] | None = None,
        training_params: Mapping[str, Any] | None = None,
        dataset_info: Mapping[str, Any] | None = None,
        input_shape: Sequence[int] = (60, 110),
        output_names: Mapping[str, str] | None = None,
        label_map: Mapping[int, str] | None = None,
        tags: Sequence[str] = (),
        artifacts: Mapping[str, Path | str] | None = None,
        feature_set: FeatureSetRecord | None = None,
        signatures: Mapping[str, str] | None = None,
        by: str | None = None,
        reason: str = "",
    ) -> ModelInfo:
        """Read the files into memory here, send them, and register them on the head node."""
        source = Path(model_path)
        content = await asyncio.to_thread(_read, source, source.name.lower(), "the model's file")
        contents = await _read_all(artifacts or {})
        await self.wait_for_actor()
        fields = {
            "model_type": model_type,
            "description": description,
            "framework": framework,
            "metrics": metrics,
            "training_params": training_params,
            "dataset_info": dataset_info,
            "input_shape": input_shape,
            "output_names": output_names,
            "label_map": label_map,
            "tags": tags,
            "feature_set": feature_set,
            "signatures": signatures,
            "by": by or await self._author(),
            "reason": reason,
        }
        sent: Awaitable[ModelInfo] = self.actor.register.remote(
            name,
            version,
            SentFile(source.suffix, content),
            contents,
            {key: _picklable(value) for key, value in fields.items()},
        )
        return await _result_of_change(sent, "register_model", name)

    async def add_artifacts(
        self,
        name: str,
        version: str,
        artifacts: Mapping[str, Path | str],
        optimization: Mapping[str, Any],
        serving_artifact: str | None = None,
        *,
        derived_signatures: Mapping[str, str] | None = None,
        by: str | None = None,
        reason: str = "",
    ) -> ModelInfo:
        """Read the files into memory here, send them, and add them on the head node."""
        contents = await _read_all(artifacts)
        await self.wait_for_actor()
        fields = {
            "optimization": dict(optimization),
            "serving_artifact": serving_artifact,
            "derived_signatures": _picklable(derived_signatures),
            "by": by or await self._author(),
            "reason": reason,
        }
        sent: Awaitable[ModelInfo] = self.actor.add_artifacts.remote(
            name, version, contents, fields
        )
        return await _result_of_change(sent, "add_artifacts", name)

    get_model = _forwarded(RegistryApi.get_model)
    get_production_model = _forwarded(RegistryApi.get_production_model)
    get_staging_model = _forwarded(RegistryApi.get_staging_model)
    get_model_metadata = _forwarded(RegistryApi.get_model_metadata)
    list_models = _forwarded(RegistryApi.list_models)
    set_model_stage = _forwarded(RegistryApi.set_model_stage)
    try_out = _forwarded(RegistryApi.try_out)
    promote_to_production = _forwarded(RegistryApi.promote_to_production)
    rollback = _forwarded(RegistryApi.rollback)
    retire_model = _forwarded(RegistryApi.retire_model)
    delete_model = _forwarded(RegistryApi.delete_model)
    update_metrics = _forwarded(RegistryApi.update_metrics)
    sign_version = _forwarded(RegistryApi.sign_version)
    accept_feature_set = _forwarded(RegistryApi.accept_feature_set)
    pin_artifact = _forwarded(RegistryApi.pin_artifact)
    compare_models = _forwarded(RegistryApi.compare_models)
    history = _forwarded(RegistryApi.history)
    production_at = _forwarded(RegistryApi.production_at)
    verify = _forwarded(RegistryApi.verify)
    repair = _forwarded(RegistryApi.repair)
    read_artifact = _forwarded(RegistryApi.read_artifact)

    async def _author(self) -> str:
        """Return the author of a change: the name of the caller's token, else its user and host.

        Only the digest of the token is sent.

        Raises:
            InvalidTokenError: the registry does not know the token in the environment.
        """
        secret = os.environ.get(TOKEN_VARIABLE)
        if not secret:
            return default_author()
        sent: Awaitable[str | None] = self.actor.token_name.remote(digest_of(secret.encode()))
        name = await _result(sent)
        if name is None:
            raise InvalidTokenError(f"the registry does not know the one in {TOKEN_VARIABLE}")
        return name

    async def wait_for_actor(self) -> None:
        """Wait until the actor has recovered from a crash, since a change is sent only once."""
        await _result(self.actor.has_folder.remote())


@contextmanager
def connect(address: str) -> Iterator[RemoteRegistry]:
    """Connect to a Ray cluster and to its registry actor.

    Ray sends its token to whatever listens at the address. On this machine that must be a program
    of this user, of root, or of the user that the address names.

    Args:
        address: `HOST:PORT`, or `auto` for the cluster on this machine; preceded by `USER@` if
            another user of this machine runs the cluster.

    Raises:
        ClusterUnreachableError: no cluster responds there.
        ForeignClusterError: a program of another user of this machine listens there.
        ClusterTokenError: the cluster rejects the token.
        NoRegistryActorError: no application has been deployed there.
        SeveralRegistriesError: applications with several registry folders have been.
    """
    user, _, named = address.rpartition("@")
    cluster = _cluster_at(named)
    _check_listener(cluster, user)
    # If something else listens at the address, Ray then gives up after 40 s instead of 800 s.
    os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "1")
    try:
        ray.init(cluster, namespace=NAMESPACE, log_to_driver=False, logging_level=logging.CRITICAL)
    except AuthenticationError as error:
        raise ClusterTokenError(address) from error
    except (ConnectionError, ValueError, RuntimeError) as error:
        if _requires_token(str(error)):
            raise ClusterTokenError(address) from error
        raise ClusterUnreachableError(address, str(error)) from error
    try:
        yield RemoteRegistry(_actor(address))
    finally:
        ray.shutdown()


def _cluster_at(address: str) -> str:
    """Return an address as HOST:PORT; `auto` stands for the cluster that Ray finds."""
    if address == "auto":
        try:
            address = services.get_ray_address_from_environment("auto", None)
        except ConnectionError as error:
            raise ClusterUnreachableError(address, str(error)) from error
    host, _, port = address.rpartition(":")
    # Addresses of other kinds are rejected too: `local` would start a cluster.
    if not host or not port.isdecimal():
        raise ClusterUnreachableError(address, "it is not a HOST:PORT")
    return address


def _check_listener(address: str, user: str) -> None:
    """Check that a program listens at an address, since Ray would retry for minutes, and of whom.

    Args:
        address: `HOST:PORT`.
        user: the name of the user that runs the cluster; empty for the running user.
    """
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), CONNECT_TIMEOUT_S) as connection:
            ip = str(connection.getpeername()[0])
    except OSError as error:
        raise ClusterUnreachableError(address, str(error)) from error
    if not _is_of_this_machine(ip):
        if user:
            problem = f"{user}@ names a user of this machine, and the address is of another one"
            raise ClusterUnreachableError(address, problem)
        return
    try:
        expected = pwd.getpwnam(user).pw_uid if user else None
    except KeyError:
        raise ClusterUnreachableError(address, f"this machine has no user {user!r}") from None
    if not is_port_of_user(int(port), expected):
        users = sorted(users_of_port(int(port)) or ())
        raise ForeignClusterError(address, [_user_name(listening) for listening in users])


def _is_of_this_machine(ip: str) -> bool:
    interfaces = psutil.net_if_addrs().values()
    own = {address.address for addresses in interfaces for address in addresses}
    return is_loopback(ip) or ip in own


def _user_name(user: int) -> str:
    try:
        return f"user {pwd.getpwuid(user).pw_name}"
    except KeyError:
        return f"user {user}"


def _requires_token(problem: str) -> bool:
    """Return whether the cluster that Ray's error names has rejected the call for its token."""
    named = re.search(r"cluster at (\S+:\d+)", problem)
    if named is None:
        return False
    with closing(grpc.insecure_channel(named[1])) as channel:
        try:
            channel.unary_unary(ANY_GCS_METHOD)(b"", timeout=CONNECT_TIMEOUT_S)
        except grpc.RpcError as error:
            return error.code() is grpc.StatusCode.UNAUTHENTICATED
    return False


def _actor(address: str) -> ActorHandle[Any]:
    """Return the only registry actor; one without a folder is left over from a rejected deploy."""
    actors = running_registry_actors()
    if len(actors) > 1:
        actors = {
            root: actor for root, actor in actors.items() if ray.get(actor.has_folder.remote())
        }
    if len(actors) > 1:
        raise SeveralRegistriesError(address, sorted(actors))
    for actor in actors.values():
        return actor
    raise NoRegistryActorError(address)


async def _result(sent: Awaitable[T]) -> T:
    """Return the actor's result; an error that it raised is raised here unchanged."""
    try:
        return await sent
    except RAY_ERRORS as error:
        failure = failure_of(error)
        if failure is CallFailure.RAISED:
            raise cause_of(error) from None
        if failure is CallFailure.LOST:
            raise RegistryActorDownError(str(error)) from error
        raise


async def _result_of_change(sent: Awaitable[T], method: str, model: str) -> T:
    try:
        return await _result(sent)
    except RegistryActorDownError as error:
        raise InterruptedChangeError(method, model) from error


async def _read_all(artifacts: Mapping[str, Path | str]) -> dict[str, bytes]:
    return {
        artifact: await asyncio.to_thread(_read, Path(path), artifact, f"the file for {artifact}")
        for artifact, path in artifacts.items()
    }


def _read(path: Path, artifact: str, expected: str) -> bytes:
    """Return a file's content, in which an ONNX model refers to no other file."""
    try:
        return read_packed(artifact, path)
    except (FileNotFoundError, IsADirectoryError):
        raise MissingArtifactError(path, expected) from None


def _picklable(argument: object) -> object:
    """Return a mapping as a dict, since not every mapping can be pickled."""
    return dict(argument) if isinstance(argument, Mapping) else argument
