"""Versions are loaded, moved and unloaded while bots keep sending requests."""

import asyncio
import json
import signal
import time
from contextlib import AsyncExitStack

import aiohttp
import numpy as np
import pytest
from yarl import URL

from registry import ModelStage
from registry.records import DIRECTIONS
from serve_app.client import ModelClient
from serve_app.errors import ServerRejectedError
from serve_app.timeouts import REPLICA_HEARTBEAT_S
from testkit.cluster import Cluster
from testkit.load import load
from testkit.models import SHAPE, price_step_onnx
from tests.integration.conftest import NAME, serving_args

PRICE_STEP = "price_step"
WINDOW = [0.25 * (i % 7 - 3) for i in range(6600)]
PRODUCTION, STAGING, NEXT = ({"version": version} for version in ("production", "staging", "1.2.0"))
TWO = (PRODUCTION, STAGING)
QUICK = {"loading": {"unload_idle_s": 2}}
SETTLE_S = 3.0
"""Time for which the load continues after an operation, so that it also shows late effects."""
PAUSE_S = 0.1
"""Pause of a caller between two requests: a bot's load, which leaves the cores to the operation."""
BUSY_PAUSE_S = 0.02
"""Pause for a load that shows in the processor time of each replica."""


@pytest.fixture
async def client(cluster):
    async with ModelClient(cluster.url, raise_errors=True, timeout_s=20) as client:
        yield client


@pytest.fixture(scope="module", autouse=True)
def two_versions(cluster):
    """1.0.0 in production and 1.1.0 in staging; others are unloaded when idle for 2 s."""
    asyncio.run(deploy(cluster, *TWO, **QUICK))
    yield
    asyncio.run(deploy(cluster, PRODUCTION, STAGING, NEXT))


@pytest.fixture
async def edited(cluster):
    """Restore the configuration after a test that edits it."""
    yield
    await deploy(cluster, *TWO, **QUICK)
    versions = [f"{NAME}:{version}" for version in ("1.0.0", "1.1.0")]
    await eventually(lambda: all(len(cluster.replicas(version)) == 1 for version in versions))


async def deploy(cluster: Cluster, *versions, wanted=(), **changes):
    """Deploy an edited file and wait until it is in effect, with exactly the versions it names."""
    args = serving_args(versions=[{"model": NAME, **version} for version in versions], **changes)
    numbers = {"production": "1.0.0", "staging": "1.1.0"}
    wanted = wanted or [numbers.get(version["version"], version["version"]) for version in versions]
    await asyncio.to_thread(cluster.deploy, args)
    await eventually(lambda: cluster.status()["status"] == "RUNNING")
    await asyncio.to_thread(cluster.wait_until_serving, {f"{NAME}:{version}" for version in wanted})


def processes(cluster, *versions):
    return {
        version: [one.pid for one in cluster.replicas(f"{NAME}:{version}")] for version in versions
    }


async def eventually(condition, timeout_s=180):
    deadline_s = time.monotonic() + timeout_s
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < deadline_s, "the condition was not met in time"
        await asyncio.sleep(0.5)


async def test_promote_and_roll_back(cluster, client, registry):
    """Promotion, reload and rollback lose no request and restart no process."""
    before = processes(cluster, "1.0.0", "1.1.0")
    async with AsyncExitStack() as stack:
        named = [
            # Requests name both versions, so that neither is unloaded while it holds no stage.
            await stack.enter_async_context(
                load(cluster.url, WINDOW, pause_s=PAUSE_S, concurrency=1, model_version=version)
            )
            for version in ("1.0.0", "1.1.0")
        ]
        async with load(cluster.url, WINDOW, pause_s=PAUSE_S) as promoted:
            await registry.promote_to_production(NAME, "1.1.0")
            assert await client.reload_model(NAME)
            assert (await client.predict("EURUSD", WINDOW))["model_version"] == "1.1.0"
            await asyncio.sleep(SETTLE_S)
        async with load(cluster.url, WINDOW, pause_s=PAUSE_S) as rolled_back:
            await registry.rollback(NAME)
            assert await client.reload_model(NAME, "1.0.0")
            assert (await client.predict("EURUSD", WINDOW))["model_version"] == "1.0.0"
            await registry.set_model_stage(NAME, "1.1.0", ModelStage.STAGING)
            assert await client.reload_model(NAME, "staging")
            await asyncio.sleep(SETTLE_S)
    assert [requests.failures for requests in (promoted, rolled_back, *named)] == [[]] * 4
    assert set(promoted.versions) == set(rolled_back.versions) == {"1.0.0", "1.1.0"}
    assert [set(requests.versions) for requests in named] == [{"1.0.0"}, {"1.1.0"}]
    assert processes(cluster, "1.0.0", "1.1.0") == before
    stages = {model["version"]: model["stage"] for model in await client.list_models()}
    assert stages == {"1.0.0": "Production", "1.1.0": "Staging"}


async def test_reload_of_new_version(cluster, client):
    """A reload loads a version beside the others; once idle it is unloaded."""
    before = processes(cluster, "1.0.0", "1.1.0")
    with pytest.raises(ServerRejectedError, match="404 not_served"):
        await client.predict("EURUSD", WINDOW, model_version="1.2.0")
    async with load(cluster.url, WINDOW, pause_s=PAUSE_S) as traffic:
        assert await client.reload_model(NAME, "1.2.0")
        answer = await client.predict("EURUSD", WINDOW, model_version="1.2.0")
    assert (answer["model_version"], traffic.failures) == ("1.2.0", [])
    assert set(traffic.versions) == {"1.0.0"}
    await eventually(lambda: cluster.replicas(f"{NAME}:1.2.0") == [])
    assert processes(cluster, "1.0.0", "1.1.0") == before


@pytest.fixture
async def price_step(cluster, client, registry, folder):
    """Serve a model of doubles, whose direction is that of the last price step."""
    path = folder / "price_step.onnx"
    path.write_bytes(price_step_onnx())
    await registry.register_model(PRICE_STEP, "1.0.0", path, "PriceStep", input_shape=SHAPE)
    assert await client.reload_model(PRICE_STEP, "1.0.0")
    yield
    await eventually(lambda: cluster.replicas(f"{PRICE_STEP}:1.0.0") == [])
    await registry.delete_model(PRICE_STEP, "1.0.0")


@pytest.mark.usefixtures("price_step")
async def test_model_of_doubles(cluster, client):
    """Every form of a request delivers the doubles that decide; rounded numbers are rejected."""
    window = np.full(SHAPE, 65432.12)
    window[-1] += 0.001  # float32 holds the same number for both rows, without a step
    named = {"symbol": "BTCUSDT", "model_name": PRICE_STEP, "model_version": "1.0.0"}
    address = URL(f"{cluster.url}/api/ml/predict")
    raw = "application/octet-stream"
    answers = []
    async with aiohttp.ClientSession() as session:
        for url, body, content_type in (
            (
                address,
                json.dumps({**named, "features": window.tolist()}).encode(),
                "application/json",
            ),
            (address.with_query(named), window.tobytes(), f"{raw}; dtype=float64"),
            (address.with_query(named), window.astype(np.float32).tobytes(), raw),
        ):
            headers = {"Content-Type": content_type}
            async with session.post(url, data=body, headers=headers) as answer:
                answers.append((answer.status, await answer.json()))
    *exact, rounded = answers
    assert [(status, answer["prediction"]["direction"]) for status, answer in exact] == [
        (200, DIRECTIONS["BUY"]),
        (200, DIRECTIONS["BUY"]),
    ]
    assert (rounded[0], rounded[1]["error"]["code"]) == (422, "rounded_features")
    answer = await client.predict("BTCUSDT", window, model_name=PRICE_STEP, model_version="1.0.0")
    assert answer["prediction"] == exact[0][1]["prediction"]


@pytest.mark.usefixtures("edited")
async def test_edited_configuration(cluster):
    """A deployed edit loses no request and restarts only the replicas that it changes."""
    slow = {**PRODUCTION, "batching": {"max_batch_size": 8}}
    edits = {
        "removed": ((PRODUCTION, STAGING), {"1.0.0", "1.1.0"}),
        "added": ((PRODUCTION, STAGING, NEXT), {"1.0.0", "1.1.0"}),
        "batching": ((slow, STAGING, NEXT), {"1.1.0", "1.2.0"}),
        "replicas": (({**slow, "num_replicas": 2}, STAGING, NEXT), {"1.1.0", "1.2.0"}),
    }
    for edit, (versions, untouched) in edits.items():
        before = processes(cluster, *untouched)
        old = cluster.replicas("Router")
        async with load(cluster.url, WINDOW, pause_s=PAUSE_S) as traffic:
            await deploy(cluster, *versions)
            await eventually(lambda old=old: not set(old) & set(cluster.replicas("Router")))
            await asyncio.sleep(SETTLE_S)
        assert traffic.failures == [], edit
        assert set(traffic.versions) == {"1.0.0"}
        assert processes(cluster, *untouched) == before, edit
    await eventually(lambda: len(cluster.replicas(f"{NAME}:1.0.0")) == 2)


@pytest.mark.usefixtures("edited")
async def test_placement_in_router(cluster, client):
    """A version placed in the router needs no replica and returns the same outputs."""
    replica = await client.predict("EURUSD", WINDOW)
    async with load(cluster.url, WINDOW, pause_s=PAUSE_S) as traffic:
        await deploy(cluster, {**PRODUCTION, "placement": "router"}, STAGING, NEXT)
        await eventually(lambda: cluster.replicas(f"{NAME}:1.0.0") == [])
        inside = await client.predict("EURUSD", WINDOW)
        await deploy(cluster, PRODUCTION, STAGING, NEXT)
        await eventually(lambda: len(cluster.replicas(f"{NAME}:1.0.0")) == 1)
        await asyncio.sleep(SETTLE_S)
    assert traffic.failures == []
    assert inside["model_version"] == "1.0.0"
    for output in ("confidence", "expected_return"):
        assert inside["prediction"][output] == pytest.approx(
            replica["prediction"][output], abs=1e-5
        )


async def test_damaged_version(cluster, client, registry):
    """A reload of a damaged version is rejected with the reason and changes nothing."""
    artifact = (await registry.get_model(NAME, "1.2.0")).artifact_path("model.pt")
    content = artifact.read_bytes()
    before, listed = processes(cluster, "1.0.0", "1.1.0"), await client.list_models()
    artifact.write_bytes(content[:-1] + b"x")
    try:
        with pytest.raises(ServerRejectedError, match="sha256") as caught:
            await client.reload_model(NAME, "1.2.0")
        assert (caught.value.status, caught.value.code) == (422, "unusable_version")
    finally:
        artifact.write_bytes(content)
    assert await client.list_models() == listed
    assert processes(cluster, "1.0.0", "1.1.0") == before
    for body, status in (
        ({"model_name": NAME, "version": "9.9.9"}, 404),
        ({"model_name": "absent"}, 404),
        ({"model_name": NAME, "version": "latest"}, 422),
    ):
        async with aiohttp.ClientSession() as session:
            answer = await session.post(f"{cluster.url}/api/ml/models/reload", json=body)
            assert (answer.status, "error" in await answer.json()) == (status, True)


async def test_concurrent_reload(cluster):
    """A second reload of a model in flight is a conflict."""
    async with aiohttp.ClientSession() as session:

        async def reload():
            body = {"model_name": NAME, "version": "1.2.0"}
            async with session.post(f"{cluster.url}/api/ml/models/reload", json=body) as answer:
                return answer.status

        assert sorted(await asyncio.gather(reload(), reload())) == [200, 409]
    await eventually(lambda: cluster.replicas(f"{NAME}:1.2.0") == [])


@pytest.mark.usefixtures("edited")
async def test_loading_on_demand(cluster, client):
    """A registered version that a request names is loaded if that is allowed, and unloaded when
    idle."""
    loading = {"on_demand": True, "unload_idle_s": 4}
    await deploy(cluster, PRODUCTION, loading=loading)
    before = processes(cluster, "1.0.0")
    body = {"symbol": "EURUSD", "features": WINDOW, "model_version": "1.2.0"}
    async with aiohttp.ClientSession() as session:
        answer = await session.post(f"{cluster.url}/api/ml/predict", json=body)
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
        assert (await answer.json())["error"]["code"] == "loading"
    answer = await client.predict("EURUSD", WINDOW, model_version="1.2.0")
    assert answer["model_version"] == "1.2.0"
    with pytest.raises(ServerRejectedError, match="404 not_served"):
        await client.predict("EURUSD", WINDOW, model_version="9.9.9")
    await eventually(lambda: cluster.replicas(f"{NAME}:1.2.0") == [])
    assert {model["version"] for model in await client.list_models()} == {"1.0.0"}
    assert processes(cluster, "1.0.0") == before


async def test_missing_gpu(cluster):
    """A GPU that no node has is rejected at once, and the previous configuration keeps serving."""
    args = serving_args(versions=[{"model": NAME, "num_gpus": 1}])
    await asyncio.to_thread(cluster.deploy, args)
    await eventually(lambda: cluster.status()["status"] == "DEPLOY_FAILED")
    message = cluster.status()["message"]
    assert "num_gpus: expected at most the 0 GPUs that the cluster has, received 1" in message
    assert f"({NAME}:production 1); add a node with GPUs" in message
    await deploy(cluster, *TWO, **QUICK)


@pytest.mark.parametrize(
    "victim",
    [
        "ray::ServeController",
        "ray::RegistryActor",
        "ray::ServeReplica:trading-models:Fleet",
        f"ray::ServeReplica:trading-models:{NAME}:1.0.0",
    ],
)
async def test_killed_process(cluster, client, victim):
    """A process killed under load restarts, costs no request, and the same versions serve."""
    listed = await client.list_models()
    killed = cluster.find(victim)
    assert killed
    async with load(cluster.url, WINDOW, pause_s=PAUSE_S, concurrency=4) as traffic:
        for process in killed:
            process.send_signal(signal.SIGKILL)
        await eventually(lambda: set(cluster.find(victim)) - set(killed))
        await asyncio.sleep(SETTLE_S)
    # Requests in flight at a killed replica fail there, and the router retries them.
    assert traffic.failures == []
    wanted = {f"{entry['name']}:{entry['version']}" for entry in listed}
    await asyncio.to_thread(cluster.wait_until_serving, wanted)
    assert await client.list_models() == listed


@pytest.mark.usefixtures("edited")
async def test_suspended_replica(
    cluster,
):
    """A suspended replica, whose port still accepts connections, costs no request and resumes its
    share."""
    replaced = cluster.replicas(f"{NAME}:1.0.0")
    await deploy(cluster, {**PRODUCTION, "num_replicas": 2}, STAGING)

    def replacements():
        """Return the new replicas once no replaced one is left."""
        living = cluster.replicas(f"{NAME}:1.0.0")
        return [] if set(living) & set(replaced) else living

    await eventually(lambda: len(replacements()) == 2)
    suspended, _ = replacements()
    async with load(cluster.url, WINDOW, pause_s=BUSY_PAUSE_S, concurrency=12) as traffic:
        await eventually(lambda: works(suspended))
        suspended.suspend()
        await asyncio.sleep(REPLICA_HEARTBEAT_S + SETTLE_S)
        suspended.resume()
        await eventually(lambda: works(suspended))
    assert traffic.failures == []


def works(process):
    """Return whether a process computes for more than a tenth of a second per second."""
    return process.cpu_percent(interval=1.0) > 10


async def test_killed_router(cluster, client):
    """A killed router restarts with the same routing table."""
    listed = await client.list_models()
    (process,) = cluster.replicas("Router")
    process.send_signal(signal.SIGKILL)
    await eventually(lambda: cluster.replicas("Router") not in ([], [process]))
    assert (await client.predict("EURUSD", WINDOW))["model_version"] == "1.0.0"
    await eventually(lambda: asyncio.run(_models(cluster)) == listed)


async def _models(cluster):
    async with ModelClient(cluster.url) as client:
        return await client.list_models()


@pytest.mark.usefixtures("edited")
async def test_cluster_restart(cluster, client, registry):
    """After a restart of the cluster the same versions serve.

    Reloaded ones too, later promotions not.
    """
    patient = {"unload_idle_s": 600}
    await deploy(cluster, *TWO, loading=patient)
    await client.reload_model(NAME, "1.2.0")
    listed = await client.list_models()
    await client.cleanup()
    await registry.promote_to_production(NAME, "1.1.0")
    await asyncio.to_thread(cluster.stop)
    await asyncio.to_thread(cluster.start)
    await deploy(cluster, *TWO, wanted=("1.0.0", "1.1.0", "1.2.0"), loading=patient)
    assert await client.list_models() == listed
    assert (await client.predict("EURUSD", WINDOW))["model_version"] == "1.0.0"
    await registry.promote_to_production(NAME, "1.0.0")
    await registry.set_model_stage(NAME, "1.1.0", ModelStage.STAGING)
