"""Starts, reconciles and ends experiments; `experiment_steps` decides, this module executes.

The experiment store holds which experiments run. The serving state, by which routers split traffic,
follows the store: a change that a crash has interrupted is completed by the next reconciliation.
"""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from serve_app.access.tokens import ANONYMOUS
from serve_app.control_plane.experiment_steps import (
    Analyse,
    BeginPromotion,
    End,
    Expose,
    ObserveBreaker,
    Production,
    Promote,
    ReadProduction,
    Reload,
    Situation,
    Wait,
    next_step,
)
from serve_app.control_plane.fleet import Fleet
from serve_app.control_plane.ports import ExperimentStoreClient
from serve_app.errors import (
    ExperimentConflictError,
    FleetUnavailableError,
    NotRegisteredError,
    ServingError,
)
from serve_app.experiments.definition import EndReason, ExperimentDefinition, ExperimentStatus
from serve_app.experiments.exposure import with_recorded_exposure
from serve_app.experiments.history import HistoryEntry, StoredExperiment
from serve_app.experiments.lifecycle import check_new, check_variants, with_dead_band
from serve_app.experiments.running import RunningExperiment
from serve_app.versions import VersionRef

logger = logging.getLogger(__name__)

EVALUATION_PERIOD_S = 1.0
"""Longest wait of evidence for an analysis, in addition to the duration of the analyses."""


Promotion = Callable[[str, str, str, str], Awaitable[None]]
"""Promotes a version to production, given model, version, author and reason."""


class ExperimentController:
    """Runs the experiments of one application.

    Args:
        fleet: loads the variants and splits the traffic.
        store: holds the experiments.
        promote: promotes a version in the registry.
        now: returns the time, with a time zone.
        sleep: waits for a number of seconds.
    """

    def __init__(
        self,
        fleet: Fleet,
        store: ExperimentStoreClient,
        promote: Promotion,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._fleet, self._store, self._promote = fleet, store, promote
        self._now, self._sleep = now, sleep
        self._changing = asyncio.Lock()
        self._endings: dict[str, End] = {}
        """The ends in progress, which are not recorded yet; these experiments split no traffic."""
        self._promotions: dict[str, Mapping[str, Any] | None] = {}
        """The analysis document of each promotion in progress, once it has been read."""

    async def create(
        self, definition: ExperimentDefinition, by: str = ANONYMOUS, key: str | None = None
    ) -> ExperimentDefinition:
        """Load both variants, store the experiment, and return once every router splits traffic.

        If a router does not follow, the split is reverted: no experiment is acknowledged while some
        requests are outside it. A command whose first attempt has stored the experiment, but whose
        response was lost, confirms the split and never ends it.

        Args:
            definition: the experiment.
            by: its author.
            key: the same for every attempt of the author's command; None if there is only one.

        Returns:
            The definition, with the dead band that the models declare unless it states one.

        Raises:
            ServingError: the definition is rejected, a variant is not registered, does not load or
                has another input shape than the other one, the id is taken, or the model is in
                another experiment.
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
        self._require_free_model(definition)
        definition = with_dead_band(definition, control, treatment)
        with self._fleet.holding(VersionRef.of(control), VersionRef.of(treatment)):
            for metadata in (control, treatment):
                await self._fleet.load(metadata)
            # Checked before anything is stored: a router that is already behind would miss the
            # split too.
            await self._fleet.confirm()
            async with self._changing:
                is_new = await self._store.create(
                    definition, self._now(), by, key or uuid.uuid4().hex
                )
            if is_new:
                await self._start(definition.experiment_id)
            else:
                await self._split(definition.experiment_id)
        return definition

    async def stop(self, experiment_id: str, by: str = ANONYMOUS) -> dict[str, Any]:
        """End an experiment and return its final analysis; for an ended one, return its last
        analysis.

        Raises:
            NoSuchExperimentError: no experiment has that id.
            UnconfirmedStateError: it is ended, but a router does not follow in time and may still
                split traffic.
        """
        async with self._changing:
            experiment = await self._store.experiment(experiment_id)
            end = End(EndReason.STOPPED, "stopped")
            report = await self._end(experiment, end, {"by": by})
        await self._fleet.confirm()
        return report

    async def reconcile_forever(self) -> None:
        """Reconcile once per period until another fleet takes over."""
        while not self._fleet.superseded:
            try:
                await self.reconcile()
            except ServingError as error:
                logger.warning("experiment reconciliation interrupted: %s", error)
            except Exception:
                # The loop survives any error: a rollback may be due at any moment.
                logger.exception("experiment reconciliation failed")
            await self._sleep(EVALUATION_PERIOD_S)

    async def reconcile(self) -> None:
        """Align the traffic with the store, then take the steps that the evidence requires."""
        async with self._changing:
            for experiment in await self._follow_store():
                try:
                    await self._advance(experiment)
                except Exception:
                    # One experiment that cannot be evaluated must not delay another's rollback.
                    name = experiment.definition.experiment_id
                    logger.exception("experiment %s not evaluated", name)

    def _require_free_model(self, definition: ExperimentDefinition) -> None:
        model = definition.control_model_name
        for running in self._fleet.state.experiments:
            # One with the same id is left to the store, which recognises a repeated command.
            is_other = running.experiment_id != definition.experiment_id
            if is_other and running.definition.control_model_name == model:
                problem = (
                    f"experiment {running.experiment_id!r} is running on model {model!r}, and a "
                    f"model is in one experiment at a time; stop that one first"
                )
                raise ExperimentConflictError(definition.experiment_id, problem)

    async def _start(self, experiment_id: str) -> None:
        """Return once every router splits the traffic of an experiment that has been stored.

        Raises:
            ExperimentConflictError: a router does not, and the experiment was stopped.
        """
        try:
            await self._split(experiment_id)
        except Exception as error:
            logger.error("experiment %s stopped at its start: %s", experiment_id, error)  # noqa: TRY400
            # Recorded first: if the store does not respond now, a later reconciliation ends it.
            end = self._endings[experiment_id] = End(EndReason.STOPPED, "stopped")
            async with self._changing:
                await self._end(await self._store.experiment(experiment_id), end)
            problem = (
                f"experiment {experiment_id!r} was stopped at its start, since not every router "
                f"splits its traffic: {error}; create it under another id"
            )
            raise ExperimentConflictError(experiment_id, problem) from error

    async def _split(self, experiment_id: str) -> None:
        """Return once every router splits the traffic of a stored experiment."""
        async with self._changing:
            await self._follow_store()
            if self._running(experiment_id) is None:
                raise FleetUnavailableError(f"a variant of {experiment_id!r} is not loaded")
        await self._fleet.confirm()

    async def _follow_store(self) -> Sequence[StoredExperiment]:
        """Split traffic by the running experiments of the store.

        Returns:
            The experiments for which a step may be due: all except those whose variants do not
            load.
        """
        stored = await self._store.running()
        running, suspended = [], set()
        for experiment in stored:
            name = experiment.definition.experiment_id
            if name in self._endings or self._situation(experiment).is_over:
                continue
            try:
                running.append(await self._with_loaded_variants(experiment))
            except ServingError as error:
                # Its requests go to production until it continues; other experiments do not wait.
                logger.error("experiment %s suspended: %s", name, error)  # noqa: TRY400
                suspended.add(name)
        await self._fleet.split_traffic(running)
        return [
            experiment
            for experiment in stored
            if experiment.definition.experiment_id not in suspended
        ]

    async def _with_loaded_variants(self, experiment: StoredExperiment) -> RunningExperiment:
        definition = experiment.definition
        present = self._running(definition.experiment_id)
        if present is None or not present.refs <= self._fleet.state.refs:
            for model, version in (
                (definition.control_model_name, definition.control_model_version),
                (definition.treatment_model_name, definition.treatment_model_version),
            ):
                await self._fleet.load(await self._fleet.find(model, version))
        if present is not None:
            return present
        history = await self._store.history(definition.experiment_id)
        return with_recorded_exposure(experiment, history)

    def _situation(self, experiment: StoredExperiment) -> Situation:
        name = experiment.definition.experiment_id
        return Situation(
            experiment=experiment,
            now=self._now(),
            running=self._running(name),
            ending=self._endings.get(name),
        )

    async def _advance(self, experiment: StoredExperiment) -> None:
        """Take the steps of an experiment that are due now."""
        promotion = await self._begun_promotion(experiment)
        situation: Situation | None = replace(self._situation(experiment), promotion=promotion)
        while situation is not None:
            situation = await self._execute_next(situation)

    async def _execute_next(self, situation: Situation) -> Situation | None:
        """Execute the step that is due; return the situation after it, None if none is left."""
        definition = situation.experiment.definition
        name = definition.experiment_id
        model, version = definition.treatment_model_name, definition.treatment_model_version
        match next_step(situation):
            case Wait():
                return None
            case Analyse(exposed_at, at_planned_end):
                analysis = await self._store.analyse(
                    situation.experiment, exposed_at, at_planned_end=at_planned_end
                )
                return replace(situation, analysis=analysis)
            case ObserveBreaker():
                is_tripped = await self._fleet.is_tripped(name)
                return replace(situation, breaker_closed=not is_tripped)
            case Expose(share):
                await self._expose(name, share)
                return None
            case BeginPromotion(verdict):
                await self._record(name, "promoting", {"analysis": verdict})
                self._promotions[name] = verdict
                return replace(situation, promotion=verdict)
            case ReadProduction():
                production = Production(await self._production(model))
                return replace(situation, production=production)
            case Promote(reason):
                reason = f"{reason}; created by {await self._creator(name)}"
                await self._promote(model, version, f"experiment {name}", reason)
                return replace(situation, production=Production(version))
            case Reload():
                await self._fleet.reload(model, version)
                return replace(situation, reloaded=True)
            case End() as end:
                await self._end(situation.experiment, end)
                return None

    async def _begun_promotion(self, experiment: StoredExperiment) -> Mapping[str, Any] | None:
        """Return the analysis document of a promotion that this fleet or a predecessor began."""
        name = experiment.definition.experiment_id
        if experiment.definition.auto_apply and name not in self._promotions:
            self._promotions[name] = next(
                (
                    entry.details["analysis"]
                    for entry in await self._store.history(name)
                    if entry.action == "promoting"
                ),
                None,
            )
        return self._promotions.get(name)

    async def _creator(self, experiment_id: str) -> str:
        """Return the caller who created an experiment, and thereby decided on its promotion."""
        entries = await self._store.history(experiment_id)
        created = (entry.details.get("by") for entry in entries if entry.action == "created")
        return next(created, None) or "an unknown caller"

    async def _production(self, model: str) -> str | None:
        try:
            return (await self._fleet.find(model, "production")).version
        except NotRegisteredError:
            return None

    async def _expose(self, experiment_id: str, share: float) -> None:
        """Record the exposure step, then give treatment that share of the traffic."""
        running = self._running(experiment_id)
        assert running is not None, "only an experiment that splits traffic is exposed"
        details = {"share": share, "before": running.treatment_share}
        exposed_at = await self._record(experiment_id, "exposed", details)
        exposed = running.model_copy(update={"treatment_share": share, "exposed_at": exposed_at})
        await self._fleet.split_traffic(
            [
                exposed if other.experiment_id == experiment_id else other
                for other in self._fleet.state.experiments
            ]
        )

    async def _record(self, experiment_id: str, action: str, details: dict[str, Any]) -> datetime:
        entry = HistoryEntry(time=self._now(), action=action, details=details)
        await self._store.note(experiment_id, entry)
        return entry.time

    async def _end(
        self, experiment: StoredExperiment, end: End, details: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Stop treatment's traffic, then record the end; return the final analysis.

        `details` is recorded with it, beside the analysis.
        """
        experiment_id = experiment.definition.experiment_id
        if experiment.status is ExperimentStatus.COMPLETED:
            self._endings.pop(experiment_id, None)
            return experiment.final_report or {}
        # Until the end is recorded, which may take a while, the experiment must not start again.
        self._endings[experiment_id] = end
        await self._fleet.split_traffic(
            [
                other
                for other in self._fleet.state.experiments
                if other.experiment_id != experiment_id
            ]
        )
        document = end.document
        if document is None:
            document = (await self._store.analyse(experiment, self._now())).analysis.document
        report = {**document, "status": ExperimentStatus.COMPLETED.value}
        recorded = {**(details or {}), "analysis": report}
        entry = HistoryEntry(time=self._now(), action=end.action, details=recorded)
        ended = await self._store.end(experiment_id, end.reason, report, entry)
        del self._endings[experiment_id]
        self._promotions.pop(experiment_id, None)
        logger.info("experiment %s ended: %s", experiment_id, end.action)
        return ended.final_report or report

    def _running(self, experiment_id: str) -> RunningExperiment | None:
        """Return the experiment as the routers follow it, None while it splits no traffic."""
        return next(
            (
                running
                for running in self._fleet.state.experiments
                if running.experiment_id == experiment_id
            ),
            None,
        )
