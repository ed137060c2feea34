"""The commands on versions, in a world in memory that asserts service after every step."""

import asyncio

import pytest

from serve_app.control_plane.reloads import ReloadResult
from serve_app.errors import (
    FleetUnavailableError,
    NotRegisteredError,
    ReloadInProgressError,
    UnusableVersionError,
)
from serve_app.versions import VersionRef
from testkit.models import toy
from tests.serve_app.control_plane.world import (
    NAME,
    PRODUCTION,
    STAGING,
    settle,
    staged_world,
    started,
)


@pytest.fixture
def world():
    return staged_world()


async def test_reload_follows_a_promotion(world):
    """No other version is launched again."""
    fleet = await started(world)
    world.hold(production="1.2.0", staging="1.1.0")
    result = await fleet.reload(NAME, None)
    assert result == ReloadResult(
        VersionRef(NAME, "1.2.0"), {"production": "1.2.0", "staging": "1.1.0"}
    )
    assert world.serving() == "1.2.0"
    assert world.launched == [toy("1.0.0"), toy("1.1.0"), toy("1.2.0")]


async def test_reload_without_stage_moves_no_traffic(world):
    fleet = await started(world)
    result = await fleet.reload(NAME, "1.2.0")
    assert (result.version.version, world.serving()) == ("1.2.0", "1.0.0")
    assert toy("1.2.0") in world.running


@pytest.mark.parametrize(
    ("broken", "damaged", "placement", "reason"),
    [
        ((), ("1.2.0",), "replicas", "sha256"),
        (("1.2.0",), (), "replicas", "it does not start"),
        (("1.2.0",), (), "router", "out of memory"),
    ],
)
async def test_unloadable_version_changes_nothing(world, broken, damaged, placement, reason):
    """The error holds the reason."""
    fleet = await started(world, {**PRODUCTION, "placement": placement}, STAGING)
    world.hold(production="1.2.0", staging="1.1.0")
    world.broken, world.damaged = set(broken), set(damaged)
    await settle(fleet, world)
    before = fleet.state
    with pytest.raises(UnusableVersionError, match=reason):
        await fleet.reload(NAME, None)
    await settle(fleet, world)
    assert world.serving() == "1.0.0"
    assert fleet.state.model_copy(update={"revision": 0}) == before.model_copy(
        update={"revision": 0}
    )
    assert toy("1.2.0") not in world.running


async def test_reload_of_unregistered_version_fails(world):
    fleet = await started(world)
    with pytest.raises(NotRegisteredError, match=r"no version '9\.9\.9'"):
        await fleet.reload(NAME, "9.9.9")
    world.hold(production="1.0.0")
    with pytest.raises(NotRegisteredError, match="toy has no staging version"):
        await fleet.reload(NAME, "staging")


async def test_second_reload_is_rejected(world):
    fleet = await started(world)
    gate = asyncio.Event()
    find = world.find

    async def slow_find(model, reference):
        await gate.wait()
        return await find(model, reference)

    world.find = slow_find
    first = asyncio.create_task(fleet.reload(NAME, "1.2.0"))
    await asyncio.sleep(0)
    with pytest.raises(ReloadInProgressError, match=r"toy is being reloaded to 1\.2\.0"):
        await fleet.reload(NAME, None)
    gate.set()
    await first
    assert (await fleet.reload(NAME, None)).version.version == "1.0.0"


async def test_traffic_waits_for_every_router(world):
    fleet = await started(world)
    world.hold(production="1.2.0", staging="1.1.0")
    world.routers[1].is_stuck = True
    reload = asyncio.create_task(fleet.reload(NAME, None))
    for _ in range(50):
        await asyncio.sleep(0)
    assert {router.state.stages[NAME]["production"] for router in world.routers} == {"1.0.0"}
    world.routers[1].is_stuck = False
    world.routers[1].state = fleet.state
    await reload
    assert world.serving() == "1.2.0"


async def test_rollback_during_a_reload_counts(world):
    """The registry is read again once the version is loaded."""
    fleet = await started(world)
    world.hold(production="1.2.0", staging="1.1.0")
    try_out = world.try_out

    async def slow_try_out(metadata):
        world.hold(production="1.0.0", staging="1.1.0")
        await try_out(metadata)

    world.try_out = slow_try_out
    await fleet.reload(NAME, None)
    assert world.serving() == "1.0.0"


@pytest.mark.parametrize("placement", ["replicas", "router"])
async def test_reload_serves_the_pinned_artifact(world, placement):
    """A pin alone changes nothing that runs."""
    both = {"model.onnx": "a" * 64, "fast.onnx": "b" * 64}
    world.versions["1.0.0"] = world.versions["1.0.0"].model_copy(update={"artifacts": both})
    fleet = await started(world, {**PRODUCTION, "placement": placement})
    pinned = world.versions["1.0.0"].model_copy(update={"serving_artifact": "fast.onnx"})
    world.versions["1.0.0"] = pinned
    before = world.launched.count(toy("1.0.0"))
    await fleet.reconcile()
    assert world.launched.count(toy("1.0.0")) == before, "a pin alone changes nothing that runs"
    await fleet.reload(NAME, None)
    assert world.launched.count(toy("1.0.0")) == before + (placement == "replicas")
    assert fleet.state.find(toy("1.0.0")).load.artifact == "b" * 64
    assert world.serving() == "1.0.0"


async def test_reload_leaves_pins_of_other_stages(world):
    both = {"model.onnx": "a" * 64, "fast.onnx": "b" * 64}
    world.versions["1.1.0"] = world.versions["1.1.0"].model_copy(update={"artifacts": both})
    fleet = await started(world)
    pinned = world.versions["1.1.0"].model_copy(update={"serving_artifact": "fast.onnx"})
    world.versions["1.1.0"] = pinned
    await fleet.reload(NAME, None)
    await settle(fleet, world, 3)
    assert world.launched == [toy("1.0.0"), toy("1.1.0")]


async def test_damaged_staging_does_not_block_production(world):
    """Neither a reload of production nor a start fails."""
    fleet = await started(world)
    world.hold(production="1.2.0", staging="1.1.0")
    world.unreadable = {"staging"}
    result = await fleet.reload(NAME, None)
    assert result == ReloadResult(
        VersionRef(NAME, "1.2.0"), {"production": "1.2.0", "staging": "1.1.0"}
    )
    again = await started(world)
    await settle(again, world, 3)
    edited = await started(world, {**PRODUCTION, "num_threads": 2}, STAGING)
    await settle(edited, world, 3)
    assert world.serving() == "1.2.0"


async def test_interrupted_load_changes_nothing(world):
    fleet = await started(world)
    await fleet.reload(NAME, "1.2.0")

    async def away():
        raise ConnectionError("Serve does not result")

    launches, world.launches = world.launches, away
    with pytest.raises(ConnectionError):
        await fleet.reload(NAME, "1.2.0")
    world.launches = launches
    await fleet.reconcile()
    assert fleet.state.find(toy("1.2.0")).load == fleet.state.find(toy("1.2.0")).launched


async def test_held_version_is_not_unloaded(world):
    fleet = await started(world, PRODUCTION, loading={"unload_idle_s": 0})
    await fleet.reload(NAME, "1.2.0")
    with fleet.holding(toy("1.1.0")):
        await fleet.load(world.versions["1.1.0"])
        await fleet.reconcile()
        assert fleet.state.find(toy("1.1.0"))
    await fleet.reconcile()
    assert fleet.state.find(toy("1.1.0")) is None


async def test_superseded_fleet_rejects_commands(world):
    old = await started(world)
    await started(world, PRODUCTION)
    world.hold(production="1.2.0")
    with pytest.raises(FleetUnavailableError, match="a newer configuration"):
        await old.reload(NAME, None)
    assert old.superseded
    await asyncio.wait_for(old.reconcile_forever(), 1)
