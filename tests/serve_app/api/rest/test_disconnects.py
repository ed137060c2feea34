"""Clients that leave, and clients that stay."""

import asyncio

import pytest
from starlette.requests import ClientDisconnect, Request

from serve_app.api.rest import disconnects
from serve_app.api.rest.disconnects import ClientWatch


class Connection:
    """Where a client waits until it leaves."""

    def __init__(self):
        self.left, self.is_watched = asyncio.Event(), False

    async def receive(self):
        self.is_watched = True
        await self.left.wait()
        return {"type": "http.disconnect"}

    @property
    def request(self):
        return Request({"type": "http"}, self.receive)


@pytest.fixture(autouse=True)
def _patience(monkeypatch):
    monkeypatch.setattr(disconnects, "PATIENCE_S", 0.01)


async def test_the_work_ends_when_the_client_leaves():
    connection = Connection()
    asyncio.get_running_loop().call_later(0.05, connection.left.set)
    with pytest.raises(ClientDisconnect), ClientWatch(connection.request):
        await asyncio.sleep(60)
    assert asyncio.current_task().cancelling() == 0


async def test_a_client_that_stays_is_answered():
    connection = Connection()
    with ClientWatch(connection.request):
        await asyncio.sleep(0.05)
    assert connection.is_watched
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == 1


async def test_nobody_is_watched_during_quick_work():
    connection = Connection()
    with ClientWatch(connection.request):
        await asyncio.sleep(0)
    await asyncio.sleep(0.03)
    assert not connection.is_watched


async def fail():
    await asyncio.sleep(0.02)
    raise ValueError


async def test_an_error_of_the_work_stays_what_it_is():
    with pytest.raises(ValueError, match=r"^$"), ClientWatch(Connection().request):
        await fail()


async def test_who_is_cancelled_by_somebody_else_stays_cancelled():
    async def work():
        with ClientWatch(Connection().request):
            await asyncio.sleep(60)

    task = asyncio.create_task(work())
    await asyncio.sleep(0.03)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
