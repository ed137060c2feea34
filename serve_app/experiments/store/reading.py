"""Reads predictions with their outcomes, one page per transaction."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select, tuple_

from serve_app.experiments.records import Outcome, PredictionRecord
from serve_app.experiments.store.rows import prediction_of_row, time_of
from serve_app.experiments.store.schema import OUTCOMES, PREDICTIONS
from storage.database import Database

_ORDER = PREDICTIONS.c.time_s, PREDICTIONS.c.prediction_id, PREDICTIONS.c.variant


@dataclass(frozen=True, slots=True)
class LabelledPrediction:
    """A prediction and, once it has arrived, its outcome."""

    prediction: PredictionRecord
    outcome: Outcome | None


def read_pages(
    database: Database,
    experiment_id: str | None,
    since: datetime | None,
    until: datetime | None,
    page: int,
) -> Iterator[list[LabelledPrediction]]:
    """Yield predictions in order of time, in lists of at most `page`.

    Each page is read in a short transaction of its own, so that a slow reader does not block
    writers; rows written during the iteration may or may not be included.
    """
    rows = (
        select(PREDICTIONS, OUTCOMES.c.market_return, OUTCOMES.c.received_s)
        .outerjoin(OUTCOMES, OUTCOMES.c.prediction_id == PREDICTIONS.c.prediction_id)
        .order_by(*_ORDER)
        .limit(page)
    )
    if experiment_id is not None:
        rows = rows.where(PREDICTIONS.c.experiment_id == experiment_id)
    if until is not None:
        rows = rows.where(PREDICTIONS.c.time_s < until.timestamp())
    after = None if since is None else PREDICTIONS.c.time_s >= since.timestamp()
    while True:
        with database.reading() as connection:
            wanted = rows if after is None else rows.where(after)
            found = connection.execute(wanted).all()
        if found:
            yield [_labelled(row) for row in found]
        if len(found) < page:
            return
        last = found[-1]
        after = tuple_(*_ORDER) > (last.time_s, last.prediction_id, last.variant)


def _labelled(row: Row[Any]) -> LabelledPrediction:
    outcome = None
    if row.market_return is not None:
        outcome = Outcome(
            prediction_id=row.prediction_id,
            market_return=row.market_return,
            time=time_of(row.received_s),
        )
    return LabelledPrediction(prediction_of_row(row), outcome)
