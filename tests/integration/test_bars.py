"""Bars on a real cluster: a feed pushes while the actor that owns the log is killed."""

import asyncio
import signal
import time
from collections import Counter

import aiohttp
import numpy as np
import pyarrow as pa
import pytest

from features.bar_log.streams import MEDIA_TYPE, write_push
from features.bars import Bars
from serve_app.client import ModelClient
from serve_app.monitoring.metrics import BAR_AGE, BARS
from testkit.metrics import samples
from tests.integration.conftest import NAME

MINUTE_MS = 60_000
ACTOR = "ray::BarLogActor"
FIRST_MS = 1_700_000_000_000 // MINUTE_MS * MINUTE_MS
KILLS = 3


@pytest.fixture
async def client(cluster):
    async with ModelClient(cluster.url, raise_errors=True, command_timeout_s=60) as client:
        yield client


def bars(first, count):
    values = {"open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0, "volume": 1.0}
    return [{"time": FIRST_MS + (first + n) * MINUTE_MS, **values} for n in range(count)]


async def actor_of(cluster):
    """Return the process of the bar log, once there is one."""
    async with asyncio.timeout(30):
        while not (found := cluster.find(ACTOR)):  # noqa: ASYNC110  no event signals it
            await asyncio.sleep(0.05)
    return found[0]


async def test_kills(cluster, client):
    """A push that was acknowledged survives SIGKILL of the actor, and none is stored twice.

    Health is degraded at most, and predictions continue.
    """
    symbols = [f"KILL{number}" for number in range(100)]
    acknowledged = Counter()
    stop = asyncio.Event()

    async def feed():
        minute = 0
        while not stop.is_set():
            pushed = [
                {"symbol": name, "timeframe": "1m", "bars": bars(minute, 1)} for name in symbols
            ]
            report = await client.push_all_bars(pushed)
            assert report["accepted"] + report["duplicates"] == len(symbols)
            acknowledged.update(symbols)
            minute += 1

    feeding = asyncio.create_task(feed())
    for _ in range(KILLS):
        before = acknowledged[symbols[0]]
        process = await actor_of(cluster)
        process.send_signal(signal.SIGKILL)
        async with asyncio.timeout(60):
            while acknowledged[symbols[0]] < before + 3:
                await asyncio.sleep(0.05)
                assert await client.health_check()
    stop.set()
    await feeding
    found = {entry["symbol"]: entry for entry in await client.symbols()}
    for symbol in symbols:
        assert found[symbol]["count"] == acknowledged[symbol]
        assert found[symbol]["missing"] == 0
    page = await client.get_bars(symbols[7], "1m", start=FIRST_MS, limit=acknowledged[symbols[7]])
    assert page["next"] is None
    times = [bar["time"] for bar in page["bars"]]
    assert len(set(times)) == len(times) == acknowledged[symbols[7]]
    prediction = await client.predict("EURUSD", [[0.0] * 110] * 60, NAME, "1.0.0")
    assert prediction["model_version"] == "1.0.0"


async def test_history(cluster, client):
    """A body of several megabytes passes HAProxy and the router, and is stored once."""
    rows = 100_000
    time_ms = FIRST_MS - np.arange(rows, 0, -1) * MINUTE_MS
    content = write_push(Bars.of(time_ms, np.ones((5, rows))))
    assert len(content) > 4_000_000
    assert (await client.push_stream(content, "HIST", "1m"))["accepted"] == rows
    assert (await client.push_stream(content, "HIST", "1m"))["duplicates"] == rows
    page = await client.get_bars("HIST", "1m", start=int(time_ms[0]), limit=rows)
    assert len(page["bars"]) == rows


async def test_metrics(cluster, client):
    """A stored bar is returned at once, also as a stream, and counts in the metrics."""
    time_ms = time.time_ns() // 1_000_000 // MINUTE_MS * MINUTE_MS - MINUTE_MS
    bar = {**bars(0, 1)[0], "time": time_ms}
    report = await client.push_bars("NOW", "1m", [bar, {**bar, "high": 0.0}])
    assert (report["accepted"], len(report["rejected"])) == (1, 1)
    accept = {"Accept": MEDIA_TYPE}
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{cluster.url}/api/ml/bars/NOW", headers=accept) as response,
    ):
        received = pa.ipc.open_stream(await response.read()).read_all()
    assert received.column("time").cast(pa.int64()).to_pylist() == [time_ms]
    (entry,) = [entry for entry in await client.symbols() if entry["symbol"] == "NOW"]
    assert 0 <= entry["age_s"] < 120
    rejected = BARS.exported_name, {"result": "rejected"}
    age = BAR_AGE.exported_name, {"symbol": "NOW"}
    async with asyncio.timeout(30):
        while not (exported(cluster, *rejected) and exported(cluster, *age)):  # noqa: ASYNC110
            await asyncio.sleep(1)
    assert sum(exported(cluster, *rejected)) >= 1
    assert all(0 <= value < 150 for value in exported(cluster, *age))


def exported(cluster, name, labels):
    """Return the exported values of a metric with these labels."""
    return [
        sample.value
        for sample in samples(cluster)
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
