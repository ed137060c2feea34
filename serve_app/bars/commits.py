"""Commits pushes in groups: those that arrive during a commit share the next one."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from features.pushes import Appended, Push
from serve_app.errors import BarsUnavailableError

logger = logging.getLogger(__name__)

GROUP_ROWS = 200_000
"""The rows of a group, after which the next one begins: a commit takes a fraction of a second."""

MAX_WAITING_ROWS = 2_000_000
"""The rows that wait for their commit, about 110 MB; further pushes are rejected."""


@dataclass(frozen=True, slots=True, eq=False)
class _Request:
    pushes: Sequence[Push]
    rows: int
    result: asyncio.Future[list[Appended]]


class GroupCommits:
    """Appends pushes in a thread, one transaction after the other.

    Args:
        append: appends pushes in one transaction.
        thread: executes it.
        committed: receives the pushes and the results of each commit.
        max_waiting_rows: the rows that may wait.
    """

    def __init__(
        self,
        append: Callable[[Sequence[Push]], list[Appended]],
        thread: Executor,
        committed: Callable[[Sequence[Push], Sequence[Appended]], None],
        max_waiting_rows: int = MAX_WAITING_ROWS,
    ) -> None:
        self._append = append
        self._thread = thread
        self._committed = committed
        self._max_waiting_rows = max_waiting_rows
        self._waiting: deque[_Request] = deque()
        self._rows = 0
        self._writer: asyncio.Task[None] | None = None

    async def append(self, pushes: Sequence[Push]) -> list[Appended]:
        """Return the result of each push, once all are committed.

        Raises:
            BarsUnavailableError: too many bars wait.
            FeaturesError: nothing was acknowledged.
        """
        rows = sum(len(push.bars) for push in pushes)
        if self._rows and self._rows + rows > self._max_waiting_rows:
            problem = f"{self._rows} bars wait for their commit"
            raise BarsUnavailableError(problem)
        loop = asyncio.get_running_loop()
        request = _Request(pushes, rows, loop.create_future())
        self._waiting.append(request)
        self._rows += rows
        if self._writer is None or self._writer.done():
            self._writer = loop.create_task(self._write())
        return await request.result

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            group = self._next_group()
            pushes = [push for request in group for push in request.pushes]
            try:
                appended = await loop.run_in_executor(self._thread, self._append, pushes)
            except Exception as error:  # noqa: BLE001 the senders receive it
                for request in group:
                    if not request.result.done():
                        request.result.set_exception(error)
            else:
                self._acknowledge(group, appended)
                self._report(pushes, appended)
            finally:
                self._rows -= sum(request.rows for request in group)

    def _report(self, pushes: Sequence[Push], appended: Sequence[Appended]) -> None:
        try:
            self._committed(pushes, appended)
        # The bars are stored, and the pushes that wait must be written nevertheless.
        except Exception:
            logger.exception("a commit of bars was not reported")

    def _next_group(self) -> list[_Request]:
        group = [self._waiting.popleft()]
        rows = group[0].rows
        while self._waiting and rows + self._waiting[0].rows <= GROUP_ROWS:
            group.append(self._waiting.popleft())
            rows += group[-1].rows
        return group

    def _acknowledge(self, group: Sequence[_Request], appended: Sequence[Appended]) -> None:
        start = 0
        for request in group:
            end = start + len(request.pushes)
            if not request.result.done():
                request.result.set_result(list(appended[start:end]))
            start = end
