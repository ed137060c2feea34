"""What routers and replicas count reaches Ray all in all, though not at once."""

import asyncio

import pytest

from serve_app.deployments import metrics


class Counter:
    def __init__(self, name, **_):
        self.told = TOLD.setdefault(name, [])

    def inc(self, value, tags):
        self.told.append((value, tags))


TOLD = {}


@pytest.fixture(autouse=True)
def _told(monkeypatch):
    TOLD.clear()
    monkeypatch.setattr(metrics.metrics, "Counter", Counter)
    monkeypatch.setattr(metrics, "PERIOD_S", 0.01)


async def test_runs_and_windows_are_told_together():
    count = metrics.run_counter("toy:1.0.0")
    for sizes in ((1, 8, 3), (2,)):
        for size in sizes:
            count(size)
        await asyncio.sleep(0.1)
    tags = {"model": "toy:1.0.0"}
    assert TOLD["tradeserve_model_runs"] == [(3, tags), (1, tags)]
    assert TOLD["tradeserve_model_windows"] == [(12, tags), (2, tags)]


async def test_requests_are_told_by_endpoint_and_status():
    count = metrics.request_counter()
    for path, status in (("/a", 200), ("/a", 503), ("/b", 200), ("/a", 200)):
        count(path, status)
    await asyncio.sleep(0.1)
    told = {(each["endpoint"], each["status"]): n for n, each in TOLD["tradeserve_requests"]}
    assert told == {("/a", "200"): 2, ("/a", "503"): 1, ("/b", "200"): 1}
