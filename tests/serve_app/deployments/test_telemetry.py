"""What routers and replicas count reaches Ray all in all, though not at once."""

import asyncio

import pytest

from serve_app.data_plane.timing import TimingSection
from serve_app.deployments import telemetry


class Metric:
    def __init__(self, name, **_):
        self.told = TOLD.setdefault(name, [])

    def inc(self, value, tags):
        self.told.append((value, tags))

    set = inc


TOLD = {}


@pytest.fixture(autouse=True)
def _told(monkeypatch):
    TOLD.clear()
    monkeypatch.setattr(telemetry.metrics, "Counter", Metric)
    monkeypatch.setattr(telemetry.metrics, "Gauge", Metric)
    monkeypatch.setattr(telemetry, "PERIOD_S", 0.01)


async def test_runs_and_windows_are_told_together():
    count = telemetry.run_counter("toy:1.0.0")
    for sizes in ((1, 8, 3), (2,)):
        for size in sizes:
            count(size)
        await asyncio.sleep(0.1)
    tags = {"model": "toy:1.0.0"}
    assert TOLD["tradeserve_model_runs"] == [(3, tags), (1, tags)]
    assert TOLD["tradeserve_model_windows"] == [(12, tags), (2, tags)]


async def test_requests_are_told_by_endpoint_and_status():
    count = telemetry.request_counter()
    for path, status in (("/a", 200), ("/a", 503), ("/b", 200), ("/a", 200)):
        count(path, status)
    await asyncio.sleep(0.1)
    told = {(each["endpoint"], each["status"]): n for n, each in TOLD["tradeserve_requests"]}
    assert told == {("/a", "200"): 2, ("/a", "503"): 1, ("/b", "200"): 1}


async def test_stages_are_told_as_a_histogram():
    observe = telemetry.timing_histogram()
    for model_ms in (0.5, 0.6, 3000.0):
        observe({TimingSection.MODEL: model_ms / 1e3, TimingSection.READ: 0.0})
    await asyncio.sleep(0.1)
    told = TOLD["tradeserve_timing_ms_bucket"]
    buckets = {each["le"]: below for below, each in told if each["section"] == "model"}
    assert (buckets["0.3"], buckets["0.5"], buckets["0.7"], buckets["2000"]) == (0, 1, 2, 2)
    assert buckets["+Inf"] == 3
    tags = {"section": "model"}
    assert (3, tags) in TOLD["tradeserve_timing_ms_count"]
    assert TOLD["tradeserve_timing_ms_sum"][list(TimingSection).index(TimingSection.MODEL)] == (
        3001.1,
        tags,
    )


async def test_what_is_observed_later_is_told_in_full():
    observe = telemetry.timing_histogram()
    for _ in range(2):
        observe({TimingSection.READ: 0.1})
        await asyncio.sleep(0.1)
    told = [
        count for count, each in TOLD["tradeserve_timing_ms_count"] if each["section"] == "read"
    ]
    assert told == [1, 2]
