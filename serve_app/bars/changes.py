"""The latest commits of the bar log, for followers: a bounded list with a sequence number.

A follower that missed some, or that followed an earlier process, reads the log instead.
"""

import asyncio
import uuid
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from features.bars import KnownBars

MAX_ROWS = 200_000
"""The rows that are kept, about 12 MB."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """The position of a follower."""

    process: str
    """Identifies the process whose commits are numbered."""
    sequence: int
    """The number of commits that the follower has seen."""


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """The bars of one symbol and timeframe in a commit."""

    symbol: str
    timeframe: str
    stored: KnownBars
    """The new bars and the revisions, by time and known_at."""
    provisional: KnownBars
    """The bar that is not final and replaced the latest such one, if there is one."""


@dataclass(frozen=True, slots=True, eq=False)
class Changes:
    """What was committed after a position."""

    cursor: Cursor
    """The position after them."""
    changes: Sequence[Change]
    is_complete: bool
    """Whether they are all: a follower for which they are not must read the log again."""


class RecentChanges:
    """The latest commits.

    Args:
        max_rows: the rows that are kept.
    """

    def __init__(self, max_rows: int = MAX_ROWS) -> None:
        self._process = uuid.uuid4().hex
        self._max_rows = max_rows
        self._kept: deque[Change] = deque()
        self._rows = 0
        self._sequence = 0
        self._added = asyncio.Event()

    def add(self, changes: Sequence[Change]) -> None:
        """Add what a commit has stored."""
        for change in changes:
            self._kept.append(change)
            self._rows += _size(change)
            self._sequence += 1
        while self._rows > self._max_rows:
            self._rows -= _size(self._kept.popleft())
        if changes:
            self._added.set()
            self._added = asyncio.Event()

    async def since(self, cursor: Cursor | None, wait_s: float) -> Changes:
        """Return the commits after a position; wait for the next one if there is none.

        Args:
            cursor: the position; None for a follower that begins, and then reads the log.
            wait_s: the longest wait.
        """
        if cursor == self._cursor:
            added = self._added
            try:
                async with asyncio.timeout(wait_s):
                    await added.wait()
            except TimeoutError:
                return Changes(self._cursor, (), is_complete=True)
        first = self._sequence - len(self._kept)
        is_known = cursor is not None and cursor.process == self._process
        if cursor is None or not is_known or not first <= cursor.sequence <= self._sequence:
            return Changes(self._cursor, (), is_complete=False)
        kept = list(self._kept)[cursor.sequence - first :]
        return Changes(self._cursor, kept, is_complete=True)

    @property
    def _cursor(self) -> Cursor:
        return Cursor(self._process, self._sequence)


def _size(change: Change) -> int:
    return len(change.stored) + len(change.provisional)
