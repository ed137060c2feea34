"""A router's channels: calls, lost and unresponsive replicas, and the choice between replicas."""

import asyncio
import contextlib
import logging
from dataclasses import replace

import numpy as np
import pytest

from serve_app.data_plane.decoding import Failure, Prediction, Run
from serve_app.deployments.channel.client import Channel, ChannelLostError, ChannelPool
from serve_app.deployments.channel.protocol import (
    MAX_FRAME_BYTES,
    FrameType,
    ProtocolError,
    encode,
)
from serve_app.versions import VersionRef
from tests.serve_app.deployments.channel.peers import (
    HOST,
    VERSION,
    Model,
    connected,
    eventually,
    listening,
    window,
)


async def test_calls_share_a_connection():
    """Each call receives its own results; here the later one completes first."""
    model = Model()
    async with listening(model.predict_many) as (_, address), connected(address) as pool:
        channel = pool.least_busy()
        slow = [asyncio.create_task(channel.predict_many(window(odd))) for odd in (1, 3)]
        (result,) = await channel.predict_many(window(2))
        assert (result.expected_return, result.run) == (2.0, Run(0.25, 0.5))
        assert not any(call.done() for call in slow)
        model.released.set()
        results = await asyncio.gather(*slow)
        assert [result.expected_return for (result,) in results] == [1.0, 3.0]


async def test_megabytes_of_windows_keep_their_order():
    model = Model()
    windows = np.arange(125_000, dtype=np.float32).repeat(6).reshape(-1, 3, 2)
    async with listening(model.predict_many) as (_, address), connected(address) as pool:
        results = await pool.least_busy().predict_many(windows)
    assert [result.expected_return for result in results] == list(range(125_000))


async def test_a_failed_window_fails_alone():
    async def predict_many(_):
        return [Prediction(1, 0.5, None), Failure("NaN")]

    async with listening(predict_many) as (_, address), connected(address) as pool:
        results = await pool.least_busy().predict_many(window(0))
    assert results == [Prediction(1, 0.5, None), Failure("NaN")]


async def test_a_lost_connection_fails_its_calls():
    """Its replica can be added to the pool again."""
    model = Model()
    async with listening(model.predict_many) as (server, address), connected(address) as pool:
        call = asyncio.create_task(pool.least_busy().predict_many(window(1)))
        await eventually(lambda: model.calls)
        server.abort_connections()
        with pytest.raises(ChannelLostError, match="replica a was closed"):
            await call
        assert pool.least_busy() is None
        assert len(pool) == 0
        pool.add(address)
        await eventually(pool.least_busy)
        (result,) = await pool.least_busy().predict_many(window(2))
        assert result.expected_return == 2.0


async def test_calls_of_a_stopped_replica():
    """They are sent to another replica, and so are further ones, until it replies again."""
    model, replies = Model(), asyncio.Event()

    async def reply(reader, writer):
        with contextlib.closing(writer), contextlib.suppress(ConnectionError):
            while await reader.read(100):
                await replies.wait()
                writer.write(b"!")

    heartbeats = await asyncio.start_server(reply, HOST, 0)
    port = heartbeats.sockets[0].getsockname()[1]
    async with (
        heartbeats,
        listening(model.predict_many, replica="a") as (_, first),
        listening(model.predict_many, replica="b") as (_, second),
        connected(replace(first, heartbeat_port=port), second) as pool,
    ):
        stopped, other = sorted(pool.available(), key=lambda channel: channel.address.replica)
        with pytest.raises(ChannelLostError, match="replica a is stopped"):
            await stopped.predict_many(window(1))
        assert [pool.least_busy() for _ in range(2)] == [other, other]
        assert stopped in pool.available()
        replies.set()
        await eventually(lambda: not stopped.is_stopped)
        model.released.set()


async def test_calls_of_the_only_replica():
    """They wait while it is stopped: no other one could respond."""
    model = Model()

    async def ignore(reader, writer):
        with contextlib.closing(writer), contextlib.suppress(ConnectionError):
            await reader.read()

    heartbeats = await asyncio.start_server(ignore, HOST, 0)
    port = heartbeats.sockets[0].getsockname()[1]
    async with (
        heartbeats,
        listening(model.predict_many) as (_, address),
        connected(replace(address, heartbeat_port=port)) as pool,
    ):
        (channel,) = pool.available()
        call = asyncio.create_task(channel.predict_many(window(1)))
        await eventually(lambda: channel.is_stopped)
        model.released.set()
        (result,) = await call
        assert result.expected_return == 1.0


async def test_an_unresponsive_replica_is_abandoned(caplog):
    """The kernel accepts connections for a stopped process, and buffers the data sent to it."""
    stopped = asyncio.Event()
    accept = encode(FrameType.ACCEPT)

    async def serve(_, writer):
        writer.write(accept)
        await stopped.wait()
        writer.close()

    server = await asyncio.start_server(serve, HOST, 0)
    async with listening(Model().predict_many) as (_, address):
        other = replace(address, port=server.sockets[0].getsockname()[1])
        async with connected(other, heartbeat_timeout_s=0.06) as pool:
            with pytest.raises(ChannelLostError):
                await pool.least_busy().predict_many(window(0))
            assert pool.least_busy() is None
    assert "no heartbeat for 0.06 s" in caplog.text
    stopped.set()
    server.close()


async def test_a_slow_call_outlasts_the_heartbeat_timeout():
    """A replica that replies to heartbeats may compute for as long as the model takes."""
    model = Model()
    async with (
        listening(model.predict_many) as (_, address),
        connected(address, heartbeat_timeout_s=0.3) as pool,
    ):
        call = asyncio.create_task(pool.least_busy().predict_many(window(1)))
        await asyncio.sleep(0.6)
        model.released.set()
        assert (await call)[0].expected_return == 1.0


async def test_the_least_busy_replica_is_chosen():
    """Replicas that are equally busy alternate."""
    model = Model()
    async with (
        listening(model.predict_many, replica="a") as (_, one),
        listening(model.predict_many, replica="b") as (_, two),
        connected(one, two) as pool,
    ):
        first = pool.least_busy()
        waiting = asyncio.create_task(first.predict_many(window(1)))
        await eventually(lambda: model.calls)
        second = pool.least_busy()
        assert second is not first
        await second.predict_many(window(2))
        assert pool.least_busy() is second
        model.released.set()
        await waiting
        assert pool.least_busy() is first


async def test_a_rejected_channel_reveals_no_token(caplog):
    """A wrong token and a wrong version are rejected, and no token is logged."""
    caplog.set_level(logging.DEBUG)
    async with listening(Model().predict_many) as (_, address):
        for pool, wrong in (
            (ChannelPool(VERSION, 60.0), replace(address, token="guessed")),
            (ChannelPool(VersionRef("toy", "2.0.0"), 60.0), address),
        ):
            caplog.clear()
            pool.add(wrong)
            await eventually(lambda: "rejected the channel" in caplog.text)
            assert pool.least_busy() is None
            assert "version and token" in caplog.text
            assert address.token not in caplog.text
            assert "guessed" not in caplog.text
            # The replica stays known, so that it is not tried again immediately.
            assert len(pool) == 1


async def test_an_unreachable_replica_stays_known(caplog):
    """It has no channel for a while, and Serve's handle reaches it."""
    async with listening(Model().predict_many) as (_, address):
        pass
    pool = ChannelPool(VERSION, 60.0)
    pool.add(address)
    await eventually(lambda: "no channel to" in caplog.text)
    assert pool.least_busy() is None
    assert len(pool) == 1


async def test_invalid_bytes_close_the_channel(caplog):
    async def serve(reader, writer):
        writer.write(encode(FrameType.ACCEPT))
        await reader.read(1)
        await asyncio.sleep(0.02)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n")
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, HOST, 0)
    async with listening(Model().predict_many) as (_, address):
        other = replace(address, port=server.sockets[0].getsockname()[1])
        async with connected(other) as pool:
            with pytest.raises(ChannelLostError):
                await pool.least_busy().predict_many(window(0))
    assert "expected a frame of at most" in caplog.text
    server.close()


async def test_invalid_results_fail_their_call_alone():
    """JSON has no NaN."""
    model = Model()

    async def predict_many(windows):
        results = await model.predict_many(windows)
        is_invalid = windows[0, 0, 0] == 2
        return [replace(result, confidence=np.nan) if is_invalid else result for result in results]

    async with listening(predict_many) as (_, address), connected(address) as pool:
        channel = pool.least_busy()
        slow = asyncio.create_task(channel.predict_many(window(1)))
        with pytest.raises(ProtocolError):
            await channel.predict_many(window(2))
        model.released.set()
        assert [result.expected_return for result in await slow] == [1.0]


class Transport:
    """The transport of a replica that reads nothing while `buffered` bytes are not sent."""

    buffered = 0

    def write(self, data):
        pass

    def get_write_buffer_size(self):
        return self.buffered


async def test_a_congested_channel_takes_no_calls():
    async with listening(Model().predict_many) as (_, address):
        channel = Channel(address, VERSION, 60.0, lambda _: None, lambda _: None)
        transport = Transport()
        channel.connection_made(transport)
        assert not channel.accepts_calls
        channel.data_received(encode(FrameType.ACCEPT))
        assert channel.accepts_calls
        transport.buffered = MAX_FRAME_BYTES + 1
        assert not channel.accepts_calls
        channel.connection_lost(None)
