"""The readers of the stream of predictions."""

import asyncio

from serve_app.data_plane.decoding import Prediction
from serve_app.data_plane.live_results import LiveResult
from serve_app.data_plane.live_stream import LiveStream
from serve_app.errors import VersionLoadingError
from serve_app.versions import VersionRef


def result(bar_ms, symbol="A", outcome=None):
    outcome = outcome or Prediction(1, 0.5, None)
    return LiveResult(VersionRef("toy", "1.0.0"), symbol, "1h", bar_ms, bar_ms, bar_ms, outcome)


async def begin(stream, *symbols):
    """Return a reader that misses nothing from here on."""
    reader = stream.follow(symbols)
    assert await anext(reader) is None
    return reader


async def test_readers():
    """Each reader receives the predictions of its symbols, in order; errors are left out."""
    stream = LiveStream()
    one, everything = await begin(stream, "A"), await begin(stream)
    loading = VersionLoadingError("toy", "1.0.0")
    stream.publish([result(1), result(1, "B"), result(2, outcome=loading), result(3)])
    assert [await anext(one) for _ in range(2)] == [result(1), result(3)]
    assert [await anext(everything) for _ in range(3)] == [result(1), result(1, "B"), result(3)]


async def test_heartbeat():
    """A reader without predictions receives heartbeats."""
    stream = LiveStream(heartbeat_s=0.01)
    reader = await begin(stream)
    assert await anext(reader) is None
    stream.publish([result(1)])
    assert await anext(reader) == result(1)


async def test_slow_reader():
    """A slow reader loses the oldest predictions, and delays nothing."""
    stream = LiveStream(max_waiting=3)
    slow = await begin(stream)
    stream.publish(result(bar) for bar in range(10))
    assert [await anext(slow) for _ in range(3)] == [result(7), result(8), result(9)]


async def test_reader_that_left():
    """A reader that leaves is forgotten, also while it waits."""
    stream = LiveStream()
    reader = await begin(stream)
    waiting = asyncio.create_task(anext(reader))
    await asyncio.sleep(0)
    assert stream.readers == 1
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert stream.readers == 0
    stream.publish([result(1)])
