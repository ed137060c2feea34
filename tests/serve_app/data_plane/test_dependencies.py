"""The watch over the components that predictions do not need."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from serve_app.data_plane.dependencies import Dependencies
from serve_app.errors import StorageUnavailableError


class Component:
    """A component that responds, fails or hangs as `state` says."""

    def __init__(self):
        self.state = None

    async def check(self):
        if self.state == "hangs":
            await asyncio.Event().wait()
        if isinstance(self.state, Exception):
            raise self.state
        return self.state


@asynccontextmanager
async def watched(**components):
    checks = {name: component.check for name, component in components.items()}
    dependencies = Dependencies(checks, timeout_s=0.02, sleep=lambda _: asyncio.sleep(0.001))
    watch = asyncio.create_task(dependencies.watch_forever())
    try:
        yield dependencies
    finally:
        watch.cancel()


async def reaches(dependencies, problems):
    async with asyncio.timeout(10):
        while dict(dependencies.problems) != problems:  # noqa: ASYNC110 - nothing signals it
            await asyncio.sleep(0.001)


@pytest.mark.parametrize(
    ("state", "problem"),
    [
        ("the disk is full", "the disk is full"),
        ("hangs", "it did not respond within 0.02 s"),
        (StorageUnavailableError("gone"), str(StorageUnavailableError("gone"))),
        (ValueError("a defect"), "ValueError('a defect')"),
    ],
)
async def test_problem_begins_and_ends(state, problem, caplog):
    """A problem is reported while it lasts, and logged when it begins."""
    storage, fleet = Component(), Component()
    async with watched(storage=storage, fleet=fleet) as dependencies:
        await reaches(dependencies, {})
        storage.state = state
        await reaches(dependencies, {"storage": problem})
        storage.state = None
        await reaches(dependencies, {})
    assert "storage recovered" in caplog.text
    assert caplog.text.count(f"storage has a problem: {problem}") == 1


async def test_hanging_component_delays_no_other():
    """Another component's problem is noticed while one hangs."""
    hanging, other = Component(), Component()
    hanging.state, other.state = "hangs", "broken"
    async with watched(hanging=hanging, other=other) as dependencies:
        await reaches(
            dependencies, {"hanging": "it did not respond within 0.02 s", "other": "broken"}
        )
