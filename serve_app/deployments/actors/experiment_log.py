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
from ray.exceptions import RayError, RayTaskError

from registry.layout import Layout
from serve_app.control_plane.experiment_controller import Look
from serve_app.deployments.actors.registry import HEAD_NODE, NAMESPACE
from serve_app.errors import (
    ExperimentConflictError,
    NoSuchExperimentError,
    ServingError,
    StorageUnavailableError,
)
from serve_app.experiments.analysis import analyse
from serve_app.experiments.blocks import Block, BlockClock
from serve_app.experiments.definition import EndReason, ExperimentDefinition, ExperimentStatus
from serve_app.experiments.history import HistoryEntry, RecordedOutcome, StoredExperiment
from serve_app.experiments.recent_traffic import RecentTraffic, Window
from serve_app.experiments.records import Outcome, PredictionRecord
from serve_app.experiments.running import RunningExperiment
from serve_app.experiments.store_errors import (
    ExperimentExistsError,
    ModelInExperimentError,
    StoreError,
    UnknownExperimentError,
)
from serve_app.settings import AppSettings

if TYPE_CHECKING:
    from serve_app.experiments.store import ExperimentLog, ExperimentStore

logger = logging.getLogger(__name__)

NAME_PREFIX = "experiments:"
RETENTION_PERIOD_S = 3600.0

UNKNOWN_GRACE_S = 1.0
"""How long an outcome waits for its prediction, which another router may still hold."""


OPENING_S = 2.0
"""How long a start waits for the database, and how long until it is tried again."""


class ExperimentLogActor:
    """Serves one database to the whole cluster; what has returned is committed.

    Ray repeats a call whose answer was lost when the actor died: predictions and outcomes count
    once however often they are sent.
    """

    async def __init__(self, url: str, keep_days: float) -> None:  # type: ignore[misc]  # Ray awaits it
        self._opened: tuple[ExperimentStore, ExperimentLog] | None = None
        self._problem = "the database is being opened"
        self._keep = timedelta(days=keep_days)
        self._recent: dict[str, RecentTraffic] = {}
        # In the background: an actor whose start fails is dead for good, and a database comes back.
        self._tried = asyncio.Event()
        self._working = asyncio.get_running_loop().create_task(self._work(url))
        with suppress(TimeoutError):
            await asyncio.wait_for(self._tried.wait(), OPENING_S)

    async def record_predictions(self, records: Sequence[PredictionRecord]) -> None:
        """Return when they are committed."""
        await self._log.record_predictions(records)
        for record in records:
            if record.experiment_id is not None:
                self._recent.setdefault(record.experiment_id, RecentTraffic()).add(record)

    async def record_outcomes(self, outcomes: Sequence[Outcome]) -> list[RecordedOutcome]:
        """Return what became of each, once it is committed."""
        return await self._log.record_outcomes(outcomes)

    @ray.method(max_task_retries=0)
    async def create(
        self, definition: ExperimentDefinition, started_at: datetime, application: str
    ) -> None:
        """Write down a new, running experiment."""
        await asyncio.to_thread(self._store.create_experiment, definition, started_at, application)

    async def end(
        self, experiment_id: str, reason: EndReason, report: dict[str, Any], entry: HistoryEntry
    ) -> StoredExperiment:
        """End an experiment; the first end stands."""
        self._recent.pop(experiment_id, None)
        return await asyncio.to_thread(
            self._store.end_experiment, experiment_id, reason, report, entry
        )

    @ray.method(max_task_retries=0)
    async def note(self, experiment_id: str, entry: HistoryEntry) -> None:
        """Add to an experiment's history."""
        await asyncio.to_thread(self._store.add_history, experiment_id, entry)

    async def experiment(self, experiment_id: str, application: str) -> StoredExperiment:
        """Return an experiment of an application."""
        return await asyncio.to_thread(self._store.experiment, experiment_id, application)

    async def experiments(self, application: str) -> list[StoredExperiment]:
        """Return an application's experiments, the oldest first."""
        return await asyncio.to_thread(self._store.experiments, application)

    async def running(self, application: str) -> list[StoredExperiment]:
        """Return those that run."""
        return await asyncio.to_thread(self._store.running, application)

    async def history(self, experiment_id: str) -> list[HistoryEntry]:
        """Return what happened to an experiment."""
        return await asyncio.to_thread(self._store.history, experiment_id)

    async def blocks(self, experiment_id: str) -> list[Block]:
        """Return an experiment's summaries, with every prediction that was sent so far."""
        await self._log.flush()
        return await asyncio.to_thread(self._store.blocks, experiment_id)

    async def look(
        self,
        experiment: StoredExperiment,
        since: datetime,
        status: ExperimentStatus,
        at_planned_end: bool,
    ) -> Look:
        """Analyse an experiment where its summaries are."""
        name = experiment.definition.experiment_id
        blocks = await self.blocks(name)
        now_s = datetime.now(UTC).timestamp()
        recent = self._recent.get(name, RecentTraffic()).windows(now_s)
        return await asyncio.to_thread(
            _look, experiment, blocks, recent, since, status, at_planned_end
        )

    @property
    def _store(self) -> "ExperimentStore":
        return self._parts()[0]

    @property
    def _log(self) -> "ExperimentLog":
        return self._parts()[1]

    def _parts(self) -> tuple["ExperimentStore", "ExperimentLog"]:
        if self._opened is None:
            raise StorageUnavailableError(self._problem)
        return self._opened

    async def _work(self, url: str) -> None:
        # Only here: what talks to databases is not for the processes that ask this actor.
        from serve_app.experiments.store import ExperimentLog, ExperimentStore, LogLimits

        while self._opened is None:
            try:
                store = await asyncio.to_thread(ExperimentStore, url)
            except StoreError as error:
                self._problem = str(error)
                logger.error("the store of experiments is tried again: %s", error)  # noqa: TRY400
                self._tried.set()
                await asyncio.sleep(OPENING_S)
            else:
                limits = LogLimits(unknown_grace_s=UNKNOWN_GRACE_S)
                self._opened = store, ExperimentLog(store, limits)
                self._tried.set()
        while True:
            try:
                now = datetime.now(UTC)
                await asyncio.to_thread(self._store.delete_older_than, self._keep, now=now)
            except StoreError:
                logger.exception("old predictions could not be deleted; next try in an hour")
            await asyncio.sleep(RETENTION_PERIOD_S)


def experiment_log(settings: AppSettings, application: str) -> ActorHandle[Any]:
    """Return the cluster's experiment log for the configured database, started if there is none."""
    url = settings.experiments.database_url
    if url is None:
        url = f"sqlite:///{Layout(Path(settings.registry_root)).experiments(application)}"
    # By its hash: a URL may hold a password, and names are shown.
    name = NAME_PREFIX + hashlib.sha256(url.encode()).hexdigest()[:16]
    remote: Any = ray.remote(ExperimentLogActor)
    actor: ActorHandle[Any] = remote.options(
        name=name,
        namespace=NAMESPACE,
        lifetime="detached",
        get_if_exists=True,
        num_cpus=0,
        resources={HEAD_NODE: 0.001},
        max_restarts=-1,
        max_task_retries=3,
        max_concurrency=1000,
    ).remote(url, settings.experiments.keep_days)
    return actor


class ActorBook:
    """An application's experiments behind the log's actor; its errors come out as ours."""

    def __init__(self, actor: ActorHandle[Any], application: str) -> None:
        self._actor = actor
        self._application = application

    async def create(self, definition: ExperimentDefinition, started_at: datetime) -> None:
        """Write down a new, running experiment."""
        await self._ask("create", definition, started_at, self._application)

    async def end(
        self, experiment_id: str, reason: EndReason, report: dict[str, Any], entry: HistoryEntry
    ) -> StoredExperiment:
        """End an experiment; the first end stands."""
        ended: StoredExperiment = await self._ask("end", experiment_id, reason, report, entry)
        return ended

    async def note(self, experiment_id: str, entry: HistoryEntry) -> None:
        """Add to an experiment's history."""
        await self._ask("note", experiment_id, entry)

    async def experiment(self, experiment_id: str) -> StoredExperiment:
        """Return an experiment."""
        found: StoredExperiment = await self._ask("experiment", experiment_id, self._application)
        return found

    async def experiments(self) -> Sequence[StoredExperiment]:
        """Return all experiments, the oldest first."""
        found: list[StoredExperiment] = await self._ask("experiments", self._application)
        return found

    async def running(self) -> Sequence[StoredExperiment]:
        """Return those that run."""
        found: list[StoredExperiment] = await self._ask("running", self._application)
        return found

    async def history(self, experiment_id: str) -> Sequence[HistoryEntry]:
        """Return what happened to an experiment."""
        found: list[HistoryEntry] = await self._ask("history", experiment_id)
        return found

    async def blocks(self, experiment_id: str) -> Sequence[Block]:
        """Return an experiment's summaries."""
        found: list[Block] = await self._ask("blocks", experiment_id)
        return found

    async def exposure(self, experiment: StoredExperiment) -> RunningExperiment:
        """Return a running experiment with the share that its history gives treatment."""
        definition = experiment.definition
        share, since = definition.first_share, experiment.started_at
        for entry in await self.history(definition.experiment_id):
            if entry.action == "exposed":
                share, since = entry.details["share"], entry.time
        return RunningExperiment(definition=definition, treatment_share=share, exposed_at=since)

    async def look(
        self,
        experiment: StoredExperiment,
        since: datetime,
        *,
        status: ExperimentStatus = ExperimentStatus.RUNNING,
        at_planned_end: bool = False,
    ) -> Look:
        """Analyse what is known of an experiment by now."""
        look: Look = await self._ask("look", experiment, since, status, at_planned_end)
        return look

    async def record_outcomes(self, outcomes: Sequence[Outcome]) -> Sequence[RecordedOutcome]:
        """Return what became of each, once it is committed."""
        recorded: list[RecordedOutcome] = await self._ask("record_outcomes", outcomes)
        return recorded

    async def _ask(self, method: str, *args: object) -> Any:  # noqa: ANN401
        try:
            return await getattr(self._actor, method).remote(*args)
        except RayTaskError as error:
            raise _ours(error) from error
        except RayError as error:
            raise StorageUnavailableError(f"the experiment log died: {error}"[:200]) from error


class Outbox:
    """A router's predictions on their way to the log, in groups, off the request path.

    What the log has not acknowledged is sent again. While it is away predictions wait, up to a
    limit; beyond it they are dropped, counted and logged.
    """

    PERIOD_S = 0.1
    GROUP = 1000
    LIMIT = 100_000

    def __init__(self, actor: ActorHandle[Any], record_all: bool) -> None:
        self._actor = actor
        self._record_all = record_all
        self._waiting: list[PredictionRecord] = []
        self._sending = asyncio.Lock()
        self._dropped = 0

    def record(self, record: PredictionRecord) -> None:
        """Note a prediction."""
        if record.experiment_id is None and not self._record_all:
            return
        if len(self._waiting) >= self.LIMIT:
            if self._dropped == 0:
                logger.error("predictions are not recorded: %d wait for the log", self.LIMIT)
            self._dropped += 1
            return
        self._waiting.append(record)

    async def send_for_ever(self) -> None:
        """Send what waits, ten times a second."""
        while True:
            await asyncio.sleep(self.PERIOD_S)
            await self.send()

    async def send(self) -> None:
        """Send what waits now; what is not acknowledged stays."""
        async with self._sending:
            while self._waiting:
                group = self._waiting[: self.GROUP]
                try:
                    await self._actor.record_predictions.remote(group)
                except RayError as error:
                    logger.warning("%d predictions wait for the log: %r", len(self._waiting), error)
                    return
                del self._waiting[: len(group)]
                if self._dropped and len(self._waiting) < self.LIMIT:
                    logger.error("%d predictions were not recorded", self._dropped)
                    self._dropped = 0


def _look(
    experiment: StoredExperiment,
    blocks: Sequence[Block],
    recent: Sequence[Window],
    since: datetime,
    status: ExperimentStatus,
    at_planned_end: bool,
) -> Look:
    clock = BlockClock.of(experiment.definition, experiment.started_at)
    analysis = analyse(
        experiment.definition,
        clock,
        blocks,
        status=status,
        at_planned_end=at_planned_end,
        recent=recent,
    )
    # Blocks that had begun by then are left out: they hold predictions of the stage before.
    treated = sum(
        each.treatment.predictions
        for each in blocks
        if clock.start_s(each.block) >= since.timestamp()
    )
    return Look(analysis, treated)


def _ours(error: RayTaskError) -> Exception:
    """Return what the log refuses or fails at, as an error of serving."""
    cause = error.cause
    if isinstance(cause, UnknownExperimentError):
        return NoSuchExperimentError(cause.experiment_id, str(cause))
    if isinstance(cause, ExperimentExistsError | ModelInExperimentError):
        return ExperimentConflictError(cause.experiment_id, str(cause))
    if isinstance(cause, StoreError):
        return StorageUnavailableError(str(cause))
    return cause if isinstance(cause, ServingError) else error
