"""Reads and writes stored experiments: definition, status, final report and history."""

from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, Row, func, insert, select, true, update

from serve_app.experiments.definition import EndReason, ExperimentDefinition, ExperimentStatus
from serve_app.experiments.history import HistoryEntry, StoredExperiment
from serve_app.experiments.store.rows import is_storable, time_of
from serve_app.experiments.store.schema import EXPERIMENTS, HISTORY
from serve_app.experiments.store_errors import (
    ExperimentExistsError,
    ModelInExperimentError,
    UnknownExperimentError,
)

_NAMED_IN_ERRORS = 20


def create(
    connection: Connection,
    definition: ExperimentDefinition,
    started_at: datetime,
    application: str | None,
    by: str | None,
    key: str | None,
) -> bool:
    """Store a new, running experiment; its history begins with the entry `created`.

    Returns False if it runs already and the same command has created it: the response to an earlier
    attempt was lost.
    """
    created = {name: value for name, value in (("by", by), ("key", key)) if value is not None}
    known = find(connection, definition.experiment_id)
    if known is not None:
        is_repeated = key is not None and known.status is ExperimentStatus.RUNNING
        if is_repeated and known.definition.model_dump() == definition.model_dump():
            first = history(connection, definition.experiment_id)[0]
            if first.details == created:
                return False
        raise ExperimentExistsError(definition.experiment_id, known.status)
    for other in running(connection, application):
        model = other.definition.control_model_name
        if model == definition.control_model_name:
            raise ModelInExperimentError(model, other.definition.experiment_id)
    connection.execute(
        insert(EXPERIMENTS).values(
            experiment_id=definition.experiment_id,
            definition=definition.model_dump_json(),
            status=ExperimentStatus.RUNNING.value,
            started_s=started_at.timestamp(),
            application=application,
        )
    )
    entry = HistoryEntry(time=started_at, action="created", details=created)
    add_history(connection, definition.experiment_id, entry)
    return True


def end(
    connection: Connection,
    experiment_id: str,
    reason: EndReason,
    final_report: dict[str, Any],
    entry: HistoryEntry,
) -> StoredExperiment:
    """End an experiment and return it; one that has already ended is returned unchanged."""
    experiment = get(connection, experiment_id)
    if experiment.status is ExperimentStatus.COMPLETED:
        return experiment
    connection.execute(
        update(EXPERIMENTS)
        .where(EXPERIMENTS.c.experiment_id == experiment_id)
        .values(
            status=ExperimentStatus.COMPLETED.value,
            ended_s=entry.time.timestamp(),
            end_reason=reason.value,
            final_report=_dump(final_report),
        )
    )
    add_history(connection, experiment_id, entry)
    return get(connection, experiment_id)


def add_history(connection: Connection, experiment_id: str, entry: HistoryEntry) -> None:
    """Append an entry to the history of an experiment."""
    get(connection, experiment_id)
    last = select(func.max(HISTORY.c.number)).where(HISTORY.c.experiment_id == experiment_id)
    number = connection.scalar(last)
    connection.execute(
        insert(HISTORY).values(
            experiment_id=experiment_id,
            number=0 if number is None else number + 1,
            time_s=entry.time.timestamp(),
            action=entry.action,
            details=_dump(entry.details),
        )
    )


def history(connection: Connection, experiment_id: str) -> list[HistoryEntry]:
    """Return the history of an experiment, oldest entry first."""
    get(connection, experiment_id)
    entries = (
        select(HISTORY).where(HISTORY.c.experiment_id == experiment_id).order_by(HISTORY.c.number)
    )
    return [
        HistoryEntry(time=time_of(row.time_s), action=row.action, details=orjson.loads(row.details))
        for row in connection.execute(entries)
    ]


def find(
    connection: Connection, experiment_id: str, application: str | None = None
) -> StoredExperiment | None:
    """Return the experiment, or None if it is not stored."""
    if not is_storable(experiment_id):
        return None
    wanted = select(EXPERIMENTS).where(
        EXPERIMENTS.c.experiment_id == experiment_id, _of(application)
    )
    row = connection.execute(wanted).one_or_none()
    return None if row is None else _experiment_of_row(row)


def get(
    connection: Connection, experiment_id: str, application: str | None = None
) -> StoredExperiment:
    """Return the experiment; without `application`, one of any application.

    Raises:
        UnknownExperimentError: no experiment has this id.
    """
    experiment = find(connection, experiment_id, application)
    if experiment is None:
        ids = select(EXPERIMENTS.c.experiment_id).where(_of(application))
        ids = ids.order_by(EXPERIMENTS.c.started_s.desc())
        known = connection.scalars(ids.limit(_NAMED_IN_ERRORS)).all()
        raise UnknownExperimentError(experiment_id, known)
    return experiment


def list_all(connection: Connection, application: str | None = None) -> list[StoredExperiment]:
    """Return the experiments of an application, or of all, oldest first."""
    return _listed(connection, _of(application))


def running(connection: Connection, application: str | None = None) -> list[StoredExperiment]:
    """Return the running experiments, oldest first."""
    return _listed(
        connection, _of(application) & (EXPERIMENTS.c.status == ExperimentStatus.RUNNING.value)
    )


def _listed(connection: Connection, where: ColumnElement[bool]) -> list[StoredExperiment]:
    in_order = (
        select(EXPERIMENTS)
        .where(where)
        .order_by(EXPERIMENTS.c.started_s, EXPERIMENTS.c.experiment_id)
    )
    return [_experiment_of_row(row) for row in connection.execute(in_order)]


def _of(application: str | None) -> ColumnElement[bool]:
    """Return the condition that an experiment belongs to this application or to none."""
    if application is None:
        return true()
    return EXPERIMENTS.c.application.is_(None) | (EXPERIMENTS.c.application == application)


def _experiment_of_row(row: Row[Any]) -> StoredExperiment:
    return StoredExperiment(
        definition=ExperimentDefinition.model_validate_json(row.definition),
        status=ExperimentStatus(row.status),
        started_at=time_of(row.started_s),
        ended_at=None if row.ended_s is None else time_of(row.ended_s),
        end_reason=None if row.end_reason is None else EndReason(row.end_reason),
        final_report=None if row.final_report is None else orjson.loads(row.final_report),
    )


def _dump(values: dict[str, Any]) -> str:
    return orjson.dumps(values).decode()
