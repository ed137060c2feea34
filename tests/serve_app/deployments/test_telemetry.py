"""Counts reach Ray completely, though in groups."""

import asyncio

import pytest

from serve_app.data_plane.timing import TimingSection
from serve_app.deployments import telemetry


class RayMetric:
    def __init__(self, name, tag_keys, **_):
        self.tag_keys = tag_keys
        self.exported = EXPORTED.setdefault(name, [])

    def inc(self, value, tags):
        assert tuple(tags) == self.tag_keys
        self.exported.append((value, tags))

    set = inc


EXPORTED = {}


@pytest.fixture(autouse=True)
def _exported(monkeypatch):
    EXPORTED.clear()
    monkeypatch.setattr(telemetry.metrics, "Counter", RayMetric)
    monkeypatch.setattr(telemetry.metrics, "Gauge", RayMetric)
    monkeypatch.setattr(telemetry, "PERIOD_S", 0.01)


async def test_runs_and_windows_are_exported_together():
    count = telemetry.run_counter("toy:1.0.0")
    for sizes in ((1, 8, 3), (2,)):
        for size in sizes:
            count(size)
        await asyncio.sleep(0.1)
    tags = {"model": "toy:1.0.0"}
    assert EXPORTED["tradeserve_model_runs"] == [(3, tags), (1, tags)]
    assert EXPORTED["tradeserve_model_windows"] == [(12, tags), (2, tags)]


async def test_requests_are_counted_by_endpoint_and_status():
    count = telemetry.request_counter()
    for path, status in (("/a", 200), ("/a", 503), ("/b", 200), ("/a", 200)):
        count(path, status)
    await asyncio.sleep(0.1)
    exported = {
        (tags["endpoint"], tags["status"]): count for count, tags in EXPORTED["tradeserve_requests"]
    }
    assert exported == {("/a", "200"): 2, ("/a", "503"): 1, ("/b", "200"): 1}


async def test_timings_are_exported_as_a_histogram():
    observe = telemetry.timing_histogram()
    for model_ms in (0.5, 0.6, 3000.0):
        observe({TimingSection.MODEL: model_ms / 1e3, TimingSection.READ: 0.0})
    await asyncio.sleep(0.1)
    buckets = {
        tags["le"]: count
        for count, tags in EXPORTED["tradeserve_timing_ms_bucket"]
        if tags["section"] == "model"
    }
    assert (buckets["0.3"], buckets["0.5"], buckets["0.7"], buckets["2000"]) == (0, 1, 2, 2)
    assert buckets["+Inf"] == 3
    tags = {"section": "model"}
    assert (3, tags) in EXPORTED["tradeserve_timing_ms_count"]
    position = list(TimingSection).index(TimingSection.MODEL)
    assert EXPORTED["tradeserve_timing_ms_sum"][position] == (3001.1, tags)


async def test_later_observations_are_exported_too():
    observe = telemetry.timing_histogram()
    for _ in range(2):
        observe({TimingSection.READ: 0.1})
        await asyncio.sleep(0.1)
    counts = [
        count for count, tags in EXPORTED["tradeserve_timing_ms_count"] if tags["section"] == "read"
    ]
    assert counts == [1, 2]


async def test_unchanged_timings_are_exported_again(monkeypatch):
    """Ray drops a gauge that is not set for a while: a router without traffic keeps its own."""
    monkeypatch.setattr(telemetry, "RENEWAL_PERIOD_S", 0.01)
    observe = telemetry.timing_histogram()
    observe({TimingSection.READ: 0.1})
    await asyncio.sleep(0.2)
    counts = [
        count for count, tags in EXPORTED["tradeserve_timing_ms_count"] if tags["section"] == "read"
    ]
    assert len(counts) > 2
    assert set(counts) == {1}


async def test_bars_are_counted_by_result():
    """Results without a bar are left out: Ray's counter rejects 0."""
    count = telemetry.bar_counter()
    for result, bars in (("accepted", 3), ("rejected", 0), ("accepted", 2)):
        count(result, bars)
    await asyncio.sleep(0.1)
    assert EXPORTED["tradeserve_bars"] == [(5, {"result": "accepted"})]


async def test_age_of_bars():
    """The age of the last bar has its symbol and timeframe."""
    telemetry.bar_age_gauge()("EURUSD", "1h", 5.0)
    tags = {"symbol": "EURUSD", "timeframe": "1h"}
    assert EXPORTED["tradeserve_bar_age_seconds"] == [(5.0, tags)]
