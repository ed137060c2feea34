"""A replica's channel server: calls, draining, and connections that it does not trust."""

import asyncio
import contextlib
from dataclasses import replace

import pytest

from serve_app.deployments.channel.client import ChannelLostError
from serve_app.deployments.channel.protocol import (
    MAX_HELLO_BYTES,
    FrameType,
    Hello,
    encode,
    encode_hello,
)
from serve_app.errors import InvalidFeaturesError, PredictionFailedError
from tests.serve_app.deployments.channel.peers import (
    VERSION,
    Model,
    connected,
    eventually,
    exchange,
    listening,
    read_to_end,
    window,
)


async def test_calls_beyond_the_limit_wait():
    model = Model()
    async with (
        listening(model.predict_many, max_concurrent_calls=2) as (_, address),
        connected(address) as pool,
    ):
        channel = pool.least_busy()
        calls = [asyncio.create_task(channel.predict_many(window(odd))) for odd in (1, 3, 5)]
        await eventually(lambda: len(model.calls) == 2)
        # Time enough for the replica to read the third call.
        await asyncio.sleep(0.02)
        assert model.calls == [1.0, 3.0]
        model.released.set()
        await asyncio.gather(*calls)


async def test_a_rejection_keeps_its_message():
    async def reject(_):
        raise InvalidFeaturesError("features", "6 numbers", "5 numbers")

    async with listening(reject) as (_, address), connected(address) as pool:
        with pytest.raises(InvalidFeaturesError, match="expected 6 numbers, received 5 numbers"):
            await pool.least_busy().predict_many(window(0))


async def test_an_unforeseen_error_is_logged_and_summarised(caplog):
    """The replica logs the traceback; the router receives one line."""

    async def fail(_):
        raise ValueError("bad weights")

    async with listening(fail) as (_, address), connected(address) as pool:
        with pytest.raises(PredictionFailedError, match=r"ValueError\('bad weights'\)"):
            await pool.least_busy().predict_many(window(0))
    assert "Traceback" in caplog.text


async def test_a_lost_router_has_its_calls_cancelled():
    cancelled = []

    async def never(_):
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(True)

    async with listening(never) as (_, address):
        async with connected(address) as pool:
            call = asyncio.create_task(pool.least_busy().predict_many(window(0)))
            await asyncio.sleep(0.02)
            pool.least_busy().abort()
            with pytest.raises(ChannelLostError):
                await call
        await eventually(lambda: cancelled)


async def test_a_call_without_a_response_closes_the_connection(caplog):
    """The router then sends the call to another replica at once."""

    async def predict_many(_windows):
        raise asyncio.CancelledError

    async with listening(predict_many) as (_, address), connected(address) as pool:
        with pytest.raises(ChannelLostError):
            await pool.least_busy().predict_many(window(1))
    assert "call ended without a response" in caplog.text


async def test_a_draining_replica_completes_its_calls():
    """After GOAWAY no new call is sent, and the calls in flight are completed."""
    model, other = Model(), Model()
    async with (
        listening(other.predict_many, replica="b") as (_, there),
        listening(model.predict_many) as (server, address),
        connected(address, there) as pool,
    ):
        channel = next(entry for entry in pool.available() if entry.address == address)
        call = asyncio.create_task(channel.predict_many(window(1)))
        await eventually(lambda: model.calls)
        closing = asyncio.create_task(server.close())
        await eventually(lambda: channel.is_draining)
        # A call that crossed the GOAWAY on its way is completed too.
        (late,) = await channel.predict_many(window(2))
        assert late.expected_return == 2.0
        assert {pool.least_busy().address.replica for _ in range(3)} == {"b"}
        assert len(pool) == 1
        pool.add(address)
        assert not closing.done()
        model.released.set()
        assert (await call)[0].expected_return == 1.0
        await closing
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(address.host, address.port)


async def test_a_closed_pool_completes_its_calls():
    model = Model()
    async with listening(model.predict_many) as (server, address):
        async with connected(address) as pool:
            call = asyncio.create_task(pool.least_busy().predict_many(window(1)))
            await eventually(lambda: model.calls)
        assert pool.least_busy() is None
        model.released.set()
        assert (await call)[0].expected_return == 1.0
        await eventually(lambda: server.connection_count == 0)


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        encode(FrameType.PING),
        encode(FrameType.CALL, 1, bytes(40)),
        encode(FrameType.HELLO, 0, b"x" * (MAX_HELLO_BYTES + 1)),
        encode(FrameType.HELLO, 0, b"\x80\x04"),
    ],
)
async def test_an_invalid_hello_closes_the_connection(sent, caplog):
    model = Model()
    async with listening(model.predict_many) as (_, address):
        assert await exchange(address, sent) == b""
        assert "connection from" in caplog.text
        assert model.calls == []


@pytest.mark.parametrize("sent", [encode(FrameType.CALL, 1, b"short"), encode(FrameType.ACCEPT)])
async def test_an_invalid_frame_closes_an_accepted_connection(sent, caplog):
    async with listening(Model().predict_many) as (_, address):
        hello = encode_hello(Hello(version=str(VERSION), token=address.token))
        await exchange(address, hello + sent)
        assert "connection from" in caplog.text


async def test_pending_connections_are_limited():
    """Connections that send no hello are limited, are closed when idle, and block no router."""
    model = Model()
    async with (
        listening(model.predict_many, max_pending=4, idle_timeout_s=0.5) as (server, address),
        contextlib.AsyncExitStack() as peers,
    ):
        for _ in range(4):
            _, writer = await asyncio.open_connection(address.host, address.port)
            peers.callback(writer.close)
        await eventually(lambda: server.connection_count == 4)
        reader, writer = await asyncio.open_connection(address.host, address.port)
        peers.callback(writer.close)
        assert await read_to_end(reader) == b""
        await eventually(lambda: server.connection_count == 0)
        async with connected(address) as pool:
            (result,) = await pool.least_busy().predict_many(window(2))
    assert result.expected_return == 2.0


async def test_a_pending_connection_is_closed_despite_traffic():
    """Only a hello keeps it open, however much else it sends."""
    async with listening(Model().predict_many, idle_timeout_s=0.05) as (server, address):
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(b"\0")
        assert await read_to_end(reader) == b""
        assert server.connection_count == 0
        writer.close()


async def test_an_idle_connection_is_closed():
    """A router sends heartbeats; one that sends nothing after its hello counts as gone."""
    async with listening(Model().predict_many, idle_timeout_s=0.05) as (_, address):
        hello = encode_hello(Hello(version=str(VERSION), token=address.token))
        assert await exchange(address, hello) == encode(FrameType.ACCEPT)


async def test_a_router_that_ignores_goaway_is_closed(caplog):
    async with listening(Model().predict_many, drain_timeout_s=0.05) as (server, address):
        hello = encode_hello(Hello(version=str(VERSION), token=address.token))
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(hello)
        await eventually(lambda: server.connection_count == 1)
        await reader.readexactly(len(encode(FrameType.ACCEPT)))
        await server.close()
        await read_to_end(reader)
        writer.close()
    assert "1 connections still open" in caplog.text


async def test_an_address_with_another_token_is_rejected():
    """Two servers never share a token."""
    async with (
        listening(Model().predict_many) as (_, one),
        listening(Model().predict_many) as (
            _,
            two,
        ),
    ):
        stale = replace(two, token=one.token)
        hello = encode_hello(Hello(version=str(VERSION), token=stale.token))
        assert await exchange(stale, hello) == b""
