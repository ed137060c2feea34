"""What a replica counts reaches Ray all in all, though not at once."""

import asyncio

from serve_app.deployments import metrics


class Counter:
    def __init__(self, name, **_):
        self.told = TOLD.setdefault(name, [])

    def inc(self, value, tags):
        self.told.append((value, tags))


TOLD = {}


async def test_runs_and_windows_are_told_together(monkeypatch):
    monkeypatch.setattr(metrics.metrics, "Counter", Counter)
    monkeypatch.setattr(metrics, "PERIOD_S", 0.01)
    count = metrics.run_counter("toy:1.0.0")
    for sizes in ((1, 8, 3), (2,)):
        for size in sizes:
            count(size)
        await asyncio.sleep(0.1)
    tags = {"model": "toy:1.0.0"}
    assert TOLD["tradeserve_model_runs"] == [(3, tags), (1, tags)]
    assert TOLD["tradeserve_model_windows"] == [(12, tags), (2, tags)]
