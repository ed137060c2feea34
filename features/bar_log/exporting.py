"""Exports bars of the log to CSV and Parquet files, in bounded memory."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from features.bar_log.files import write_durably
from features.bar_log.parts import SCHEMA, as_table
from features.bar_log.reader import BarReader
from features.bars import EARLIEST_MS, LATEST_MS
from features.errors import BarFileError
from features.timeframes import Timeframe


def export_file(
    reader: BarReader,
    path: Path,
    symbol: str,
    timeframe: Timeframe,
    first_ms: int = EARLIEST_MS,
    last_ms: int = LATEST_MS,
    known_at_ms: int | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Write bars to a file, by time, with `known_at`; return the number of rows.

    The file appears once it is complete. With its revisions it restores the log, if it is imported.

    Args:
        reader: the log's.
        path: a CSV or Parquet file, by its suffix; an existing one is replaced.
        symbol: the symbol.
        timeframe: the timeframe.
        first_ms: the first bar.
        last_ms: the last bar.
        known_at_ms: the time of the view; None for every revision.
        progress: called with the number of rows after each block.

    Raises:
        BarFileError: the file cannot be written.
        UnknownSeriesError: the log has no bar of the symbol and timeframe.
    """
    if path.suffix.lower() not in (".csv", ".parquet"):
        remedy = "choose a name that ends in .csv or .parquet"
        raise BarFileError(str(path), "its format is unknown", remedy)
    reader.window(symbol, timeframe, 1)  # raises UnknownSeriesError before a file is created
    rows = 0

    def write(beside: Path) -> None:
        nonlocal rows
        with pa.OSFile(str(beside), "wb") as file, _writer(path, file) as writer:
            view = LATEST_MS if known_at_ms is None else known_at_ms
            for block in reader.scan(symbol, timeframe, first_ms, last_ms, view):
                bounds = int(block.time[0]), int(block.time[-1])
                if known_at_ms is None:
                    block = reader.rows(symbol, timeframe, *bounds)
                writer.write_table(as_table(block))
                rows += len(block)
                progress(rows)

    try:
        write_durably(path, write)
    except OSError as error:
        remedy = "choose a writable path with free space"
        raise BarFileError(str(path), str(error), remedy) from error
    return rows


def _writer(path: Path, file: pa.NativeFile) -> pq.ParquetWriter | pyarrow.csv.CSVWriter:
    if path.suffix.lower() == ".csv":
        return pyarrow.csv.CSVWriter(file, SCHEMA)
    return pq.ParquetWriter(file, SCHEMA, compression="zstd", use_dictionary=False)
