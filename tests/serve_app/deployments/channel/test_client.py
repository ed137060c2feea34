"""A router's channel and a replica's listener against each other, in one process."""

import asyncio
import contextlib
import logging
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from serve_app.data_plane.decoding import Failure, Prediction, Run
from serve_app.deployments.channel.client import ChannelLostError, Channels
from serve_app.deployments.channel.protocol import (
    MAX_FRAME_BYTES,
    MAX_HELLO_BYTES,
    Hello,
    Kind,
    WireError,
    encode,
    encode_hello,
)
from serve_app.deployments.channel.server import MAX_STRANGERS, Listener
from serve_app.errors import InvalidFeaturesError, PredictionFailedError
from testkit.models import metadata

KEY = "toy:1.0.0"
HOST = "127.0.0.1"


def window(number):
    return np.full((1, 3, 2), number, dtype=np.float32)


class Model:
    """Answers with the first number of each window; odd ones wait for `may`."""

    def __init__(self):
        self.may = asyncio.Event()
        self.asked = []

    async def predict_many(self, windows):
        number = float(windows[0, 0, 0])
        self.asked.append(number)
        if number % 2:
            await self.may.wait()
        return [Prediction(1, 0.5, float(each[0, 0]), Run(0.25, 0.5)) for each in windows]


async def eventually(condition):
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  nothing tells, as in production
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def listening(predict_many, at_once=8, replica="a"):
    listener = Listener(metadata(), predict_many, at_once)
    address = await listener.open(replica, HOST)
    try:
        yield listener, address
    finally:
        await listener.close()


@contextlib.asynccontextmanager
async def connected(*addresses, silence_s=60.0):
    """Channels to these addresses, all of which take calls."""
    channels = Channels(KEY, silence_s)
    for address in addresses:
        channels.learn(address)
    try:
        await eventually(lambda: len(taking_calls(channels)) == len(addresses))
        yield channels
    finally:
        channels.close()


def taking_calls(channels):
    return [each for each in channels._channels.values() if each.takes_calls]


async def say(address, data):
    """Return what a peer answers until it hangs up, as it should."""
    reader, writer = await asyncio.open_connection(address.host, address.port)
    writer.write(data)
    try:
        return await read_to_the_end(reader)
    finally:
        writer.close()


async def read_to_the_end(reader):
    try:
        async with asyncio.timeout(10):
            return await reader.read()
    except ConnectionResetError:
        return b""


async def test_many_calls_share_a_connection_and_each_gets_its_own_answer():
    """The later one is answered first."""
    model = Model()
    async with listening(model.predict_many) as (_, address), connected(address) as channels:
        channel = channels.least_busy()
        slow = [asyncio.create_task(channel.predict_many(window(odd))) for odd in (1, 3)]
        (answer,) = await channel.predict_many(window(2))
        assert (answer.expected_return, answer.run) == (2.0, Run(0.25, 0.5))
        assert not any(each.done() for each in slow)
        model.may.set()
        assert [each[0].expected_return for each in await asyncio.gather(*slow)] == [1.0, 3.0]


async def test_windows_of_megabytes_are_answered_in_order():
    model = Model()
    windows = np.arange(125_000, dtype=np.float32).repeat(6).reshape(-1, 3, 2)
    async with listening(model.predict_many) as (_, address), connected(address) as channels:
        answers = await channels.least_busy().predict_many(windows)
    assert [each.expected_return for each in answers] == list(range(125_000))


async def test_no_more_calls_are_answered_at_a_time_than_the_replica_takes():
    model = Model()
    async with (
        listening(model.predict_many, at_once=2) as (_, address),
        connected(address) as channels,
    ):
        channel = channels.least_busy()
        calls = [asyncio.create_task(channel.predict_many(window(odd))) for odd in (1, 3, 5)]
        await eventually(lambda: len(model.asked) == 2)
        # The answer to a ping comes after the third call was read.
        await asyncio.sleep(0.02)
        assert model.asked == [1.0, 3.0]
        model.may.set()
        await asyncio.gather(*calls)


async def test_what_the_replica_refuses_is_refused_in_its_own_words():
    async def refuse(_):
        raise InvalidFeaturesError("features", "6 numbers", "5 numbers")

    async with listening(refuse) as (_, address), connected(address) as channels:
        with pytest.raises(InvalidFeaturesError, match="expected 6 numbers, received 5 numbers"):
            await channels.least_busy().predict_many(window(0))


async def test_what_the_replica_fails_at_unforeseen_is_logged_there_and_told_shortly(caplog):
    async def fail(_):
        raise ValueError("bad weights")

    async with listening(fail) as (_, address), connected(address) as channels:
        with pytest.raises(PredictionFailedError, match=r"ValueError\('bad weights'\)"):
            await channels.least_busy().predict_many(window(0))
    assert "Traceback" in caplog.text


async def test_a_connection_that_breaks_under_way_fails_its_calls_and_is_learnt_anew():
    model = Model()
    async with listening(model.predict_many) as (listener, address), connected(address) as channels:
        call = asyncio.create_task(channels.least_busy().predict_many(window(1)))
        await eventually(lambda: model.asked)
        for connection in list(listener._connections):
            connection.abort()
        with pytest.raises(ChannelLostError, match="replica a ended"):
            await call
        assert channels.least_busy() is None
        assert len(channels) == 0
        channels.learn(address)
        await eventually(channels.least_busy)
        (answer,) = await channels.least_busy().predict_many(window(2))
        assert answer.expected_return == 2.0


async def test_a_router_that_is_gone_has_its_calls_dropped():
    ended = []

    async def never(_):
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    async with listening(never) as (_, address):
        async with connected(address) as channels:
            call = asyncio.create_task(channels.least_busy().predict_many(window(0)))
            await asyncio.sleep(0.02)
            channels.least_busy()._transport.abort()
            with pytest.raises(ChannelLostError):
                await call
        await eventually(lambda: ended)


async def test_a_replica_that_says_goodbye_gets_no_new_call_and_answers_what_it_has():
    model, other = Model(), Model()
    async with (
        listening(other.predict_many, replica="b") as (_, there),
        listening(model.predict_many) as (listener, address),
        connected(address, there) as channels,
    ):
        channel = next(each for each in taking_calls(channels) if each.address == address)
        call = asyncio.create_task(channel.predict_many(window(1)))
        await eventually(lambda: model.asked)
        closing = asyncio.create_task(listener.close())
        await eventually(lambda: channel.is_leaving)
        # Sent before the goodbye was there, as it may be: it is answered.
        (late,) = await channel.predict_many(window(2))
        assert late.expected_return == 2.0
        assert {channels.least_busy().address.replica for _ in range(3)} == {"b"}
        assert len(channels) == 1
        channels.learn(address)
        assert not closing.done()
        model.may.set()
        assert (await call)[0].expected_return == 1.0
        await closing
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(address.host, address.port)


async def test_a_router_that_closes_its_channels_gets_the_answers_under_way():
    model = Model()
    async with listening(model.predict_many) as (listener, address):
        async with connected(address) as channels:
            call = asyncio.create_task(channels.least_busy().predict_many(window(1)))
            await eventually(lambda: model.asked)
        assert channels.least_busy() is None
        model.may.set()
        assert (await call)[0].expected_return == 1.0
        await eventually(lambda: not listener._connections)


async def test_a_replica_that_says_nothing_any_more_is_left_with_its_calls():
    """The kernel accepts connections for a stopped process, and takes what is sent to it."""
    silent = asyncio.Event()
    welcome = encode(Kind.WELCOME)

    async def serve(_, writer):
        writer.write(welcome)
        await silent.wait()
        writer.close()

    server = await asyncio.start_server(serve, HOST, 0)
    async with listening(Model().predict_many) as (_, address):
        stopped = replace(address, port=server.sockets[0].getsockname()[1])
        async with connected(stopped, silence_s=0.06) as channels:
            with pytest.raises(ChannelLostError):
                await channels.least_busy().predict_many(window(0))
            assert channels.least_busy() is None
    silent.set()
    server.close()


async def test_a_replica_that_answers_pings_may_compute_for_as_long_as_it_takes():
    model = Model()
    async with (
        listening(model.predict_many) as (_, address),
        connected(address, silence_s=0.3) as channels,
    ):
        call = asyncio.create_task(channels.least_busy().predict_many(window(1)))
        await asyncio.sleep(0.6)
        model.may.set()
        assert (await call)[0].expected_return == 1.0


async def test_the_replica_with_the_least_to_do_is_asked_and_equal_ones_in_turn():
    model = Model()
    async with (
        listening(model.predict_many, replica="a") as (_, one),
        listening(model.predict_many, replica="b") as (_, two),
        connected(one, two) as channels,
    ):
        first = channels.least_busy()
        waiting = asyncio.create_task(first.predict_many(window(1)))
        await eventually(lambda: model.asked)
        second = channels.least_busy()
        assert second is not first
        await second.predict_many(window(2))
        assert channels.least_busy() is second
        model.may.set()
        await waiting
        assert channels.least_busy() is first


async def test_a_wrong_token_or_version_is_turned_away_and_no_token_is_logged(caplog):
    caplog.set_level(logging.DEBUG)
    async with listening(Model().predict_many) as (_, address):
        for channels, wrong in (
            (Channels(KEY, 60.0), replace(address, token="guessed")),
            (Channels("toy:2.0.0", 60.0), address),
        ):
            caplog.clear()
            channels.learn(wrong)
            await eventually(lambda: "does not want a channel" in caplog.text)
            assert channels.least_busy() is None
            assert "with its token" in caplog.text
            assert address.token not in caplog.text
            assert "guessed" not in caplog.text
            # It stays known, so that it is not asked again and again.
            assert len(channels) == 1


async def test_a_replica_that_cannot_be_connected_to_is_left_to_the_handle(caplog):
    async with listening(Model().predict_many) as (_, address):
        pass
    channels = Channels(KEY, 60.0)
    channels.learn(address)
    await eventually(lambda: "no channel to" in caplog.text)
    assert channels.least_busy() is None
    assert len(channels) == 1


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        encode(Kind.PING),
        encode(Kind.CALL, 1, bytes(40)),
        encode(Kind.HELLO, 0, b"x" * (MAX_HELLO_BYTES + 1)),
        encode(Kind.HELLO, 0, b"\x80\x04"),
    ],
)
async def test_garbage_ends_the_connection_with_a_line_in_the_log(said, caplog):
    model = Model()
    async with listening(model.predict_many) as (_, address):
        assert await say(address, said) == b""
        assert "connection of" in caplog.text
        assert model.asked == []


@pytest.mark.parametrize("said", [encode(Kind.CALL, 1, b"short"), encode(Kind.WELCOME)])
async def test_garbage_of_somebody_who_knows_the_token_ends_the_connection_too(said, caplog):
    async with listening(Model().predict_many) as (_, address):
        hello = encode_hello(Hello(version=KEY, token=address.token))
        await say(address, hello + said)
        assert "connection of" in caplog.text


async def test_garbage_of_a_replica_ends_the_channel(caplog):
    async def serve(reader, writer):
        writer.write(encode(Kind.WELCOME))
        await reader.read(1)
        await asyncio.sleep(0.02)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n")
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, HOST, 0)
    async with listening(Model().predict_many) as (_, address):
        other = replace(address, port=server.sockets[0].getsockname()[1])
        async with connected(other) as channels:
            with pytest.raises(ChannelLostError):
                await channels.least_busy().predict_many(window(0))
    assert "expected a frame of at most" in caplog.text
    server.close()


async def test_a_failed_window_fails_alone():
    async def predict_many(_):
        return [Prediction(1, 0.5, None), Failure("NaN")]

    async with listening(predict_many) as (_, address), connected(address) as channels:
        answers = await channels.least_busy().predict_many(window(0))
    assert answers == [Prediction(1, 0.5, None), Failure("NaN")]


async def test_an_answer_that_is_none_fails_its_call_alone():
    """JSON has no NaN."""
    model = Model()

    async def predict_many(windows):
        answers = await model.predict_many(windows)
        return [
            replace(each, confidence=np.nan) if windows[0, 0, 0] == 2 else each for each in answers
        ]

    async with listening(predict_many) as (_, address), connected(address) as channels:
        channel = channels.least_busy()
        slow = asyncio.create_task(channel.predict_many(window(1)))
        with pytest.raises(WireError):
            await channel.predict_many(window(2))
        model.may.set()
        assert [each.expected_return for each in await slow] == [1.0]


async def test_a_call_that_ends_without_an_answer_is_made_again_elsewhere_at_once(caplog):
    async def predict_many(_windows):
        raise asyncio.CancelledError

    async with listening(predict_many) as (_, address), connected(address) as channels:
        with pytest.raises(ChannelLostError):
            await channels.least_busy().predict_many(window(1))
    assert "a call was not answered" in caplog.text


async def test_those_who_do_not_say_hello_are_few_and_do_not_keep_others_out():
    model = Model()
    async with (
        listening(model.predict_many) as (listener, address),
        contextlib.AsyncExitStack() as peers,
    ):
        for _ in range(MAX_STRANGERS):
            _, writer = await asyncio.open_connection(address.host, address.port)
            peers.callback(writer.close)
        await eventually(lambda: len(listener._connections) == MAX_STRANGERS)
        reader, writer = await asyncio.open_connection(address.host, address.port)
        peers.callback(writer.close)
        assert await read_to_the_end(reader) == b""
        for connection in list(listener._connections):
            connection._end_if_idle()
        async with connected(address) as channels:
            (answer,) = await channels.least_busy().predict_many(window(2))
    assert answer.expected_return == 2.0


async def test_who_does_not_say_hello_is_ended_however_much_else_it_says():
    async with listening(Model().predict_many) as (listener, address):
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(b"\0")
        await eventually(lambda: [each for each in listener._connections if each._was_heard])
        (connection,) = listener._connections
        connection._end_if_idle()
        assert await read_to_the_end(reader) == b""
        writer.close()


async def test_a_replica_that_does_not_read_gets_no_more_calls():
    async with listening(Model().predict_many) as (_, address), connected(address) as channels:
        channel = channels.least_busy()
        transport = channel._transport
        channel._transport = SimpleNamespace(get_write_buffer_size=lambda: MAX_FRAME_BYTES + 1)
        assert channels.least_busy() is None
        channel._transport = transport
        assert channels.least_busy() is channel
