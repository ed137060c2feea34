"""How versions come and go, in a world in memory that looks after every step."""

import asyncio
from datetime import UTC, datetime

import pytest

from serve_app.control_plane.ports import Launch, LaunchPhase
from serve_app.control_plane.reloads import ReloadResult
from serve_app.errors import (
    FleetUnavailableError,
    NotRegisteredError,
    ReloadInProgressError,
    TooManyVersionsError,
    UnusableVersionError,
)
from serve_app.experiments.definition import ExperimentDefinition
from serve_app.experiments.running import RunningExperiment
from serve_app.timeouts import LAUNCH_RETRY_S
from serve_app.versions import VersionRef
from tests.serve_app.control_plane.world import NAME, Died, World, settle

PRODUCTION, STAGING = {"version": "production"}, {"version": "staging"}
QUICK = {"unload_idle_s": 5}


@pytest.fixture
def world():
    world = World(routers=2)
    world.register("1.0.0", "1.1.0", "1.2.0", production="1.0.0", staging="1.1.0")
    return world


async def started(world, *declared, loading=QUICK):
    fleet = world.fleet()
    await fleet.start(world.settings(*(declared or (PRODUCTION, STAGING)), loading=loading))
    await fleet.reconcile()
    return fleet


async def test_what_is_declared_is_launched_once_and_serves(world):
    fleet = await started(world)
    await settle(fleet, world)
    assert world.launched == ["toy:1.0.0", "toy:1.1.0"]
    assert (world.serving(), world.serving("staging")) == ("1.0.0", "1.1.0")


async def test_a_reload_follows_a_promotion_and_touches_no_other_version(world):
    fleet = await started(world)
    world.hold(production="1.2.0", staging="1.1.0")
    answer = await fleet.reload(NAME, None)
    assert answer == ReloadResult(
        VersionRef(NAME, "1.2.0"), {"production": "1.2.0", "staging": "1.1.0"}
    )
    assert world.serving() == "1.2.0"
    assert world.launched == ["toy:1.0.0", "toy:1.1.0", "toy:1.2.0"]


async def test_the_version_that_lost_production_stays_for_a_way_back_and_goes_when_idle(world):
    fleet = await started(world)
    world.hold(production="1.2.0", staging="1.1.0")
    await fleet.reload(NAME, None)
    await settle(fleet, world, 3)
    assert "toy:1.0.0" in world.running
    world.hold(production="1.0.0", staging="1.1.0")
    await fleet.reload(NAME, "1.0.0")
    assert (world.serving(), world.launched.count("toy:1.0.0")) == ("1.0.0", 1)
    await settle(fleet, world, 20)
    assert sorted(world.running) == ["toy:1.0.0", "toy:1.1.0"]


async def test_a_reload_of_a_version_in_no_stage_loads_it_and_moves_no_traffic(world):
    fleet = await started(world)
    answer = await fleet.reload(NAME, "1.2.0")
    assert (answer.version.version, world.serving()) == ("1.2.0", "1.0.0")
    assert "toy:1.2.0" in world.running


@pytest.mark.parametrize(
    ("broken", "damaged", "placement", "reason"),
    [
        ((), ("1.2.0",), "replicas", "sha256"),
        (("1.2.0",), (), "replicas", "it does not start"),
        (("1.2.0",), (), "router", "out of memory"),
    ],
)
async def test_a_version_that_does_not_load_changes_nothing_and_says_why(
    world, broken, damaged, placement, reason
):
    fleet = await started(world, {**PRODUCTION, "placement": placement}, STAGING)
    world.hold(production="1.2.0", staging="1.1.0")
    world.broken, world.damaged = set(broken), set(damaged)
    before = fleet.state
    with pytest.raises(UnusableVersionError, match=reason):
        await fleet.reload(NAME, None)
    await settle(fleet, world)
    assert world.serving() == "1.0.0"
    assert fleet.state.model_copy(update={"revision": 0}) == before.model_copy(
        update={"revision": 0}
    )
    assert "toy:1.2.0" not in world.running


async def test_a_reload_of_what_is_not_registered_names_it(world):
    fleet = await started(world)
    with pytest.raises(NotRegisteredError, match=r"no version '9\.9\.9'"):
        await fleet.reload(NAME, "9.9.9")
    world.hold(production="1.0.0")
    with pytest.raises(NotRegisteredError, match="toy has no staging version"):
        await fleet.reload(NAME, "staging")


async def test_two_reloads_of_a_model_do_not_run_at_once(world):
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


async def test_traffic_does_not_move_before_every_router_can_reach_the_version(world):
    fleet = await started(world)
    world.hold(production="1.2.0", staging="1.1.0")
    world.routers[1].deaf = True
    reload = asyncio.create_task(fleet.reload(NAME, None))
    for _ in range(50):
        await asyncio.sleep(0)
    assert {each.state.stages[NAME]["production"] for each in world.routers} == {"1.0.0"}
    world.routers[1].deaf = False
    world.routers[1].state = fleet.state
    await reload
    assert world.serving() == "1.2.0"


async def test_an_edited_file_adds_changes_and_removes_only_what_it_names(world):
    await started(world)
    edited = {**PRODUCTION, "batching": {"max_batch_size": 8}}
    successor = await started(world, edited, {"version": "1.2.0"})
    await settle(successor, world)
    assert world.launched == ["toy:1.0.0", "toy:1.1.0", "toy:1.0.0", "toy:1.2.0"]
    assert sorted(world.running) == ["toy:1.0.0", "toy:1.2.0"]
    assert "staging" not in world.routers[0].state.stages[NAME]


async def test_a_file_whose_new_production_does_not_start_leaves_the_old_one(world):
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
    assert sorted(world.running) == ["toy:1.2.0"]


async def test_the_same_file_again_keeps_what_was_reloaded_since(world):
    """A restart of the fleet, of the routers, or of the whole cluster."""
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


async def test_a_version_that_the_registry_lost_is_not_waited_for_for_ever(world):
    fleet = await started(world)
    await fleet.reload(NAME, "1.2.0")
    del world.versions["1.2.0"]
    again = await started(world)
    assert again.state.keys == {"toy:1.0.0", "toy:1.1.0"}


async def test_a_fleet_that_was_overtaken_changes_nothing_any_more(world):
    old = await started(world)
    await started(world, PRODUCTION)
    world.hold(production="1.2.0")
    with pytest.raises(FleetUnavailableError, match="a newer configuration"):
        await old.reload(NAME, None)
    assert old.superseded
    await asyncio.wait_for(old.reconcile_forever(), 1)


async def test_replicas_that_cannot_be_started_are_tried_again_later(world):
    world.broken = {"1.1.0"}
    fleet = await started(world)
    for _ in range(10):
        await fleet.reconcile()
        await world.sleep(1)
    assert world.launched.count("toy:1.1.0") == 1
    world.broken = set()
    for _ in range(int(LAUNCH_RETRY_S)):
        await fleet.reconcile()
        await world.sleep(1)
    assert world.launched.count("toy:1.1.0") == 2
    assert world.running["toy:1.1.0"] == Launch(LaunchPhase.RUNNING)


async def test_what_moves_into_the_routers_keeps_its_replicas_until_it_is_loaded_there(world):
    await started(world)
    world.broken = {"1.0.0"}
    successor = await started(world, {**PRODUCTION, "placement": "router"}, STAGING)
    for _ in range(10):
        await successor.reconcile()
        await world.sleep(1)
    assert "toy:1.0.0" in world.running
    world.broken = set()
    await settle(successor, world)
    assert sorted(world.running) == ["toy:1.1.0"]


ON_DEMAND = {"on_demand": True, "max_versions": 1, "unload_idle_s": 5}


class TestOnDemand:
    async def request(self, fleet, version):
        await fleet.request(NAME, version)
        await asyncio.gather(*fleet.loads())

    async def test_a_version_is_loaded_once_and_goes_when_nobody_asks_for_it(self, world):
        fleet = await started(world, PRODUCTION, loading=ON_DEMAND)
        await self.request(fleet, "1.2.0")
        await self.request(fleet, "1.2.0")
        assert world.launched == ["toy:1.0.0", "toy:1.2.0"]
        await settle(fleet, world, 4)
        for router in world.routers[:1]:
            router.used_s["toy:1.2.0"] = world.now_s
        await settle(fleet, world, 4)
        assert "toy:1.2.0" in world.running
        await settle(fleet, world, 10)
        assert sorted(world.running) == ["toy:1.0.0"]

    async def test_there_is_room_for_so_many_and_no_more(self, world):
        fleet = await started(world, PRODUCTION, loading=ON_DEMAND)
        await self.request(fleet, "1.2.0")
        with pytest.raises(TooManyVersionsError, match="at most 1 versions"):
            await fleet.request(NAME, "1.1.0")

    async def test_what_did_not_load_is_refused_with_its_reason_for_a_while(self, world):
        fleet = await started(world, PRODUCTION, loading=ON_DEMAND)
        world.damaged = {"1.2.0"}
        await self.request(fleet, "1.2.0")
        with pytest.raises(UnusableVersionError, match="sha256"):
            await fleet.request(NAME, "1.2.0")
        world.damaged = set()
        world.now_s += LAUNCH_RETRY_S
        await self.request(fleet, "1.2.0")
        assert "toy:1.2.0" in world.running

    async def test_what_is_not_registered_is_said(self, world):
        fleet = await started(world, PRODUCTION, loading=ON_DEMAND)
        with pytest.raises(NotRegisteredError):
            await fleet.request(NAME, "9.9.9")


async def test_killed_at_any_step_a_successor_finishes_what_was_begun():
    """A redeploy that promotes, changes settings and removes, cut off at each of its steps."""
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
        assert sorted(world.running) == ["toy:1.0.0", "toy:1.2.0"]
        if world.dies_at is not None:
            break
    assert died > 5


@pytest.mark.parametrize("placement", ["replicas", "router"])
async def test_a_reload_serves_the_artifact_that_was_pinned_since(world, placement):
    both = {"model.onnx": "a" * 64, "fast.onnx": "b" * 64}
    world.versions["1.0.0"] = world.versions["1.0.0"].model_copy(update={"artifacts": both})
    fleet = await started(world, {**PRODUCTION, "placement": placement})
    pinned = world.versions["1.0.0"].model_copy(update={"serving_artifact": "fast.onnx"})
    world.versions["1.0.0"] = pinned
    before = world.launched.count("toy:1.0.0")
    await fleet.reconcile()
    assert world.launched.count("toy:1.0.0") == before, "a pin alone changes nothing that runs"
    await fleet.reload(NAME, None)
    assert world.launched.count("toy:1.0.0") == before + (placement == "replicas")
    assert fleet.state.find("toy:1.0.0").load.artifact == "b" * 64
    assert world.serving() == "1.0.0"


async def test_a_fleet_that_was_overtaken_neither_launches_nor_ends(world):
    """The successor adds 1.2.0 and drops 1.1.0; the old one looks on."""
    old = await started(world)
    successor = await started(world, PRODUCTION, {"version": "1.2.0"})
    await settle(successor, world)
    launched, running = list(world.launched), dict(world.running)
    for _ in range(5):
        with pytest.raises(FleetUnavailableError):
            await old.reconcile()
        await world.sleep(1)
    assert (world.launched, world.running) == (launched, running)


async def test_a_reload_that_was_answered_before_the_successor_started_is_not_undone(world):
    old = await started(world)
    world.hold(production="1.2.0", staging="1.1.0")
    settings = world.settings({**PRODUCTION, "num_threads": 2}, STAGING)
    await old.reload(NAME, None)
    successor = world.fleet()
    await successor.start(settings)
    await settle(successor, world)
    assert world.serving() == "1.2.0"


async def test_a_lost_version_takes_no_other_back_to_the_file(world):
    """The same file after a death: what was reloaded since stays, and only the lost one goes."""
    fleet = await started(world)
    await fleet.reload(NAME, "1.2.0")
    world.hold(production="1.2.0", staging="1.1.0")
    await fleet.reload(NAME, None)
    world.hold(production="1.0.0", staging="1.1.0")
    del world.versions["1.1.0"]
    again = await started(world)
    await settle(again, world, 3)
    assert world.serving() == "1.2.0"
    assert "toy:1.1.0" not in again.state.keys


async def test_a_stage_whose_holder_was_lost_is_the_files_again(world):
    fleet = await started(world)
    world.hold(production="1.2.0", staging="1.1.0")
    await fleet.reload(NAME, None)
    del world.versions["1.2.0"]
    world.hold(production="1.0.0", staging="1.1.0")
    again = await started(world)
    await settle(again, world)
    assert world.serving() == "1.0.0"


async def test_an_edited_file_does_not_drop_a_stage_that_is_empty_just_now(world):
    await started(world)
    world.hold(staging="1.1.0")
    successor = await started(world, {**PRODUCTION, "num_threads": 2}, STAGING)
    await settle(successor, world)
    assert world.serving() == "1.0.0"
    assert "toy:1.0.0" in world.running


async def test_a_damaged_staging_version_keeps_neither_production_nor_the_start_up(world):
    fleet = await started(world)
    world.hold(production="1.2.0", staging="1.1.0")
    world.unreadable = {"staging"}
    answer = await fleet.reload(NAME, None)
    assert answer == ReloadResult(
        VersionRef(NAME, "1.2.0"), {"production": "1.2.0", "staging": "1.1.0"}
    )
    again = await started(world)
    await settle(again, world, 3)
    edited = await started(world, {**PRODUCTION, "num_threads": 2}, STAGING)
    await settle(edited, world, 3)
    assert world.serving() == "1.2.0"


async def test_a_pin_on_staging_is_not_put_into_effect_by_a_reload_of_production(world):
    both = {"model.onnx": "a" * 64, "fast.onnx": "b" * 64}
    world.versions["1.1.0"] = world.versions["1.1.0"].model_copy(update={"artifacts": both})
    fleet = await started(world)
    pinned = world.versions["1.1.0"].model_copy(update={"serving_artifact": "fast.onnx"})
    world.versions["1.1.0"] = pinned
    await fleet.reload(NAME, None)
    await settle(fleet, world, 3)
    assert world.launched == ["toy:1.0.0", "toy:1.1.0"]


async def test_a_rollback_during_a_reload_is_what_counts(world):
    fleet = await started(world)
    world.hold(production="1.2.0", staging="1.1.0")
    try_out = world.try_out

    async def slow_try_out(metadata):
        world.hold(production="1.0.0", staging="1.1.0")
        await try_out(metadata)

    world.try_out = slow_try_out
    await fleet.reload(NAME, None)
    assert world.serving() == "1.0.0"


async def test_replicas_stay_while_a_router_still_goes_by_them(world):
    fleet = await started(world)
    world.hold(production="1.2.0", staging="1.1.0")
    await fleet.reload(NAME, None)
    world.routers[1].deaf = True
    for _ in range(20):
        await fleet.reconcile()
        await world.sleep(1)
    assert "toy:1.0.0" in world.running
    world.routers[1].deaf = False
    await settle(fleet, world)
    assert "toy:1.0.0" not in world.running


async def test_what_somebody_is_about_to_need_is_not_unloaded(world):
    fleet = await started(world, PRODUCTION, loading={"unload_idle_s": 0})
    await fleet.reload(NAME, "1.2.0")
    with fleet.holding("toy:1.1.0"):
        await fleet.load(world.versions["1.1.0"])
        await fleet.reconcile()
        assert fleet.state.find("toy:1.1.0")
    await fleet.reconcile()
    assert fleet.state.find("toy:1.1.0") is None


async def test_an_interrupted_load_leaves_everything_as_it_was(world):
    fleet = await started(world)
    await fleet.reload(NAME, "1.2.0")

    async def away():
        raise ConnectionError("Serve does not answer")

    launches, world.launches = world.launches, away
    with pytest.raises(ConnectionError):
        await fleet.reload(NAME, "1.2.0")
    world.launches = launches
    await fleet.reconcile()
    assert fleet.state.find("toy:1.2.0").load == fleet.state.find("toy:1.2.0").launched


async def test_an_experiment_whose_variant_is_lost_is_forgotten_with_it(world):
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
