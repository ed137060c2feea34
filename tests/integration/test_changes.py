"""Changes of a running server that fail, while bots keep sending requests."""

import asyncio
import time

import aiohttp
import pytest

from serve_app.client import ModelClient
from testkit.load import load
from tests.integration.conftest import NAME, serving_args

WINDOW = [0.25 * (i % 7 - 3) for i in range(6600)]
VERSION = f"{NAME}:1.1.0"


def args(**changes):
    """Return the application's settings with a changed version in staging."""
    versions = [dict(version) for version in serving_args()["versions"]]
    for version in versions:
        if version["version"] == "staging":
            version.update(changes)
    return serving_args(versions=versions)


@pytest.fixture
async def client(cluster):
    async with ModelClient(cluster.url, timeout_s=20) as client:
        yield client


@pytest.fixture
async def damaged_checkpoint(registry):
    """1.1.0 is to be loaded from its checkpoint, which is damaged now; yields the repair."""
    checkpoint = (await registry.get_model(NAME, "1.1.0")).artifact_path("model.pt")
    content = checkpoint.read_bytes()
    await registry.pin_artifact(NAME, "1.1.0", "model.pt")
    checkpoint.write_bytes(content[:-1] + b"x")

    async def repair():
        checkpoint.write_bytes(content)
        await registry.pin_artifact(NAME, "1.1.0", None)

    yield repair
    await repair()


@pytest.mark.nightly
async def test_failed_change(cluster, client, damaged_checkpoint):
    """A change that does not load costs no request: the old replica serves, and is replaced when it
    dies; the server states the reason; and the previous settings withdraw the change.

    Nightly: at the end of a whole run, 161 requests had no response within 10 s. The cause is not
    known; by itself and after test_registry_actor it passes.
    """

    async def entry():
        models = await client.list_models()
        return next((model for model in models if model["version"] == "1.1.0"), {})

    async def health():
        async with aiohttp.ClientSession() as session:
            answer = await session.get(f"{cluster.url}/health")
            return await answer.json()

    async def has_failed():
        return (await entry()).get("problem")

    async def is_replaced():
        living = await asyncio.to_thread(cluster.replicas, VERSION)
        return old not in living and (await entry()).get("loaded")

    async def is_withdrawn():
        living = await asyncio.to_thread(cluster.replicas, VERSION)
        return len(living) == 1 and (await entry()).get("pending") is False

    async with load(cluster.url, WINDOW, pause_s=0.1, model_version="1.1.0") as traffic:
        (old,) = await asyncio.to_thread(cluster.replicas, VERSION)
        await asyncio.to_thread(cluster.deploy, args(num_threads=2))
        await eventually(has_failed)
        failed, report = await entry(), await health()
        assert (failed["loaded"], failed["pending"]) == (True, True)
        assert "sha256" in failed["problem"]
        assert (report["status"], report["problems"]) == ("degraded", [VERSION])
        assert old.is_running()
        old.kill()
        await eventually(is_replaced)
        await damaged_checkpoint()
        await asyncio.to_thread(cluster.deploy, args())
        await eventually(is_withdrawn)
        assert (await health())["status"] == "healthy"
    assert traffic.failures == []
    assert set(traffic.versions) == {"1.1.0"}


async def eventually(condition, timeout_s=180):
    deadline_s = time.monotonic() + timeout_s
    while not await condition():
        assert time.monotonic() < deadline_s, "the condition was not met in time"
        await asyncio.sleep(0.5)
