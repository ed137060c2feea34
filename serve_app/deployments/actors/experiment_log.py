"""The experiment log: the cluster's single writer of predictions and outcomes, on the head node."""

import asyncio
import hashlib
import logging
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray.actor import ActorHandle

from registry.layout import Layout
from serve_app.deployments.actors.head_actor import head_actor
from serve_app.errors import StorageUnavailableError
from serve_app.experiments.blocks import Block
from serve_app.experiments.definition import EndReason, ExperimentDefinition, ExperimentStatus
from serve_app.experiments.history import HistoryEntry, RecordedOutcome, StoredExperiment
from serve_app.experiments.interim_analysis import InterimAnalysis, analyse_interim
from serve_app.experiments.recent_traffic import RecentTraffic
from serve_app.experiments.records import Outcome, PredictionRecord
from serve_app.experiments.store_errors import StoreError
from serve_app.settings import AppSettings

if TYPE_CHECKING:
    from serve_app.experiments.store import ExperimentLog, ExperimentStore

logger = logging.getLogger(__name__)

NAME_PREFIX = "experiments:"
RETENTION_PERIOD_S = 3600.0

UNKNOWN_GRACE_S = 1.0
"""How long an outcome waits for its prediction, which may still be in another router's outbox."""

LATE_ARRIVALS_S = 30.0
"""Time in which routers send the predictions that waited while the database was unavailable."""

CANARY_PERIOD_S = 0.7
"""Period of the commits that show whether the database can be written."""

CANARY_S = 0.6
"""Time after which such a commit counts as failed, so that health is accurate within 2 s."""

OPENING_S = 2.0
"""How long the actor's start waits for the database, and the delay between attempts to open it."""


class ExperimentLogActor:
    """Serves one database to the whole cluster; a call returns only once its data is committed.

    Ray repeats a call whose response was lost when the actor died: predictions and outcomes count
    once however often they are sent, and an experiment is created once per key.
    """

    async def __init__(self, url: str, keep_days: float) -> None:  # type: ignore[misc]  # Ray awaits it
        self._opened: tuple[ExperimentStore, ExperimentLog] | None = None
        self._problem: str | None = "the database is being opened"
        self._keep = timedelta(days=keep_days)
        self._recent: dict[str, RecentTraffic] = {}
        # In the background: Ray never restarts an actor whose start failed, and databases recover.
        self._first_attempt = asyncio.Event()
        self._maintenance = asyncio.get_running_loop().create_task(self._maintain(url))
        with suppress(TimeoutError):
            await asyncio.wait_for(self._first_attempt.wait(), OPENING_S)

    async def close(self) -> None:
        """End the background work."""
        self._maintenance.cancel()

    async def problem(self) -> str | None:
        """Return why nothing can be stored now, None while commits succeed; never waits."""
        return self._problem

    async def record_predictions(self, records: Sequence[PredictionRecord]) -> None:
        """Return once the predictions are committed."""
        await self._log.record_predictions(records)
        for record in records:
            if record.experiment_id is not None:
                self._recent.setdefault(record.experiment_id, RecentTraffic()).add(record)

    async def record_outcomes(self, outcomes: Sequence[Outcome]) -> list[RecordedOutcome]:
        """Return the result per outcome, once all are committed."""
        return await self._log.record_outcomes(outcomes)

    async def create(
        self,
        definition: ExperimentDefinition,
        started_at: datetime,
        application: str,
        by: str,
        key: str,
    ) -> bool:
        """Store a new, running experiment; False if the command with this key has done so."""
        return await asyncio.to_thread(
            self._store.create_experiment, definition, started_at, application, by, key
        )

    async def end(
        self, experiment_id: str, reason: EndReason, report: dict[str, Any], entry: HistoryEntry
    ) -> StoredExperiment:
        """End an experiment; if it has ended already, its first end is kept."""
        now_s = datetime.now(UTC).timestamp()
        # Others too, that ended before: a router may have recorded a last prediction since.
        self._recent = {
            name: recent
            for name, recent in self._recent.items()
            if name != experiment_id and not recent.is_over(now_s)
        }
        return await asyncio.to_thread(
            self._store.end_experiment, experiment_id, reason, report, entry
        )

    @ray.method(max_task_retries=0)
    async def note(self, experiment_id: str, entry: HistoryEntry) -> None:
        """Append an entry to an experiment's history."""
        await asyncio.to_thread(self._store.add_history, experiment_id, entry)

    async def experiment(self, experiment_id: str, application: str) -> StoredExperiment:
        """Return an experiment of an application."""
        return await asyncio.to_thread(self._store.experiment, experiment_id, application)

    async def experiments(self, application: str) -> list[StoredExperiment]:
        """Return an application's experiments, oldest first."""
        return await asyncio.to_thread(self._store.experiments, application)

    async def running(self, application: str) -> list[StoredExperiment]:
        """Return an application's running experiments."""
        return await asyncio.to_thread(self._store.running, application)

    async def history(self, experiment_id: str) -> list[HistoryEntry]:
        """Return an experiment's history, oldest entry first."""
        return await asyncio.to_thread(self._store.history, experiment_id)

    async def blocks(self, experiment_id: str) -> list[Block]:
        """Return an experiment's summaries, which include every prediction sent by now."""
        await self._log.flush()
        return await asyncio.to_thread(self._store.blocks, experiment_id)

    async def analyse(
        self,
        experiment: StoredExperiment,
        exposed_at: datetime,
        status: ExperimentStatus,
        at_planned_end: bool,
    ) -> InterimAnalysis:
        """Analyse an experiment in the process that holds its summaries."""
        experiment_id = experiment.definition.experiment_id
        blocks = await self.blocks(experiment_id)
        now_s = datetime.now(UTC).timestamp()
        windows = self._recent.get(experiment_id, RecentTraffic()).windows(now_s)
        return await asyncio.to_thread(
            analyse_interim,
            experiment,
            blocks,
            windows,
            exposed_at,
            status=status,
            at_planned_end=at_planned_end,
        )

    @property
    def _store(self) -> "ExperimentStore":
        return self._store_and_log()[0]

    @property
    def _log(self) -> "ExperimentLog":
        return self._store_and_log()[1]

    def _store_and_log(self) -> tuple["ExperimentStore", "ExperimentLog"]:
        if self._opened is None:
            raise StorageUnavailableError(str(self._problem))
        return self._opened

    async def _maintain(self, url: str) -> None:
        """Open the database, then write its canary and delete old predictions."""
        await self._open(url)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._write_canaries())
            tasks.create_task(self._delete_old_predictions())

    async def _open(self, url: str) -> None:
        # Imported here: the routers and the fleet import this module and need no database driver.
        from serve_app.experiments.store import ExperimentLog, ExperimentStore, LogLimits

        while self._opened is None:
            try:
                store = await asyncio.to_thread(ExperimentStore, url)
            except StoreError as error:
                self._problem = str(error)
                logger.error(  # noqa: TRY400
                    "experiment store not opened, next attempt in %g s: %s", OPENING_S, error
                )
                self._first_attempt.set()
                await asyncio.sleep(OPENING_S)
            else:
                limits = LogLimits(unknown_grace_s=UNKNOWN_GRACE_S, late_arrivals_s=LATE_ARRIVALS_S)
                self._opened = store, ExperimentLog(store, limits)
                self._problem = None
                self._first_attempt.set()

    async def _write_canaries(self) -> None:
        while True:
            problem = None
            try:
                async with asyncio.timeout(CANARY_S):
                    await self._log.write_canary()
                    problem = await asyncio.to_thread(self._store.shortage)
            except TimeoutError:
                problem = f"a commit takes longer than {CANARY_S:g} s"
            except StoreError as error:
                problem = str(error)
            # The canary survives any error; without it the problem would never change again.
            except Exception as error:  # noqa: BLE001
                problem = repr(error)
            if problem is not None and self._problem is None:
                logger.error("experiment store has a problem: %s", problem)
            elif problem is None and self._problem is not None:
                logger.info("experiment store has no problem any more")
            self._problem = problem
            await asyncio.sleep(CANARY_PERIOD_S)

    async def _delete_old_predictions(self) -> None:
        while True:
            try:
                now = datetime.now(UTC)
                await asyncio.to_thread(self._store.delete_older_than, self._keep, now=now)
            except StoreError:
                logger.exception("old predictions not deleted, next attempt in an hour")
            await asyncio.sleep(RETENTION_PERIOD_S)


def experiment_log(settings: AppSettings, application: str) -> ActorHandle[Any]:
    """Return the cluster's experiment log for the configured database; start it if necessary."""
    url = settings.experiments.database_url
    if url is None:
        url = f"sqlite:///{Layout(Path(settings.registry_root)).experiments(application)}"
    # Named by the URL's hash: a URL may contain a password, and Ray displays actor names.
    name = NAME_PREFIX + hashlib.sha256(url.encode()).hexdigest()[:16]
    return head_actor(ExperimentLogActor, name, url, settings.experiments.keep_days)
