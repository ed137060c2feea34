"""Pushes share transactions, and fail together if these do."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from features.errors import UnavailableBarLogError
from serve_app.bars import commits
from serve_app.bars.commits import GroupCommits
from serve_app.errors import BarsUnavailableError
from tests.serve_app.bars.pushes import push


class Log:
    """Appends pushes once it may; returns their positions as results."""

    def __init__(self):
        self.groups, self.may_continue = [], threading.Event()
        self.error = None

    def append(self, pushes):
        self.may_continue.wait(10)
        if self.error is not None:
            raise self.error
        self.groups.append(len(pushes))
        return [push.symbol for push in pushes]


@pytest.fixture
def log():
    return Log()


@pytest.fixture
def thread():
    with ThreadPoolExecutor(1) as thread:
        yield thread


async def started(group, *pushes):
    """Send a push, and the others once its commit has begun."""
    first, *others = pushes
    tasks = [asyncio.ensure_future(group.append([first]))]
    await asyncio.sleep(0.01)
    tasks += [asyncio.ensure_future(group.append([one])) for one in others]
    await asyncio.sleep(0)
    return tasks


async def test_groups(log, thread):
    """Pushes that arrive during a commit share the next one; each gets its own results."""
    seen = []
    group = GroupCommits(log.append, thread, lambda pushes, results: seen.extend(results))
    tasks = await started(group, *(push(1, symbol=f"S{number}") for number in range(10)))
    log.may_continue.set()
    assert await asyncio.gather(*tasks) == [[f"S{number}"] for number in range(10)]
    assert log.groups == [1, 9]
    assert len(seen) == 10


async def test_large_groups(log, thread, monkeypatch):
    """A group ends at a number of rows."""
    monkeypatch.setattr(commits, "GROUP_ROWS", 5)
    group = GroupCommits(log.append, thread, lambda *_: None)
    tasks = await started(group, *(push(1, 2) for _ in range(6)), push(*range(9)))
    log.may_continue.set()
    await asyncio.gather(*tasks)
    assert log.groups == [1, 2, 2, 1, 1]


async def test_failure(log, thread):
    """A failed commit fails each of its pushes; the next one is attempted."""
    group = GroupCommits(log.append, thread, lambda *_: None)
    log.error = UnavailableBarLogError("x", "y")
    tasks = await started(group, push(1), push(2))
    log.may_continue.set()
    failed = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(error) for error in failed] == [UnavailableBarLogError] * 2
    log.error = None
    assert await group.append([push(1)]) == ["X"]


async def test_limit(log, thread):
    """Further pushes are rejected while too many bars wait, and accepted again afterwards."""
    group = GroupCommits(log.append, thread, lambda *_: None, max_waiting_rows=3)
    tasks = await started(group, push(1, 2), push(3))
    with pytest.raises(BarsUnavailableError, match="3 bars wait"):
        await group.append([push(4)])
    log.may_continue.set()
    await asyncio.gather(*tasks)
    assert await group.append([push(4)]) == ["X"]


async def test_a_sender_that_leaves(log, thread):
    """A sender that does not wait any more disturbs no other."""
    group = GroupCommits(log.append, thread, lambda *_: None)
    first, second, third = await started(group, push(1), push(2), push(3))
    first.cancel()
    second.cancel()
    log.may_continue.set()
    assert await third == ["X"]


async def test_failed_report(log, thread, caplog):
    """A defect in what follows a commit is logged, and every commit is acknowledged."""

    def fail(*_):
        raise ZeroDivisionError

    group = GroupCommits(log.append, thread, fail)
    tasks = await started(group, push(1), push(2))
    log.may_continue.set()
    assert await asyncio.gather(*tasks) == [["X"], ["X"]]
    assert await group.append([push(3)]) == ["X"]
    assert caplog.text.count("a commit of bars was not reported") == 3
