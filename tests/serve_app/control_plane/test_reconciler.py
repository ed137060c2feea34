"""The reconciler launches, drains and ends replicas, in a world in memory."""

import pytest

from serve_app.control_plane.ports import Launch, LaunchPhase
from serve_app.errors import (
    FleetUnavailableError,
)
from serve_app.timeouts import LAUNCH_RETRY_S
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


async def test_declared_versions_are_launched_once(world):
    fleet = await started(world)
    await settle(fleet, world)
    assert world.launched == [toy("1.0.0"), toy("1.1.0")]
    assert (world.serving(), world.serving("staging")) == ("1.0.0", "1.1.0")


async def test_former_production_stays_until_idle(world):
    """A rollback to it needs no new replicas."""
    fleet = await started(world)
    world.hold(production="1.2.0", staging="1.1.0")
    await fleet.reload(NAME, None)
    await settle(fleet, world, 3)
    assert toy("1.0.0") in world.running
    world.hold(production="1.0.0", staging="1.1.0")
    await fleet.reload(NAME, "1.0.0")
    assert (world.serving(), world.launched.count(toy("1.0.0"))) == ("1.0.0", 1)
    await settle(fleet, world, 20)
    assert sorted(world.running) == [toy("1.0.0"), toy("1.1.0")]


async def test_failed_launch_is_retried_later(world):
    world.broken = {"1.1.0"}
    fleet = await started(world)
    for _ in range(10):
        await fleet.reconcile()
        await world.sleep(1)
    assert world.launched.count(toy("1.1.0")) == 1
    world.broken = set()
    for _ in range(int(LAUNCH_RETRY_S)):
        await fleet.reconcile()
        await world.sleep(1)
    assert world.launched.count(toy("1.1.0")) == 2
    assert world.running[toy("1.1.0")] == Launch(LaunchPhase.RUNNING)


async def test_replicas_stay_until_routers_have_loaded(world):
    """A version that moves into the routers is served without a gap."""
    await started(world)
    world.broken = {"1.0.0"}
    successor = await started(world, {**PRODUCTION, "placement": "router"}, STAGING)
    for _ in range(10):
        await successor.reconcile()
        await world.sleep(1)
    assert toy("1.0.0") in world.running
    world.broken = set()
    await settle(successor, world)
    assert sorted(world.running) == [toy("1.1.0")]


async def test_replicas_stay_while_a_router_uses_them(world):
    fleet = await started(world)
    world.hold(production="1.2.0", staging="1.1.0")
    await fleet.reload(NAME, None)
    world.routers[1].is_stuck = True
    for _ in range(20):
        await fleet.reconcile()
        await world.sleep(1)
    assert toy("1.0.0") in world.running
    world.routers[1].is_stuck = False
    await settle(fleet, world)
    assert toy("1.0.0") not in world.running


async def test_superseded_fleet_neither_launches_nor_ends(world):
    """The successor adds 1.2.0 and removes 1.1.0; the old fleet must not undo that."""
    old = await started(world)
    successor = await started(world, PRODUCTION, {"version": "1.2.0"})
    await settle(successor, world)
    launched, running = list(world.launched), dict(world.running)
    for _ in range(5):
        with pytest.raises(FleetUnavailableError):
            await old.reconcile()
        await world.sleep(1)
    assert (world.launched, world.running) == (launched, running)


@pytest.mark.parametrize("is_repaired", [False, True])
async def test_failed_change_keeps_the_old_replicas(world, is_repaired):
    """A change that does not load costs the old replicas nothing, and is retried; a withdrawn one
    leaves them as they were."""
    fleet = await started(world)
    await settle(fleet, world)
    before = fleet.state.find(toy("1.0.0"))
    world.broken_threads = 3
    successor = await started(world, {**PRODUCTION, "num_threads": 3}, STAGING)
    await settle(successor, world)
    assert world.launches_by_id[before.launch_id] == Launch(LaunchPhase.RUNNING)
    version = successor.state.find(toy("1.0.0"))
    assert (version.replaces, version.problem) == (before, "it does not start")
    if is_repaired:
        world.broken_threads = None
        await settle(successor, world, int(LAUNCH_RETRY_S) + 10)
        version = successor.state.find(toy("1.0.0"))
        assert (version.replaces, version.problem) == (None, None)
        assert set(world.launches_by_id) == {v.launch_id for v in successor.state.versions}
    else:
        withdrawn = await started(world)
        await settle(withdrawn, world)
        assert withdrawn.state.find(toy("1.0.0")) == before
        assert set(world.launches_by_id) == {v.launch_id for v in withdrawn.state.versions}
    assert len(world.launches_by_id) == 2


async def test_old_load_is_launched_again_after_a_restart(world):
    """A restart of the cluster while a change fails serves what was served before."""
    fleet = await started(world)
    await settle(fleet, world)
    world.broken_threads = 3
    await started(world, {**PRODUCTION, "num_threads": 3}, STAGING)
    world.launches_by_id.clear()
    restarted = await started(world, {**PRODUCTION, "num_threads": 3}, STAGING)
    await settle(restarted, world)
    assert restarted.state.find(toy("1.0.0")).replaces is not None
