"""Rows of features as bars arrive: those of many symbols at once beside one symbol after another.

The bars are those of the EURUSD example, from another position for each symbol. One symbol after
another is what bots do: `compute` over the bars of one window. Both run interleaved in one process;
every row is compared bit for bit.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from benchmarks.report import Report
from examples.eurusd.data import load_bars
from examples.eurusd.dataset import TIMESTEPS
from examples.eurusd.features import FEATURE_SET
from features import Bars, KnownBars
from features.feature_sets import Rows
from features.live import LiveWindows

SYMBOLS = (1, 20, 100)

Argument = TypeVar("Argument")
Result = TypeVar("Result")


def run(bars: int = 20) -> Report:
    """Return the figures of so many pushes of one bar per symbol."""
    return Report(
        {f"one bar of {symbols} symbols": _measure(symbols, bars) for symbols in SYMBOLS},
        notes=[
            "`at_once_ms`: from the push to the windows. `one_by_one_ms`: `compute` per symbol. "
            f"Medians of {bars} pushes; the feature set is {FEATURE_SET.name}."
        ],
    )


def _measure(symbols: int, pushes: int) -> dict[str, float]:
    bars = load_bars()
    window_bars = FEATURE_SET.lookback + TIMESTEPS - 1
    starts = np.linspace(0, len(bars) - window_bars - pushes, symbols, dtype=int).tolist()
    live = LiveWindows(FEATURE_SET, TIMESTEPS)

    def part(start: int, end: int) -> KnownBars:
        taken = bars.take(slice(start, end))
        return KnownBars(taken.time, taken.values, taken.time)

    live.update({str(start): part(start, start + window_bars) for start in starts})
    at_once, one_by_one = [], []
    for number in range(pushes):
        ends = {start: start + window_bars + number + 1 for start in starts}
        changes = {str(start): part(end - 1, end) for start, end in ends.items()}
        took_s, failures = _timed(live.update, changes)
        assert not failures
        at_once.append(took_s)
        windows = [bars.take(slice(end - window_bars, end)) for end in ends.values()]
        took_s, rows = _timed(_compute_each, windows)
        one_by_one.append(took_s)
        for start, expected in zip(starts, rows, strict=True):
            assert live.series(str(start)).rows.tobytes() == expected.tobytes()
    assert live.computes_at_once
    figures = {
        "at_once_ms": statistics.median(at_once) * 1e3,
        "one_by_one_ms": statistics.median(one_by_one) * 1e3,
    }
    return {**figures, "ratio": figures["at_once_ms"] / figures["one_by_one_ms"]}


def _compute_each(windows: Sequence[Bars]) -> list[Rows]:
    return [FEATURE_SET.compute(bars) for bars in windows]


def _timed(action: Callable[[Argument], Result], argument: Argument) -> tuple[float, Result]:
    started_s = time.perf_counter()
    result = action(argument)
    return time.perf_counter() - started_s, result
