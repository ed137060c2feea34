"""The bar log: import of a Parquet file beside DuckDB, and windows as known at a time.

DuckDB, in an environment of its own, reads the same file and writes it back as Parquet. Both run in
a process of their own per round, interleaved; the durations leave out the start of the process.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.environments import PeerUnavailableError, environment
from benchmarks.report import Report
from features import Bars, Symbol, Timeframe
from features.bar_log import BarLog

DUCKDB = "duckdb==2.0.0"
MINUTELY = Timeframe.parse("1m")
SYMBOL = Symbol("EURUSD")
WINDOW_BARS = 300
REVISIONS = 10_000
"""Revised bars, at random times, so that windows read the database and several parts."""

Figures = dict[str, float]

_MEASURED = """
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(time.perf_counter() - began, status["VmHWM"].split()[0])
"""
_IMPORT = f"""
import sys, time
from pathlib import Path
from features import Symbol, Timeframe
from features.bar_log import BarLog
from features.bar_log.importing import import_file

source, target, now_ms = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
log = BarLog(target)
began = time.perf_counter()
import_file(log, source, Symbol("{SYMBOL}"), Timeframe.parse("{MINUTELY}"), now_ms)
{_MEASURED}
log.close()
"""
_COPY = f"""
import sys, time
import duckdb

connection = duckdb.connect()
connection.execute("SET enable_progress_bar = false")
began = time.perf_counter()
connection.execute(
    "COPY (SELECT * FROM '" + sys.argv[1] + "') TO '" + sys.argv[2] + "' (FORMAT parquet)"
)
{_MEASURED}
"""  # noqa: S608


def run(bars: int, rounds: int) -> Report:
    """Return the figures of an import of so many bars, and of windows of the log that it fills."""
    peer, notes = None, []
    try:
        peer = environment("duckdb", [DUCKDB])
    except PeerUnavailableError as error:
        notes.append(f"The peer was not measured: {error}")
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        source = folder / "bars.parquet"
        now_ms = _write_source(source, bars)
        for number in range(rounds):
            paths = source, folder / f"log{number}"
            ours.append(_measure(Path(sys.executable), _IMPORT, *paths, now_ms))
            if peer is not None:
                theirs.append(_measure(peer, _COPY, source, folder / "copy.parquet"))
        figures = {f"import of {bars:,} bars": _rates(bars, ours)}
        if theirs:
            figures["DuckDB reads and writes the file (peer)"] = _rates(bars, theirs)
            imported, copied = (row["bars_per_s"] for row in figures.values())
            figures[f"import of {bars:,} bars"]["times_the_peer"] = imported / copied
        figures |= _windows(folder / "log0", bars, now_ms)
    return Report(figures, notes=notes)


def _measure(python: Path, code: str, *arguments: object) -> tuple[float, float]:
    """Return the duration in seconds and the peak memory in KiB that a new process measures."""
    command = [str(python), "-c", code, *map(str, arguments)]
    run = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    taken_s, peak_kib = map(float, run.stdout.split())
    return taken_s, peak_kib


def _write_source(path: Path, bars: int) -> int:
    """Write a random walk; return a time at which all its bars have ended."""
    random = np.random.default_rng(0)
    close = 1.1 + np.cumsum(random.normal(0, 1e-5, bars))
    open_ = close + random.normal(0, 1e-5, bars)
    high, low = np.maximum(open_, close) + 1e-5, np.minimum(open_, close) - 1e-5
    volume = random.integers(1, 1000, bars).astype(float)
    time_ms = MINUTELY.length_ms * np.arange(bars)
    names = ["time", "open", "high", "low", "close", "volume"]
    times = pa.array(time_ms).view(pa.timestamp("ms", "UTC"))
    table = pa.Table.from_arrays([times, *map(pa.array, (open_, high, low, close, volume))], names)
    pq.write_table(table, path)
    return MINUTELY.end(int(time_ms[-1]))


def _rates(bars: int, runs: Sequence[tuple[float, float]]) -> Figures:
    median_s = statistics.median(taken_s for taken_s, _ in runs)
    return {
        "bars_per_s": bars / median_s,
        "median_s": median_s,
        "peak_mib": max(peak_kib for _, peak_kib in runs) / 1024,
    }


def _windows(folder: Path, bars: int, now_ms: int) -> dict[str, Figures]:
    """Return the times of windows and of single pushes, with and without revisions."""
    random = np.random.default_rng(1)
    with BarLog(folder) as log:
        results = {f"window of {WINDOW_BARS}": _window_times(log, bars, now_ms)}
        minutes = np.unique(random.integers(0, bars, REVISIONS))
        revised = np.ones((5, len(minutes)))
        log.append(SYMBOL, MINUTELY, Bars.of(minutes * MINUTELY.length_ms, revised), now_ms + 1)
        name = f"window of {WINDOW_BARS}, {REVISIONS:,} revised bars"
        results[name] = _window_times(log, bars, now_ms + 1)
        taken_ms = []
        for index in range(200):
            bar = Bars.of([now_ms + index * MINUTELY.length_ms], np.ones((5, 1)))
            began = time.perf_counter()
            log.append(SYMBOL, MINUTELY, bar, MINUTELY.end(int(bar.time[0])))
            taken_ms.append((time.perf_counter() - began) * 1000)
        results["push of one bar"] = _quantiles(taken_ms)
    return results


def _window_times(log: BarLog, bars: int, known_at_ms: int) -> Figures:
    random = np.random.default_rng(2)
    taken_ms = []
    for last in random.integers(WINDOW_BARS, bars, 2000):
        began = time.perf_counter()
        until_ms = int(last) * MINUTELY.length_ms
        window = log.reader.window(SYMBOL, MINUTELY, WINDOW_BARS, until_ms, known_at_ms)
        taken_ms.append((time.perf_counter() - began) * 1000)
        if len(window) != WINDOW_BARS or window.time[-1] != until_ms:
            raise AssertionError(f"expected {WINDOW_BARS} bars up to {until_ms}")
    return _quantiles(taken_ms)


def _quantiles(taken_ms: list[float]) -> Figures:
    p50, p99 = np.percentile(taken_ms, [50, 99])
    return {"p50_ms": float(p50), "p99_ms": float(p99)}
