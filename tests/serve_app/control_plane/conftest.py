"""A world with three versions, its fleet, and the controller of its experiments."""

import pytest

from tests.serve_app.control_plane.experiment_world import (
    Clock,
    Store,
    start_controller,
    start_fleet,
)
from tests.serve_app.control_plane.world import World


@pytest.fixture
def world():
    world = World(routers=2)
    world.register("1.0.0", "1.1.0", "1.2.0", production="1.0.0")
    return world


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def promoted():
    return []


@pytest.fixture
async def fleet(world):
    return await start_fleet(world)


@pytest.fixture
def controller(world, fleet, store, clock, promoted):
    return start_controller(fleet, world, store, clock, promoted)
