"""RemoteRegistry and the registry actor, both in this process; no cluster is needed."""

import inspect
import pickle
import shutil
import socket

import pytest
from ray.exceptions import ActorDiedError, RayTaskError

from registry import ModelRegistry, ModelStage
from registry.api import CHANGES, READS, RegistryApi
from registry.errors import (
    InvalidNameError,
    MissingArtifactError,
    MissingFeatureSetError,
    StorageError,
    UnknownModelError,
    UnreadableArtifactError,
    VersionExistsError,
)
from registry.records import OUTPUTS
from serve_app.access.roles import Role
from serve_app.access.token_file import TokenFile
from serve_app.deployments.actors import errors, registry_client
from serve_app.deployments.actors.registry import RegistryActor, SentFile
from serve_app.deployments.actors.registry_client import RemoteRegistry, connect
from serve_app.errors import InvalidTokenError
from serve_app.settings import AppSettings
from serve_app.state.serving import ServingState
from storage import disk_space
from testkit.feature_sets import record
from testkit.models import SHAPE, linear_onnx_file


class Handle:
    """Calls an actor as Ray does: values are pickled, and errors wrapped with a traceback."""

    def __init__(self, actor, dies_in=()):
        self._actor, self._dies_in = actor, dies_in

    def __getattr__(self, name):
        return Method(getattr(self._actor, name), name in self._dies_in)


class Method:
    def __init__(self, method, dies):
        self._method, self._dies = method, dies

    async def remote(self, *args, **kwargs):
        args, kwargs = pickle.loads(pickle.dumps((args, kwargs)))
        try:
            result = await self._method(*args, **kwargs)
        except Exception as error:
            raise RayTaskError("call", "a long traceback", error) from error
        if self._dies:
            raise ActorDiedError
        return pickle.loads(pickle.dumps(result))


@pytest.fixture
def root(tmp_path):
    return tmp_path / "models"


@pytest.fixture
def remote(root):
    return RemoteRegistry(Handle(RegistryActor(str(root))))


async def register(registry, folder, version="1.0.0", weight=1.0, **fields):
    path = linear_onnx_file(folder, weight)
    return await registry.register_model("m", version, path, "L", input_shape=SHAPE, **fields)


async def test_lifecycle_through_the_actor(remote, root, tmp_path):
    """Every method works through the actor, from registration to deletion."""
    extra = tmp_path / "notes.txt"
    extra.write_text("notes")
    info = await register(
        remote, tmp_path, description="first", metrics={"f1": 0.5}, artifacts={"notes.txt": extra}
    )
    assert info.path == root / "m" / "v1.0.0"
    assert set(info.metadata.artifacts) == {"model.onnx", "notes.txt"}
    assert info.metadata.output_names == {name: name for name in OUTPUTS}
    await register(remote, tmp_path, "1.1.0", 2.0)
    await remote.promote_to_production("m", "1.0.0")
    await remote.promote_to_production("m", "1.1.0", by="olga", reason="better")
    assert (await remote.rollback("m")).metadata.version == "1.0.0"
    assert (await remote.get_production_model("m")).metadata.version == "1.0.0"
    await remote.set_model_stage("m", "1.1.0", ModelStage.STAGING)
    assert (await remote.get_staging_model("m")).metadata.version == "1.1.0"
    await remote.update_metrics("m", "1.1.0", {"f1": 0.75})
    compared = await remote.compare_models("m", "1.0.0", "1.1.0")
    assert compared["metrics_comparison"]["f1"]["diff"] == 0.25
    await remote.set_model_stage("m", "1.1.0", ModelStage.NONE)
    await remote.retire_model("m", "1.1.0")
    await remote.delete_model("m", "1.1.0")
    assert [info.metadata.version for info in await remote.list_models()] == ["1.0.0"]
    assert await remote.read_artifact("m", "1.0.0", "notes.txt") == b"notes"
    assert await remote.verify() == await remote.repair() == []
    history = await remote.history("m")
    assert [entry.action for entry in history[:4]] == [
        "registered",
        "registered",
        "promoted",
        "promoted",
    ]
    assert (history[3].by, history[3].reason) == ("olga", "better")
    assert await remote.production_at("m", history[3].time) == "1.1.0"


async def test_registration_of_published_version(remote, tmp_path):
    """Identical content is a no-op; different content is rejected."""
    first = await register(remote, tmp_path)
    assert await register(remote, tmp_path) == first
    with pytest.raises(VersionExistsError):
        await register(remote, tmp_path, weight=3.0)


async def test_errors_of_the_registry(remote, tmp_path):
    """An error of the registry is raised unchanged."""
    with pytest.raises(UnknownModelError, match="no model 'm' in the registry"):
        await remote.get_model("m")
    with pytest.raises(MissingArtifactError, match="the model's file"):
        await remote.register_model("m", "1.0.0", tmp_path / "absent.onnx", "L")
    with pytest.raises(InvalidNameError, match="invalid artifact name"):
        await register(remote, tmp_path, artifacts={"../../escape": linear_onnx_file(tmp_path)})


async def test_pickled_module_is_rejected(remote, root, tmp_path):
    """A pickled module is rejected before anything is published."""
    path = tmp_path / "model.pt"
    path.write_bytes(pickle.dumps(Handle))
    with pytest.raises(UnreadableArtifactError, match="a pickle that would call"):
        await remote.register_model("m", "1.0.0", path, "L")
    assert not (root / "m" / "v1.0.0").exists()


async def test_change_is_sent_once(root, tmp_path):
    """A change whose result is lost is not retried, since it may have been applied, as here."""
    await register(ModelRegistry(root), tmp_path)
    dying = RemoteRegistry(Handle(RegistryActor(str(root)), {"call_once", "register"}))
    with pytest.raises(errors.InterruptedChangeError, match="modelctl history m"):
        await dying.promote_to_production("m", "1.0.0")
    with pytest.raises(errors.InterruptedChangeError, match="during register_model of 'm'"):
        await register(dying, tmp_path, "1.1.0")
    history = await dying.history("m")
    assert [entry.action for entry in history] == ["registered", "promoted", "registered"]


async def test_dead_actor(root, tmp_path):
    """An actor that does not recover is reported before a change is sent."""
    await register(ModelRegistry(root), tmp_path)
    dead = RemoteRegistry(Handle(RegistryActor(str(root)), {"has_folder", "call"}))
    for call in (dead.promote_to_production("m", "1.0.0"), dead.history("m")):
        with pytest.raises(errors.RegistryActorDownError, match="nothing was changed"):
            await call


async def test_callable_methods(root):
    """The actor calls only methods with the right marker, and no attributes of its registry."""
    actor = RegistryActor(str(root))
    for method in ("__class__", "_folder", "delete_model"):
        with pytest.raises(InvalidNameError, match="invalid registry method"):
            await actor.call(method)
    for method in ("get_model", "register_model", "add_artifacts"):
        with pytest.raises(InvalidNameError, match="invalid registry method"):
            await actor.call_once(method)


async def test_feature_set(remote, root, tmp_path):
    """A version is found only if its feature set is installed on the head node."""
    await register(remote, tmp_path, feature_set=record(name="acme_absent"))
    with pytest.raises(MissingFeatureSetError, match=r"m:1\.0\.0 does not serve without"):
        await RegistryActor(str(root)).find("m", "1.0.0")
    with pytest.raises(MissingFeatureSetError, match="install the distribution"):
        await remote.promote_to_production("m", "1.0.0")
    assert await remote.accept_feature_set("m", "1.0.0", record(name="acme_other"), by="olga")
    assert (await remote.get_model_metadata("m", "1.0.0")).feature_set.name == "acme_other"


async def test_serving_state_is_private(root):
    """Only the server's user can read the serving state."""
    root.mkdir()
    settings = AppSettings(registry_root=str(root), versions=[{"model": "m"}])
    state = ServingState(settings=settings, versions=(), stages={}, targets={})
    assert await RegistryActor(str(root)).write_serving_state("a", state, 0)
    assert (root / ".serving-a.json").stat().st_mode & 0o777 == 0o600


async def test_unwritable_serving_state(root):
    """A state that the disk does not take raises a StorageError with the remedy."""
    root.mkdir()
    settings = AppSettings(registry_root=str(root), versions=[{"model": "m"}])
    state = ServingState(settings=settings, versions=(), stages={}, targets={})
    actor = RegistryActor(str(root))
    assert await actor.serving_state("a") is None
    shutil.rmtree(root)
    with pytest.raises(StorageError, match=r"nothing was changed; free disk space, then retry"):
        await actor.write_serving_state("a", state, 0)


async def test_shortage(root, tmp_path, monkeypatch):
    """A router that follows the tokens learns that the registry's disk is nearly full."""
    root.mkdir()
    actor = RegistryActor(str(root))
    assert (await actor.follow_tokens(str(tmp_path / "tokens.json"), None)).shortage is None
    monkeypatch.setattr(disk_space, "RESERVE_BYTES", 1 << 60)
    shortage = (await actor.follow_tokens(str(tmp_path / "tokens.json"), None)).shortage
    assert f"MB are free in {root}" in shortage


async def test_unknown_file_type(root):
    """A file whose suffix is not that of a model is rejected."""
    actor = RegistryActor(str(root))
    with pytest.raises(InvalidNameError, match="invalid model file"):
        await actor.register("m", "1.0.0", SentFile(".exe", b""), {}, {"model_type": "L"})


@pytest.mark.parametrize("address", ["local", "ray://127.0.0.1", "127.0.0.1", "127.0.0.1:1"])
def test_invalid_address(address):
    """An address without a cluster is rejected at once."""
    with (
        pytest.raises(errors.ClusterUnreachableError, match="the address that `ray start --head`"),
        connect(address),
    ):
        pass


async def test_artifacts_through_the_actor(remote, root, tmp_path):
    """Artifacts are added and pinned through the actor; invalid names are rejected."""
    await register(remote, tmp_path)
    fast = linear_onnx_file(tmp_path, 2.0)
    info = await remote.add_artifacts(
        "m", "1.0.0", {"model_fast.onnx": fast}, {"goal": "size"}, "model_fast.onnx", by="olga"
    )
    assert info.metadata.serving_artifact == "model_fast.onnx"
    assert (root / "m" / "v1.0.0" / "model_fast.onnx").read_bytes() == fast.read_bytes()
    await remote.pin_artifact("m", "1.0.0", "model.onnx")
    assert (await remote.get_model("m", "1.0.0")).metadata.serving_artifact == "model.onnx"
    assert [entry.by for entry in await remote.history("m")][1] == "olga"
    with pytest.raises(InvalidNameError):
        await remote.add_artifacts("m", "1.0.0", {"../x.onnx": fast}, {}, None)


def test_client_implements_the_interface():
    """The client has every method of the interface, with its signature."""
    for name in CHANGES | READS:
        method = getattr(RemoteRegistry, name)
        expected = inspect.signature(getattr(RegistryApi, name))
        assert inspect.signature(method) == expected, name
        assert method is not getattr(RegistryApi, name), name


async def test_author_is_the_token(remote, root, tmp_path, monkeypatch):
    """A change is recorded under the name of the caller's token, unless an author is given."""
    await register(remote, tmp_path, by="olga")
    file = TokenFile(root / ".tokens.json")
    _, secret = file.create("alice", {Role.OPERATE})
    monkeypatch.setenv("TRADESERVE_TOKEN", secret)
    await remote.promote_to_production("m", "1.0.0")
    await register(remote, tmp_path, "1.1.0", 2.0)
    await remote.promote_to_production("m", "1.1.0", by="olga")
    authors = [entry.by for entry in await remote.history("m")]
    assert authors == ["olga", "alice", "alice", "olga"]
    file.revoke("alice")
    with pytest.raises(InvalidTokenError, match="TRADESERVE_TOKEN"):
        await remote.rollback("m")


def foreign_user(monkeypatch):
    """Let the kernel's table name user 4321 as the listener of every port."""
    monkeypatch.setattr(registry_client, "is_port_of_user", lambda port, user: user == 4321)
    monkeypatch.setattr(registry_client, "users_of_port", lambda port: frozenset({4321}))


@pytest.mark.parametrize("is_auto", [False, True])
def test_port_of_another_user(monkeypatch, is_auto):
    """A program of another user that listens at the address receives no byte, nor does it at auto.

    Ray would send its token to it.
    """
    foreign_user(monkeypatch)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("RAY_ADDRESS", address if is_auto else "")
        remedy = f"program of user 4321, .* --server USER@{address}"
        with (
            pytest.raises(errors.ForeignClusterError, match=remedy),
            connect("auto" if is_auto else address),
        ):
            pass
        connection, _ = server.accept()
        with connection:
            assert connection.recv(1) == b""


@pytest.mark.parametrize(
    ("user", "problem"), [("nosuchuser", "no user 'nosuchuser'"), ("root", "not a Ray")]
)
def test_named_user(monkeypatch, user, problem):
    """An address may name the user that runs the cluster, who must exist and be the listener."""
    named = []

    def init(address, **_options):
        named.append(address)
        raise ConnectionError("not a Ray cluster")

    monkeypatch.setattr(registry_client.ray, "init", init)
    monkeypatch.setattr(registry_client, "is_port_of_user", lambda port, user: user == 0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with (
            pytest.raises(errors.ClusterUnreachableError, match=problem),
            connect(f"{user}@{address}"),
        ):
            pass
    assert named == ([address] if user == "root" else [])
