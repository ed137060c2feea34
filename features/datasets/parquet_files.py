"""The Parquet file of a dataset: one row per bar, from which windows are assembled.

A window is `timesteps` consecutive rows up to that of a sample. Adjacent windows share all rows but
one, so a file of windows would be as many times larger. After a revision, the rows that the next
window needs are repeated with the new numbers; `run` numbers the runs of rows in between.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features.bars import Floats, Ints, Mask
from features.datasets.errors import UnreadableDatasetError

FEATURE = "f_"
"""The prefix of the columns of features."""
GROUP_ROWS = 16_384

_TIMESTAMP = pa.timestamp("ms", "UTC")


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Consecutive rows of the file, as columns."""

    symbol: str
    run: int
    """The number of the run."""
    time: Ints
    """The opening of each bar."""
    known_at: Ints
    """The time of the view from which each row was computed."""
    is_sample: Mask
    """Whether a window ends at the row."""
    label: NDArray[np.int8]
    """The direction of a sample."""
    market_return: Floats
    """The return of a sample."""
    horizon_time: Ints
    """The opening of the bar at the horizon of a sample."""
    horizon_known_at: Ints
    """When that bar became known."""
    features: NDArray[np.float32]
    """(rows, features)."""

    def __len__(self) -> int:
        return len(self.time)


def schema(feature_names: Sequence[str]) -> pa.Schema:
    """Return the schema of a file with these features."""
    return pa.schema(
        [
            pa.field("symbol", pa.string(), nullable=False),
            pa.field("run", pa.int32(), nullable=False),
            pa.field("time", _TIMESTAMP, nullable=False),
            pa.field("known_at", _TIMESTAMP, nullable=False),
            pa.field("is_sample", pa.bool_(), nullable=False),
            pa.field("label", pa.int8()),
            pa.field("market_return", pa.float64()),
            pa.field("horizon_time", _TIMESTAMP),
            pa.field("horizon_known_at", _TIMESTAMP),
            *(pa.field(FEATURE + name, pa.float32(), nullable=False) for name in feature_names),
        ]
    )


def write_rows(path: Path, feature_names: Sequence[str], blocks: Iterable[Rows]) -> None:
    """Write rows to a new file, in bounded memory.

    The bytes depend on nothing but the rows and the version of pyarrow: the row groups have
    GROUP_ROWS rows, however the rows are divided into blocks.
    """
    named = schema(feature_names)
    times = ("time", "known_at", "horizon_time", "horizon_known_at")
    floats = ["market_return", *(FEATURE + name for name in feature_names)]
    with pq.ParquetWriter(
        path,
        named,
        compression="zstd",
        use_dictionary=["symbol"],
        column_encoding={
            **dict.fromkeys(times, "DELTA_BINARY_PACKED"),
            **dict.fromkeys(floats, "BYTE_STREAM_SPLIT"),
        },
        write_statistics=["symbol", "time"],
        write_page_checksum=True,
    ) as writer:
        waiting: list[pa.Table] = []
        count = 0
        for block in blocks:
            waiting.append(_as_table(block, named))
            count += len(block)
            while count >= GROUP_ROWS:
                table = pa.concat_tables(waiting)
                writer.write_table(table.slice(0, GROUP_ROWS), row_group_size=GROUP_ROWS)
                waiting = [table.slice(GROUP_ROWS)]
                count -= GROUP_ROWS
        if count:
            writer.write_table(pa.concat_tables(waiting), row_group_size=GROUP_ROWS)


def read_columns(path: Path, feature_names: Sequence[str]) -> tuple[dict[str, Any], Any]:
    """Return the columns of a file by name, and its features as an array (rows, features).

    Raises:
        UnreadableDatasetError: the file cannot be read, or has other columns.
    """
    try:
        with pq.ParquetFile(path, read_dictionary=["symbol"]) as file:
            if file.schema_arrow.names != schema(feature_names).names:
                raise UnreadableDatasetError(str(path), "its columns are not those of the manifest")
            features = np.empty((file.metadata.num_rows, len(feature_names)), np.float32)
            start, parts = 0, []
            for group in range(file.num_row_groups):
                table = file.read_row_group(group)
                stop = start + table.num_rows
                for index, name in enumerate(feature_names):
                    features[start:stop, index] = table[FEATURE + name].to_numpy()
                parts.append(table.select(table.column_names[: -len(feature_names)]))
                start = stop
            table = pa.concat_tables(parts)
    except (OSError, pa.ArrowException) as error:
        raise UnreadableDatasetError(str(path), str(error)) from error
    return {name: table[name] for name in table.column_names}, features


def as_texts(column: pa.ChunkedArray) -> NDArray[np.str_]:
    """Return texts of a column with a dictionary."""
    combined = column.unify_dictionaries().combine_chunks()
    names = np.array(combined.dictionary.to_pylist(), np.str_)
    return np.asarray(names[combined.indices.to_numpy()])


def as_ints(column: pa.ChunkedArray) -> Ints:
    """Return timestamps in milliseconds; 0 where they are null."""
    return np.asarray(column.cast(pa.int64()).fill_null(0).to_numpy())


def _as_table(rows: Rows, named: pa.Schema) -> pa.Table:
    absent = ~rows.is_sample
    symbols = pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(len(rows), np.int8)), pa.array([rows.symbol])
    ).cast(pa.string())
    return pa.Table.from_arrays(
        [
            symbols,
            pa.array(np.full(len(rows), rows.run, np.int32)),
            pa.array(rows.time).view(_TIMESTAMP),
            pa.array(rows.known_at).view(_TIMESTAMP),
            pa.array(rows.is_sample),
            pa.array(rows.label, mask=absent),
            pa.array(rows.market_return, mask=absent),
            pa.array(rows.horizon_time, mask=absent).view(_TIMESTAMP),
            pa.array(rows.horizon_known_at, mask=absent).view(_TIMESTAMP),
            *(pa.array(np.ascontiguousarray(column)) for column in rows.features.T),
        ],
        schema=named,
    )
