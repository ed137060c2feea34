"""Bars as columns, the rules for symbols, and the reasons for which a bar is rejected."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from features.errors import InvalidColumnsError, InvalidSymbolError
from features.timeframes import Timeframe

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

COLUMNS = ("open", "high", "low", "close", "volume")
"""The columns beside `time`, in the order of the rows of `values`."""

EARLIEST_MS = -62_135_596_800_000
LATEST_MS = 253_402_300_799_999
"""The first and the last millisecond of the years 1 to 9999."""

_SYMBOL = re.compile(r"[A-Za-z0-9^](?:[A-Za-z0-9^._=:&+-]|/(?=[A-Za-z0-9^]))*", re.ASCII)


class Symbol(str):
    """The name of an instrument, such as `EURUSD`, `BTC/USDT` or `^GSPC`.

    Raises:
        InvalidSymbolError: the text is empty, longer than 64 characters, or has other characters.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Return the text as a symbol if it can be one."""
        if len(text) > 64 or _SYMBOL.fullmatch(text) is None:
            raise InvalidSymbolError(text)
        return super().__new__(cls, text)


class Rejection(StrEnum):
    """The reason for which a bar is rejected; the first that applies, in this order."""

    NO_TIME_ZONE = "the time has no time zone: append Z or an offset, or send milliseconds"
    NOT_A_TIME = "the time is neither ISO 8601 nor milliseconds of the years 1 to 9999"
    NOT_FINITE = "a price or the volume is not a finite number"
    HIGH_BELOW_LOW = "high is less than low"
    OUTSIDE_RANGE = "open or close is outside the range from low to high"
    NEGATIVE_VOLUME = "the volume is negative"
    OFF_GRID = "the time is not the opening of a bar of this timeframe in UTC"
    IN_FUTURE = "the bar lies in the future: check the clocks of sender and server"
    NOT_ENDED = "the bar's period has not ended: send it later, or with is_final: false"
    KNOWN_IN_FUTURE = "known_at lies in the future: check the clocks of sender and server"
    KNOWN_TOO_EARLY = "known_at is before the bar's end: check the column known_at"
    SUPERSEDED = "the bar is not final, and a final bar of this time or a later bar is known"
    EXPIRED = "the bar is older than the retention of this symbol and timeframe"

    @property
    def code(self) -> int:
        """The reason's number in an array, from 1."""
        return _REASONS.index(self) + 1


_REASONS = tuple(Rejection)


@dataclass(frozen=True, slots=True, eq=False)
class Rejections:
    """The rejected bars of a push, as columns."""

    index: Ints
    """The positions of the bars in the push, ascending."""
    code: NDArray[np.uint8]
    """The codes of their reasons."""

    @classmethod
    def of(cls, problems: NDArray[np.uint8]) -> Self:
        """Return the rejections of those bars whose code is not 0."""
        index = np.flatnonzero(problems)
        return cls(index, problems[index])

    def __len__(self) -> int:
        return len(self.index)

    def __iter__(self) -> Iterator[tuple[int, Rejection]]:
        """Yield each position with its reason."""
        for index, code in zip(self.index.tolist(), self.code.tolist(), strict=True):
            yield index, _REASONS[code - 1]


@dataclass(frozen=True, slots=True, eq=False)
class BarColumns:
    """Times and the five columns beside them; the last axis is that of the bars."""

    time: Ints
    """The opening of each bar."""
    values: Floats
    """Along the first axis: open, high, low, close and volume of each bar."""

    @property
    def open(self) -> Floats:
        """The first price of each bar."""
        return np.asarray(self.values[0])

    @property
    def high(self) -> Floats:
        """The highest price of each bar."""
        return np.asarray(self.values[1])

    @property
    def low(self) -> Floats:
        """The lowest price of each bar."""
        return np.asarray(self.values[2])

    @property
    def close(self) -> Floats:
        """The last price of each bar."""
        return np.asarray(self.values[3])

    @property
    def volume(self) -> Floats:
        """The traded volume of each bar."""
        return np.asarray(self.values[4])


@dataclass(frozen=True, slots=True, eq=False)
class Bars(BarColumns):
    """Bars of one symbol and timeframe, in any order; `values` is 5 x n."""

    @classmethod
    def of(cls, time: ArrayLike, columns: Sequence[ArrayLike] | Floats) -> Self:
        """Return bars from a column of times and the five of COLUMNS.

        Raises:
            InvalidColumnsError: the columns are not numbers, or differ in length.
        """
        try:
            times = np.ascontiguousarray(time)
            values = np.array([np.asarray(column, np.float64) for column in columns])
        except (TypeError, ValueError) as error:
            raise InvalidColumnsError(str(error)) from None
        if times.ndim != 1 or not (times.size == 0 or np.issubdtype(times.dtype, np.integer)):
            raise InvalidColumnsError(f"time has the type {times.dtype} and {times.ndim} axes")
        if times.dtype == np.uint64 and np.any(times > np.uint64(LATEST_MS)):
            raise InvalidColumnsError("time exceeds the year 9999")
        if values.shape != (len(COLUMNS), len(times)):
            raise InvalidColumnsError(
                f"expected {len(COLUMNS)} columns of {len(times)} numbers beside time, received "
                f"the shape {values.shape}"
            )
        return cls(times.astype(np.int64, copy=False), values + 0.0)  # -0.0 becomes 0.0

    def __len__(self) -> int:
        return len(self.time)

    def take(self, rows: Ints | Mask | slice) -> "Bars":
        """Return some of the bars."""
        return Bars(self.time[rows], self.values[:, rows])


@dataclass(frozen=True, slots=True, eq=False)
class BarPanel(BarColumns):
    """Bars of several series of one length; `values` is 5 x series x bars."""

    @classmethod
    def of(cls, series: Sequence[Bars]) -> Self:
        """Return the bars of at least one series; all series have one length."""
        return cls(
            np.stack([bars.time for bars in series]),
            np.stack([bars.values for bars in series], axis=1),
        )

    def __len__(self) -> int:
        """Return the number of series."""
        return len(self.time)


@dataclass(frozen=True, slots=True, eq=False)
class KnownBars(Bars):
    """Bars with the time at which the log learned each of them."""

    known_at: Ints
    """When the log learned the bar's numbers."""

    @classmethod
    def empty(cls) -> Self:
        """Return no bars."""
        nothing = np.zeros(0, np.int64)
        return cls(nothing, np.zeros((len(COLUMNS), 0)), nothing)

    @classmethod
    def concat(cls, parts: Sequence["KnownBars"]) -> "KnownBars":
        """Return the bars of all parts, one part after the other."""
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return cls.empty()
        return cls(
            np.concatenate([part.time for part in parts]),
            np.concatenate([part.values for part in parts], axis=1),
            np.concatenate([part.known_at for part in parts]),
        )

    def take(self, rows: Ints | Mask | slice) -> "KnownBars":
        """Return some of the bars."""
        return KnownBars(self.time[rows], self.values[:, rows], self.known_at[rows])

    def sorted(self) -> "KnownBars":
        """Return the bars by time and, for one time, by known_at."""
        order = np.lexsort((self.known_at, self.time))
        return self.take(order)


def find_problems(
    bars: Bars, timeframe: Timeframe, now_ms: int, is_final: Mask | None = None
) -> NDArray[np.uint8]:
    """Return, for each bar, 0 or the code of the first reason to reject it.

    Args:
        bars: the bars, in any order.
        timeframe: the grid on which they open.
        now_ms: the time now.
        is_final: whether each bar is final; all are by default. Another one may end later.
    """
    low, high, time = bars.low, bars.high, bars.time
    problems = np.zeros(len(bars), np.uint8)

    def reject(is_at_fault: Mask, reason: Rejection) -> None:
        if is_at_fault.any():
            problems[is_at_fault & (problems == 0)] = reason.code

    reject((time < EARLIEST_MS) | (time > LATEST_MS), Rejection.NOT_A_TIME)
    # The sum of a column is finite only if all are, but for an overflow.
    with np.errstate(over="ignore", invalid="ignore"):
        is_doubtful = not np.isfinite(bars.values.sum())
    if is_doubtful:
        reject(np.asarray(~np.isfinite(bars.values).all(axis=0)), Rejection.NOT_FINITE)
    reject(high < low, Rejection.HIGH_BELOW_LOW)
    reject((bars.open < low) | (bars.open > high), Rejection.OUTSIDE_RANGE)
    reject((bars.close < low) | (bars.close > high), Rejection.OUTSIDE_RANGE)
    reject(bars.volume < 0, Rejection.NEGATIVE_VOLUME)
    reject(~timeframe.is_on_grid(time), Rejection.OFF_GRID)
    reject(time > now_ms, Rejection.IN_FUTURE)
    if is_final is None:
        reject(time > now_ms - timeframe.length_ms, Rejection.NOT_ENDED)
    else:
        reject((time > now_ms - timeframe.length_ms) & is_final, Rejection.NOT_ENDED)
    return problems


@dataclass(frozen=True, slots=True)
class Gap:
    """Consecutive bars that are missing between two bars."""

    first_ms: int
    """The opening of the first missing bar."""
    last_ms: int
    """The opening of the last missing bar."""
    bars: int
    """The number of missing bars."""


def find_gaps(time: Ints, timeframe: Timeframe) -> list[Gap]:
    """Return the gaps between ascending times; closed markets are gaps as well."""
    step_ms = timeframe.length_ms
    before = np.flatnonzero(np.diff(time) > step_ms)
    return [
        Gap(left + step_ms, right - step_ms, (right - left) // step_ms - 1)
        for left, right in zip(time[before].tolist(), time[before + 1].tolist(), strict=True)
    ]
