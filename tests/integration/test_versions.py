"""Versions come and go behind a bot that never stops asking."""

import asyncio
import signal
import time
from contextlib import AsyncExitStack

import aiohttp
import pytest

from registry import ModelStage
from serve_app.client import ModelClient
from serve_app.errors import ServerRejectedError
from serve_app.timeouts import REPLICA_HEARTBEAT_S
from testkit.cluster import Cluster
from testkit.load import load
from tests.integration.conftest import NAME, serving_args

WINDOW = [0.25 * (i % 7 - 3) for i in range(6600)]
PRODUCTION, STAGING, NEXT = ({"version": each} for each in ("production", "staging", "1.2.0"))
TWO = (PRODUCTION, STAGING)
QUICK = {"loading": {"unload_idle_s": 2}}
SETTLE_S = 3.0
"""How long after an operation the load goes on, so that what comes late is met too."""


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
    """The file may be edited; it is as it was afterwards."""
    yield
    await deploy(cluster, *TWO, **QUICK)


async def deploy(cluster: Cluster, *versions, wanted=(), **changes):
    """Deploy an edited file and wait until it is in effect, with exactly the versions it names."""
    args = serving_args(versions=[{"model": NAME, **each} for each in versions], **changes)
    numbers = {"production": "1.0.0", "staging": "1.1.0"}
    wanted = wanted or [numbers.get(each["version"], each["version"]) for each in versions]
    await asyncio.to_thread(cluster.deploy, args)
    await eventually(lambda: cluster.status()["status"] == "RUNNING")
    await asyncio.to_thread(cluster.wait_until_serving, {f"{NAME}:{each}" for each in wanted})


def processes(cluster, *versions):
    return {each: [one.pid for one in cluster.replicas(f"{NAME}:{each}")] for each in versions}


async def eventually(condition, timeout_s=90):
    deadline_s = time.monotonic() + timeout_s
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < deadline_s, "it did not come about"
        await asyncio.sleep(0.2)


async def test_promotion_reload_and_rollback_lose_no_request_and_restart_nothing(
    cluster, client, registry
):
    before = processes(cluster, "1.0.0", "1.1.0")
    async with AsyncExitStack() as stack:
        named = [
            # Somebody asks for it by name, so that neither is unloaded while it is in no stage.
            await stack.enter_async_context(
                load(cluster.url, WINDOW, concurrency=1, model_version=version)
            )
            for version in ("1.0.0", "1.1.0")
        ]
        async with load(cluster.url, WINDOW) as promoted:
            await registry.promote_to_production(NAME, "1.1.0")
            assert await client.reload_model(NAME)
            assert (await client.predict("EURUSD", WINDOW))["model_version"] == "1.1.0"
            await asyncio.sleep(SETTLE_S)
        async with load(cluster.url, WINDOW) as rolled_back:
            await registry.rollback(NAME)
            assert await client.reload_model(NAME, "1.0.0")
            assert (await client.predict("EURUSD", WINDOW))["model_version"] == "1.0.0"
            await registry.set_model_stage(NAME, "1.1.0", ModelStage.STAGING)
            assert await client.reload_model(NAME, "staging")
            await asyncio.sleep(SETTLE_S)
    assert [each.failures for each in (promoted, rolled_back, *named)] == [[]] * 4
    assert set(promoted.versions) == set(rolled_back.versions) == {"1.0.0", "1.1.0"}
    assert [set(each.versions) for each in named] == [{"1.0.0"}, {"1.1.0"}]
    assert processes(cluster, "1.0.0", "1.1.0") == before
    stages = {each["version"]: each["stage"] for each in await client.list_models()}
    assert stages == {"1.0.0": "Production", "1.1.0": "Staging"}


async def test_a_reload_loads_a_new_version_beside_the_others_which_goes_when_idle(cluster, client):
    before = processes(cluster, "1.0.0", "1.1.0")
    with pytest.raises(ServerRejectedError, match="404 not_served"):
        await client.predict("EURUSD", WINDOW, model_version="1.2.0")
    async with load(cluster.url, WINDOW) as asked:
        assert await client.reload_model(NAME, "1.2.0")
        answer = await client.predict("EURUSD", WINDOW, model_version="1.2.0")
    assert (answer["model_version"], asked.failures) == ("1.2.0", [])
    assert set(asked.versions) == {"1.0.0"}
    await eventually(lambda: cluster.replicas(f"{NAME}:1.2.0") == [])
    assert processes(cluster, "1.0.0", "1.1.0") == before


@pytest.mark.usefixtures("edited")
async def test_edited_files_lose_no_request_and_restart_only_what_they_change(cluster):
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
        async with load(cluster.url, WINDOW) as asked:
            await deploy(cluster, *versions)
            await eventually(lambda old=old: not set(old) & set(cluster.replicas("Router")))
            await asyncio.sleep(SETTLE_S)
        assert asked.failures == [], edit
        assert set(asked.versions) == {"1.0.0"}
        assert processes(cluster, *untouched) == before, edit
    await eventually(lambda: len(cluster.replicas(f"{NAME}:1.0.0")) == 2)


@pytest.mark.usefixtures("edited")
async def test_a_version_inside_the_router_needs_no_replica_and_gives_the_same_answers(
    cluster, client
):
    replica = await client.predict("EURUSD", WINDOW)
    async with load(cluster.url, WINDOW) as asked:
        await deploy(cluster, {**PRODUCTION, "placement": "router"}, STAGING, NEXT)
        await eventually(lambda: cluster.replicas(f"{NAME}:1.0.0") == [])
        inside = await client.predict("EURUSD", WINDOW)
        await deploy(cluster, PRODUCTION, STAGING, NEXT)
        await eventually(lambda: len(cluster.replicas(f"{NAME}:1.0.0")) == 1)
        await asyncio.sleep(SETTLE_S)
    assert asked.failures == []
    assert inside["model_version"] == "1.0.0"
    for output in ("confidence", "expected_return"):
        assert inside["prediction"][output] == pytest.approx(
            replica["prediction"][output], abs=1e-5
        )


async def test_a_damaged_version_is_refused_with_the_reason_and_nothing_changes(
    cluster, client, registry
):
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


async def test_a_second_reload_of_a_model_meanwhile_is_a_conflict(cluster):
    async with aiohttp.ClientSession() as session:

        async def reload():
            body = {"model_name": NAME, "version": "1.2.0"}
            async with session.post(f"{cluster.url}/api/ml/models/reload", json=body) as answer:
                return answer.status

        assert sorted(await asyncio.gather(reload(), reload())) == [200, 409]
    await eventually(lambda: cluster.replicas(f"{NAME}:1.2.0") == [])


@pytest.mark.usefixtures("edited")
async def test_a_named_version_is_loaded_on_demand_where_allowed_and_goes_when_idle(
    cluster, client
):
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
    assert {each["version"] for each in await client.list_models()} == {"1.0.0"}
    assert processes(cluster, "1.0.0") == before


async def test_a_gpu_that_no_node_has_is_refused_at_once_and_the_old_file_goes_on(cluster):
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
async def test_a_process_killed_under_load_comes_back_and_the_same_versions_serve(
    cluster, client, victim
):
    """The controller, the registry actor and the fleet cost no request at all."""
    listed = await client.list_models()
    killed = cluster.find(victim)
    assert killed
    async with load(cluster.url, WINDOW, concurrency=4) as asked:
        for process in killed:
            process.send_signal(signal.SIGKILL)
        await eventually(lambda: set(cluster.find(victim)) - set(killed))
        await asyncio.sleep(SETTLE_S)
    # Of the model's replica, those in flight may fail; the router sends them again.
    assert asked.failures == []
    wanted = {f"{each['name']}:{each['version']}" for each in listed}
    await asyncio.to_thread(cluster.wait_until_serving, wanted)
    assert await client.list_models() == listed


@pytest.mark.usefixtures("edited")
async def test_a_replica_that_stands_still_costs_no_request_and_takes_its_share_when_it_goes_on(
    cluster,
):
    """Its port goes on accepting what the routers send; SIGSTOP is as a machine that swaps."""
    replaced = cluster.replicas(f"{NAME}:1.0.0")
    await deploy(cluster, {**PRODUCTION, "num_replicas": 2}, STAGING)

    def replacements():
        """Return those after the replacement; while it goes on there are old ones beside them."""
        living = cluster.replicas(f"{NAME}:1.0.0")
        return [] if set(living) & set(replaced) else living

    await eventually(lambda: len(replacements()) == 2)
    still, _ = replacements()
    async with load(cluster.url, WINDOW, concurrency=4) as asked:
        await eventually(lambda: works(still))
        still.suspend()
        await asyncio.sleep(REPLICA_HEARTBEAT_S + SETTLE_S)
        still.resume()
        await eventually(lambda: works(still))
    assert asked.failures == []


def works(process):
    """Return whether it computes for more than a tenth of a second."""
    return process.cpu_percent(interval=1.0) > 10


async def test_a_router_killed_under_load_comes_back_with_the_same_table(cluster, client):
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
async def test_after_a_restart_of_the_whole_cluster_the_same_versions_serve(
    cluster, client, registry
):
    """Also those that came by reload, and not what was promoted since without one."""
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
