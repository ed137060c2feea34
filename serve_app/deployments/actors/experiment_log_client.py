"""The client of the experiment log's actor: an application's experiments, with typed errors."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from ray.actor import ActorHandle

from serve_app.deployments.ray_errors import RAY_ERRORS, CallFailure, cause_of, failure_of
from serve_app.errors import (
    ExperimentConflictError,
    NoSuchExperimentError,
    ServingError,
    StorageUnavailableError,
)
from serve_app.experiments.blocks import Block
from serve_app.experiments.definition import EndReason, ExperimentDefinition, ExperimentStatus
from serve_app.experiments.history import HistoryEntry, RecordedOutcome, StoredExperiment
from serve_app.experiments.interim_analysis import InterimAnalysis
from serve_app.experiments.records import Outcome
from serve_app.experiments.store_errors import (
    ExperimentExistsError,
    ModelInExperimentError,
    StoreError,
    UnknownExperimentError,
)
from serve_app.timeouts import EXPERIMENT_LOG_S

OUTCOMES_PER_CALL = 1000
"""The most outcomes in one call; 10,000 would hold the event loop for 60 ms to encode them."""


class ExperimentLogClient:
    """Reads and writes the experiments of one application through the log's actor.

    Every method raises a ServingError where the log rejects the call or is unavailable.
    """

    def __init__(self, actor: ActorHandle[Any], application: str) -> None:
        self._actor = actor
        self._application = application

    async def create(
        self, definition: ExperimentDefinition, started_at: datetime, by: str, key: str
    ) -> bool:
        """Store a new, running experiment; False if the command with this key has done so."""
        is_new: bool = await self._call(
            "create", definition, started_at, self._application, by, key
        )
        return is_new

    async def end(
        self, experiment_id: str, reason: EndReason, report: dict[str, Any], entry: HistoryEntry
    ) -> StoredExperiment:
        """End an experiment; if it has ended already, its first end is kept."""
        ended: StoredExperiment = await self._call("end", experiment_id, reason, report, entry)
        return ended

    async def note(self, experiment_id: str, entry: HistoryEntry) -> None:
        """Append an entry to an experiment's history."""
        await self._call("note", experiment_id, entry)

    async def experiment(self, experiment_id: str) -> StoredExperiment:
        """Return an experiment."""
        found: StoredExperiment = await self._call("experiment", experiment_id, self._application)
        return found

    async def experiments(self) -> Sequence[StoredExperiment]:
        """Return all experiments, oldest first."""
        found: list[StoredExperiment] = await self._call("experiments", self._application)
        return found

    async def running(self) -> Sequence[StoredExperiment]:
        """Return the running experiments."""
        found: list[StoredExperiment] = await self._call("running", self._application)
        return found

    async def history(self, experiment_id: str) -> Sequence[HistoryEntry]:
        """Return an experiment's history, oldest entry first."""
        found: list[HistoryEntry] = await self._call("history", experiment_id)
        return found

    async def blocks(self, experiment_id: str) -> Sequence[Block]:
        """Return an experiment's summaries."""
        found: list[Block] = await self._call("blocks", experiment_id)
        return found

    async def analyse(
        self,
        experiment: StoredExperiment,
        exposed_at: datetime,
        *,
        status: ExperimentStatus = ExperimentStatus.RUNNING,
        at_planned_end: bool = False,
    ) -> InterimAnalysis:
        """Analyse an experiment from everything recorded by now; see `analyse_interim`."""
        interim: InterimAnalysis = await self._call(
            "analyse", experiment, exposed_at, status, at_planned_end
        )
        return interim

    async def record_outcomes(self, outcomes: Sequence[Outcome]) -> Sequence[RecordedOutcome]:
        """Return the result per outcome, once all are committed."""
        calls = []
        for start in range(0, len(outcomes), OUTCOMES_PER_CALL):
            part = outcomes[start : start + OUTCOMES_PER_CALL]
            calls.append(asyncio.ensure_future(self._call("record_outcomes", part)))
            await asyncio.sleep(0)  # encodes this call; other requests proceed before the next
        recorded: list[list[RecordedOutcome]] = await asyncio.gather(*calls)
        return [outcome for part in recorded for outcome in part]

    async def problem(self) -> str | None:
        """Return why nothing can be stored now, None while commits succeed."""
        found: str | None = await self._call("problem")
        return found

    async def _call(self, method: str, *args: object) -> Any:  # noqa: ANN401
        try:
            async with asyncio.timeout(EXPERIMENT_LOG_S):
                return await getattr(self._actor, method).remote(*args)
        except TimeoutError as error:
            problem = f"the experiment log did not respond within {EXPERIMENT_LOG_S:g} s"
            raise StorageUnavailableError(problem) from error
        except RAY_ERRORS as error:
            raise _serving_error(error) from error


def _serving_error(error: Exception) -> Exception:
    """Return the ServingError for a failed call; the error itself if the log has a defect."""
    cause = cause_of(error)
    if isinstance(cause, UnknownExperimentError):
        return NoSuchExperimentError(cause.experiment_id, str(cause))
    if isinstance(cause, ExperimentExistsError | ModelInExperimentError):
        return ExperimentConflictError(cause.experiment_id, str(cause))
    if isinstance(cause, StoreError):
        return StorageUnavailableError(str(cause))
    if isinstance(cause, ServingError):
        return cause
    if failure_of(error) is CallFailure.RAISED:
        return error
    return StorageUnavailableError(f"the experiment log does not respond: {error}"[:200])
