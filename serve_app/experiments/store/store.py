"""The API of the store: experiments, predictions and outcomes, and summaries of them."""

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Self

from sqlalchemy import Connection, delete, insert

from serve_app.errors import InvalidRequestError
from serve_app.experiments.blocks import Block
from serve_app.experiments.definition import EndReason, ExperimentDefinition
from serve_app.experiments.history import HistoryEntry, RecordedOutcome, StoredExperiment
from serve_app.experiments.records import Outcome, PredictionRecord
from serve_app.experiments.store import experiments, reading, retention, summaries, writing
from serve_app.experiments.store.database import open_database
from serve_app.experiments.store.reading import LabelledPrediction
from serve_app.experiments.store.schema import CANARY
from serve_app.experiments.store.summaries import SummaryRules
from serve_app.experiments.store.writing import WrittenPredictions
from storage.database import Database

PAGE = 10_000
"""The number of predictions read per transaction."""

DELETED_AT_ONCE = 2000
"""The number of predictions deleted per transaction; other writers wait for some tens of ms."""


class ExperimentStore:
    """An open database. When a method that writes returns, its changes are committed.

    A write that raises an UnavailableStoreError was not acknowledged and can be repeated: each
    prediction and each outcome is counted once. Methods are thread-safe, and several processes may
    have the database open; their writes are serialised.

    Args:
        url: `sqlite:///path/to/file.db` or `postgresql://user:password@host/database`.
        lock_timeout_s: how long a write waits for the write lock.

    Raises:
        InvalidUrlError: the URL does not name a database that the store can use.
        NewerSchemaError: the database was written by newer software.
        UnavailableStoreError: the database cannot be opened or written.
    """

    def __init__(self, url: str, *, lock_timeout_s: float = 30.0) -> None:
        # Imported here: Alembic takes 0.2 s to import, and routers and the fleet open no store.
        from serve_app.experiments.store.migration import migrate

        self._rules: dict[str, SummaryRules] = {}

        def prepare(database: Database) -> None:
            migrate(database)
            self._rules.clear()

        self._database = open_database(url, lock_timeout_s, prepare)

    @property
    def url(self) -> str:
        """Return the URL of the database, without its password."""
        return self._database.url

    def close(self) -> None:
        """Close all connections."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def create_experiment(
        self,
        definition: ExperimentDefinition,
        started_at: datetime,
        application: str | None = None,
        by: str | None = None,
        key: str | None = None,
    ) -> bool:
        """Store a new, running experiment; its history begins with the entry `created`.

        Args:
            definition: the experiment; its id must be unique in the database.
            started_at: the time at which it started.
            application: the application that runs it; None: every application does.
            by: its author, for the history; None if unknown.
            key: the same for every attempt of the author's command; None if there is only one.

        Returns:
            Whether it is new; False if an earlier attempt has stored it and it still runs.

        Raises:
            ExperimentExistsError: an experiment with this id exists, of another command.
            ModelInExperimentError: another experiment of the application is running on control's
                model.
        """
        with self._database.writing() as connection:
            return experiments.create(connection, definition, started_at, application, by, key)

    def end_experiment(
        self,
        experiment_id: str,
        reason: EndReason,
        final_report: dict[str, Any],
        entry: HistoryEntry,
    ) -> StoredExperiment:
        """End an experiment and return it; one that has already ended is returned unchanged.

        Raises:
            UnknownExperimentError: no experiment has this id.
        """
        with self._database.writing() as connection:
            return experiments.end(connection, experiment_id, reason, final_report, entry)

    def add_history(self, experiment_id: str, entry: HistoryEntry) -> None:
        """Append an entry to the history of an experiment.

        Raises:
            UnknownExperimentError: no experiment has this id.
        """
        with self._database.writing() as connection:
            experiments.add_history(connection, experiment_id, entry)

    def experiment(self, experiment_id: str, application: str | None = None) -> StoredExperiment:
        """Return an experiment; without `application`, one of any application.

        Raises:
            UnknownExperimentError: no experiment has this id.
        """
        with self._database.reading() as connection:
            return experiments.get(connection, experiment_id, application)

    def experiments(self, application: str | None = None) -> list[StoredExperiment]:
        """Return the experiments of an application, or of all, oldest first."""
        with self._database.reading() as connection:
            return experiments.list_all(connection, application)

    def running(self, application: str | None = None) -> list[StoredExperiment]:
        """Return the running experiments, oldest first."""
        with self._database.reading() as connection:
            return experiments.running(connection, application)

    def history(self, experiment_id: str) -> list[HistoryEntry]:
        """Return the history of an experiment, oldest entry first.

        Raises:
            UnknownExperimentError: no experiment has this id.
        """
        with self._database.reading() as connection:
            return experiments.history(connection, experiment_id)

    def write_predictions(self, records: Sequence[PredictionRecord]) -> WrittenPredictions:
        """Write predictions in one transaction; those already stored are not counted again."""
        with self._database.writing() as connection:
            return writing.write_predictions(connection, records, self._find_rules(connection))

    def record_outcomes(self, outcomes: Sequence[Outcome]) -> list[RecordedOutcome]:
        """Store outcomes in one transaction; return the result of each, in the same order."""
        with self._database.writing() as connection:
            return writing.record_outcomes(connection, outcomes, self._find_rules(connection))

    def write_canary(self, now: datetime) -> None:
        """Commit the time: a database that cannot be written shows before an outcome meets it."""
        with self._database.writing() as connection:
            connection.execute(delete(CANARY))
            connection.execute(insert(CANARY).values(written_s=now.timestamp()))

    def shortage(self) -> str | None:
        """Return that the disk is nearly full, before a write fails; None while it is not."""
        return self._database.shortage()

    def blocks(self, experiment_id: str) -> list[Block]:
        """Return the summaries of an experiment, in order of time.

        They include every acknowledged prediction and outcome. A month has about 1,200 blocks,
        regardless of the number of predictions.

        Raises:
            UnknownExperimentError: no experiment has this id.
        """
        with self._database.reading() as connection:
            experiments.get(connection, experiment_id)
            return summaries.read_blocks(connection, experiment_id)

    def predictions(
        self,
        experiment_id: str | None = None,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Iterator[LabelledPrediction]:
        """Yield predictions with their outcomes in order of time, in constant memory.

        Args:
            experiment_id: the experiment; None: all predictions, also those outside experiments.
            since: the earliest time, inclusive.
            until: the latest time, exclusive.
        """
        for page in reading.read_pages(self._database, experiment_id, since, until, PAGE):
            yield from page

    def delete_older_than(self, age: timedelta, *, now: datetime, pause_s: float = 0.1) -> int:
        """Delete predictions that are older than `age`, and return their number.

        Their outcomes are deleted as well; the summaries that include them are kept. From then on
        predictions from before `now - age` are rejected, since they may already have been counted.
        If the process is killed, the next call deletes the rest.

        Args:
            age: the age up to which predictions are kept; above 0.
            now: the current time.
            pause_s: the pause between two transactions, in which other writers can acquire the
                lock; on SQLite they poll for it every 0.1 s.

        Raises:
            InvalidRequestError: the age is not above 0, so that new predictions would be rejected.
        """
        if age <= timedelta(0):
            raise InvalidRequestError("age", "more than 0", str(age))
        before_s = (now - age).timestamp()
        with self._database.writing() as connection:
            retention.forbid_older(connection, before_s)
        total = 0
        while True:
            with self._database.writing() as connection:
                deleted = retention.delete_oldest(connection, before_s, DELETED_AT_ONCE)
            total += deleted
            if deleted < DELETED_AT_ONCE:
                return total
            time.sleep(pause_s)

    def _find_rules(self, connection: Connection) -> Callable[[str], SummaryRules | None]:
        def find(experiment_id: str) -> SummaryRules | None:
            # The rules of an experiment never change: read them once.
            if experiment_id not in self._rules:
                experiment = experiments.find(connection, experiment_id)
                if experiment is None:
                    return None
                self._rules[experiment_id] = SummaryRules.of(experiment)
            return self._rules[experiment_id]

        return find
