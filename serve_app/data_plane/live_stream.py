"""Passes each prediction by symbol to the readers of a stream, as it arrives in a router."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Collection, Iterable

from serve_app.data_plane.decoding import Prediction
from serve_app.data_plane.live_results import LiveResult

MAX_WAITING = 1000
"""The predictions that wait for a slow reader; the oldest ones are dropped."""

HEARTBEAT_S = 15.0
"""Time without a prediction after which a reader receives a heartbeat."""


class _Reader:
    def __init__(self, symbols: Collection[str], max_waiting: int) -> None:
        self.symbols = symbols
        self.waiting: deque[LiveResult] = deque(maxlen=max_waiting)
        self.has_some = asyncio.Event()


class LiveStream:
    """The readers of predictions by symbol; one that is slow or has left delays no other.

    Args:
        max_waiting: the number of predictions that wait for a reader.
        heartbeat_s: the time after which a reader receives a heartbeat.
    """

    def __init__(self, max_waiting: int = MAX_WAITING, heartbeat_s: float = HEARTBEAT_S) -> None:
        self._max_waiting = max_waiting
        self._heartbeat_s = heartbeat_s
        self._readers: set[_Reader] = set()

    @property
    def readers(self) -> int:
        """The number of readers."""
        return len(self._readers)

    def publish(self, results: Iterable[LiveResult]) -> None:
        """Pass predictions to the readers; results without one are left out."""
        if not self._readers:
            return
        for result in results:
            if not isinstance(result.outcome, Prediction):
                continue
            for reader in self._readers:
                if not reader.symbols or result.symbol in reader.symbols:
                    reader.waiting.append(result)
                    reader.has_some.set()

    async def follow(self, symbols: Collection[str]) -> AsyncIterator[LiveResult | None]:
        """Yield each prediction from now on, and None as a heartbeat while there is none.

        Args:
            symbols: the symbols; all if there are none.
        """
        reader = _Reader(symbols, self._max_waiting)
        self._readers.add(reader)
        try:
            yield None  # the reader knows that it misses nothing from here on
            while True:
                try:
                    async with asyncio.timeout(self._heartbeat_s):
                        await reader.has_some.wait()
                except TimeoutError:
                    yield None
                    continue
                while reader.waiting:
                    yield reader.waiting.popleft()
                reader.has_some.clear()
        finally:
            self._readers.discard(reader)
