"""The mean batch size with 32 concurrent callers and a version's default settings.

The mean is taken from the exported metrics; the goal is above 4. The peer has a maximum batch size
of 1: the same callers, served one by one. Other variants wait for a batch to fill.
"""

import asyncio

from benchmarks.report import Report
from benchmarks.serving import NAME, Server, server, settings, until, window
from testkit.load import load
from testkit.metrics import Batches, batches, since

CONCURRENCY = 32
VERSION = "1.0.0"
VARIANTS: dict[str, dict[str, float]] = {
    "by default": {},
    "one by one": {"max_batch_size": 1},
    "wait 2 ms": {"batch_wait_timeout_s": 0.002},
    "wait 5 ms": {"batch_wait_timeout_s": 0.005},
}


def run(seconds: float = 10.0, rounds: int = 2) -> Report:
    """Return the mean batch and the callers' latencies; the variants are interleaved."""
    figures: dict[str, dict[str, float]] = {}
    with server([VERSION]) as running:
        for number in range(1, rounds + 1):
            for name, batching in VARIANTS.items():
                row = asyncio.run(_measure(running, batching, seconds))
                figures[f"{name}, round {number}"] = row
    notes = [
        f"{CONCURRENCY} callers for {seconds:g} s, one replica, each variant freshly deployed."
    ]
    return Report(figures, {"concurrency": CONCURRENCY, "seconds": seconds}, notes)


async def _measure(running: Server, batching: dict[str, float], seconds: float) -> dict[str, float]:
    await running.deploy(settings([{"version": "production", "batching": batching}]))
    await asyncio.sleep(running.cluster.metrics_age_s)
    before = await asyncio.to_thread(_exported, running)
    async with load(running.cluster.url, window(), CONCURRENCY) as traffic:
        await asyncio.sleep(seconds)
        answered = len(traffic.took_ms)

    def counted() -> Batches:
        return since(before, _exported(running))

    # The metric covers exactly these requests, and no others.
    await until(
        lambda: counted().requests == len(traffic.took_ms),
        f"{len(traffic.took_ms)} requests are exported",
        3 * running.cluster.metrics_age_s,
    )
    return {
        "mean_batch": (await asyncio.to_thread(counted)).mean,
        "requests_per_s": answered / seconds,
        "p50_ms": traffic.percentile_ms(50),
        "p99_ms": traffic.percentile_ms(99),
        "failed": len(traffic.failures),
    }


def _exported(running: Server) -> dict[str, Batches]:
    return batches(running.cluster, f"{NAME}:{VERSION}")
