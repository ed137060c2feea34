"""ModelClient's calls on bars against a scripted server."""

import math
from datetime import UTC, datetime

import numpy as np
import pytest

from serve_app.client import bars as module
from serve_app.errors import (
    InvalidRequestError,
    ServerRejectedError,
    UnexpectedResponseError,
)
from testkit.fake_server import BARS, SYMBOLS, Disconnect, Reply, error

BAR = {"time": 0, "open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0, "volume": 1.0}


def report(accepted=1, rejected=(), **fields):
    return {
        "accepted": accepted,
        "duplicates": 0,
        "revised": 0,
        "rejected": list(rejected),
    } | fields


def count(document):
    """Reject the last bar of each push, and accept the others."""
    if "pushes" not in document:
        last = len(document["bars"]) - 1
        return Reply(report(last, [{"index": last, "reason": "no"}]))
    rejected = [
        {"push": number, "index": len(push["bars"]) - 1, "reason": "no"}
        for number, push in enumerate(document["pushes"])
    ]
    sizes = [len(push["bars"]) - 1 for push in document["pushes"]]
    return Reply(report(sum(sizes), rejected))


async def test_push(server, client):
    """A push has times and numbers of any kind; the response is returned."""
    server.script(BARS, Reply(report(3)))
    times = [datetime(2026, 1, 5, 9, tzinfo=UTC), "2026-01-05T10:00:00Z", 1767610800000]
    pushed = [{**BAR, "time": time, "close": np.float64(1.5)} for time in times]
    assert await client.push_bars("EURUSD", "1h", pushed) == report(3)
    (received,) = server.received[BARS]
    assert (received["symbol"], received["timeframe"]) == ("EURUSD", "1h")
    assert [bar["time"] for bar in received["bars"]] == ["2026-01-05T09:00:00+00:00", *times[1:]]
    assert received["bars"][0]["close"] == 1.5


async def test_naive_times(server, client):
    """A time without a zone stays without one, so that the server rejects it."""

    class Timestamp(datetime):
        """As pandas' class of that name."""

    server.script(BARS, Reply(report()))
    naive = [{**BAR, "time": kind(2026, 1, 5)} for kind in (datetime, Timestamp)]
    await client.push_bars("X", "1d", [*naive, {**BAR, "close": math.nan}])
    *dated, missing = server.received[BARS][0]["bars"]
    assert {bar["time"] for bar in dated} == {"2026-01-05T00:00:00"}
    assert missing["close"] is None


async def test_many_bars(server, client, monkeypatch):
    """Many bars are sent in several bodies, and rejected ones keep their positions."""
    monkeypatch.setattr(module, "BARS_PER_BODY", 4)
    server.script(BARS, count)
    found = await client.push_bars("X", "1h", [BAR] * 10)
    assert [len(one["bars"]) for one in server.received[BARS]] == [4, 4, 2]
    assert found["accepted"] == 7
    assert [entry["index"] for entry in found["rejected"]] == [3, 7, 9]


async def test_many_symbols(server, client, monkeypatch):
    """Pushes of many symbols share bodies, and rejected bars keep their push and position."""
    monkeypatch.setattr(module, "BARS_PER_BODY", 4)
    server.script(BARS, count)
    pushes = [{"symbol": f"S{n}", "timeframe": "1h", "bars": [BAR] * n} for n in (1, 2, 6)]
    found = await client.push_all_bars(pushes)
    sizes = [[len(push["bars"]) for push in one["pushes"]] for one in server.received[BARS]]
    assert sizes == [[1, 2, 1], [4], [1]]
    assert [(entry["push"], entry["index"]) for entry in found["rejected"]] == [
        *((0, 0), (1, 1), (2, 0)),
        *((2, 4), (2, 5)),
    ]


async def test_unlisted_rejections(server, client, monkeypatch):
    """The number of rejected bars includes those that the server does not list."""
    monkeypatch.setattr(module, "BARS_PER_BODY", 1)
    entry = {"index": 0, "reason": "no"}
    server.script(BARS, Reply(report(0, [entry], rejected_total=5)), Reply(report(0, [entry])))
    assert (await client.push_bars("X", "1h", [BAR, BAR]))["rejected_total"] == 6


async def test_repeated(server, client):
    """A push that was not acknowledged is sent again."""
    unavailable = Reply(error("bars_unavailable", "locked"), 503, {"Retry-After": "0"})
    server.script(BARS, Disconnect(), unavailable, Reply(report()))
    assert (await client.push_bars("X", "1h", [BAR]))["accepted"] == 1
    assert len(server.received[BARS]) == 3


async def test_stream(server, client):
    """A stream is sent as it is, with its symbol and timeframe in the query."""
    server.script(BARS, Reply(report(7)))
    assert (await client.push_stream(b"stream", "BTC/USDT", "1h"))["accepted"] == 7
    assert server.received[BARS] == [b"stream"]
    await client.push_stream(b"stream")
    assert server.queries == [{"symbol": "BTC/USDT", "timeframe": "1h"}, {}]


async def test_query(server, client):
    """A query has times of any kind; symbols of any kind are escaped."""
    found = {"symbol": "BTC/USDT", "bars": [], "gaps": [], "next": None}
    server.script(f"{BARS}/BTC/USDT", Reply(found))
    start = datetime(2026, 1, 5, tzinfo=UTC)
    result = await client.get_bars("BTC/USDT", "1h", start=start, end=5, known_at="now", limit=9)
    assert result == found
    assert server.queries == [
        {
            "timeframe": "1h",
            "from": "2026-01-05T00:00:00+00:00",
            "to": "5",
            "known_at": "now",
            "limit": "9",
        }
    ]


async def test_symbols(server, client):
    """The entries are returned unchanged."""
    server.script(SYMBOLS, Reply([{"symbol": "X", "timeframe": "1h"}]))
    assert await client.symbols() == [{"symbol": "X", "timeframe": "1h"}]


async def test_failures(server, client, quiet_client, reasons):
    """A failed call returns None and logs the reason, or raises."""
    server.script(BARS, Reply(error("invalid_request", "symbol: expected"), 422))
    assert await quiet_client.push_bars("x y", "1h", [BAR]) is None
    assert "symbol: expected" in reasons()[0]
    with pytest.raises(ServerRejectedError):
        await client.push_all_bars([{"symbol": "x", "timeframe": "1h", "bars": []}])
    with pytest.raises(InvalidRequestError, match=r"pushes\.0"):
        await client.push_all_bars([{"symbol": "x"}])
    with pytest.raises(InvalidRequestError, match="not JSON serializable: set"):
        await client.push_bars("x", "1h", [{"time": {1}}])
    with pytest.raises(InvalidRequestError):
        await client.get_bars("")
    server.script(BARS, Reply({"accepted": 1}))
    with pytest.raises(UnexpectedResponseError):
        await client.push_bars("x", "1h", [])
    server.script(f"{BARS}/x", Reply([]))
    with pytest.raises(UnexpectedResponseError):
        await client.get_bars("x")
