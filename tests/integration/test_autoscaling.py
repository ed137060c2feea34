"""The replicas of one version follow the load, on one node and on two."""

import asyncio
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from testkit.cluster import FAR_MARKER, Cluster
from testkit.load import load
from tests.integration.conftest import NAME, serving_args

VERSION = f"{NAME}:1.0.0"
AUTOSCALING = {
    "min_replicas": 1,
    "max_replicas": 3,
    # With 32 callers on busy cores most requests are on their way: 3 to 5 are at a replica at once.
    "target_ongoing_requests": 1,
    "upscale_delay_s": 1,
    "downscale_delay_s": 4,
}


def scaled(num_cpus):
    return {
        "model": NAME,
        "version": "production",
        "autoscaling": AUTOSCALING,
        "num_cpus": num_cpus,
    }


async def serve(cluster, args, versions):
    await asyncio.to_thread(cluster.deploy, args)
    await asyncio.to_thread(
        cluster.wait_until_serving, {f"{NAME}:{version}" for version in versions}
    )


@pytest.fixture
async def scaling(cluster):
    """The cluster with autoscaling of the version in production; afterwards it is as before."""
    _production, *others = serving_args()["versions"]
    versions = ("1.0.0", "1.1.0", "1.2.0")
    try:
        await serve(cluster, serving_args(versions=[scaled(num_cpus=0.1), *others]), versions)
        yield cluster
    finally:
        await serve(cluster, serving_args(), versions)


@pytest.fixture
async def roomless(folder, registry):
    """A separate cluster with one node, which has room for one replica of the only version."""
    own = Path(tempfile.mkdtemp(prefix="ts-"))
    cluster = Cluster(own, is_multi_node=True)
    shutil.copytree(folder / "models", own / "models", symlinks=True)
    try:
        await asyncio.to_thread(cluster.start)
        await serve(cluster, serving_args(versions=[scaled(num_cpus=1.0)]), ["1.0.0"])
        yield cluster
    finally:
        await asyncio.to_thread(cluster.stop)
        shutil.rmtree(own)


async def test_replicas_follow_load(scaling):
    """Replicas are added under load and removed after it."""
    async with load(scaling.url, features(), concurrency=32) as busy:
        await replicas(scaling, 3, busy)

    async with load(scaling.url, features(), concurrency=1, pause_s=0.2) as quiet:
        await replicas(scaling, 1, quiet)

    assert (busy.failures, quiet.failures) == ([], [])
    assert set(busy.versions) == set(quiet.versions) == {"1.0.0"}


@pytest.mark.nightly
async def test_replicas_on_second_node(roomless):
    """Replicas that do not fit on the first node start on another."""
    with roomless.far_node(num_cpus=2):
        async with load(roomless.url, features(), concurrency=32) as busy:
            found = await replicas(roomless, 3, busy)
            assert any(FAR_MARKER in process.environ() for process in found)
            assert not all(FAR_MARKER in process.environ() for process in found)

        async with load(roomless.url, features(), concurrency=1, pause_s=0.2) as quiet:
            await replicas(roomless, 1, quiet)

    assert (busy.failures, quiet.failures) == ([], [])


async def replicas(cluster, count, traffic, timeout_s=180):
    """Return the version's replicas once there are `count` of them under a load."""
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        found = await asyncio.to_thread(cluster.replicas, VERSION)
        if len(found) == count:
            return found
        await asyncio.sleep(0.5)
    raise AssertionError(
        f"{count} replicas expected, {len(found)} after {timeout_s} s, in which "
        f"{sum(traffic.versions.values())} requests were served and {traffic.failures[:3]} failed; "
        f"the controller's log states the ongoing requests of each decision"
    )


def features():
    return [float(number) for number in np.random.default_rng(0).standard_normal(60 * 110)]
