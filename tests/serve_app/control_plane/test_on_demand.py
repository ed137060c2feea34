"""Versions are loaded on demand within a limit, in a world in memory."""

import asyncio

import pytest

from serve_app.errors import (
    NotRegisteredError,
    TooManyVersionsError,
    UnusableVersionError,
)
from serve_app.timeouts import LAUNCH_RETRY_S
from testkit.models import toy
from tests.serve_app.control_plane.world import (
    NAME,
    PRODUCTION,
    settle,
    staged_world,
    started,
)


@pytest.fixture
def world():
    return staged_world()


ON_DEMAND = {"on_demand": True, "max_versions": 1, "unload_idle_s": 5}


async def load(fleet, version):
    await fleet.request(NAME, version)
    await asyncio.gather(*fleet.loads())


async def test_version_is_loaded_once_and_unloaded_when_idle(world):
    fleet = await started(world, PRODUCTION, loading=ON_DEMAND)
    await load(fleet, "1.2.0")
    await load(fleet, "1.2.0")
    assert world.launched == [toy("1.0.0"), toy("1.2.0")]
    await settle(fleet, world, 4)
    for router in world.routers[:1]:
        router.used_s[toy("1.2.0")] = world.now_s
    await settle(fleet, world, 4)
    assert toy("1.2.0") in world.running
    await settle(fleet, world, 10)
    assert sorted(world.running) == [toy("1.0.0")]


async def test_limit_rejects_further_versions(world):
    fleet = await started(world, PRODUCTION, loading=ON_DEMAND)
    await load(fleet, "1.2.0")
    with pytest.raises(TooManyVersionsError, match="at most 1 versions"):
        await fleet.request(NAME, "1.1.0")


async def test_failed_load_is_not_retried_at_once(world):
    """Until then, requests receive its reason."""
    fleet = await started(world, PRODUCTION, loading=ON_DEMAND)
    world.damaged = {"1.2.0"}
    await load(fleet, "1.2.0")
    with pytest.raises(UnusableVersionError, match="sha256"):
        await fleet.request(NAME, "1.2.0")
    world.damaged = set()
    world.now_s += LAUNCH_RETRY_S
    await load(fleet, "1.2.0")
    assert toy("1.2.0") in world.running


async def test_unregistered_version_is_rejected(world):
    fleet = await started(world, PRODUCTION, loading=ON_DEMAND)
    with pytest.raises(NotRegisteredError):
        await fleet.request(NAME, "9.9.9")
