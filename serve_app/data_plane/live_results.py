"""Predictions by symbol: made when a bar arrives, looked up when a request does."""

import asyncio
import copy
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from features.timeframes import Timeframe
from features.times import iso
from serve_app.data_plane.deadlines import current_deadline
from serve_app.data_plane.decoding import Prediction
from serve_app.errors import (
    IncompleteWindowError,
    InvalidRequestError,
    ServingError,
    StaleFeaturesError,
    UnknownSymbolError,
)
from serve_app.versions import VersionRef

KEPT_BARS = 4
"""The newest bars per version and symbol whose results a router keeps; older ones are requested
from where they are made."""

GRACE_S = 0.25
"""How long a request waits for a bar that another router may just have stored."""


class SymbolBar(NamedTuple):
    """The server's window of a symbol that ends with a bar."""

    symbol: str
    timeframe: str
    bar_ms: int

    @property
    def recorded(self) -> dict[str, Any]:
        """The fields of the record of a prediction that are the window's."""
        bar = datetime.fromtimestamp(self.bar_ms / 1e3, UTC)
        return {"timeframe": self.timeframe, "bar": bar}


class LiveResult(NamedTuple):
    """What a version made of the window that ends with a bar of a symbol.

    A prediction is made once per version, symbol and bar, and is never replaced by another one.
    """

    version: VersionRef
    symbol: str
    timeframe: str
    bar_ms: int
    """The opening of the window's last bar."""
    as_of_ms: int
    """When the last of the window's bars became known; later revisions do not matter."""
    stale_from_ms: int
    """The time from which a request must allow the result's age."""
    outcome: Prediction | ServingError

    @property
    def bar(self) -> str:
        """The opening of the window's last bar in ISO 8601."""
        return iso(self.bar_ms)

    @property
    def symbol_bar(self) -> SymbolBar:
        """The window."""
        return SymbolBar(self.symbol, self.timeframe, self.bar_ms)

    @property
    def recorded(self) -> dict[str, Any]:
        """The fields of the record of a prediction that are the window's."""
        return self.symbol_bar.recorded

    def age_s(self, now_ms: float) -> float:
        """Return the time since the end of the window's last bar."""
        return (now_ms - Timeframe.parse(self.timeframe).end(self.bar_ms)) / 1e3

    def prediction(self) -> Prediction:
        """Return the prediction.

        Raises:
            ServingError: there is none; the error states why.
        """
        if isinstance(self.outcome, ServingError):
            # A copy, since the traceback of an error that is raised twice would grow.
            raise copy.copy(self.outcome)
        return self.outcome

    def check_age(self, max_age_s: float | None, now_ms: float, *, is_named: bool) -> None:
        """Check the age of the window's last bar.

        Args:
            max_age_s: the age that the request allows; None for one and a half timeframes during
                which the market is open, if the request names no bar.
            now_ms: the time now.
            is_named: whether the request names the bar.

        Raises:
            StaleFeaturesError: the bar is older.
        """
        age_s = self.age_s(now_ms)
        if max_age_s is None:
            is_stale = now_ms >= self.stale_from_ms and not is_named
        else:
            is_stale = age_s > max_age_s
        if is_stale:
            raise StaleFeaturesError(self.symbol, self.timeframe, self.bar, age_s, max_age_s)


class Commit(NamedTuple):
    """A bar that the log has stored, whose predictions are being made."""

    symbol: str
    timeframe: str
    bar_ms: int


@dataclass(frozen=True, slots=True)
class Position:
    """The position of a follower of the results."""

    process: str
    """Identifies the process that makes them."""
    sequence: int
    """The number of results and commits that the follower has seen."""


@dataclass(frozen=True, slots=True)
class Publication:
    """What happened after a position."""

    position: Position
    """The position after them."""
    timeframes: Mapping[VersionRef, str]
    """The timeframe of each version that makes predictions by symbol."""
    results: tuple[LiveResult, ...]
    commits: tuple[Commit, ...]
    is_whole: bool
    """Whether the results are the newest ones of all symbols, which replace what a router has."""


@dataclass(frozen=True, slots=True, eq=False)
class LiveWindow:
    """The server's window of a symbol, as a version receives it."""

    version: VersionRef
    symbol: str
    timeframe: str
    as_of_ms: int
    """When the last of the window's bars became known."""
    time: NDArray[np.int64]
    """The opening of each row's bar."""
    rows: NDArray[np.float32]
    """(timesteps, features)."""


class BarPredictor(Protocol):
    """Makes the predictions of any bars that are known."""

    async def window(self, version: VersionRef, symbol: str, bar_ms: int) -> LiveWindow:
        """Return the window of a version that ends with a bar.

        Raises:
            IncompleteWindowError: the bar, or another one of its window, is not known.
            ServingError: the window cannot be computed.
        """

    async def predict_bar(self, version: VersionRef, symbol: str, bar_ms: int) -> LiveResult:
        """Return the result of a version for the window that ends with a bar.

        Raises:
            IncompleteWindowError: the bar, or another one of its window, is not known.
            ServingError: the version has no prediction for it.
        """


class LiveTable:
    """The newest results of all symbols, in a router.

    Args:
        predictor: makes the predictions of bars that the table does not have.
        now_ms: returns the time now.
        grace_s: how long a request waits for a bar of which this router knows nothing.
    """

    def __init__(
        self,
        predictor: BarPredictor,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        grace_s: float = GRACE_S,
    ) -> None:
        self._predictor = predictor
        self._now_ms = now_ms
        self._grace_s = grace_s
        self._timeframes: Mapping[VersionRef, str] = {}
        self._results: dict[VersionRef, dict[str, dict[int, LiveResult]]] = {}
        self._committed: dict[tuple[str, str], int] = {}
        self._changed = asyncio.Event()
        self.is_caught_up = False
        """Whether the table has received the newest results once."""

    def apply(self, publication: Publication) -> list[LiveResult]:
        """Add results, or replace all of them; return the predictions that are new.

        None is new to a table that has not caught up before.
        """
        added = [result for result in publication.results if self._is_added(result)]
        if publication.is_whole:
            added = added if self.is_caught_up else []
            self._results = {}
            self.is_caught_up = True
        self._timeframes = publication.timeframes
        for gone in self._results.keys() - publication.timeframes.keys():
            del self._results[gone]
        for result in publication.results:
            self._add(result)
        for commit in publication.commits:
            self._note(commit)
        self._wake()
        return added

    def note_commits(self, commits: Iterable[Commit]) -> None:
        """Let requests wait for the predictions of bars that have just been stored."""
        for commit in commits:
            self._note(commit)
        self._wake()

    async def find(
        self, version: VersionRef, symbol: str, timeframe: str | None, bar_ms: int | None
    ) -> LiveResult:
        """Return the result for a bar, by default the newest one; wait until it is made.

        Args:
            version: the version.
            symbol: the symbol.
            timeframe: the timeframe that the request names; None for that of the version.
            bar_ms: the opening of the window's last bar.

        Raises:
            UnknownSymbolError: the server has no bars of the symbol.
            InvalidRequestError: the version has another timeframe, or no such bar can exist.
            IncompleteWindowError: the bar is not known.
            DeadlinePassedError: the deadline of the request passed before the result was made.
            ServingError: the bar is older than those of the table, and has no prediction.
        """
        deadline = current_deadline.get()
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        left_s = deadline.due_s - time.monotonic()
        while True:
            changed = self._changed
            if version in self._timeframes:
                found = self._search(version, symbol, timeframe, bar_ms)
                if isinstance(found, LiveResult):
                    return found
                if found is not None:
                    return await self._predictor.predict_bar(version, symbol, found)
            missing = self._missing(version, symbol, bar_ms)
            allowed_s = left_s if missing is None else min(left_s, self._grace_s)
            try:
                async with asyncio.timeout_at(
                    started_s + allowed_s if math.isfinite(allowed_s) else None
                ):
                    await changed.wait()
            except TimeoutError:
                raise deadline.error() if missing is None else missing from None

    async def window(self, result: LiveResult) -> LiveWindow:
        """Return the window of a result.

        Raises:
            ServingError: it is incomplete, or cannot be computed.
        """
        return await self._predictor.window(result.version, result.symbol, result.bar_ms)

    def _is_added(self, result: LiveResult) -> bool:
        held = self._results.get(result.version, {}).get(result.symbol, {}).get(result.bar_ms)
        is_known = held is not None and isinstance(held.outcome, Prediction)
        return isinstance(result.outcome, Prediction) and not is_known

    def _note(self, commit: Commit) -> None:
        key = commit.symbol, commit.timeframe
        self._committed[key] = max(commit.bar_ms, self._committed.get(key, commit.bar_ms))

    def _add(self, result: LiveResult) -> None:
        held = self._results.setdefault(result.version, {}).setdefault(result.symbol, {})
        earlier = held.get(result.bar_ms)
        if earlier is None or isinstance(earlier.outcome, ServingError):
            held[result.bar_ms] = result
        if len(held) > KEPT_BARS:
            del held[min(held)]

    def _search(
        self, version: VersionRef, symbol: str, timeframe: str | None, bar_ms: int | None
    ) -> LiveResult | int | None:
        """Return a result, an older bar whose result is made on request, or None to wait."""
        own = self._timeframes[version]
        if timeframe is not None and timeframe != own:
            raise InvalidRequestError("timeframe", f"{own}, that of {version}", repr(timeframe))
        held = self._results.get(version, {}).get(symbol)
        committed_ms = self._committed.get((symbol, own))
        if held is None and committed_ms is None:
            raise UnknownSymbolError(symbol, own, sorted(self._results.get(version, {})))
        newest_ms = max(held) if held else None
        if bar_ms is None:
            newest = [known for known in (newest_ms, committed_ms) if known is not None]
            return (held or {}).get(max(newest))
        if held and bar_ms in held:
            return held[bar_ms]
        self._check_bar(version, symbol, bar_ms)
        if newest_ms is not None and bar_ms < newest_ms:
            return bar_ms
        return None

    def _missing(
        self, version: VersionRef, symbol: str, bar_ms: int | None
    ) -> IncompleteWindowError | None:
        """Return the error for a bar of whose storage this router knows nothing."""
        timeframe = self._timeframes.get(version)
        if bar_ms is None or timeframe is None:
            return None
        if bar_ms <= self._committed.get((symbol, timeframe), bar_ms - 1):
            return None
        bar = iso(bar_ms)
        return IncompleteWindowError(symbol, timeframe, bar, 1, [bar], 1)

    def _check_bar(self, version: VersionRef, symbol: str, bar_ms: int) -> None:
        timeframe = Timeframe.parse(self._timeframes[version])
        if timeframe.floor(bar_ms) != bar_ms:
            expected = f"the opening of a bar of {timeframe}"
            raise InvalidRequestError("bar", expected, iso(bar_ms))
        missing = self._missing(version, symbol, bar_ms)
        if missing is not None and timeframe.end(bar_ms) > self._now_ms():
            raise missing

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
