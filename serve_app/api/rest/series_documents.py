"""Encodes series of predictions as JSON and as Arrow streams. Pure: no IO."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import orjson

from features.times import iso
from serve_app.api.rest.encoding import prediction_value, probability_values
from serve_app.api.rest.slices import Steps
from serve_app.data_plane.decoding import Prediction
from serve_app.data_plane.series import SeriesEntry, SeriesResponse

if TYPE_CHECKING:
    import pyarrow as pa

_ENTRIES_PER_STEP = 256


def encode_json(series: SeriesResponse) -> Steps[bytes]:
    """Return the body of the response in JSON."""
    predictions: list[dict[str, Any]] = []
    omitted: list[dict[str, Any]] = []
    for position, entry in enumerate(series.entries):
        if isinstance(entry.outcome, Prediction):
            predictions.append(_prediction_document(entry, entry.outcome))
        else:
            omitted.append({**_place(entry), "code": entry.outcome})
        if position % _ENTRIES_PER_STEP == 0:
            yield
    return orjson.dumps({**_origin(series), "predictions": predictions, "omitted": omitted})


def encode_arrow(series: SeriesResponse) -> bytes:
    """Return the body of the response as an Arrow IPC stream, with a row per entry.

    A row without a prediction has the `code` of its error.
    """
    import pyarrow as pa  # here: only routers that return Arrow need its memory

    table = _table(pa, series.entries)
    origin = {key: value for key, value in _origin(series).items() if value is not None}
    table = table.replace_schema_metadata(origin)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _table(pa: Any, entries: Sequence[SeriesEntry]) -> "pa.Table":  # noqa: ANN401
    found = [entry.outcome if isinstance(entry.outcome, Prediction) else None for entry in entries]
    chances = [one and one.probabilities for one in found]
    columns: dict[str, Any]
    if entries and entries[0].row is not None:
        columns = {"row": pa.array([entry.row for entry in entries], pa.int32())}
    else:
        time = pa.timestamp("ms", "UTC")
        columns = {
            "bar": pa.array([entry.bar_ms for entry in entries], time),
            "as_of": pa.array([entry.as_of_ms for entry in entries], time),
        }
    columns |= {
        "direction": pa.array([one and one.direction for one in found], pa.int8()),
        "confidence": pa.array([one and one.confidence for one in found], pa.float64()),
        "expected_return": pa.array([one and one.expected_return for one in found], pa.float64()),
        "hold": pa.array([one and one.hold for one in chances], pa.float64()),
        "buy": pa.array([one and one.buy for one in chances], pa.float64()),
        "sell": pa.array([one and one.sell for one in chances], pa.float64()),
    }
    levels = {level: None for one in found if one for level in one.return_quantiles or ()}
    for level in levels:
        values = [one.return_quantiles[level] if one else None for one in found]  # type: ignore[index]  # one model
        columns[f"quantile_{level}"] = pa.array(values, pa.float64())
    codes = [None if isinstance(entry.outcome, Prediction) else entry.outcome for entry in entries]
    columns["code"] = pa.array(codes, pa.string())
    return pa.table(columns)


def _origin(series: SeriesResponse) -> dict[str, str | None]:
    return {
        "symbol": series.symbol,
        "timeframe": series.timeframe,
        "model_name": series.version.model,
        "model_version": series.version.version,
    }


def _prediction_document(entry: SeriesEntry, prediction: Prediction) -> dict[str, Any]:
    document = _place(entry)
    if entry.as_of_ms is not None:
        document["as_of"] = iso(entry.as_of_ms)
    document["prediction"] = prediction_value(prediction)
    if prediction.probabilities is not None:
        document["probabilities"] = probability_values(prediction.probabilities)
    return document


def _place(entry: SeriesEntry) -> dict[str, Any]:
    return {"row": entry.row} if entry.bar_ms is None else {"bar": iso(entry.bar_ms)}
