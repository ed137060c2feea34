"""A follower receives every commit, or learns that it must read the log."""

import asyncio

from features.bars import KnownBars
from serve_app.bars.changes import Change, Cursor, RecentChanges
from tests.serve_app.bars.pushes import push


def change(symbol, rows=1):
    bars = push(*range(rows)).bars
    known = KnownBars(bars.time, bars.values, bars.time)
    return Change(symbol, "1m", known, KnownBars.empty())


def names(changes):
    return "".join(one.symbol for one in changes.changes)


async def test_order():
    """Commits arrive once and in order, whatever a follower has seen."""
    recent = RecentChanges()
    start = (await recent.since(None, 0)).cursor
    recent.add([change("a"), change("b")])
    middle = await recent.since(start, 0)
    recent.add([change("c")])
    assert names(middle) == "ab"
    assert names(await recent.since(middle.cursor, 0)) == "c"
    assert names(await recent.since(start, 0)) == "abc"


async def test_missed():
    """A follower that is too late, or follows another process, must read the log."""
    recent = RecentChanges(max_rows=3)
    start = (await recent.since(None, 0)).cursor
    recent.add([change("a", 2)])
    recent.add([change("b", 2)])
    missed = await recent.since(start, 0)
    assert (missed.is_complete, names(missed)) == (False, "")
    assert (await recent.since(missed.cursor, 0)).is_complete
    recent.add([change("c", 99)])
    assert not (await recent.since(missed.cursor, 0)).is_complete
    other = Cursor("other", 0)
    assert not (await recent.since(other, 0)).is_complete


async def test_wait():
    """A follower waits for the next commit, and returns without one after its time."""
    recent = RecentChanges()
    start = (await recent.since(None, 0)).cursor
    waiting = [asyncio.ensure_future(recent.since(start, 10)) for _ in range(3)]
    await asyncio.sleep(0)
    recent.add([change("a")])
    assert [names(found) for found in await asyncio.gather(*waiting)] == ["a"] * 3
    end = (await recent.since(start, 0)).cursor
    late = await recent.since(end, 0.01)
    assert (late.is_complete, late.cursor) == (True, end)
