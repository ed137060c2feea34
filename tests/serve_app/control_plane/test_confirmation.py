"""A change is acknowledged once every router follows it, also one that is late or has just started.

Routers are in memory; the last tests add a router with the real StateFollower, which starts while
an experiment is created.
"""

import asyncio

import pytest

from serve_app.data_plane.state_follower import StateFollower
from serve_app.errors import (
    ExperimentConflictError,
    FleetUnavailableError,
    StorageUnavailableError,
    UnconfirmedStateError,
)
from serve_app.timeouts import STOPPING_ROUTERS_S
from tests.serve_app.control_plane.experiment_world import definition, splitting_shares
from tests.serve_app.control_plane.world import NAME, Router


def splitting(world):
    """Return the names of the routers that split traffic."""
    return {router.name for router in world.routers if router.state.experiments}


def miss_the_split(world, router, seconds):
    """Make the router miss the first broadcast with an experiment, and everything else for some
    seconds."""
    adopt = world.adopt

    async def adopt_late(state):
        if state.experiments and not router.stuck_until_s:
            router.stuck_until_s = world.now_s + seconds
        await adopt(state)

    world.adopt = adopt_late


async def test_create_waits_for_a_late_router(world, controller):
    """No response after `create` may come from a router that does not split yet."""
    miss_the_split(world, world.routers[1], seconds=5)
    creating = asyncio.create_task(controller.create(definition()))
    while splitting(world) != {"r0", "r1"}:
        assert not creating.done()
        await asyncio.sleep(0)
    await creating


async def test_create_is_taken_back_after_the_limit(world, controller, store):
    """An experiment that is not acknowledged splits no traffic, and the error says what to do."""
    miss_the_split(world, world.routers[1], seconds=1000)
    with pytest.raises(ExperimentConflictError) as raised:
        await controller.create(definition())
    assert "1 of 2 routers (r1) do not follow revision" in str(raised.value)
    assert "create it under another id" in str(raised.value)
    assert (splitting(world), store.actions()) == (set(), ["created", "stopped"])
    await controller.reconcile()
    assert splitting(world) == set()
    world.routers[1].stuck_until_s = world.now_s
    await world.sleep(1)
    await controller.create(definition(experiment_id="again"))
    assert splitting(world) == {"r0", "r1"}


async def test_create_is_taken_back_once_the_store_responds(world, controller, store):
    """The store may fail at the moment at which the experiment is to be ended."""
    miss_the_split(world, world.routers[1], seconds=1000)
    experiment = store.experiment

    async def unavailable(_):
        raise StorageUnavailableError("the log is away")

    store.experiment = unavailable
    with pytest.raises(StorageUnavailableError):
        await controller.create(definition())
    store.experiment = experiment
    await controller.reconcile()
    assert (splitting(world), store.actions()) == (set(), ["created", "stopped"])


async def test_stop_waits_for_a_late_router(world, controller):
    await controller.create(definition())
    world.routers[0].stuck_until_s = world.now_s + 5
    await controller.stop("a_b")
    assert splitting(world) == set()


async def test_stop_reports_a_router_that_stays_behind(world, controller, store):
    """The experiment is ended nevertheless: the other routers must not wait for this one."""
    await controller.create(definition())
    world.routers[0].is_stuck = True
    with pytest.raises(UnconfirmedStateError, match=r"routers \(r0\)"):
        await controller.stop("a_b")
    assert (splitting(world), store.actions()) == ({"r0"}, ["created", "stopped"])
    world.routers[0].is_stuck = False
    assert (await controller.stop("a_b"))["status"] == "completed"
    assert splitting(world) == set()


async def test_reload_waits_for_a_late_router(world):
    fleet = world.fleet()
    await fleet.start(world.settings({"version": "production"}))
    await fleet.reconcile()
    world.hold(production="1.2.0")
    adopt = world.adopt

    async def adopt_late(state):
        if state.stages[NAME]["production"] == "1.2.0":
            world.routers[1].stuck_until_s = world.routers[1].stuck_until_s or world.now_s + 5
        await adopt(state)

    world.adopt = adopt_late
    await fleet.reload(NAME, None)
    assert world.serving() == "1.2.0"


async def test_stopping_router_is_waited_for_briefly(world, controller):
    """No broadcast reaches it; it reads the state itself, or is gone soon."""
    world.stopping = {"r1"}
    world.routers[1].is_stuck = True
    began_s = world.now_s
    await controller.create(definition())
    assert STOPPING_ROUTERS_S <= world.now_s - began_s < 2 * STOPPING_ROUTERS_S + 1
    assert splitting(world) == {"r0"}


async def test_unlisted_routers_are_not_taken_for_confirmed(world, controller, store):
    async def unlisted():
        raise FleetUnavailableError("Serve does not list the routers")

    world.replicas = unlisted
    with pytest.raises(UnconfirmedStateError, match="Serve does not list the routers after 30 s"):
        await controller.create(definition())
    assert store.stored == {}


class TestStartingRouter:
    """A router that starts during `create`, with the real logic of a router.

    Serve lists it, and sends it requests, only some time after it has read the state.
    """

    @pytest.fixture
    def tables(self):
        return []

    @pytest.fixture
    async def follower(self, world, controller, tables):
        async def read(known_revision):
            return None if world.written.revision == known_revision else world.written

        follower = StateFollower(read, lambda state: tables.append(state.routing_table()))
        await follower.catch_up()
        return follower

    async def test_unlisted_router_splits_its_first_request(
        self, world, controller, follower, tables
    ):
        await controller.create(definition())
        assert tables[-1].experiment(None, None) is None, "no broadcast has reached it"
        assert not follower.confirmed
        await follower.confirm()
        assert tables[-1].experiment(None, None).experiment_id == "a_b"

    async def test_router_listed_before_the_split_is_waited_for(
        self, world, controller, follower, tables
    ):
        """It may have served with the former state, so that `create` waits for its report."""
        await follower.confirm()
        listed = Router("r2", world, state=world.written)
        world.routers.append(listed)
        miss_the_split(world, listed, seconds=5)
        await controller.create(definition())
        assert listed.state.experiments
        follower.adopt(listed.state)
        assert tables[-1].experiment(None, None).experiment_id == "a_b"
        assert splitting_shares(world) == {"a_b": 0.1}
