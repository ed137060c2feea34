"""Deletes old predictions; what they and their outcomes added to the summaries stays."""

from sqlalchemy import Connection, delete, insert, select, tuple_

from serve_app.experiments.store.rows import in_parts
from serve_app.experiments.store.schema import OUTCOMES, PREDICTIONS, RETENTION

_KEY = PREDICTIONS.c.prediction_id, PREDICTIONS.c.variant
_KEYS_AT_ONCE = 300


def forbid_older(connection: Connection, before_s: float) -> None:
    """Let no prediction older than this be written any more: it may have been counted already."""
    current = connection.scalar(select(RETENTION.c.before_s))
    if current is None or before_s > current:
        connection.execute(delete(RETENTION))
        connection.execute(insert(RETENTION).values(before_s=before_s))


def delete_oldest(connection: Connection, before_s: float, at_most: int) -> int:
    """Delete the oldest predictions before a time, and the outcomes that then have none.

    Returns:
        How many predictions were deleted; fewer than `at_most` when none is left.
    """
    oldest = (
        select(*_KEY)
        .where(PREDICTIONS.c.time_s < before_s)
        .order_by(PREDICTIONS.c.time_s, *_KEY)
        .limit(at_most)
    )
    keys = [(row.prediction_id, row.variant) for row in connection.execute(oldest)]
    for start in range(0, len(keys), _KEYS_AT_ONCE):
        some = keys[start : start + _KEYS_AT_ONCE]
        connection.execute(delete(PREDICTIONS).where(tuple_(*_KEY).in_(some)))
    for ids in in_parts(prediction_id for prediction_id, _ in keys):
        left = select(PREDICTIONS.c.prediction_id).where(PREDICTIONS.c.prediction_id.in_(ids))
        gone = set(ids) - set(connection.scalars(left))
        connection.execute(delete(OUTCOMES).where(OUTCOMES.c.prediction_id.in_(gone)))
    return len(keys)
