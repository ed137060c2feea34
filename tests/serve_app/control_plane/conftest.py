"""A world with three versions, and experiments in it."""

import pytest

from tests.serve_app.control_plane.experiment_world import Book, Clock, conduct
from tests.serve_app.control_plane.world import World


@pytest.fixture
def world():
    world = World(routers=2)
    world.register("1.0.0", "1.1.0", "1.2.0", production="1.0.0")
    return world


@pytest.fixture
def book():
    return Book()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def promoted():
    return []


@pytest.fixture
async def conductor(world, book, clock, promoted):
    return await conduct(world, book, clock, promoted)
