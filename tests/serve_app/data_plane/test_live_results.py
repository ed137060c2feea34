"""The table of predictions by symbol, and its waits."""

import asyncio
import time

import pytest

from serve_app.data_plane.deadlines import Deadline, current_deadline
from serve_app.data_plane.decoding import Prediction
from serve_app.data_plane.live_results import (
    KEPT_BARS,
    Commit,
    LiveResult,
    LiveTable,
    Position,
    Publication,
)
from serve_app.errors import (
    DeadlinePassedError,
    IncompleteWindowError,
    InvalidRequestError,
    ModelOutputError,
    StaleFeaturesError,
    UnknownSymbolError,
    VersionLoadingError,
)
from serve_app.versions import VersionRef

HOUR_MS = 3_600_000
MONDAY = 1767571200000
VERSION = VersionRef("toy", "1.0.0")
NOW_MS = MONDAY + 10 * HOUR_MS


def result(bar=0, outcome=None, symbol="EURUSD", version=VERSION):
    bar_ms = MONDAY + bar * HOUR_MS
    prediction = Prediction(1, 0.5, None) if outcome is None else outcome
    known_ms = bar_ms + HOUR_MS
    return LiveResult(version, symbol, "1h", bar_ms, known_ms, known_ms + HOUR_MS, prediction)


class Predictor:
    """Makes predictions of older bars, and notes the requests."""

    def __init__(self):
        self.requests = []

    async def predict_bar(self, version, symbol, bar_ms):
        self.requests.append((version, symbol, bar_ms))
        return result((bar_ms - MONDAY) // HOUR_MS, symbol=symbol)


def table(*results, predictor=None, grace_s=0.02):
    held = LiveTable(predictor or Predictor(), lambda: NOW_MS, grace_s)
    held.apply(publication(*results, is_whole=True))
    return held


def publication(*results, is_whole=False, versions=(VERSION,), commits=()):
    return Publication(Position("p", 1), dict.fromkeys(versions, "1h"), results, commits, is_whole)


async def find(held, bar=None, symbol="EURUSD", timeframe=None, version=VERSION):
    bar_ms = None if bar is None else MONDAY + bar * HOUR_MS
    return await held.find(version, symbol, timeframe, bar_ms)


async def test_newest():
    """A request that names no bar receives the newest result of its symbol."""
    held = table(result(0), result(1, symbol="GBPUSD"))
    assert await find(held) == result(0)
    held.apply(publication(result(2), result(1)))
    assert await find(held) == result(2)
    assert await find(held, bar=1) == result(1)


async def test_never_replaced():
    """A prediction is never replaced by another one of the same bar; an error is."""
    held = table(result(0, ModelOutputError("toy", "1.0.0", "NaN")))
    held.apply(publication(result(0)))
    held.apply(publication(result(0, Prediction(2, 0.9, None))))
    assert (await find(held)).prediction().direction == 1


async def test_error():
    """A result without a prediction raises its error, as a new one each time."""
    error = ModelOutputError("toy", "1.0.0", "NaN")
    found = await find(table(result(0, error)))
    for _ in range(2):
        with pytest.raises(ModelOutputError, match="NaN") as caught:
            found.prediction()
        assert caught.value is not error


async def test_older_bar():
    """The predictions of bars that the table does not keep are made on request."""
    predictor = Predictor()
    held = table(*[result(bar) for bar in range(KEPT_BARS + 1)], predictor=predictor)
    assert await find(held, bar=1) == result(1)
    assert predictor.requests == []
    assert await find(held, bar=0) == result(0)
    assert predictor.requests == [(VERSION, "EURUSD", MONDAY)]


async def test_wait_for_commit():
    """A request for a bar that is stored, named or not, waits for its prediction."""
    held = table(result(0))
    held.note_commits([Commit("EURUSD", "1h", MONDAY + HOUR_MS)])
    waiting = [asyncio.create_task(find(held, bar)) for bar in (None, 1)]
    await asyncio.sleep(0.05)
    assert not any(task.done() for task in waiting)
    held.apply(publication(result(1)))
    assert [await task for task in waiting] == [result(1), result(1)]


async def test_commit_elsewhere():
    """The predictor announces bars that another router has stored."""
    held = table(result(0))
    held.apply(publication(commits=(Commit("EURUSD", "1h", MONDAY + HOUR_MS),)))
    waiting = asyncio.create_task(find(held))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    held.apply(publication(result(1)))
    assert await waiting == result(1)


async def test_first_commit():
    """The first bar of a symbol makes it known; that of another timeframe does not."""
    held = table(result(0))
    held.note_commits([Commit("NEW", "1h", MONDAY)])
    waiting = asyncio.create_task(find(held, symbol="NEW"))
    held.note_commits([Commit("DAILY", "1d", MONDAY)])
    with pytest.raises(UnknownSymbolError):
        await find(held, symbol="DAILY")
    held.apply(publication(result(0, symbol="NEW")))
    assert (await waiting).symbol == "NEW"


async def test_older_commit():
    """A late bar that is stored does not delay requests for the newest one."""
    held = table(result(1))
    held.note_commits([Commit("EURUSD", "1h", MONDAY)])
    assert await find(held) == result(1)


async def test_unknown_bar():
    """A bar that ended but is not known is missing, after a grace for other routers."""
    held = table(result(0), grace_s=0.2)
    waiting = asyncio.create_task(find(held, bar=1))
    held.apply(publication(result(1)))
    assert await waiting == result(1)
    with pytest.raises(IncompleteWindowError, match=": 2026-01-05T02:00:00Z; push"):
        await find(table(result(0)), bar=2)


async def test_future_bar():
    """A bar that has not ended is missing at once."""
    held = table(result(0), grace_s=60)
    with pytest.raises(IncompleteWindowError):
        await asyncio.wait_for(find(held, bar=10), 5)


async def test_deadline():
    """A wait ends with the deadline of the request."""
    held = table(result(0))
    held.note_commits([Commit("EURUSD", "1h", MONDAY + HOUR_MS)])
    token = current_deadline.set(Deadline(time.monotonic() + 0.05, 50.0))
    try:
        with pytest.raises(DeadlinePassedError):
            await find(held)
    finally:
        current_deadline.reset(token)


async def test_version_not_ready():
    """A version whose predictions are not made yet is waited for."""
    other = VersionRef("toy", "1.1.0")
    held = table(result(0))
    waiting = asyncio.create_task(find(held, version=other))
    await asyncio.sleep(0.01)
    of_other = result(0, version=other)
    held.apply(publication(of_other, versions=(VERSION, other)))
    assert await waiting == of_other
    held.apply(publication(versions=(other,)))
    assert await find(held, version=other) == of_other


@pytest.mark.parametrize(
    ("symbol", "timeframe", "bar_ms", "error", "message"),
    [
        ("X", None, None, UnknownSymbolError, "no bars of 'X' with the timeframe 1h.*EURUSD, GBP"),
        ("EURUSD", "1d", None, InvalidRequestError, "timeframe: expected 1h, that of toy:1.0.0"),
        ("EURUSD", "1x", None, InvalidRequestError, "received '1x'"),
        ("EURUSD", None, MONDAY + 5, InvalidRequestError, "bar: expected the opening of a bar"),
    ],
)
async def test_invalid(symbol, timeframe, bar_ms, error, message):
    """A symbol, a timeframe or a bar that cannot be is rejected."""
    held = table(result(1), result(1, symbol="GBPUSD"))
    with pytest.raises(error, match=message):
        await held.find(VERSION, symbol, timeframe, bar_ms)


async def test_whole_publication():
    """The newest results of another process replace all earlier ones."""
    held = LiveTable(Predictor(), lambda: NOW_MS)
    assert not held.is_caught_up
    held.apply(publication(result(0), is_whole=True))
    assert held.is_caught_up
    held.apply(publication(result(1, symbol="GBPUSD"), is_whole=True))
    with pytest.raises(UnknownSymbolError):
        await find(held)


@pytest.mark.parametrize(
    ("max_age_s", "now_ms", "is_named", "is_stale"),
    [
        (None, 2 * HOUR_MS - 1, False, False),
        (None, 2 * HOUR_MS, False, True),
        (None, 99 * HOUR_MS, True, False),
        (60.0, HOUR_MS + 60_000, False, False),
        (60.0, HOUR_MS + 60_001, False, True),
        (60.0, HOUR_MS + 60_001, True, True),
        (1e9, 99 * HOUR_MS, False, False),
    ],
)
def test_age(max_age_s, now_ms, is_named, is_stale):
    """A request's own limit holds always, the default one only if it names no bar."""
    found = result(0)
    if not is_stale:
        found.check_age(max_age_s, MONDAY + now_ms, is_named=is_named)
        return
    with pytest.raises(StaleFeaturesError, match=r"2026-01-05T00:00:00Z, ended .* ago, expected"):
        found.check_age(max_age_s, MONDAY + now_ms, is_named=is_named)


def test_age_s():
    """The age counts from the end of the window's last bar."""
    assert result(0).age_s(MONDAY + HOUR_MS + 1500) == 1.5


async def test_unavailable_version():
    """A version that is not loaded responds with its error until a prediction is made."""
    held = table(result(0, VersionLoadingError("toy", "1.0.0")))
    with pytest.raises(VersionLoadingError):
        (await find(held)).prediction()
