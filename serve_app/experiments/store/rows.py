"""Converts between rows of the tables and the values that they represent."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, select

from serve_app.experiments.records import Outcome, PredictionRecord, Variant
from serve_app.experiments.store.schema import NO_VARIANT, OUTCOMES, PREDICTIONS

Id = TypeVar("Id", str, int)

IDS_PER_STATEMENT = 1000
"""The largest number of ids in a statement; both databases limit its parameters."""


def time_of(seconds: float) -> datetime:
    """Return a stored time in UTC, exact to the microsecond."""
    return datetime.fromtimestamp(seconds, UTC)


def row_of_prediction(record: PredictionRecord) -> dict[str, Any]:
    """Return the row of a prediction."""
    return {
        "prediction_id": record.prediction_id,
        "variant": record.variant or NO_VARIANT,
        "experiment_id": record.experiment_id,
        "time_s": record.time.timestamp(),
        "model": record.model,
        "version": record.version,
        "symbol": record.symbol,
        "direction": record.direction,
        "confidence": record.confidence,
        "expected_return": record.expected_return,
        "latency_ms": record.latency_ms,
        "error": record.error,
        "treatment_share": record.treatment_share,
        "mirrored": record.mirrored,
        "unit_id": record.unit_id,
        "hold_probability": record.hold_probability,
        "buy_probability": record.buy_probability,
        "sell_probability": record.sell_probability,
        "timeframe": record.timeframe,
        "bar_s": None if record.bar is None else record.bar.timestamp(),
    }


def row_of_outcome(outcome: Outcome) -> dict[str, Any]:
    """Return the row of an outcome."""
    return {
        "prediction_id": outcome.prediction_id,
        "market_return": outcome.market_return,
        "received_s": outcome.time.timestamp(),
    }


def prediction_of_row(row: Row[Any]) -> PredictionRecord:
    """Return the prediction of a row, which may have further columns."""
    return PredictionRecord(
        prediction_id=row.prediction_id,
        variant=Variant(row.variant) if row.variant else None,
        experiment_id=row.experiment_id,
        time=time_of(row.time_s),
        model=row.model,
        version=row.version,
        symbol=row.symbol,
        direction=row.direction,
        confidence=row.confidence,
        expected_return=row.expected_return,
        latency_ms=row.latency_ms,
        error=row.error,
        treatment_share=row.treatment_share,
        mirrored=row.mirrored,
        unit_id=row.unit_id,
        hold_probability=row.hold_probability,
        buy_probability=row.buy_probability,
        sell_probability=row.sell_probability,
        timeframe=row.timeframe,
        bar=None if row.bar_s is None else time_of(row.bar_s),
    )


def predictions_by_id(
    connection: Connection, ids: Iterable[str]
) -> dict[str, list[PredictionRecord]]:
    """Return the stored predictions by id: one per id, or one per variant."""
    found: dict[str, list[PredictionRecord]] = {}
    for some in in_parts(ids):
        rows = connection.execute(select(PREDICTIONS).where(PREDICTIONS.c.prediction_id.in_(some)))
        for row in rows:
            found.setdefault(row.prediction_id, []).append(prediction_of_row(row))
    return found


def outcomes_by_id(connection: Connection, ids: Iterable[str]) -> dict[str, Outcome]:
    """Return the stored outcomes by id."""
    found: dict[str, Outcome] = {}
    for some in in_parts(ids):
        rows = connection.execute(select(OUTCOMES).where(OUTCOMES.c.prediction_id.in_(some)))
        for row in rows:
            found[row.prediction_id] = Outcome(
                prediction_id=row.prediction_id,
                market_return=row.market_return,
                time=time_of(row.received_s),
            )
    return found


def in_parts(ids: Iterable[Id]) -> Iterator[list[Id]]:
    """Yield the distinct ids in lists that fit into one statement."""
    distinct = list(dict.fromkeys(ids))
    for start in range(0, len(distinct), IDS_PER_STATEMENT):
        yield distinct[start : start + IDS_PER_STATEMENT]


def is_storable(text: str) -> bool:
    """Return whether both databases can store the text: no NUL, no half of a surrogate pair."""
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


def plain_prediction(record: PredictionRecord) -> PredictionRecord:
    """Return the prediction with NumPy numbers as Python numbers, which every driver accepts."""
    numbers = record.direction, record.confidence, record.expected_return, record.latency_ms
    if all(type(number) in _PLAIN for number in (*numbers, record.treatment_share)):
        return record
    return replace(
        record,
        direction=None if record.direction is None else int(record.direction),
        confidence=_float(record.confidence),
        expected_return=_float(record.expected_return),
        latency_ms=float(record.latency_ms),
        treatment_share=_float(record.treatment_share),
    )


def plain_outcome(outcome: Outcome) -> Outcome:
    """Return the outcome with a NumPy number as a Python number."""
    if type(outcome.market_return) in _PLAIN:
        return outcome
    return replace(outcome, market_return=float(outcome.market_return))


_PLAIN = int, float, type(None)


def _float(number: float | None) -> float | None:
    return None if number is None else float(number)
