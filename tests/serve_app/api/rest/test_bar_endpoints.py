"""The endpoints for bars, in front of a real bar log."""

import json

import httpx2
import numpy as np
import pyarrow as pa
import pytest

from features.bar_log.streams import MEDIA_TYPE, write_push
from features.bars import Bars
from serve_app.api.rest import schemas
from serve_app.api.rest.app import build_rest_api
from serve_app.api.rest.bodies import prefers_arrow
from serve_app.bars.service import BarLogService
from serve_app.settings import RouterSettings
from tests.serve_app.api.rest.bodies import check_error
from tests.serve_app.core import core

HOUR_MS = 3_600_000
NOW_MS = 1000 * HOUR_MS
BARS = "/api/ml/bars"
ARROW = {"Content-Type": MEDIA_TYPE}


@pytest.fixture
async def service(tmp_path):
    service = BarLogService(tmp_path / "bars", None, now_ms=lambda: NOW_MS)
    await service.open()
    yield service
    await service.close()


@pytest.fixture
async def http(service, control):
    settings = RouterSettings(max_body_bytes=200_000)
    api = build_rest_api(core(bars=service).services, settings, print, print, control)
    transport = httpx2.ASGITransport(api)
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as http:
        yield http


def bar(hour, price=1.0, **fields):
    values = {"open": price, "high": price, "low": price, "close": price, "volume": 5}
    return {"time": hour * HOUR_MS, **values, **fields}


def push(*bars, symbol="EURUSD", timeframe="1h"):
    return {"symbol": symbol, "timeframe": timeframe, "bars": list(bars)}


async def pushed(http, content):
    response = await http.post(BARS, json=content)
    assert response.status_code == 200, response.text
    schemas.PushResponse.model_validate(response.json())
    return response.json()


async def test_push(http):
    """A push is stored once; the same bars are duplicates, and other numbers a revision."""
    counts = {"accepted": 2, "duplicates": 0, "revised": 0, "rejected": []}
    assert await pushed(http, push(bar(1), bar(2))) == counts
    again = await pushed(http, push(bar(1), bar(2, 1.5)))
    assert again == {"accepted": 0, "duplicates": 1, "revised": 1, "rejected": []}


async def test_invalid_bars(http):
    """Invalid bars are rejected with their reason, and the others are stored."""
    content = push(
        bar(1),
        bar(2, high=0.5),
        bar(3, close=None),
        bar(4, volume=-1),
        bar(5, time="1970-01-01T05:00:00"),
        bar(6, time="noon"),
        bar(7, time=7 * HOUR_MS + 1),
        bar(2000),
        bar(1000),
        bar(8, open=10**400),
    )
    response = await pushed(http, content)
    reasons = {entry["index"]: entry["reason"] for entry in response["rejected"]}
    assert response["accepted"] == 1
    expected = {
        1: "high is less than low",
        2: "not a finite number",
        3: "the volume is negative",
        4: "no time zone",
        5: "neither ISO 8601",
        6: "not the opening",
        7: "check the clocks",
        8: "period has not ended",
        9: "not a finite number",
    }
    assert reasons.keys() == expected.keys()
    assert all(text in reasons[index] for index, text in expected.items())


async def test_pushes_of_several_symbols(http):
    """Symbols are pushed together; the bars of an invalid one are rejected, with their push."""
    pushes = [push(bar(1), symbol=f"S{number}") for number in range(100)]
    pushes[3]["symbol"] = "S 3"
    pushes[7]["timeframe"] = "7m"
    pushes[9]["bars"].append(bar(2, high=0.5))
    response = await pushed(http, {"pushes": pushes})
    assert response["accepted"] == 98
    places = [(entry["push"], entry["index"]) for entry in response["rejected"]]
    assert places == [(3, 0), (7, 0), (9, 1)]
    assert "symbol" in response["rejected"][0]["reason"]
    entries = (await http.get("/api/ml/symbols")).json()
    assert len(entries) == 98


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ({}, "symbol"),
        ({"symbol": "X", "timeframe": "1h"}, "bars"),
        (push(bar(1), symbol="a b"), "symbol"),
        (push(bar(1), symbol="../x"), "symbol"),
        (push(bar(1), symbol="x" * 65), "symbol"),
        (push(bar(1), symbol=None), "symbol"),
        (push(bar(1), timeframe="7m"), "timeframe"),
        (push(bar(1), timeframe=60), "timeframe"),
        (push("x"), "bars.0"),
        (push(bar(1), bar(2, vol=1)), "bars.1"),
        (push({"time": 0}), "bars.0.open"),
        (push(bar(1, is_final="no")), "bars.0.is_final"),
        ({**push(bar(1)), "pushes": []}, "request"),
        ({"pushes": [push(bar(1)), {"symbol": "X"}]}, "pushes.1.timeframe"),
        ({"pushes": [1]}, "pushes.0"),
    ],
)
async def test_malformed_push(http, content, field):
    """A push of another form is rejected as a whole, with the field."""
    error = check_error(await http.post(BARS, json=content), 422, "invalid_request")
    assert error["field"] == field
    assert (await http.get("/api/ml/symbols")).json() == []


async def test_repeated_field(http):
    """A bar with a field that occurs twice is ambiguous, and is rejected with its place."""
    text = json.dumps(push(bar(1))).replace('"close"', '"close": 2, "close"')
    headers = {"Content-Type": "application/json"}
    error = check_error(
        await http.post(BARS, content=text, headers=headers), 422, "invalid_request"
    )
    assert error["field"] == "bars.0"
    escaped = json.dumps(push(bar(1))).replace('"close"', '"clos\\u0065"')
    assert (await http.post(BARS, content=escaped, headers=headers)).json()["accepted"] == 1


async def test_too_large(http):
    """A body above the limit is rejected before it is read."""
    content = push(*[bar(hour) for hour in range(3000)])
    check_error(await http.post(BARS, json=content), 413, "too_large")


async def test_query(http):
    """Bars are returned by time, with their gaps, page by page."""
    await pushed(http, push(*[bar(hour, hour) for hour in (1, 2, 5, 6)]))
    found = (await http.get(f"{BARS}/EURUSD", params={"limit": 3})).json()
    schemas.BarsResponse.model_validate(found)
    assert [bar["close"] for bar in found["bars"]] == [2, 5, 6]
    gap = {"from": "1970-01-01T03:00:00Z", "to": "1970-01-01T04:00:00Z", "bars": 2}
    assert (found["gaps"], found["next"]) == ([gap], None)
    query = {"timeframe": "1h", "from": "1970-01-01T00:00:00Z", "limit": 2}
    first = (await http.get(f"{BARS}/EURUSD", params=query)).json()
    assert [bar["close"] for bar in first["bars"]] == [1, 2]
    assert first["next"] == "1970-01-01T05:00:00Z"
    second = (await http.get(f"{BARS}/EURUSD", params={**query, "from": first["next"]})).json()
    assert [bar["close"] for bar in second["bars"]] == [5, 6]
    assert second["next"] is None


async def test_known_at(service, http, monkeypatch):
    """A query of the past returns what was known then."""
    await pushed(http, push(bar(1, 1.0)))
    monkeypatch.setattr(service, "_now_ms", lambda: NOW_MS + 10)
    await pushed(http, push(bar(1, 2.0)))
    for known_at, closes in [(NOW_MS - 1, []), (NOW_MS + 9, [1.0]), (NOW_MS + 10, [2.0])]:
        response = await http.get(f"{BARS}/EURUSD", params={"known_at": known_at})
        assert [bar["close"] for bar in response.json()["bars"]] == closes


async def test_provisional(http):
    """A bar that is not final is returned beside the others until a later one arrives."""
    content = push(bar(1), bar(1000, 3.0, is_final=False))
    assert (await pushed(http, content))["accepted"] == 2
    found = (await http.get(f"{BARS}/EURUSD")).json()
    assert [len(found["bars"]), found["provisional"]["close"]] == [1, 3.0]


async def test_odd_symbols(http):
    """Symbols with slashes and other characters of URLs are found."""
    for symbol in ("BTC/USDT", "^GSPC", "A&B", "ES=F", "A+B"):
        await pushed(http, push(bar(1), symbol=symbol))
        response = await http.get(f"{BARS}/{symbol.replace('^', '%5E').replace('+', '%2B')}")
        assert response.json()["symbol"] == symbol
    assert (await http.get(f"{BARS}/BTC%2FUSDT")).json()["symbol"] == "BTC/USDT"


async def test_invalid_queries(http):
    """An unknown symbol lists the known ones; other fields name what they expect."""
    await pushed(http, push(bar(1)))
    await pushed(http, push(bar(0), timeframe="1d"))
    error = check_error(await http.get(f"{BARS}/NOTHING"), 404, "unknown_symbol")
    assert error["known"] == ["EURUSD"]
    error = check_error(await http.get(f"{BARS}/EURUSD?timeframe=1m"), 404, "unknown_symbol")
    assert error["known"] == ["EURUSD 1h", "EURUSD 1d"]
    for query, field in [
        ("", "timeframe"),
        ("timeframe=2d", "timeframe"),
        ("timeframe=1h&limit=0", "limit"),
        ("timeframe=1h&limit=100001", "limit"),
        ("timeframe=1h&limit=1e3", "limit"),
        ("timeframe=1h&from=2026-01-05T09:00:00", "from"),
        ("timeframe=1h&to=noon", "to"),
        ("timeframe=1h&known_at=9999999999999999", "known_at"),
        ("timeframe=1h&timeframe=1h", "timeframe"),
        ("timeframe=1h&since=1", "query"),
    ]:
        error = check_error(await http.get(f"{BARS}/EURUSD?{query}"), 422, "invalid_request")
        assert error["field"] == field, query
    response = await http.get(f"{BARS}/EURUSD?timeframe=1h&from=1970-01-01T01:00:00+00:00")
    assert len(response.json()["bars"]) == 1


async def test_symbols(http):
    """The list states what there is of each symbol, and how old it is."""
    await pushed(http, push(*[bar(hour) for hour in (900, 901, 998)]))
    (entry,) = (await http.get("/api/ml/symbols")).json()
    schemas.SymbolEntry.model_validate(entry)
    assert (entry["symbol"], entry["timeframe"], entry["count"]) == ("EURUSD", "1h", 3)
    assert (entry["gaps"], entry["missing"], entry["age_s"]) == (1, 96, 3600)


def table(**columns):
    time = pa.array(np.arange(1, 4) * HOUR_MS).view(pa.timestamp("ms", "UTC"))
    prices = {name: [1.0] * 3 for name in ("open", "high", "low", "close")}
    return pa.table({"time": time, **prices, "volume": [1] * 3, **columns})


def stream_of(table, compression=None):
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


async def test_stream(http):
    """History is pushed and returned as an Arrow stream, bit for bit."""
    time = np.arange(1, 900) * HOUR_MS
    values = np.random.default_rng(1).random((5, len(time)))
    values[1], values[2] = values[1] + 2, values[2] - 2
    content = write_push(Bars.of(time, values))
    response = await http.post(f"{BARS}?symbol=X&timeframe=1h", content=content, headers=ARROW)
    assert response.json() == {"accepted": 899, "duplicates": 0, "revised": 0, "rejected": []}
    found = await http.get(f"{BARS}/X?limit=1000", headers={"Accept": MEDIA_TYPE})
    assert found.headers["content-type"] == MEDIA_TYPE
    received = pa.ipc.open_stream(found.content).read_all()
    assert received.column("time").cast(pa.int64()).to_pylist() == time.tolist()
    for name, column in zip(("open", "high", "low", "close", "volume"), values, strict=True):
        assert received.column(name).to_pylist() == column.tolist()
    assert received.schema.metadata[b"gaps"] == b"[]"


async def test_stream_of_several_symbols(http):
    """A stream may have columns of symbols and timeframes; positions are those of its rows."""
    symbols = pa.array(["A", "B C", "A"]).dictionary_encode()
    content = stream_of(table(symbol=symbols, timeframe=["1h", "1h", "2h"]))
    response = await http.post(BARS, content=content, headers=ARROW)
    assert response.json()["accepted"] == 1
    assert [entry["index"] for entry in response.json()["rejected"]] == [1, 2]
    assert "'B C'" in response.json()["rejected"][0]["reason"]
    assert "not the opening" in response.json()["rejected"][1]["reason"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"x" * 100, "no Arrow IPC stream"),
        (stream_of(table())[:400], "no Arrow IPC stream"),
        (stream_of(table(extra=[1] * 3)), "expected the columns"),
        (stream_of(table().drop_columns(["close"])), "expected the columns"),
        (stream_of(table(close=["1"] * 3)), "close has the type string"),
        (stream_of(table(time=pa.array([1, 2, 3], pa.timestamp("ms")))), "without a time zone"),
        (stream_of(table(is_final=[1, 1, 1])), "is_final has the type"),
        (stream_of(pa.concat_tables([table()] * 99).combine_chunks(), "zstd"), "compressed"),
    ],
)
async def test_malformed_stream(http, content, problem):
    """A stream of another form is rejected as a whole, with the problem."""
    response = await http.post(f"{BARS}?symbol=X&timeframe=1h", content=content, headers=ARROW)
    assert problem in check_error(response, 422, "invalid_request")["message"]
    assert (await http.get("/api/ml/symbols")).json() == []


async def test_query_of_a_push(http):
    """The symbol of a push in JSON is in its body; that of a stream may be in the query, once."""
    error = check_error(await http.post(f"{BARS}?symbol=X", json=push()), 422, "invalid_request")
    assert error["field"] == "query"
    for query, field in [("symbol=a b", "symbol"), ("timeframe=x", "timeframe"), ("a=1", "query")]:
        response = await http.post(f"{BARS}?{query}", content=b"x", headers=ARROW)
        assert check_error(response, 422, "invalid_request")["field"] == field


def test_accept():
    """Arrow is returned if the header names it, unless with a weight of 0."""
    assert prefers_arrow(f"application/json, {MEDIA_TYPE};q=0.5")
    assert not prefers_arrow(f"{MEDIA_TYPE};q=0, */*")


def test_the_media_type():
    """The front end and the log, which it does not import, name one type."""
    assert schemas.ARROW == MEDIA_TYPE
