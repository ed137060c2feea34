"""Writes predictions and outcomes; each is counted once, however often it is sent.

Both functions run in the only writing transaction (`Database.writing`): nothing that they read can
change before they commit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select

from serve_app.experiments.history import OutcomeResult, RecordedOutcome
from serve_app.experiments.prediction_ids import issue_time
from serve_app.experiments.records import Outcome, PredictionRecord, Variant
from serve_app.experiments.store.rows import (
    is_storable,
    outcomes_by_id,
    plain_outcome,
    plain_prediction,
    predictions_by_id,
    row_of_outcome,
    row_of_prediction,
)
from serve_app.experiments.store.schema import OUTCOMES, PREDICTIONS, RETENTION
from serve_app.experiments.store.summaries import FindRules, SummaryChanges


@dataclass(frozen=True, slots=True)
class RejectedPrediction:
    """A rejected prediction; it would be rejected again if it were sent again."""

    prediction_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class WrittenPredictions:
    """The result of writing a group of predictions."""

    written: int
    repeated: int
    """The number of predictions that were already stored; they are not counted again."""
    rejected: tuple[RejectedPrediction, ...]


def write_predictions(
    connection: Connection,
    records: Sequence[PredictionRecord],
    find_rules: FindRules,
) -> WrittenPredictions:
    """Write the predictions that are not stored yet, and add them to their summaries.

    The outcome may already be stored, if the other variant's prediction came first.
    """
    oldest_s = connection.scalar(select(RETENTION.c.before_s))
    rejected = []
    candidates: dict[tuple[str, str], PredictionRecord] = {}
    for record in records:
        reason = _rejection_reason(record, find_rules, oldest_s)
        if reason is None:
            candidates.setdefault(record.key, plain_prediction(record))
        else:
            rejected.append(RejectedPrediction(record.prediction_id, reason))
    variants = predictions_by_id(connection, (prediction_id for prediction_id, _ in candidates))
    outcomes = outcomes_by_id(connection, variants)
    stored = {record.key for records in variants.values() for record in records}
    fresh = [record for key, record in candidates.items() if key not in stored]
    if fresh:
        connection.execute(insert(PREDICTIONS), [row_of_prediction(record) for record in fresh])
        changes = SummaryChanges(find_rules)
        for record in fresh:
            others = variants.setdefault(record.prediction_id, [])
            _count_prediction(changes, record, others, outcomes.get(record.prediction_id))
            others.append(record)
        changes.apply(connection)
    repeated = len(records) - len(rejected) - len(fresh)
    return WrittenPredictions(len(fresh), repeated, tuple(rejected))


def record_outcomes(
    connection: Connection,
    outcomes: Sequence[Outcome],
    find_rules: FindRules,
) -> list[RecordedOutcome]:
    """Store the outcomes of known predictions, and add them to the summaries.

    Returns:
        One result per outcome, in the same order. The first return for a prediction is kept, also
        within the list.
    """
    outcomes = [plain_outcome(outcome) for outcome in outcomes]
    # An id that the database cannot store is unknown to it.
    ids = [outcome.prediction_id for outcome in outcomes if is_storable(outcome.prediction_id)]
    returns = {
        prediction_id: outcome.market_return
        for prediction_id, outcome in outcomes_by_id(connection, ids).items()
    }
    unlabelled = (prediction_id for prediction_id in ids if prediction_id not in returns)
    variants = predictions_by_id(connection, unlabelled)
    changes = SummaryChanges(find_rules)
    accepted = []
    results = []
    for outcome in outcomes:
        result = _decide(outcome, returns, variants)
        if result is OutcomeResult.ACCEPTED:
            returns[outcome.prediction_id] = outcome.market_return
            accepted.append(outcome)
            _count_outcome(changes, variants[outcome.prediction_id], outcome)
        results.append(RecordedOutcome(outcome, result, returns.get(outcome.prediction_id)))
    if accepted:
        connection.execute(insert(OUTCOMES), [row_of_outcome(outcome) for outcome in accepted])
        changes.apply(connection)
    return results


def _rejection_reason(
    record: PredictionRecord,
    find_rules: FindRules,
    oldest_s: float | None,
) -> str | None:
    """Return the reason to reject a record, or None if it can be written."""
    texts = (record.prediction_id, record.model, record.version, record.symbol)
    optional = (record.error or "", record.unit_id or "")
    if not all(is_storable(text) for text in (*texts, *optional)):
        return "a text contains a NUL or half of a surrogate pair, which no database can store"
    if record.experiment_id is not None and find_rules(record.experiment_id) is None:
        return f"no experiment {record.experiment_id!r}; create it before it receives requests"
    if oldest_s is not None and record.time.timestamp() < oldest_s:
        # It may have been counted and deleted; counting it twice would be worse than losing it.
        return "the prediction is older than the retention period"
    return None


def _count_prediction(
    changes: SummaryChanges,
    record: PredictionRecord,
    others: Sequence[PredictionRecord],
    outcome: Outcome | None,
) -> None:
    """Count a prediction; others of its id and its outcome may already be known."""
    changes.add_prediction(record)
    if outcome is not None:
        changes.add_outcome(record, outcome)
    for other in others:
        pair = _pair(record, other)
        if pair is not None:
            changes.add_pair(*pair)
            if outcome is not None:
                changes.add_pair_outcome(*pair, outcome)


def _count_outcome(
    changes: SummaryChanges, variants: Sequence[PredictionRecord], outcome: Outcome
) -> None:
    for number, record in enumerate(variants):
        changes.add_outcome(record, outcome)
        for other in variants[:number]:
            pair = _pair(record, other)
            if pair is not None:
                changes.add_pair_outcome(*pair, outcome)


def _pair(
    one: PredictionRecord, other: PredictionRecord
) -> tuple[PredictionRecord, PredictionRecord] | None:
    """Return control and treatment if the two belong to a mirrored request, else None."""
    variants = {record.variant: record for record in (one, other)}
    if len(variants) < len(Variant) or None in variants or one.experiment_id != other.experiment_id:
        return None
    if not (one.mirrored and other.mirrored):
        return None
    return variants[Variant.CONTROL], variants[Variant.TREATMENT]


def _decide(
    outcome: Outcome,
    returns: Mapping[str, float],
    variants: Mapping[str, Sequence[PredictionRecord]],
) -> OutcomeResult:
    stored = returns.get(outcome.prediction_id)
    if stored is not None:
        same = stored == outcome.market_return
        return OutcomeResult.DUPLICATE if same else OutcomeResult.CONFLICT
    if outcome.prediction_id in variants:
        return OutcomeResult.ACCEPTED
    was_served = issue_time(outcome.prediction_id) is not None
    return OutcomeResult.UNRECORDED if was_served else OutcomeResult.UNKNOWN
