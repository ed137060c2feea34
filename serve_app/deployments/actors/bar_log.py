"""The bar log: the cluster's single writer of bars, on the head node."""

import asyncio
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ray.actor import ActorHandle

from features.bars import Symbol
from features.pushes import Appended, Push
from features.timeframes import Timeframe
from serve_app.bars.changes import Changes, Cursor
from serve_app.bars.pushes import PushReport
from serve_app.bars.queries import BarPage, BarQuery, History, HistoryQuery, SeriesStatus
from serve_app.deployments.actors.head_actor import head_actor
from serve_app.deployments.telemetry import RENEWAL_PERIOD_S, bar_age_gauge, bar_counter
from serve_app.errors import BarsUnavailableError
from serve_app.settings import AppSettings

NAME_PREFIX = "bars:"


class BarLogActor:
    """Serves one bar log to the whole cluster; see `BarLogService` for the methods.

    Ray repeats a call whose response was lost when the actor died: bars that were committed are
    duplicates then. No code of users runs here, so that a feature set cannot harm the log.
    """

    async def __init__(self, folder: str, url: str | None, keep_days: float | None) -> None:  # type: ignore[misc]  # Ray awaits it
        # Imported here: the routers import this module, and need neither SQL nor Arrow.
        from serve_app.bars.service import BarLogService

        self._count = bar_counter()
        self._service = BarLogService(Path(folder), url, keep_days, self._count_bars)
        self._ages = asyncio.get_running_loop().create_task(self._export_ages())
        await self._service.open()

    async def problem(self) -> str | None:
        """Return why bars cannot be stored now, None while they can; never waits."""
        return await self._service.problem()

    async def append(self, pushes: Sequence[Push]) -> PushReport:
        """Append pushes; return once they are committed."""
        return await self._service.append(pushes)

    async def append_stream(
        self, body: bytes, symbol: Symbol | None, timeframe: Timeframe | None
    ) -> PushReport:
        """Append the bars of an Arrow IPC stream; return once they are committed."""
        return await self._service.append_stream(body, symbol, timeframe)

    async def query(self, query: BarQuery) -> BarPage:
        """Return bars."""
        return await self._service.query(query)

    async def query_stream(self, query: BarQuery) -> bytes:
        """Return bars as an Arrow IPC stream."""
        return await self._service.query_stream(query)

    async def history(self, query: HistoryQuery) -> History:
        """Return every row of consecutive bars."""
        return await self._service.history(query)

    async def symbols(self) -> list[SeriesStatus]:
        """Return what the log has, by symbol and timeframe."""
        return await self._service.symbols()

    async def changes_since(self, cursor: Cursor | None, wait_s: float) -> Changes:
        """Return what was committed after a position, or wait for it."""
        return await self._service.changes_since(cursor, wait_s)

    def _count_bars(self, appended: Sequence[Appended]) -> None:
        for result in appended:
            self._count("accepted", result.accepted)
            self._count("duplicate", result.duplicates)
            self._count("revised", result.revised)
            self._count("rejected", len(result.rejected))

    async def _export_ages(self) -> None:
        set_age = bar_age_gauge()
        while True:
            try:
                statuses = await self._service.symbols()
            except BarsUnavailableError:
                statuses = []  # the health reports it
            for status in statuses:
                set_age(status.summary.symbol, status.summary.timeframe, status.age_ms / 1e3)
            await asyncio.sleep(RENEWAL_PERIOD_S)


def bar_log(settings: AppSettings) -> ActorHandle[Any]:
    """Return the cluster's bar log for the configured folder; start it if necessary."""
    folder, url = str(settings.bar_folder), settings.bars.database_url
    # Named by a hash: a URL may contain a password, and Ray displays actor names.
    name = NAME_PREFIX + hashlib.sha256(f"{folder} {url}".encode()).hexdigest()[:16]
    return head_actor(BarLogActor, name, folder, url, settings.bars.keep_days)
