"""The client of the bar log's actor, with typed errors."""

import asyncio
from collections.abc import Sequence
from typing import Any

from ray.actor import ActorHandle

from features.bars import Symbol
from features.pushes import Push
from features.timeframes import Timeframe
from serve_app.bars.changes import Changes, Cursor
from serve_app.bars.pushes import PushReport
from serve_app.bars.queries import BarPage, BarQuery, History, HistoryQuery, SeriesStatus
from serve_app.deployments.ray_errors import RAY_ERRORS, CallFailure, cause_of, failure_of
from serve_app.errors import BarsUnavailableError, ServingError
from serve_app.timeouts import BAR_LOG_S


class BarLogClient:
    """Reads and writes bars through the log's actor; see `BarLogService` for the methods.

    Every method raises a ServingError where the log rejects the call or is unavailable.
    """

    def __init__(self, actor: ActorHandle[Any]) -> None:
        self._actor = actor

    async def append(self, pushes: Sequence[Push]) -> PushReport:
        """Append pushes; return once they are committed."""
        report: PushReport = await self._call("append", pushes)
        return report

    async def append_stream(
        self, body: bytes, symbol: Symbol | None, timeframe: Timeframe | None
    ) -> PushReport:
        """Append the bars of an Arrow IPC stream; return once they are committed."""
        report: PushReport = await self._call("append_stream", body, symbol, timeframe)
        return report

    async def query(self, query: BarQuery) -> BarPage:
        """Return bars."""
        page: BarPage = await self._call("query", query)
        return page

    async def query_stream(self, query: BarQuery) -> bytes:
        """Return bars as an Arrow IPC stream."""
        stream: bytes = await self._call("query_stream", query)
        return stream

    async def history(self, query: HistoryQuery) -> History:
        """Return every row of consecutive bars."""
        history: History = await self._call("history", query)
        return history

    async def symbols(self) -> Sequence[SeriesStatus]:
        """Return what the log has, by symbol and timeframe."""
        found: list[SeriesStatus] = await self._call("symbols")
        return found

    async def changes_since(self, cursor: Cursor | None, wait_s: float) -> Changes:
        """Return what was committed after a position, or wait for it."""
        changes: Changes = await self._call("changes_since", cursor, wait_s)
        return changes

    async def problem(self) -> str | None:
        """Return why bars cannot be stored now, None while they can."""
        found: str | None = await self._call("problem")
        return found

    async def _call(self, method: str, *args: object) -> Any:  # noqa: ANN401
        try:
            async with asyncio.timeout(BAR_LOG_S):
                return await getattr(self._actor, method).remote(*args)
        except TimeoutError as error:
            raise BarsUnavailableError(f"no response within {BAR_LOG_S:g} s") from error
        except RAY_ERRORS as error:
            raise _serving_error(error) from error


def _serving_error(error: Exception) -> Exception:
    """Return the ServingError for a failed call; the error itself if the log has a defect."""
    cause = cause_of(error)
    if isinstance(cause, ServingError):
        return cause
    if failure_of(error) is CallFailure.RAISED:
        return error
    return BarsUnavailableError(f"it does not respond: {error}"[:200])
