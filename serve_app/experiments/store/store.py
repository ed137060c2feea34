"""The store: experiments, predictions and outcomes in a SQL database, and summaries of them."""

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Self

from sqlalchemy import Connection

from serve_app.errors import InvalidRequestError
from serve_app.experiments.blocks import Block
from serve_app.experiments.definition import EndReason, ExperimentDefinition
from serve_app.experiments.history import HistoryEntry, RecordedOutcome, StoredExperiment
from serve_app.experiments.records import Outcome, PredictionRecord
from serve_app.experiments.store import experiments, reading, retention, summaries, writing
from serve_app.experiments.store.engine import Database
from serve_app.experiments.store.reading import LabelledPrediction
from serve_app.experiments.store.summaries import SummaryRules
from serve_app.experiments.store.writing import WrittenPredictions

PAGE = 10_000
"""Predictions read in one transaction."""

DELETED_AT_ONCE = 2000
"""Predictions deleted in one transaction; some tens of ms during which nothing else is written."""


class ExperimentStore:
    """One database, opened. What a method that writes has returned is committed.

    A write that raises an UnavailableStoreError was not acknowledged, and may be repeated: each
    prediction and each outcome counts once. Methods may be called from several threads, and several
    processes may have the database open; they write one after the other.

    Args:
        url: `sqlite:///path/to/file.db` or `postgresql://user:password@host/database`.
        lock_timeout_s: how long a write waits for others to end theirs.

    Raises:
        InvalidUrlError: the URL names no database that the store can use.
        NewerSchemaError: newer software has written the database.
        UnavailableStoreError: the database cannot be opened or written.
    """

    def __init__(self, url: str, *, lock_timeout_s: float = 30.0) -> None:
        self._database = Database(url, lock_timeout_s)
        self._rules: dict[str, SummaryRules] = {}
        # Here, since Alembic takes 0.2 s to import, and routers and the fleet open no store.
        from serve_app.experiments.store.migrate import migrate

        try:
            migrate(self._database)
        except BaseException:
            self._database.close()
            raise

    @property
    def url(self) -> str:
        """The database's URL, without its password."""
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
    ) -> None:
        """Store a new, running experiment; `created` is the first entry of its history.

        Args:
            definition: what it is; its id is unique in the database.
            started_at: when.
            application: which one carries it through; without one, every application does.

        Raises:
            ExperimentExistsError: an experiment of that id exists.
            ModelInExperimentError: another experiment of the application is running on control's
                model.
        """
        with self._database.writing() as connection:
            experiments.create(connection, definition, started_at, application)

    def end_experiment(
        self,
        experiment_id: str,
        reason: EndReason,
        final_report: dict[str, Any],
        entry: HistoryEntry,
    ) -> StoredExperiment:
        """End an experiment and return it; where it has ended already, the first end stands.

        Raises:
            UnknownExperimentError: there is none of that id.
        """
        with self._database.writing() as connection:
            return experiments.end(connection, experiment_id, reason, final_report, entry)

    def add_history(self, experiment_id: str, entry: HistoryEntry) -> None:
        """Add an entry to an experiment's history.

        Raises:
            UnknownExperimentError: there is none of that id.
        """
        with self._database.writing() as connection:
            experiments.add_history(connection, experiment_id, entry)

    def experiment(self, experiment_id: str, application: str | None = None) -> StoredExperiment:
        """Return an experiment, of any application where none is named.

        Raises:
            UnknownExperimentError: there is none of that id.
        """
        with self._database.reading() as connection:
            return experiments.get(connection, experiment_id, application)

    def experiments(self, application: str | None = None) -> list[StoredExperiment]:
        """Return an application's experiments, or everybody's, the oldest first."""
        with self._database.reading() as connection:
            return experiments.list_all(connection, application)

    def running(self, application: str | None = None) -> list[StoredExperiment]:
        """Return those that run, the oldest first."""
        with self._database.reading() as connection:
            return experiments.running(connection, application)

    def history(self, experiment_id: str) -> list[HistoryEntry]:
        """Return what happened to an experiment, the oldest first.

        Raises:
            UnknownExperimentError: there is none of that id.
        """
        with self._database.reading() as connection:
            return experiments.history(connection, experiment_id)

    def write_predictions(self, records: Sequence[PredictionRecord]) -> WrittenPredictions:
        """Write predictions in one transaction; those that are stored already count once."""
        with self._database.writing() as connection:
            return writing.write_predictions(connection, records, self._find_rules(connection))

    def record_outcomes(self, outcomes: Sequence[Outcome]) -> list[RecordedOutcome]:
        """Store outcomes in one transaction; return what became of each, in the same order."""
        with self._database.writing() as connection:
            return writing.record_outcomes(connection, outcomes, self._find_rules(connection))

    def blocks(self, experiment_id: str) -> list[Block]:
        """Return the experiment's summaries in order of time.

        They hold every prediction and outcome that was acknowledged. A month makes some 1,200,
        however many predictions they stand for.

        Raises:
            UnknownExperimentError: there is none of that id.
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
        """Give predictions with their outcomes in order of time, in constant memory.

        Args:
            experiment_id: of one experiment; by default of all, and those outside experiments.
            since: not before this.
            until: before this.
        """
        for page in reading.read_pages(self._database, experiment_id, since, until, PAGE):
            yield from page

    def delete_older_than(self, age: timedelta, *, now: datetime, pause_s: float = 0.1) -> int:
        """Delete predictions older than an age, and return how many there were.

        Their outcomes go too; what they added to the summaries stays. From then on a prediction
        from before `now - age` is refused, since it may have been counted before. Killed in
        between, the next call deletes the rest.

        Args:
            age: above 0; what is younger stays.
            now: the present.
            pause_s: between two transactions, so that other writers get their turn; SQLite's wait
                up to 0.1 s before they look again.

        Raises:
            InvalidRequestError: the age is not above 0: predictions to come would be refused.
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
            # They never change, so that one read is enough.
            if experiment_id not in self._rules:
                experiment = experiments.find(connection, experiment_id)
                if experiment is None:
                    return None
                self._rules[experiment_id] = SummaryRules.of(experiment)
            return self._rules[experiment_id]

        return find
