"""Moves rows from the database to the history, merges parts, and drops old ones."""

import threading
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sqlalchemy import Connection

from features.bar_log import manifest, recent
from features.bar_log.manifest import PartEntry, Series
from features.bar_log.merging import cut_slices, find_overlapping
from features.bar_log.parts import HISTORY, write_part
from features.bar_log.reader import BarReader
from features.bars import EARLIEST_MS, LATEST_MS, KnownBars
from features.errors import UnavailableBarLogError
from features.timeframes import Timeframe
from storage.database import Database

SLICE_GROUPS = 32
"""The row groups of a part that a merge writes, so that its memory is bounded."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The sizes at which rows move from the database to the history."""

    recent_rows: int = 20_000
    """Rows of a series in the database before `compact` moves some."""
    kept_rows: int = 5_000
    """Rows that stay in the database then, for the live windows."""
    direct_rows: int = 20_000
    """New rows of one push that are written to the history immediately."""
    overlapping_parts: int = 4
    """Parts that may have bars of one time before `compact` merges them."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """What the retention removed."""

    parts: int
    rows: int


class Maintenance:
    """The changes of the storage that change no result.

    A part is written before the transaction that adds it to the manifest, and deleted after the one
    that removes it, so that a process that is killed leaves at most files that no part refers to.
    """

    def __init__(self, folder: Path, database: Database, reader: BarReader, limits: Limits) -> None:
        self._history = folder / HISTORY
        self._database = database
        self._reader = reader
        self._limits = limits
        self._one_at_a_time = threading.Lock()

    def write_part(self, series: Series, rows: KnownBars) -> PartEntry:
        """Write rows to a new part and return its entry, which is in no manifest yet.

        Raises:
            UnavailableBarLogError: the file cannot be written.
        """
        file = f"{series.series_id}-{uuid.uuid4().hex}.parquet"
        try:
            write_part(self._history / file, rows)
        except OSError as error:
            raise UnavailableBarLogError(str(self._history / file), str(error)) from error
        return PartEntry.of(file, series.series_id, rows)

    def compact(self) -> int:
        """Move rows and merge parts where there are many; return the rows that moved."""
        with self._one_at_a_time:
            with self._database.snapshot() as connection:
                every = manifest.select_series(connection)
            moved = 0
            for series in every:
                moved += self._move_rows(series)
                self._merge(series)
        return moved

    def drop_before(self, before_ms: int) -> Dropped:
        """Drop the parts whose bars are all before a time."""
        files: list[str] = []
        rows = 0
        with self._one_at_a_time, self._database.writing() as connection:
            parts = [p for p in manifest.select_all_parts(connection) if p.last_time < before_ms]
            for series in manifest.select_series(connection):
                dropped = [part for part in parts if part.series_id == series.series_id]
                if not dropped:
                    continue
                manifest.delete_parts(connection, [part.file for part in dropped])
                rows += sum(part.rows for part in dropped)
                retained_from = max(series.retained_from, *(p.last_time + 1 for p in dropped))
                rows += self._retain(connection, series, retained_from)
                files += [part.file for part in dropped]
        self._delete_files(files)
        return Dropped(len(files), rows)

    def _move_rows(self, series: Series) -> int:
        limits = self._limits
        series_id = series.series_id
        with self._database.snapshot() as connection:
            count = recent.count_rows(connection, series_id, EARLIEST_MS, LATEST_MS)
        if count <= limits.recent_rows:
            return 0
        moved = 0
        with self._database.writing() as connection:
            border = manifest.last_time_in_parts(connection, series_id)
            border = EARLIEST_MS - 1 if border is None else border
            late = recent.select_rows(connection, series_id, EARLIEST_MS, border)
            fresh = recent.select_rows(connection, series_id, border + 1, LATEST_MS)
            # Rows of old bars are a part of their own: parts overlap as little as possible.
            if len(late) > limits.recent_rows // 2:
                manifest.add_part(connection, self.write_part(series, late))
                moved += recent.delete_rows(connection, series_id, EARLIEST_MS, border)
            if len(fresh) > limits.recent_rows // 2:
                kept_from = int(fresh.time[max(0, len(fresh) - limits.kept_rows)])
                if kept_from == int(fresh.time[0]):
                    kept_from = int(fresh.time[-1]) + 1  # a flood of revisions of one bar
                rows = fresh.take(fresh.time < kept_from)
                manifest.add_part(connection, self.write_part(series, rows))
                moved += recent.delete_rows(connection, series_id, border + 1, kept_from - 1)
        return moved

    def _merge(self, series: Series) -> None:
        """Replace parts of which too many have bars of one time by parts that do not overlap.

        Pushes continue meanwhile: they add parts, and only this object removes any.
        """
        bounds = EARLIEST_MS, LATEST_MS, LATEST_MS
        with self._database.snapshot() as connection:
            parts = list(manifest.select_parts(connection, series.series_id, *bounds))
        overlapping = find_overlapping(parts, self._limits.overlapping_parts)
        if not overlapping:
            return
        reader = self._reader.parts
        starts = np.concatenate([reader.part(part.file).group_starts for part in overlapping])
        last_ms = max(part.last_time for part in overlapping)
        merged = []
        for first_ms, until_ms in cut_slices(starts, SLICE_GROUPS, last_ms):
            found = [reader.rows_between(part.file, first_ms, until_ms) for part in overlapping]
            merged.append(self.write_part(series, KnownBars.concat(found).sorted()))
        files = [part.file for part in overlapping]
        with self._database.writing() as connection:
            for part in merged:
                manifest.add_part(connection, part)
            manifest.delete_parts(connection, files)
        self._delete_files(files)

    def _retain(self, connection: Connection, series: Series, retained_from: int) -> int:
        """Drop the recent rows before a time, count the remaining bars; return the rows dropped."""
        series = series._replace(retained_from=retained_from)
        series_id = series.series_id
        dropped = recent.delete_rows(connection, series_id, EARLIEST_MS, retained_from - 1)
        times = self._reader.all_times(connection, series)
        step_ms = Timeframe.parse(series.timeframe).length_ms
        manifest.update_series(
            connection,
            series._replace(
                first_time=int(times[0]) if len(times) else 0,
                last_time=int(times[-1]) if len(times) else retained_from - 1,
                bars=len(times),
                adjacent=int((np.diff(times) == step_ms).sum()),
            ),
        )
        return dropped

    def _delete_files(self, files: Sequence[str]) -> None:
        for file in files:
            (self._history / file).unlink(missing_ok=True)
