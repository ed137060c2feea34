"""Four times as many requests as the server can serve, and 200 at the same time.

1. capacity: callers in a closed loop, their number doubled until the throughput is flat;
2. overload: an open loop at four times that rate, with health requested meanwhile;
3. recovery: one caller after the other from the end of the overload on;
4. burst: 200 requests at the same moment, from a quiet server.

All requests have the default deadline of 1 s. The callers share the cores with the server; their
processor time is listed. The first second of the overload is listed apart: it is still a burst.
"""

import asyncio
import json
import resource
import time
from collections.abc import Sequence
from typing import Literal

import aiohttp
import numpy as np
import psutil

from benchmarks.callers import Responses, at_once, closed_loop, open_loop, request
from benchmarks.report import Report
from benchmarks.serving import NAME, SHAPE, Server, server, settings

CONCURRENCIES = (4, 8, 16, 32, 64)
FLAT = 1.05
"""A throughput that doubling the callers raises by less than this factor is flat."""

LEVEL_S = 5.0
OVERLOAD_S = 12.0
ONSET_S = 1.0
FACTOR = 4
CONNECTIONS = 1024
BURST = 200
HEALTH_PERIOD_S = 0.1
CALM = 20
"""Requests in a row with their usual latency after which the server is back to normal."""

Body = Literal["json", "raw"]


def run(body: Body = "json", level_s: float = LEVEL_S, overload_s: float = OVERLOAD_S) -> Report:
    """Return the figures of all phases."""
    with server(["1.0.0"]) as running:
        declared = settings(
            [{"version": "production", "num_replicas": 2}], router={"num_replicas": 2}
        )
        asyncio.run(running.deploy(declared))
        running.cluster.wait_until_serving({f"{NAME}:1.0.0"})
        return asyncio.run(measure(running, body, level_s, overload_s))


async def measure(running: Server, body: Body, level_s: float, overload_s: float) -> Report:
    """Return the figures of a running server."""
    url, requests = running.cluster.url, prepared(body)
    await closed_loop(url, requests, 16, 3.0)
    alone = await closed_loop(url, requests, 1, 2.0)
    before_mb = memory_mb(running)
    levels: dict[int, Responses] = {}
    usual_health: list[float] = []
    polling = asyncio.create_task(poll(url, usual_health))
    for callers in CONCURRENCIES:
        levels[callers] = await closed_loop(url, requests, callers, level_s)
        rates = [len(level.took_of(200)) / level_s for level in levels.values()]
        if len(rates) > 1 and rates[-1] < FLAT * rates[-2]:
            break
    polling.cancel()
    callers = list(levels)[max(0, len(levels) - 2)]
    capacity = len(levels[callers].took_of(200)) / level_s
    health: list[float] = []
    polling = asyncio.create_task(poll(url, health))
    cpu_s, began_s = callers_cpu_s(), time.monotonic()
    overload = await open_loop(url, requests, FACTOR * capacity, overload_s, CONNECTIONS)
    ended_s, cpu_s = began_s + overload_s, callers_cpu_s() - cpu_s
    polling.cancel()
    during_mb = memory_mb(running)
    recovery_s = await until_calm(
        url, requests, float(np.percentile(alone.took_of(200), 99)), ended_s
    )
    await asyncio.sleep(1)
    burst = await at_once(url, requests, BURST)
    await asyncio.sleep(1)
    again = await closed_loop(url, requests, callers, level_s)
    steady = overload.between(began_s + ONSET_S, ended_s)
    figures = {
        "one caller": described(alone, 2.0),
        **{f"{n} callers": described(level, level_s) for n, level in levels.items()},
        f"{callers} callers, after": described(again, level_s),
        f"{FACTOR} x capacity, onset": described(
            overload.between(began_s, began_s + ONSET_S), ONSET_S
        ),
        f"{FACTOR} x capacity": described(steady, overload_s - ONSET_S),
        f"{BURST} at once": described(burst, 1.0),
    }
    at_capacity = figures[f"{callers} callers"]
    reached = figures[f"{FACTOR} x capacity"]
    figures["ratio to capacity"] = {
        "served_per_s": reached["served_per_s"] / at_capacity["served_per_s"],
        "p99_ms": reached["p99_ms"] / at_capacity["p99_ms"],
    }
    figures["health, up to capacity"] = described_health(usual_health)
    figures[f"health, {FACTOR} x capacity"] = described_health(health)
    figures["memory, MB"] = {"before": before_mb, "after": during_mb}
    figures["back to normal"] = {"after_s": recovery_s}
    figures["callers"] = {"cores": cpu_s / overload_s, "unsent": overload.unsent}
    return Report(figures, {"body": body, "seconds": overload_s, "callers_at_capacity": callers})


def prepared(body: Body) -> Sequence[bytes]:
    """Return requests for predictions of different windows."""
    generator = np.random.default_rng(0)
    windows = generator.standard_normal((16, *SHAPE)).astype("<f4")
    if body == "raw":
        path = "/api/ml/predict?symbol=EURUSD&shape=60,110"
        return [request(path, "application/octet-stream", window.tobytes()) for window in windows]
    bodies = [json.dumps({"symbol": "EURUSD", "features": one.ravel().tolist()}) for one in windows]
    return [request("/api/ml/predict", "application/json", body.encode()) for body in bodies]


def described(responses: Responses, seconds: float) -> dict[str, float]:
    """Return the figures of a phase; the percentiles are those of served predictions."""
    served = responses.took_of(200)
    shown = served or responses.took_ms
    return {
        "served_per_s": len(served) / seconds,
        "rejected_per_s": (len(responses.statuses) - len(served)) / seconds,
        "late_per_s": responses.count(504) / seconds,
        "lost": responses.lost,
        "p50_ms": float(np.percentile(shown, 50)),
        "p99_ms": float(np.percentile(shown, 99)),
        "longest_ms": max(shown),
    }


def described_health(took_ms: Sequence[float]) -> dict[str, float]:
    """Return the figures of health requests."""
    return {
        "requests": len(took_ms),
        "p50_ms": float(np.percentile(took_ms, 50)),
        "p99_ms": float(np.percentile(took_ms, 99)),
        "longest_ms": max(took_ms),
    }


async def poll(url: str, took_ms: list[float]) -> None:
    """Request health forever; each latency is recorded, and a failure counts as 10 s."""
    timeout = aiohttp.ClientTimeout(total=10)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        while True:
            for path in ("/api/ml/health", "/health/live", "/health/ready"):
                began_s = time.monotonic()
                async with session.get(url + path) as response:
                    await response.read()
                    failed = response.status != 200
                took_ms.append(10_000.0 if failed else (time.monotonic() - began_s) * 1e3)
            await asyncio.sleep(HEALTH_PERIOD_S)


async def until_calm(url: str, requests: Sequence[bytes], usual_ms: float, since_s: float) -> float:
    """Return the time until CALM requests in a row take at most twice their usual p99."""
    calm, first_s = 0, time.monotonic()
    while calm < CALM:
        if time.monotonic() - since_s > 30:
            raise RuntimeError("not back to normal within 30 s")
        if calm == 0:
            first_s = time.monotonic()
        one = await at_once(url, requests[:1], 1)
        is_usual = one.statuses == [200] and one.took_ms[0] <= 2 * usual_ms
        calm = calm + 1 if is_usual else 0
    return first_s - since_s


def memory_mb(running: Server) -> float:
    """Return the memory of the routers, the versions' replicas and HAProxy."""
    total = 0
    for role, processes in running.processes().items():
        if role in ("router", "proxy") or "ModelServer" in role or NAME in role:
            for process in processes:
                try:
                    total += process.memory_full_info().pss
                except psutil.NoSuchProcess:
                    continue
    return total / 1e6


def callers_cpu_s() -> float:
    """Return the processor time of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
