"""Reads files of bars in blocks: CSV and Parquet, with times in any of the usual forms.

Names of columns are matched without regard to case. `time` may also be called `timestamp`,
`datetime`, `date` or `open_time`; a column `known_at`, which an export has, is kept.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features.bar_log.arrow_columns import as_floats, as_times
from features.bars import COLUMNS, Bars, Ints, Rejections, find_problems
from features.errors import BarFileError, InvalidColumnsError, InvalidTimeError
from features.timeframes import Timeframe

BLOCK_ROWS = 1 << 19
"""Rows that are read, checked and committed together."""
BUFFER_BYTES = 1 << 20
CSV_BLOCK_BYTES = 1 << 24
TIME_NAMES = ("time", "timestamp", "datetime", "date", "open_time", "open time")

_FORMATS = "pass a .csv or .parquet file with time, open, high, low, close and volume"
_ZONE = "pass the zone of the file's times"


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Consecutive rows of a file."""

    bars: Bars
    problems: NDArray[np.uint8]
    """The codes of the rejections that reading found, 0 for none."""
    known_at: Ints | None
    """The file's column `known_at`, if it has one."""
    share: float
    """The share of the file that has been read."""


def read_blocks(path: Path, zone: str | None = None) -> Iterator[Block]:
    """Yield the rows of a file in blocks of at most BLOCK_ROWS.

    Args:
        path: a CSV or Parquet file, by its suffix.
        zone: the time zone of times that have none, such as `Europe/Berlin`.

    Raises:
        BarFileError: the file cannot be read, lacks a column, or its times have no zone.
    """
    if path.suffix.lower() not in (".csv", ".parquet"):
        raise BarFileError(str(path), "its format is unknown", _FORMATS)
    try:
        yield from (_read_csv if path.suffix.lower() == ".csv" else _read_parquet)(path, zone)
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise BarFileError(str(path), str(error), _FORMATS) from error
    except InvalidColumnsError as error:
        raise BarFileError(str(path), error.problem, _FORMATS) from error


def _read_parquet(path: Path, zone: str | None) -> Iterator[Block]:
    with pq.ParquetFile(path, buffer_size=BUFFER_BYTES) as file:
        names = _find_columns(path, file.schema_arrow.names)
        rows, total = 0, file.metadata.num_rows
        wanted = [name for name in names.values() if name is not None]
        # One iterator over all row groups keeps memory of each
        # (findings/pyarrow-iter-batches-memory.sh).
        for groups in _group_runs(file.metadata):
            for batch in file.iter_batches(BLOCK_ROWS, row_groups=groups, columns=wanted):
                rows += len(batch)
                yield _as_block(path, batch, names, zone, rows / total)


def _group_runs(metadata: pq.FileMetaData) -> Iterator[list[int]]:
    """Yield consecutive row groups that have at most BLOCK_ROWS together, or one larger group."""
    run: list[int] = []
    rows = 0
    for group in range(metadata.num_row_groups):
        count = metadata.row_group(group).num_rows
        if run and rows + count > BLOCK_ROWS:
            yield run
            run, rows = [], 0
        run.append(group)
        rows += count
    if run:
        yield run


def _read_csv(path: Path, zone: str | None) -> Iterator[Block]:
    with path.open("rb") as head:
        header = head.readline().decode("utf-8-sig").strip()
    names = _find_columns(path, [name.strip().strip('"') for name in header.split(",")])
    size = path.stat().st_size
    types = {
        name: pa.string() if key in ("time", "known_at") else pa.float64()
        for key, name in names.items()
        if name is not None
    }
    with pa.OSFile(str(path)) as file:
        reader = pyarrow.csv.open_csv(
            file,
            read_options=pyarrow.csv.ReadOptions(block_size=CSV_BLOCK_BYTES),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=types, include_columns=list(types)
            ),
        )
        read_bytes = 0
        for batch in reader:
            read_bytes += CSV_BLOCK_BYTES
            yield _as_block(path, batch, names, zone, min(1.0, read_bytes / size))


def _find_columns(path: Path, names: list[str]) -> dict[str, str | None]:
    """Return the file's names of our columns; None for a `known_at` that it lacks."""
    by_name = {name.strip().lower(): name for name in names}
    time = next((name for name in TIME_NAMES if name in by_name), "time")
    missing = [name for name in (time, *COLUMNS) if name not in by_name]
    if missing:
        raise BarFileError(
            str(path), f"it has no column {', '.join(missing)}, but {', '.join(names)}", _FORMATS
        )
    found = {"time": by_name[time], **{name: by_name[name] for name in COLUMNS}}
    return {**found, "known_at": by_name.get("known_at")}


def _as_block(
    path: Path, batch: pa.RecordBatch, names: dict[str, str | None], zone: str | None, share: float
) -> Block:
    columns = [batch.column(names[name]) for name in COLUMNS]
    values = [as_floats(column) for column in columns]
    try:
        times, problems = as_times(batch.column(names["time"]), zone)
        known_at = None
        if names["known_at"] is not None:
            known_at, at_fault = as_times(batch.column(names["known_at"]), zone)
    except InvalidTimeError as error:
        raise BarFileError(str(path), "its times have no time zone", _ZONE) from error
    if known_at is not None:
        problems = np.where(problems, problems, at_fault)
    return Block(Bars.of(times, values), problems, known_at, share)


def read_bars(path: Path, timeframe: Timeframe, now_ms: int, zone: str | None = None) -> Bars:
    """Return all bars of a file in ascending order; of equal times the last one.

    Args:
        path: a CSV or Parquet file, by its suffix.
        timeframe: the timeframe of its bars.
        now_ms: the time now.
        zone: the time zone of times that have none, such as `Europe/Berlin`.

    Raises:
        BarFileError: the file cannot be read, lacks a column, or has an invalid bar.
    """
    blocks = list(read_blocks(path, zone))
    if not blocks:
        raise BarFileError(str(path), "it has no rows", _FORMATS)
    bars = Bars(
        np.concatenate([block.bars.time for block in blocks]),
        np.concatenate([block.bars.values for block in blocks], axis=1),
    )
    problems = np.concatenate([block.problems for block in blocks])
    problems = np.where(problems, problems, find_problems(bars, timeframe, now_ms))
    for row, reason in Rejections.of(problems):
        raise BarFileError(str(path), f"row {row + 1}: {reason}", "correct or remove this row")
    ascending = bars.take(np.argsort(bars.time, kind="stable"))
    return ascending.take(np.append(np.diff(ascending.time) > 0, True))
