"""A router follows the written state, and serves only once it has caught up."""

import asyncio

import pytest

from serve_app.data_plane.state_follower import StateFollower
from serve_app.errors import UnconfirmedStateError
from serve_app.settings import AppSettings
from serve_app.state.serving import ServingState
from serve_app.timeouts import STATE_FOLLOW_PERIOD_S


def state(revision):
    settings = AppSettings(versions=[{"model": "toy"}])
    return ServingState(revision=revision, settings=settings, versions=(), stages={}, targets={})


class Written:
    """The state as it is written; `away` makes every read fail, `reads` counts them."""

    def __init__(self, revision=1):
        self.state, self.away, self.reads = state(revision), False, 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def read(self, known_revision):
        self.reads += 1
        await self.gate.wait()
        if self.away:
            raise UnconfirmedStateError("the registry actor failed")
        return None if self.state.revision == known_revision else self.state


class Applied:
    """The revisions that the router applied."""

    def __init__(self):
        self.revisions, self.error = [], None

    def apply(self, state):
        if self.error:
            raise self.error
        self.revisions.append(state.revision)


@pytest.fixture
def written():
    return Written()


@pytest.fixture
def applied():
    return Applied()


@pytest.fixture
def follower(written, applied):
    return StateFollower(written.read, applied.apply)


def test_older_states_are_not_applied(follower, applied):
    """A broadcast that arrives late, or twice, changes nothing."""
    for revision in (2, 1, 2, 3):
        follower.adopt(state(revision))
    assert (applied.revisions, follower.revision) == ([2, 3], 3)


async def test_new_router_reads_again_before_serving(follower, written, applied):
    """A change that is broadcast while the router starts is not missed by its first request."""
    await follower.catch_up()
    written.state = state(2)
    assert not follower.confirmed, "Serve may not list the router yet, so the broadcast missed it"
    await asyncio.gather(*(follower.confirm() for _ in range(10)))
    assert (follower.confirmed, applied.revisions) == (True, [1, 2])
    assert written.reads == 2, "the first requests share one read"
    await follower.confirm()
    assert written.reads == 2


async def test_new_router_refuses_while_state_is_unreadable(follower, written):
    await follower.catch_up()
    written.away = True
    with pytest.raises(UnconfirmedStateError, match="registry actor failed; retry in 1 s"):
        await follower.confirm()
    written.away = False
    await follower.confirm()
    assert follower.confirmed


async def test_router_waits_for_the_first_state(applied):
    """A new application's fleet may start later than its routers."""

    async def read_nothing(known_revision):
        return None

    follower = StateFollower(read_nothing, applied.apply)
    with pytest.raises(UnconfirmedStateError, match="the fleet has written none yet"):
        await follower.confirm()
    follower.adopt(state(1))
    await follower.confirm()
    assert follower.confirmed


async def test_wait_for_the_state_is_bounded(written, applied):
    follower = StateFollower(written.read, applied.apply, confirm_timeout_s=0.01)
    written.gate.clear()
    with pytest.raises(UnconfirmedStateError, match=r"could not read it within 0\.01 s"):
        await follower.confirm()
    written.gate.set()
    await follower.confirm()
    assert (follower.confirmed, written.reads) == (True, 1)


async def test_confirmed_router_serves_while_registry_is_away(follower, written):
    """Whatever prevents reading the state also prevents writing it."""
    await follower.confirm()
    written.away = True
    await follower.catch_up()
    assert (follower.confirmed, follower.revision) == (True, 1)


async def test_state_that_cannot_be_applied_ends_service(follower, written, applied):
    """The router knows that it is behind, so it refuses, and its loop ends: Serve replaces it."""
    await follower.confirm()
    applied.error, written.state = OSError("no memory"), state(2)
    with pytest.raises(OSError, match="no memory"):
        await follower.catch_up()
    assert not follower.confirmed
    with pytest.raises(UnconfirmedStateError, match="could not apply it: OSError"):
        await follower.confirm()
    applied.error = None
    await follower.confirm()
    assert (follower.confirmed, follower.revision) == (True, 2)


async def test_missed_broadcast_is_made_up_within_a_period(written, applied):
    slept = []

    async def sleep(seconds):
        slept.append(seconds)
        if len(slept) == 3:
            raise asyncio.CancelledError
        written.state = state(1 + len(slept))

    follower = StateFollower(written.read, applied.apply, sleep)
    with pytest.raises(asyncio.CancelledError):
        await follower.follow_forever()
    assert (applied.revisions, set(slept)) == ([2, 3], {STATE_FOLLOW_PERIOD_S})
