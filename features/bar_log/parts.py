"""Parts of the history: immutable Parquet files of one series, by time and known_at.

Other software can read them: `time` and `known_at` are timestamps in UTC.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.bar_log.files import write_durably
from features.bar_log.visibility import near, visible
from features.bars import COLUMNS, Ints, KnownBars
from features.errors import DamagedBarLogError

HISTORY = "history"
"""The folder of the parts, below that of the log."""
GROUP_ROWS = 16_384
"""The rows of a row group, the unit that is read: one or two for a window of some hundred bars."""
OPEN_PARTS = 256
CACHED_GROUPS = 32
"""How many row groups are kept in memory, 0.9 MB each."""

_ENCODINGS = {
    "time": "DELTA_BINARY_PACKED",
    "known_at": "DELTA_BINARY_PACKED",
    **dict.fromkeys(COLUMNS, "BYTE_STREAM_SPLIT"),
}
_TIMESTAMP = pa.timestamp("ms", "UTC")
SCHEMA = pa.schema(
    [
        pa.field("time", _TIMESTAMP, nullable=False),
        pa.field("known_at", _TIMESTAMP, nullable=False),
        *(pa.field(name, pa.float64(), nullable=False) for name in COLUMNS),
    ]
)


def as_table(rows: KnownBars) -> pa.Table:
    """Return rows as an Arrow table with SCHEMA."""
    times = [pa.array(column).view(_TIMESTAMP) for column in (rows.time, rows.known_at)]
    values = [pa.array(np.ascontiguousarray(column)) for column in rows.values]
    return pa.Table.from_arrays([*times, *values], schema=SCHEMA)


def write_part(path: Path, rows: KnownBars) -> None:
    """Write rows, which must be sorted by time and known_at, to a new file, durably."""

    def write(beside: Path) -> None:
        pq.write_table(
            as_table(rows),
            beside,
            row_group_size=GROUP_ROWS,
            compression="lz4",
            use_dictionary=False,
            column_encoding=_ENCODINGS,
            write_statistics=["time"],
            write_page_checksum=True,
        )

    write_durably(path, write)


class Part:
    """An open part; reads of one part by several threads are serialised.

    Raises:
        DamagedBarLogError: the file is missing or is not what `write_part` wrote.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        with self._translated():
            self._file = pq.ParquetFile(path, memory_map=True)
            metadata = self._file.metadata
            times = [
                metadata.row_group(number).column(0).statistics
                for number in range(metadata.num_row_groups)
            ]
            self._firsts = np.array([statistics.min_raw for statistics in times], np.int64)
            self._lasts = np.array([statistics.max_raw for statistics in times], np.int64)

    def read(self, group: int) -> KnownBars:
        """Return the rows of one row group."""
        with self._lock, self._translated():
            table = self._file.read_row_group(group, use_threads=False)
            return _as_rows(table)

    @property
    def group_starts(self) -> Ints:
        """The first time of each row group."""
        return self._firsts

    def groups_between(self, first_ms: int, last_ms: int) -> range:
        """Return the row groups that may have bars between two times, inclusive."""
        start = int(np.searchsorted(self._lasts, first_ms, "left"))
        stop = int(np.searchsorted(self._firsts, last_ms, "right"))
        return range(start, max(start, stop))

    def groups_with(self, times: Ints, step_ms: int) -> list[int]:
        """Return the row groups that may have bars not further than a step from the times."""
        starts = np.searchsorted(times, self._firsts - step_ms, "left")
        stops = np.searchsorted(times, self._lasts + step_ms, "right")
        return np.flatnonzero(stops > starts).tolist()

    def times(self) -> Ints:
        """Return the times of all rows, ascending."""
        with self._lock, self._translated():
            column = self._file.read(["time"], use_threads=False).column(0)
            return _as_ints(column)

    def verify(self) -> KnownBars:
        """Return all rows; compare the checksums of all pages."""
        with self._translated():
            return _as_rows(pq.read_table(self._path, page_checksum_verification=True))

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise DamagedBarLogError(str(self._path), "the file does not exist") from error
        except (OSError, pa.ArrowException) as error:
            raise DamagedBarLogError(str(self._path), str(error)) from error


def _as_rows(table: pa.Table) -> KnownBars:
    values = np.empty((len(COLUMNS), len(table)))
    for row, name in zip(values, COLUMNS, strict=True):
        row[:] = table.column(name).to_numpy()
    rows = KnownBars(_as_ints(table.column("time")), values, _as_ints(table.column("known_at")))
    for column in (rows.time, rows.values, rows.known_at):
        column.flags.writeable = False  # callers share cached rows
    return rows


def _as_ints(column: pa.ChunkedArray) -> Ints:
    return np.asarray(column.cast(pa.int64()).to_numpy())


class PartReader:
    """Reads from the parts in a folder, and keeps the latest row groups in memory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: Callable[[str], Part] = lru_cache(OPEN_PARTS)(self._open_part)
        self._group: Callable[[str, int], KnownBars] = lru_cache(CACHED_GROUPS)(self._read_group)

    def part(self, file: str) -> Part:
        """Return an open part."""
        return self._open(file)

    def rows_near(self, file: str, times: Ints, step_ms: int) -> KnownBars:
        """Return all rows of some bars and of their neighbours; the times must ascend."""
        groups = self._open(file).groups_with(times, step_ms)
        return KnownBars.concat([near(self._group(file, g), times, step_ms) for g in groups])

    def rows_between(self, file: str, first_ms: int, last_ms: int) -> KnownBars:
        """Return all rows of the bars between two times, inclusive."""
        groups = self._open(file).groups_between(first_ms, last_ms)
        return KnownBars.concat([_cut(self._group(file, g), first_ms, last_ms) for g in groups])

    def visible(
        self, file: str, first_ms: int, last_ms: int, known_at_ms: int, limit: int, newest: bool
    ) -> KnownBars:
        """Return the newest or oldest bars between two times, as known at a time, by time.

        There are more than `limit` of them if the part has more. The last one in the direction of
        reading may lack rows; a caller that uses only `limit` of them never meets it.
        """
        groups = self._open(file).groups_between(first_ms, last_ms)
        found: list[KnownBars] = []
        for group in reversed(groups) if newest else groups:
            rows = visible(_cut(self._group(file, group), first_ms, last_ms), known_at_ms)
            found.append(rows.take(slice(-limit - 1, None) if newest else slice(limit + 1)))
            if sum(map(len, found)) > limit:
                # A bar may have rows in two groups.
                found = [visible(KnownBars.concat(found[::-1] if newest else found))]
                if len(found[0]) > limit:
                    break
        return visible(KnownBars.concat(found[::-1] if newest else found))

    def _open_part(self, file: str) -> Part:
        return Part(self._folder / file)

    def _read_group(self, file: str, group: int) -> KnownBars:
        return self._open(file).read(group)


def _cut(rows: KnownBars, first_ms: int, last_ms: int) -> KnownBars:
    start, stop = np.searchsorted(rows.time, [first_ms, last_ms + 1])
    return rows.take(slice(int(start), int(stop)))
