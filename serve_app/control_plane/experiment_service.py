"""The operations on experiments that front ends call: commands, analyses and outcomes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from serve_app.errors import OutcomeConflictError, UnknownPredictionError, UnrecordedPredictionError
from serve_app.experiments.blocks import Block
from serve_app.experiments.definition import ExperimentDefinition
from serve_app.experiments.evidence import ExperimentEvidence
from serve_app.experiments.history import (
    HistoryEntry,
    OutcomeResult,
    RecordedOutcome,
    StoredExperiment,
)
from serve_app.experiments.interim_analysis import InterimAnalysis
from serve_app.experiments.records import Outcome

AnalysisDocument = Mapping[str, Any]
"""The analysis of an experiment in the form in which the store keeps it; see
`experiments.analysis_document`."""


class ExperimentCommands(Protocol):
    """Starts and ends experiments, for the whole application."""

    async def create_experiment(
        self, definition: ExperimentDefinition, by: str, key: str | None
    ) -> None:
        """Load both variants and split the traffic; `by` is the author in the history.

        `key` is the same for every attempt of the author's command, which is executed once.
        """

    async def stop_experiment(self, experiment_id: str, by: str) -> AnalysisDocument:
        """End an experiment and return its final analysis; `by` is the author in the history."""


class ExperimentRecords(Protocol):
    """Reads experiments and records outcomes."""

    async def experiment(self, experiment_id: str) -> StoredExperiment:
        """Return an experiment."""

    async def experiments(self) -> Sequence[StoredExperiment]:
        """Return all experiments, the oldest first."""

    async def history(self, experiment_id: str) -> Sequence[HistoryEntry]:
        """Return the history of an experiment."""

    async def blocks(self, experiment_id: str) -> Sequence[Block]:
        """Return the summaries of an experiment."""

    async def analyse(self, experiment: StoredExperiment, exposed_at: datetime) -> InterimAnalysis:
        """Analyse an experiment as of now."""

    async def record_outcomes(self, outcomes: Sequence[Outcome]) -> Sequence[RecordedOutcome]:
        """Return the result for each outcome, once all are committed."""


@dataclass(frozen=True, slots=True)
class OutcomeCounts:
    """The results of several outcomes."""

    accepted: int
    duplicates: int
    unrecorded: Sequence[str]
    """The ids of predictions that were served, but are not stored."""
    unknown: Sequence[str]
    """The ids with which no prediction was served."""
    conflicts: Sequence[RecordedOutcome]
    """The outcomes that contradict a stored one, which remains."""


class ExperimentService:
    """Serves the requests that concern experiments; raises leaves of ServingError.

    Args:
        commands: starts and ends experiments.
        records: reads experiments and records outcomes.
    """

    def __init__(self, commands: ExperimentCommands, records: ExperimentRecords) -> None:
        self._commands = commands
        self._records = records

    async def create(
        self, definition: ExperimentDefinition, by: str, key: str | None = None
    ) -> None:
        """Start an experiment in the name of the caller `by`; once per `key`, if there is one."""
        await self._commands.create_experiment(definition, by, key)

    async def stop(self, experiment_id: str, by: str) -> AnalysisDocument:
        """End an experiment in the name of the caller `by`; return its final analysis."""
        return await self._commands.stop_experiment(experiment_id, by)

    async def experiments(self) -> Sequence[StoredExperiment]:
        """Return every experiment, the oldest first."""
        return await self._records.experiments()

    async def analyse(self, experiment_id: str) -> AnalysisDocument:
        """Return the current analysis of an experiment; of an ended one, the last."""
        experiment = await self._records.experiment(experiment_id)
        if experiment.final_report is not None:
            return experiment.final_report
        interim = await self._records.analyse(experiment, experiment.started_at)
        return interim.analysis.document

    async def evidence(self, experiment_id: str) -> ExperimentEvidence:
        """Return the content of a report, which is everything except individual predictions."""
        return ExperimentEvidence(
            await self._records.experiment(experiment_id),
            await self._records.history(experiment_id),
            await self._records.blocks(experiment_id),
        )

    async def record(self, outcomes: Sequence[Outcome]) -> OutcomeCounts:
        """Record outcomes, each of which succeeds or fails on its own."""
        # An outcome may arrive before its prediction is stored: the log waits for it, once.
        recorded = await self._records.record_outcomes(outcomes)
        by_result: dict[OutcomeResult, list[RecordedOutcome]] = {
            result: [] for result in OutcomeResult
        }
        for outcome in recorded:
            by_result[outcome.result].append(outcome)
        return OutcomeCounts(
            accepted=len(by_result[OutcomeResult.ACCEPTED]),
            duplicates=len(by_result[OutcomeResult.DUPLICATE]),
            unrecorded=_ids(by_result[OutcomeResult.UNRECORDED]),
            unknown=_ids(by_result[OutcomeResult.UNKNOWN]),
            conflicts=by_result[OutcomeResult.CONFLICT],
        )

    async def record_one(self, outcome: Outcome) -> OutcomeCounts:
        """Record a single outcome.

        Raises:
            UnrecordedPredictionError: the prediction was served, but is not stored.
            UnknownPredictionError: no prediction with that id was served.
            OutcomeConflictError: another outcome of the prediction is stored, and remains.
        """
        counts = await self.record([outcome])
        if counts.unrecorded:
            raise UnrecordedPredictionError(outcome.prediction_id)
        if counts.unknown:
            raise UnknownPredictionError(outcome.prediction_id)
        for conflict in counts.conflicts:
            assert conflict.stored_return is not None
            raise OutcomeConflictError(
                outcome.prediction_id, conflict.stored_return, outcome.market_return
            )
        return counts


def _ids(outcomes: Sequence[RecordedOutcome]) -> list[str]:
    return [recorded.outcome.prediction_id for recorded in outcomes]
