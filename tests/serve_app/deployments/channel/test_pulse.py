"""A replica that does not reply to heartbeats is stopped; one that is slow replies."""

import asyncio
import contextlib

from serve_app.deployments.channel.pulse import Pulse
from tests.serve_app.deployments.channel.peers import HOST, eventually


@contextlib.asynccontextmanager
async def replying(replies):
    """The port of a server that replies to heartbeats while `replies` is set."""

    async def serve(reader, writer):
        with contextlib.closing(writer), contextlib.suppress(ConnectionError):
            while await reader.read(100):
                await replies.wait()
                writer.write(b"!")

    server = await asyncio.start_server(serve, HOST, 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@contextlib.asynccontextmanager
async def watched(port, calls, stopped):
    """A pulse that observes the calls in flight."""
    pulse = Pulse(lambda: bool(calls), lambda: stopped.append(True))
    await pulse.connect(HOST, port)
    pulse.watch()
    try:
        yield pulse
    finally:
        pulse.close()


async def test_stopped_and_resumed():
    """A replica without a reply is stopped, which is reported once, until it is resumed."""
    replies, stopped = asyncio.Event(), []
    async with replying(replies) as port, watched(port, ["call"], stopped) as pulse:
        await eventually(lambda: pulse.is_stopped)
        replies.set()
        await eventually(lambda: not pulse.is_stopped)
    assert stopped == [True]


async def test_slow_call():
    """A replica that replies is not stopped, however long its call takes."""
    replies, stopped, sent = asyncio.Event(), [], []
    replies.set()
    async with replying(replies) as port, watched(port, ["call"], stopped) as pulse:
        received = pulse.data_received
        pulse.data_received = lambda data: (sent.append(data), received(data))
        await eventually(lambda: len(sent) == 5)
        assert not pulse.is_stopped
    assert stopped == []


async def test_without_a_port():
    """A replica that cannot be reached for heartbeats never counts as stopped."""
    pulse = Pulse(lambda: True, lambda: None)
    await pulse.connect(HOST, 1)
    pulse.watch()
    assert not pulse.is_stopped
