"""A fleet starts from the stored state and the configuration, in a world in memory."""

from datetime import UTC, datetime

import pytest

from serve_app.experiments.definition import ExperimentDefinition
from serve_app.experiments.running import RunningExperiment
from serve_app.timeouts import LAUNCH_RETRY_S
from testkit.models import toy
from tests.serve_app.control_plane.world import (
    NAME,
    PRODUCTION,
    QUICK,
    STAGING,
    Died,
    World,
    settle,
    staged_world,
    started,
)


@pytest.fixture
def world():
    return staged_world()


async def test_edited_configuration_changes_only_its_versions(world):
    await started(world)
    edited = {**PRODUCTION, "batching": {"max_batch_size": 8}}
    successor = await started(world, edited, {"version": "1.2.0"})
    await settle(successor, world)
    assert world.launched == [toy("1.0.0"), toy("1.1.0"), toy("1.0.0"), toy("1.2.0")]
    assert sorted(world.running) == [toy("1.0.0"), toy("1.2.0")]
    assert "staging" not in world.routers[0].state.stages[NAME]


async def test_failing_new_production_leaves_the_old_one(world):
    """It is launched again, and takes over once it starts."""
    await started(world)
    world.hold(production="1.2.0", staging="1.1.0")
    world.broken = {"1.2.0"}
    successor = await started(world, PRODUCTION)
    await settle(successor, world)
    assert world.serving() == "1.0.0"
    world.broken = set()
    await settle(successor, world, int(LAUNCH_RETRY_S) + 5)
    assert world.serving() == "1.2.0"
    await settle(successor, world)
    assert sorted(world.running) == [toy("1.2.0")]


async def test_unedited_configuration_keeps_reloads(world):
    """The fleet, the routers or the whole cluster may have restarted."""
    fleet = await started(world)
    world.hold(production="1.2.0")
    await fleet.reload(NAME, None)
    world.running.clear()
    for router in world.routers:
        router.state = None
    world.hold(production="1.1.0")
    again = world.fleet()
    await again.start(world.settings(PRODUCTION, STAGING, loading=QUICK))
    await again.reconcile()
    await settle(again, world, 3)
    assert world.serving() == "1.2.0"


async def test_lost_version_is_forgotten(world):
    fleet = await started(world)
    await fleet.reload(NAME, "1.2.0")
    del world.versions["1.2.0"]
    again = await started(world)
    assert again.state.refs == {toy("1.0.0"), toy("1.1.0")}


async def test_lost_version_affects_no_other(world):
    """Later reloads stay in effect, and only the lost version is removed."""
    fleet = await started(world)
    await fleet.reload(NAME, "1.2.0")
    world.hold(production="1.2.0", staging="1.1.0")
    await fleet.reload(NAME, None)
    world.hold(production="1.0.0", staging="1.1.0")
    del world.versions["1.1.0"]
    again = await started(world)
    await settle(again, world, 3)
    assert world.serving() == "1.2.0"
    assert toy("1.1.0") not in again.state.refs


async def test_stage_of_a_lost_version_is_resolved_again(world):
    fleet = await started(world)
    world.hold(production="1.2.0", staging="1.1.0")
    await fleet.reload(NAME, None)
    del world.versions["1.2.0"]
    world.hold(production="1.0.0", staging="1.1.0")
    again = await started(world)
    await settle(again, world)
    assert world.serving() == "1.0.0"


async def test_empty_stage_keeps_its_served_version(world):
    await started(world)
    world.hold(staging="1.1.0")
    successor = await started(world, {**PRODUCTION, "num_threads": 2}, STAGING)
    await settle(successor, world)
    assert world.serving() == "1.0.0"
    assert toy("1.0.0") in world.running


async def test_completed_reload_is_not_undone(world):
    """The configuration was read before the reload, and is resolved after it."""
    old = await started(world)
    world.hold(production="1.2.0", staging="1.1.0")
    settings = world.settings({**PRODUCTION, "num_threads": 2}, STAGING)
    await old.reload(NAME, None)
    successor = world.fleet()
    await successor.start(settings)
    await settle(successor, world)
    assert world.serving() == "1.2.0"


async def test_lost_variant_ends_its_experiment(world):
    fleet = await started(world, PRODUCTION)
    await fleet.load(world.versions["1.2.0"])
    definition = ExperimentDefinition(
        experiment_id="a_b",
        control_model_name=NAME,
        control_model_version="1.0.0",
        treatment_model_name=NAME,
        treatment_model_version="1.2.0",
    )
    since = datetime(2026, 1, 2, tzinfo=UTC)
    await fleet.split_traffic(
        [RunningExperiment(definition=definition, treatment_share=0.1, exposed_at=since)]
    )
    del world.versions["1.2.0"]
    again = await started(world, PRODUCTION)
    assert again.state.experiments == ()


async def test_successor_completes_an_interrupted_change():
    """A redeploy promotes, changes settings and removes, and is cut off at each of its steps."""
    died = 0
    for dies_at in range(1, 100):
        world = World(routers=2)
        world.register("1.0.0", "1.1.0", "1.2.0", production="1.0.0", staging="1.1.0")
        await started(world)
        world.hold(production="1.2.0")
        edited = ({**PRODUCTION, "num_threads": 2}, {"version": "1.0.0"})
        world.steps, world.dies_at = 0, dies_at
        try:
            fleet = await started(world, *edited)
            await settle(fleet, world)
        except Died:
            died += 1
            world.dies_at = None
            world.assert_answered()
            await settle(await started(world, *edited), world)
        assert world.serving() == "1.2.0"
        assert sorted(world.running) == [toy("1.0.0"), toy("1.2.0")]
        if world.dies_at is not None:
            break
    assert died > 5
