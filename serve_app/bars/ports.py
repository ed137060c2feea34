"""What front ends need of the bar log."""

from collections.abc import Sequence
from typing import Protocol

from features.bars import Symbol
from features.pushes import Push
from features.timeframes import Timeframe
from serve_app.bars.pushes import PushReport
from serve_app.bars.queries import BarPage, BarQuery, SeriesStatus


class BarStore(Protocol):
    """Stores and returns bars; see `BarLogService` for the methods and their errors."""

    async def append(self, pushes: Sequence[Push]) -> PushReport:
        """Append pushes; return once they are committed."""
        ...

    async def append_stream(
        self, body: bytes, symbol: Symbol | None, timeframe: Timeframe | None
    ) -> PushReport:
        """Append the bars of an Arrow IPC stream; return once they are committed."""
        ...

    async def query(self, query: BarQuery) -> BarPage:
        """Return bars."""
        ...

    async def query_stream(self, query: BarQuery) -> bytes:
        """Return bars as an Arrow IPC stream."""
        ...

    async def symbols(self) -> Sequence[SeriesStatus]:
        """Return what the log has, by symbol and timeframe."""
        ...
