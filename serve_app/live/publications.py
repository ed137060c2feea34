"""The results of predictions by symbol, for the routers that follow them."""

import asyncio
import uuid
from collections import deque
from collections.abc import Mapping, Sequence

from serve_app.data_plane.live_results import Commit, LiveResult, Position, Publication
from serve_app.errors import ServingError
from serve_app.versions import VersionRef

MAX_RESULTS = 20_000
"""The latest results and commits that are kept for followers, about 10 MB."""


class Publications:
    """The newest result of every version and symbol, and the latest ones in their order.

    A follower that missed some, or that followed an earlier process, receives the newest ones.

    Args:
        max_results: the number of the latest results that are kept.
    """

    def __init__(self, max_results: int = MAX_RESULTS) -> None:
        self._process = uuid.uuid4().hex
        self._latest: deque[LiveResult | Commit] = deque(maxlen=max_results)
        self._sequence = 0
        self._newest: dict[VersionRef, dict[str, LiveResult]] = {}
        self._timeframes: Mapping[VersionRef, str] = {}
        self._added = asyncio.Event()
        self._is_ready = asyncio.Event()

    def begin(self) -> None:
        """Let followers receive results: those of all symbols have been added once."""
        self._is_ready.set()

    def declare(self, timeframes: Mapping[VersionRef, str]) -> None:
        """Declare the versions that make predictions by symbol, with their timeframes."""
        if timeframes == self._timeframes:
            return
        self._timeframes = timeframes
        for gone in self._newest.keys() - timeframes.keys():
            del self._newest[gone]
        # A new number without a result, so that followers receive the declaration.
        self._sequence += 1
        self._latest.clear()
        self._wake()

    def add(self, results: Sequence[LiveResult]) -> None:
        """Add results; a prediction is kept if there is one already."""
        added = [result for result in results if self._is_new(result)]
        for result in added:
            newest = self._newest.setdefault(result.version, {})
            if result.symbol not in newest or result.bar_ms >= newest[result.symbol].bar_ms:
                newest[result.symbol] = result
            self._latest.append(result)
            self._sequence += 1
        if added:
            self._wake()

    def announce(self, commits: Sequence[Commit]) -> None:
        """Add bars whose predictions are being made, so that requests wait for these."""
        self._latest.extend(commits)
        self._sequence += len(commits)
        if commits:
            self._wake()

    def is_newest(self, result: LiveResult) -> bool:
        """Return whether a result is the newest one of its version and symbol."""
        newest = self._newest.get(result.version, {}).get(result.symbol)
        return newest is not None and newest.bar_ms == result.bar_ms

    async def since(self, position: Position | None, wait_s: float) -> Publication | None:
        """Return the results after a position; wait for the next ones, None if there are none.

        Args:
            position: the position; None for a follower that begins.
            wait_s: the longest wait.
        """
        try:
            async with asyncio.timeout(wait_s):
                await self._is_ready.wait()
                if position == self._position:
                    await self._added.wait()
        except TimeoutError:
            return None
        first = self._sequence - len(self._latest)
        is_known = position is not None and position.process == self._process
        if position is None or not is_known or not first <= position.sequence <= self._sequence:
            everything = [r for by_symbol in self._newest.values() for r in by_symbol.values()]
            return self._publication(everything, is_whole=True)
        missed = list(self._latest)[position.sequence - first :]
        return self._publication(missed, is_whole=False)

    @property
    def _position(self) -> Position:
        return Position(self._process, self._sequence)

    def _is_new(self, result: LiveResult) -> bool:
        if result.version not in self._timeframes:
            return False
        known = self._newest.get(result.version, {}).get(result.symbol)
        if known is None or known.bar_ms != result.bar_ms:
            return True
        if not isinstance(known.outcome, ServingError):
            return False
        outcome = result.outcome
        is_same = type(outcome) is type(known.outcome) and outcome.args == known.outcome.args
        return not is_same

    def _publication(self, missed: Sequence[LiveResult | Commit], *, is_whole: bool) -> Publication:
        results = tuple(one for one in missed if isinstance(one, LiveResult))
        commits = tuple(one for one in missed if isinstance(one, Commit))
        return Publication(self._position, self._timeframes, results, commits, is_whole)

    def _wake(self) -> None:
        self._added.set()
        self._added = asyncio.Event()
