"""Deadlines, and timeouts beside a busy event loop."""

import asyncio
import socket
import time

import pytest

from serve_app.client.deadlines import FairTimeout


async def test_expiry():
    """The block is cancelled after the limit."""
    async with asyncio.timeout(10):
        with pytest.raises(TimeoutError):
            async with FairTimeout(0.01):
                await asyncio.Event().wait()


async def test_in_time():
    """A block that ends in time is not cancelled, nor is what follows it."""
    async with FairTimeout(0.01):
        await asyncio.sleep(0)
    await asyncio.sleep(0.02)


async def test_cancellation():
    """A cancellation from outside remains one."""

    async def wait():
        async with FairTimeout(10):
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_data_that_has_arrived():
    """Data that arrives while the loop is busy is read, although the limit has passed by then."""
    ours, theirs = socket.socketpair()
    with theirs:
        reader, writer = await asyncio.open_connection(sock=ours)

        def be_busy():
            theirs.send(b"in time")
            time.sleep(0.05)

        asyncio.get_running_loop().call_soon(be_busy)
        async with FairTimeout(0.01):
            assert await reader.readexactly(7) == b"in time"
        writer.close()
        await writer.wait_closed()


async def test_permanently_busy_loop():
    """A loop that stays busy extends the block by little."""
    rounds = 0

    def be_busy():
        nonlocal rounds, handle
        rounds += 1
        time.sleep(0.05)
        handle = asyncio.get_running_loop().call_soon(be_busy)

    handle = asyncio.get_running_loop().call_soon(be_busy)
    with pytest.raises(TimeoutError):
        async with FairTimeout(0.01):
            await asyncio.Event().wait()
    handle.cancel()
    assert rounds < 8
