"""Exports predictions with their outcomes to a Parquet file."""

import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from serve_app.experiments.store.reading import LabelledPrediction
from serve_app.experiments.store_errors import ExportError, MissingPackageError

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_AT_ONCE = 50_000
"""The number of rows per row group of the file, and held in memory."""

_TIME = "time"

COLUMNS = {
    "prediction_id": "string",
    "variant": "string",
    "experiment_id": "string",
    "time": _TIME,
    "model": "string",
    "version": "string",
    "symbol": "string",
    "direction": "int8",
    "confidence": "float64",
    "expected_return": "float64",
    "latency_ms": "float64",
    "error": "string",
    "treatment_share": "float64",
    "mirrored": "bool",
    "unit_id": "string",
    "hold_probability": "float64",
    "buy_probability": "float64",
    "sell_probability": "float64",
    "timeframe": "string",
    "bar": _TIME,
    "market_return": "float64",
    "outcome_time": _TIME,
}
"""The columns of the file and their Arrow types; times are in microseconds, UTC."""

_OF_THE_OUTCOME = {"market_return": "market_return", "outcome_time": "time"}

_ALWAYS_THERE = frozenset(
    {"prediction_id", "time", "model", "version", "symbol", "latency_ms", "mirrored"}
)


def export_parquet(rows: Iterator[LabelledPrediction], path: Path) -> int:
    """Write the rows of `ExperimentStore.predictions` to a file and return their number.

    The file appears only when it is complete; it replaces an existing file of that name.

    Raises:
        MissingPackageError: pyarrow is not installed.
        ExportError: the file cannot be written.
        UnavailableStoreError: the database failed during the export.
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
    return pa.schema(
        [
            pa.field(
                name,
                pa.timestamp("us", tz="UTC") if kind == _TIME else pa.type_for_alias(kind),
                nullable=name not in _ALWAYS_THERE,
            )
            for name, kind in COLUMNS.items()
        ]
    )


def _columns(rows: Sequence[LabelledPrediction]) -> dict[str, list[Any]]:
    columns = {
        name: [getattr(row.prediction, name) for row in rows]
        for name in COLUMNS
        if name not in _OF_THE_OUTCOME
    }
    columns["variant"] = [variant and variant.value for variant in columns["variant"]]
    for name, attribute in _OF_THE_OUTCOME.items():
        columns[name] = [row.outcome and getattr(row.outcome, attribute) for row in rows]
    return columns
