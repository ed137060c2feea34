"""Begins, watches and ends experiments: what is decided in `experiments` is brought about here.

The book on the disk says which experiments run; the fleet's state, which divides the traffic,
follows it, so that whoever dies in between, the next look puts it right.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from serve_app.control_plane.reconciler import Fleet
from serve_app.errors import (
    ExperimentConflictError,
    FleetUnavailableError,
    NotRegisteredError,
    ServingError,
)
from serve_app.experiments.analysis import Analysis
from serve_app.experiments.decision import Action
from serve_app.experiments.definition import (
    EndReason,
    ExperimentDefinition,
    ExperimentStatus,
)
from serve_app.experiments.exposure import ExposureStep, next_share, with_recorded_exposure
from serve_app.experiments.history import HistoryEntry, StoredExperiment
from serve_app.experiments.interim_analysis import InterimAnalysis
from serve_app.experiments.lifecycle import check_new, check_variants, with_dead_band
from serve_app.experiments.running import RunningExperiment
from serve_app.versions import VersionRef

logger = logging.getLogger(__name__)

TEND_PERIOD_S = 1.0
"""How long evidence waits for its verdict, at most and beside what the analysis takes."""


class Book(Protocol):
    """The experiments on the disk; every method raises the leaves of ServingError."""

    async def create(self, definition: ExperimentDefinition, started_at: datetime) -> None:
        """Write down a new, running experiment."""

    async def end(
        self, experiment_id: str, reason: EndReason, report: dict[str, Any], entry: HistoryEntry
    ) -> StoredExperiment:
        """End an experiment; where it has ended already, the first end stands."""

    async def note(self, experiment_id: str, entry: HistoryEntry) -> None:
        """Add to an experiment's history."""

    async def experiment(self, experiment_id: str) -> StoredExperiment:
        """Return an experiment."""

    async def running(self) -> Sequence[StoredExperiment]:
        """Return those that run."""

    async def history(self, experiment_id: str) -> Sequence[HistoryEntry]:
        """Return what happened to an experiment, the oldest first."""

    async def analyse(
        self,
        experiment: StoredExperiment,
        exposed_at: datetime,
        *,
        status: ExperimentStatus = ExperimentStatus.RUNNING,
        at_planned_end: bool = False,
    ) -> InterimAnalysis:
        """Analyse what is known of an experiment by now."""


Promote = Callable[[str, str, str, str], Awaitable[None]]
"""Puts a version into production: model, version, by whom, why."""


class Conductor:
    """Carries experiments through.

    Args:
        fleet: loads the variants and divides the traffic.
        book: keeps the experiments.
        promote: puts a version into production in the registry.
        now: the present, with a time zone.
    """

    def __init__(
        self,
        fleet: Fleet,
        book: Book,
        promote: Promote,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._fleet = fleet
        self._book = book
        self._promote = promote
        self._now = now
        self._sleep = sleep
        self._tending = asyncio.Lock()
        self._ended: set[str] = set()
        self._promotions: dict[str, Mapping[str, Any] | None] = {}
        """By experiment the analysis that its promotion was begun with, once that was looked up."""

    async def create(self, definition: ExperimentDefinition) -> ExperimentDefinition:
        """Load both variants, store the experiment, and return once every router splits traffic.

        Where a router does not follow, the split is taken back: no experiment is acknowledged while
        some requests are outside it.

        Returns:
            The definition, with the dead band that the control declares where none was given.

        Raises:
            ServingError: the definition is refused, a variant is not registered, does not load or
                takes other windows than the other one, the id is taken, or the model is in another
                experiment.
            UnconfirmedStateError: a router does not follow what is served already; nothing was
                stored.
            ExperimentConflictError: also if the experiment was stopped again at its start.
        """
        check_new(definition)
        control = await self._fleet.find(
            definition.control_model_name, definition.control_model_version
        )
        treatment = await self._fleet.find(
            definition.treatment_model_name, definition.treatment_model_version
        )
        check_variants(definition, control, treatment)
        for running in self._fleet.state.experiments:
            if running.definition.control_model_name == definition.control_model_name:
                problem = (
                    f"experiment {running.experiment_id!r} is running on model "
                    f"{definition.control_model_name!r}, and a model is in one experiment at a "
                    f"time; stop that one first"
                )
                raise ExperimentConflictError(definition.experiment_id, problem)
        definition = with_dead_band(definition, control, treatment)
        with self._fleet.holding(str(VersionRef.of(control)), str(VersionRef.of(treatment))):
            for metadata in (control, treatment):
                await self._fleet.load(metadata)
            # Before anything is stored: a router that is behind already would miss the split, too.
            await self._fleet.confirm()
            async with self._tending:
                await self._book.create(definition, self._now())
            try:
                async with self._tending:
                    await self._follow_book()
                    self._expect_split(definition.experiment_id)
                await self._fleet.confirm()
            except Exception as error:
                await self._take_back(definition.experiment_id, error)
                problem = (
                    f"experiment {definition.experiment_id!r} was stopped at its start, since not "
                    f"every router splits its traffic: {error}; create it under another id"
                )
                raise ExperimentConflictError(definition.experiment_id, problem) from error
        return definition

    def _expect_split(self, experiment_id: str) -> None:
        if all(each.experiment_id != experiment_id for each in self._fleet.state.experiments):
            raise FleetUnavailableError(f"experiment {experiment_id!r} does not split traffic")

    async def _take_back(self, experiment_id: str, error: Exception) -> None:
        """Stop an experiment whose traffic not every router splits."""
        logger.error("experiment %s is stopped at its start: %s", experiment_id, error)
        async with self._tending:
            experiment = await self._book.experiment(experiment_id)
            await self._end(experiment, EndReason.STOPPED, "stopped")

    async def stop(self, experiment_id: str) -> dict[str, Any]:
        """End an experiment by hand and return its final analysis; of an ended one, its last.

        Raises:
            NoSuchExperimentError: there is none of that id.
            UnconfirmedStateError: it is ended, but a router does not follow in time and may still
                split traffic.
        """
        async with self._tending:
            experiment = await self._book.experiment(experiment_id)
            report = await self._end(experiment, EndReason.STOPPED, "stopped")
        await self._fleet.confirm()
        return report

    async def tend_for_ever(self) -> None:
        """Watch over the experiments until another fleet takes over."""
        while not self._fleet.superseded:
            try:
                await self.tend()
            except ServingError as error:
                logger.warning("the experiments wait: %s", error)
            except Exception:
                # Whatever it is, the watch goes on: a rollback may be due any moment.
                logger.exception("the experiments could not be tended")
            await self._sleep(TEND_PERIOD_S)

    async def tend(self) -> None:
        """Let the traffic follow the book, and carry out what the evidence asks for."""
        async with self._tending:
            for experiment in await self._follow_book():
                try:
                    await self._judge(experiment)
                except Exception:
                    # One that cannot be judged must not keep another from its rollback.
                    name = experiment.definition.experiment_id
                    logger.exception("experiment %s could not be judged", name)

    async def _follow_book(self) -> Sequence[StoredExperiment]:
        experiments = await self._book.running()
        known = {each.experiment_id: each for each in self._fleet.state.experiments}
        running = []
        for each in experiments:
            name = each.definition.experiment_id
            present = known.get(name)
            if name in self._ended or self._age_s(each) >= each.definition.duration_s:
                continue  # of the latter the last outcomes are awaited
            if present is not None and present.keys <= self._fleet.state.keys:
                running.append(present)
                continue
            try:
                await self._load_variants(each.definition)
            except ServingError as error:
                # Its requests go to production until it can go on; the others are not held up.
                logger.error("experiment %s is suspended: %s", name, error)  # noqa: TRY400
                continue
            if present is None:
                present = with_recorded_exposure(each, await self._book.history(name))
            running.append(present)
        await self._fleet.divide(running)
        divided = {each.experiment_id for each in running}
        return [
            each
            for each in experiments
            if each.definition.experiment_id in divided
            or (
                each.definition.experiment_id not in self._ended
                and self._age_s(each) >= each.definition.duration_s
            )
        ]

    def _age_s(self, experiment: StoredExperiment) -> float:
        return (self._now() - experiment.started_at).total_seconds()

    async def _load_variants(self, definition: ExperimentDefinition) -> None:
        for model, version in (
            (definition.control_model_name, definition.control_model_version),
            (definition.treatment_model_name, definition.treatment_model_version),
        ):
            await self._fleet.load(await self._fleet.find(model, version))

    async def _judge(self, experiment: StoredExperiment) -> None:
        definition = experiment.definition
        if definition.auto_apply and (begun := await self._begun_promotion(experiment)):
            await self._promote_treatment(experiment, begun)
            return
        age_s = self._age_s(experiment)
        if age_s >= definition.duration_s:
            # The last predictions' outcomes come one horizon after the traffic ended.
            if age_s >= definition.duration_s + (definition.horizon_s or 0.0):
                look = await self._book.analyse(experiment, self._now(), at_planned_end=True)
                if not await self._apply(experiment, look.analysis):
                    await self._end(experiment, EndReason.DURATION, "ended", look.analysis.document)
            return
        if not definition.auto_apply and not definition.exposure_steps:
            return
        running = self._running(definition.experiment_id)
        look = await self._book.analyse(experiment, running.exposed_at)
        promotes = look.analysis.recommendation.action is Action.PROMOTE
        if promotes and await self._fleet.is_tripped(definition.experiment_id):
            return  # it earned it, and fails at present: nobody would stand in for it any more
        if not await self._apply(experiment, look.analysis):
            await self._expose(experiment, running, look)

    async def _apply(self, experiment: StoredExperiment, analysis: Analysis) -> bool:
        """Carry out a verdict where that was asked for; return whether that ended it."""
        definition = experiment.definition
        action = analysis.recommendation.action
        if not definition.auto_apply or action is Action.CONTINUE:
            return False
        if action is Action.ROLLBACK:
            await self._end(experiment, EndReason.ROLLED_BACK, "rolled_back", analysis.document)
            return True
        # Written down first: whoever carries it on takes no second look to come to another verdict.
        verdict = {
            **analysis.document,
            "recommendation": {
                "action": action.value,
                "reasons": list(analysis.recommendation.reasons),
            },
        }
        name = definition.experiment_id
        entry = HistoryEntry(time=self._now(), action="promoting", details={"analysis": verdict})
        await self._book.note(name, entry)
        self._promotions[name] = verdict
        await self._promote_treatment(experiment, verdict)
        return True

    async def _begun_promotion(self, experiment: StoredExperiment) -> Mapping[str, Any] | None:
        """Return the analysis that a promotion was begun with, by this fleet or one before it."""
        name = experiment.definition.experiment_id
        if name not in self._promotions:
            self._promotions[name] = next(
                (
                    entry.details["analysis"]
                    for entry in await self._book.history(name)
                    if entry.action == "promoting"
                ),
                None,
            )
        return self._promotions[name]

    async def _promote_treatment(
        self, experiment: StoredExperiment, verdict: Mapping[str, Any]
    ) -> None:
        """Promote, reload and end; may be repeated. Nobody's later promotion is undone."""
        definition = experiment.definition
        model, version = definition.treatment_model_name, definition.treatment_model_version
        holder = await self._production(model)
        if holder not in (definition.control_model_version, version):
            reason = (
                f"Not promoted: {definition.control} was compared with, and production of {model} "
                f"is {holder or 'nothing'} now."
            )
            said = verdict["recommendation"]
            verdict = {
                **verdict,
                "recommendation": {**said, "reasons": [*said["reasons"], reason]},
            }
            await self._end(experiment, EndReason.SUPERSEDED, "superseded", verdict)
            return
        if holder != version:
            reasons = " ".join(verdict["recommendation"]["reasons"])
            await self._promote(model, version, f"experiment {definition.experiment_id}", reasons)
        await self._fleet.reload(model, version)
        await self._end(experiment, EndReason.PROMOTED, "promoted", verdict)

    async def _production(self, model: str) -> str | None:
        try:
            return (await self._fleet.find(model, "production")).version
        except NotRegisteredError:
            return None

    async def _expose(
        self, experiment: StoredExperiment, running: RunningExperiment, look: InterimAnalysis
    ) -> None:
        """Give treatment the next share of the traffic where it has earned it."""
        stage = ExposureStep(
            share=running.treatment_share,
            age_s=(self._now() - running.exposed_at).total_seconds(),
            treatment_predictions=look.treatment_predictions,
        )
        share = next_share(
            experiment.definition,
            stage,
            look.analysis.evidence,
            look.analysis.recommendation,
            breaker_closed=not await self._fleet.is_tripped(running.experiment_id),
        )
        if share == running.treatment_share:
            return
        now = self._now()
        details = {"share": share, "before": running.treatment_share}
        entry = HistoryEntry(time=now, action="exposed", details=details)
        await self._book.note(running.experiment_id, entry)
        exposed = running.model_copy(update={"treatment_share": share, "exposed_at": now})
        await self._fleet.divide(
            [
                exposed if each.experiment_id == running.experiment_id else each
                for each in self._fleet.state.experiments
            ]
        )

    async def _end(
        self,
        experiment: StoredExperiment,
        reason: EndReason,
        action: str,
        document: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Stop treatment's traffic first, then write the end down; return the final analysis."""
        experiment_id = experiment.definition.experiment_id
        if experiment.status is ExperimentStatus.COMPLETED:
            return experiment.final_report or {}
        # Until it is written down: it must not begin again when that takes a while.
        self._ended.add(experiment_id)
        await self._fleet.divide(
            [each for each in self._fleet.state.experiments if each.experiment_id != experiment_id]
        )
        if document is None:
            document = (await self._book.analyse(experiment, self._now())).analysis.document
        report = {**document, "status": ExperimentStatus.COMPLETED.value}
        entry = HistoryEntry(time=self._now(), action=action, details={"analysis": report})
        ended = await self._book.end(experiment_id, reason, report, entry)
        self._ended.discard(experiment_id)
        self._promotions.pop(experiment_id, None)
        logger.info("experiment %s has ended: %s", experiment_id, action)
        return ended.final_report or report

    def _running(self, experiment_id: str) -> RunningExperiment:
        return next(
            each for each in self._fleet.state.experiments if each.experiment_id == experiment_id
        )
