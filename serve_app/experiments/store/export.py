"""Predictions with their outcomes as a Parquet file."""

import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from serve_app.experiments.store.errors import ExportError, MissingPackageError
from serve_app.experiments.store.reading import LabelledPrediction

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_AT_ONCE = 50_000
"""Rows in memory, and in a row group of the file."""


def export_parquet(rows: Iterator[LabelledPrediction], path: Path) -> int:
    """Write rows, as `ExperimentStore.predictions` gives them, to a file; return how many.

    The file appears once it is complete, and replaces one of that name.

    Raises:
        MissingPackageError: pyarrow is not installed.
        ExportError: the file cannot be written.
        UnavailableStoreError: the database failed while it was read.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise MissingPackageError("exporting to Parquet", "pyarrow", "export") from error
    schema = _schema(pa)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    count = 0
    try:
        with parquet.ParquetWriter(unfinished, schema, compression="zstd") as writer:
            while group := list(islice(rows, ROWS_AT_ONCE)):
                writer.write_table(pa.Table.from_pydict(_columns(group), schema=schema))
                count += len(group)
        with unfinished.open("rb") as written:
            os.fsync(written.fileno())
        unfinished.replace(path)
    except OSError as error:
        raise ExportError(str(path), error.strerror or str(error)) from error
    finally:
        unfinished.unlink(missing_ok=True)
    return count


def _schema(pa: ModuleType) -> "pa.Schema":
    time = pa.timestamp("us", tz="UTC")
    return pa.schema(
        [
            pa.field("prediction_id", pa.string(), nullable=False),
            pa.field("variant", pa.string()),
            pa.field("experiment_id", pa.string()),
            pa.field("time", time, nullable=False),
            pa.field("model", pa.string(), nullable=False),
            pa.field("version", pa.string(), nullable=False),
            pa.field("symbol", pa.string(), nullable=False),
            pa.field("direction", pa.int8()),
            pa.field("confidence", pa.float64()),
            pa.field("expected_return", pa.float64()),
            pa.field("latency_ms", pa.float64(), nullable=False),
            pa.field("error", pa.string()),
            pa.field("treatment_share", pa.float64()),
            pa.field("mirrored", pa.bool_(), nullable=False),
            pa.field("market_return", pa.float64()),
            pa.field("outcome_time", time),
        ]
    )


def _columns(rows: Sequence[LabelledPrediction]) -> dict[str, list[Any]]:
    names = (
        "prediction_id",
        "experiment_id",
        "time",
        "model",
        "version",
        "symbol",
        "direction",
        "confidence",
        "expected_return",
        "latency_ms",
        "error",
        "treatment_share",
        "mirrored",
    )
    columns = {name: [getattr(row.prediction, name) for row in rows] for name in names}
    columns["variant"] = [row.prediction.variant and str(row.prediction.variant) for row in rows]
    columns["market_return"] = [row.outcome and row.outcome.market_return for row in rows]
    columns["outcome_time"] = [row.outcome and row.outcome.time for row in rows]
    return columns
