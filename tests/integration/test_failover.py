"""The death and a stop of a router, a replica and HAProxy, under the load of bots."""

import asyncio
import contextlib
import signal
import time

import numpy as np
import psutil
import pytest

from serve_app.client import ModelClient
from testkit.cluster import Cluster
from testkit.load import load
from tests.integration.conftest import NAME, serving_args

ALL = {f"{NAME}:{version}" for version in ("1.0.0", "1.1.0", "1.2.0")}
WINDOW = np.zeros((60, 110), np.float32)
BOTS = 2
DEADLINE_S = 10.0
"""Above the client's default of 1 s, since other tests occupy the processors as well."""

OURS = ("503 {", "ServerDisconnectedError", "ClientOSError", "ClientPayloadError")
"""The failures that a request in flight may have: the server's own error, or a lost connection."""


@pytest.fixture
async def doubled(cluster):
    """The cluster with two routers and two replicas of the production version."""
    versions = serving_args()["versions"]
    two = serving_args(
        router={"num_replicas": 2}, versions=[{**versions[0], "num_replicas": 2}, *versions[1:]]
    )
    await asyncio.to_thread(cluster.deploy, two)
    await until(lambda: len(routers(cluster)) == len(replicas(cluster)) == 2)
    await until(lambda: "on-marked-down" in haproxy_config(cluster))
    yield cluster
    await asyncio.to_thread(cluster.deploy, serving_args())
    await asyncio.to_thread(cluster.wait_until_serving, ALL)


def routers(cluster: Cluster):
    return cluster.find("ray::ServeReplica:trading-models:Router")


def replicas(cluster: Cluster):
    return cluster.find(f"ray::ServeReplica:trading-models:{NAME}:1.0.0:")


def haproxies(cluster: Cluster):
    """Return HAProxy, without its spare."""
    found = []
    for process in cluster.processes():
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.name() == "haproxy" and "spare.cfg" not in " ".join(process.cmdline()):
                found.append(process)
    return sorted(found, key=psutil.Process.create_time, reverse=True)


def haproxy_config(cluster: Cluster):
    (path,) = (cluster.folder / "haproxy").glob("*/spare.cfg")
    return path.read_text()


async def until(condition):
    deadline_s = time.monotonic() + 90
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < deadline_s
        await asyncio.sleep(0.2)


async def first_of(find, cluster):
    """Return a process of a kind. During a call Ray shows the call's name in place of its own."""
    found = []

    def is_found():
        found[:] = find(cluster)
        return bool(found)

    await until(is_found)
    return found[0]


@pytest.mark.nightly
async def test_failover(doubled):
    """The client's calls all succeed, and what plain HTTP receives are our errors only."""
    done = asyncio.Event()

    async def trade(client):
        calls = 0
        while not done.is_set():
            await client.predict("EURUSD", WINDOW)
            calls += 1
        return calls

    async with (
        ModelClient(doubled.url, timeout_s=DEADLINE_S, raise_errors=True) as client,
        load(doubled.url, WINDOW.ravel().tolist(), BOTS, pause_s=0.02) as plain,
    ):
        bots = [asyncio.create_task(trade(client)) for _ in range(BOTS)]
        for find in (replicas, routers, haproxies):
            for fault in (signal.SIGSTOP, signal.SIGKILL):
                victim = await first_of(find, doubled)
                victim.send_signal(fault)
                await asyncio.sleep(1.5)
                with contextlib.suppress(psutil.NoSuchProcess):
                    victim.resume()
        await asyncio.sleep(1)
        done.set()
        calls = await asyncio.gather(*bots)
    assert min(calls) > 0
    assert len(plain.took_ms) > len(plain.failures)
    foreign = [failure for failure in plain.failures if not failure.startswith(OURS)]
    assert foreign == []
