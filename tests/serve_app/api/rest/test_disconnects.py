"""Clients that disconnect during a request, and clients that stay."""

import asyncio

import pytest
from starlette.requests import ClientDisconnect, Request

from serve_app.api.rest import disconnects
from serve_app.api.rest.disconnects import ClientWatch
from serve_app.data_plane.deadlines import Deadline
from serve_app.errors import DeadlinePassedError


class Connection:
    """A connection whose client disconnects when the test allows it."""

    def __init__(self):
        self.closed, self.is_watched = asyncio.Event(), False

    async def receive(self):
        self.is_watched = True
        await self.closed.wait()
        return {"type": "http.disconnect"}

    @property
    def request(self):
        return Request({"type": "http"}, self.receive)


@pytest.fixture(autouse=True)
def _watch_soon(monkeypatch):
    monkeypatch.setattr(disconnects, "WATCH_DELAY_S", 0.01)


async def test_disconnect_cancels_the_request():
    """The request is cancelled when its client disconnects."""
    connection = Connection()
    asyncio.get_running_loop().call_later(0.05, connection.closed.set)
    with pytest.raises(ClientDisconnect), ClientWatch(connection.request):
        await asyncio.sleep(60)
    assert asyncio.current_task().cancelling() == 0


@pytest.mark.parametrize("left_s", [0.03, 0.005, 0.0])
async def test_deadline_cancels_the_request(left_s):
    """The request is cancelled at its deadline, before and after its client is watched."""
    deadline = Deadline(asyncio.get_running_loop().time() + left_s, 1e3 * left_s)
    with pytest.raises(DeadlinePassedError), ClientWatch(Connection().request, deadline):
        await asyncio.sleep(60)
    assert asyncio.current_task().cancelling() == 0
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == 1


async def test_connected_client_is_unaffected():
    """The request of a client that stays connected completes, and no task remains."""
    connection = Connection()
    with ClientWatch(connection.request):
        await asyncio.sleep(0.05)
    assert connection.is_watched
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == 1


async def test_quick_requests_are_not_watched():
    """A quick request ends before its client is watched."""
    connection = Connection()
    with ClientWatch(connection.request):
        await asyncio.sleep(0)
    await asyncio.sleep(0.03)
    assert not connection.is_watched


async def fail():
    await asyncio.sleep(0.02)
    raise ValueError


async def test_errors_pass_through():
    """An error of the request is raised unchanged."""
    with pytest.raises(ValueError, match=r"^$"), ClientWatch(Connection().request):
        await fail()


async def test_other_cancellations_pass_through():
    """A cancellation that does not come from the watch remains a cancellation."""

    async def wait():
        with ClientWatch(Connection().request):
            await asyncio.sleep(60)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0.03)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
