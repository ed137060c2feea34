"""A store of bars through which a router learns of the bars that it has stored itself."""

from collections.abc import Sequence

from features.bars import Symbol
from features.pushes import Push
from features.timeframes import Timeframe
from serve_app.bars.ports import BarStore
from serve_app.bars.pushes import PushReport
from serve_app.bars.queries import BarPage, BarQuery, SeriesStatus
from serve_app.data_plane.live_results import Commit, LiveTable


class NotedBars:
    """Passes everything to a store; a request after a push waits for the predictions of its bars.

    Args:
        store: stores the bars.
        table: the predictions by symbol of this router.
    """

    def __init__(self, store: BarStore, table: LiveTable) -> None:
        self._store = store
        self._table = table

    async def append(self, pushes: Sequence[Push]) -> PushReport:
        """Append pushes; return once they are committed."""
        return self._noted(await self._store.append(pushes))

    async def append_stream(
        self, body: bytes, symbol: Symbol | None, timeframe: Timeframe | None
    ) -> PushReport:
        """Append the bars of an Arrow IPC stream; return once they are committed."""
        return self._noted(await self._store.append_stream(body, symbol, timeframe))

    async def query(self, query: BarQuery) -> BarPage:
        """Return bars."""
        return await self._store.query(query)

    async def query_stream(self, query: BarQuery) -> bytes:
        """Return bars as an Arrow IPC stream."""
        return await self._store.query_stream(query)

    async def symbols(self) -> Sequence[SeriesStatus]:
        """Return what the log has, by symbol and timeframe."""
        return await self._store.symbols()

    def _noted(self, report: PushReport) -> PushReport:
        self._table.note_commits(Commit(*newest) for newest in report.newest)
        return report
