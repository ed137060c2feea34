"""Deletes old predictions and their outcomes; the summaries that include them are kept."""

from sqlalchemy import Connection, bindparam, delete, insert, select

from serve_app.experiments.store.rows import in_parts
from serve_app.experiments.store.schema import OUTCOMES, PREDICTIONS, RETENTION

_KEY = PREDICTIONS.c.prediction_id, PREDICTIONS.c.variant
# SQLite scans the whole table for a list of composite keys, but not for a single key.
_DELETE = delete(PREDICTIONS).where(
    PREDICTIONS.c.prediction_id == bindparam("id_gone"),
    PREDICTIONS.c.variant == bindparam("variant_gone"),
)


def forbid_older(connection: Connection, before_s: float) -> None:
    """Reject predictions before this time from now on: they may already have been counted."""
    current = connection.scalar(select(RETENTION.c.before_s))
    if current is None or before_s > current:
        connection.execute(delete(RETENTION))
        connection.execute(insert(RETENTION).values(before_s=before_s))


def delete_oldest(connection: Connection, before_s: float, at_most: int) -> int:
    """Delete the oldest predictions before a time, and outcomes that no longer have a prediction.

    Returns:
        The number of deleted predictions; fewer than `at_most` if no more remain.
    """
    oldest = (
        select(*_KEY)
        .where(PREDICTIONS.c.time_s < before_s)
        .order_by(PREDICTIONS.c.time_s, *_KEY)
        .limit(at_most)
    )
    keys = [
        {"id_gone": row.prediction_id, "variant_gone": row.variant}
        for row in connection.execute(oldest)
    ]
    if keys:
        connection.execute(_DELETE, keys)
    for ids in in_parts(key["id_gone"] for key in keys):
        left = select(PREDICTIONS.c.prediction_id).where(PREDICTIONS.c.prediction_id.in_(ids))
        gone = set(ids) - set(connection.scalars(left))
        connection.execute(delete(OUTCOMES).where(OUTCOMES.c.prediction_id.in_(gone)))
    return len(keys)
