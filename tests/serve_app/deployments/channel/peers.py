"""Routers and replicas at the two ends of a channel, in one process."""

import asyncio
import contextlib

import numpy as np

from serve_app.data_plane.decoding import Prediction, Run
from serve_app.deployments.channel.client import ChannelPool
from serve_app.deployments.channel.server import ChannelServer, ConnectionLimits
from serve_app.versions import VersionRef
from testkit.models import metadata

VERSION = VersionRef("toy", "1.0.0")
HOST = "127.0.0.1"


def window(number):
    return np.full((1, 3, 2), number, dtype=np.float32)


class Model:
    """Predicts the first number of each window; windows with an odd one wait for `released`."""

    def __init__(self):
        self.released = asyncio.Event()
        self.calls = []

    async def predict_many(self, windows):
        number = float(windows[0, 0, 0])
        self.calls.append(number)
        if number % 2:
            await self.released.wait()
        return [Prediction(1, 0.5, float(window[0, 0]), Run(0.25, 0.5)) for window in windows]


async def eventually(condition):
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  no event signals it, as in production
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def listening(predict_many, max_concurrent_calls=8, replica="a", **limits):
    """A replica's server and its address."""
    server = ChannelServer(
        metadata(), predict_many, max_concurrent_calls, ConnectionLimits(**limits)
    )
    address = await server.open(replica, HOST)
    try:
        yield server, address
    finally:
        await server.close()


@contextlib.asynccontextmanager
async def connected(*addresses, heartbeat_timeout_s=60.0):
    """A pool whose channels to all these addresses accept calls."""
    pool = ChannelPool(VERSION, heartbeat_timeout_s)
    for address in addresses:
        pool.add(address)
    try:
        await eventually(lambda: len(pool.available()) == len(addresses))
        yield pool
    finally:
        pool.close()


async def exchange(address, data):
    """Send bytes and return everything received until the peer closes the connection."""
    reader, writer = await asyncio.open_connection(address.host, address.port)
    writer.write(data)
    try:
        return await read_to_end(reader)
    finally:
        writer.close()


async def read_to_end(reader):
    try:
        async with asyncio.timeout(10):
            return await reader.read()
    except ConnectionResetError:
        return b""
