"""What the router does about experiments besides routing: their commands, analyses and outcomes."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from pydantic import ValidationError

from serve_app.errors import (
    BodyTooLargeError,
    InvalidRequestError,
    OutcomeConflictError,
    UnknownPredictionError,
)
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

MAX_OUTCOMES = 10_000
"""Outcomes in one body."""


class Conducts(Protocol):
    """Begins and ends experiments, for the whole application."""

    async def create_experiment(self, definition: ExperimentDefinition) -> None:
        """Load both variants and divide the traffic."""

    async def stop_experiment(self, experiment_id: str) -> dict[str, Any]:
        """End an experiment and return its final analysis."""


class Reads(Protocol):
    """Reads experiments and takes outcomes."""

    async def experiment(self, experiment_id: str) -> StoredExperiment:
        """Return an experiment."""

    async def experiments(self) -> Sequence[StoredExperiment]:
        """Return all experiments, the oldest first."""

    async def history(self, experiment_id: str) -> Sequence[HistoryEntry]:
        """Return what happened to an experiment."""

    async def blocks(self, experiment_id: str) -> Sequence[Block]:
        """Return an experiment's summaries."""

    async def analyse(self, experiment: StoredExperiment, exposed_at: datetime) -> InterimAnalysis:
        """Analyse what is known of an experiment by now."""

    async def record_outcomes(self, outcomes: Sequence[Outcome]) -> Sequence[RecordedOutcome]:
        """Return what became of each, once it is committed."""


class ExperimentService:
    """Answers what HTTP asks of experiments; raises the leaves of ServingError."""

    def __init__(
        self,
        conductor: Conducts,
        book: Reads,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._conductor = conductor
        self._book = book
        self._now = now

    async def create(self, document: object) -> dict[str, Any]:
        """Begin an experiment."""
        definition = parse_definition(document)
        await self._conductor.create_experiment(definition)
        return {"status": "success", "experiment_id": definition.experiment_id}

    async def stop(self, experiment_id: str) -> dict[str, Any]:
        """End an experiment; return its final analysis."""
        return await self._conductor.stop_experiment(experiment_id)

    async def list_all(self) -> list[dict[str, Any]]:
        """Return every experiment in short, the oldest first."""
        return [_short(each) for each in await self._book.experiments()]

    async def analyse(self, experiment_id: str) -> dict[str, Any]:
        """Return the analysis of a running experiment as of now, of an ended one its last."""
        experiment = await self._book.experiment(experiment_id)
        if experiment.final_report is not None:
            return experiment.final_report
        interim = await self._book.analyse(experiment, experiment.started_at)
        return dict(interim.analysis.document)

    async def evidence(self, experiment_id: str) -> dict[str, Any]:
        """Return what a report of an experiment is made of: all but single predictions."""
        return ExperimentEvidence(
            await self._book.experiment(experiment_id),
            await self._book.history(experiment_id),
            await self._book.blocks(experiment_id),
        ).to_document()

    async def record(self, document: object) -> dict[str, Any]:
        """Record one outcome or a list of them.

        Raises:
            InvalidRequestError: an outcome is none; nothing was recorded.
            UnknownPredictionError, OutcomeConflictError: of a single outcome.
        """
        outcomes, is_list = parse_outcomes(document, self._now())
        # A quick outcome may have overtaken its prediction: the book waits for that, once.
        recorded = await self._book.record_outcomes(outcomes)
        if not is_list:
            _raise_for_single(recorded[0])
        return {
            "accepted": _count(recorded, OutcomeResult.ACCEPTED),
            "duplicates": _count(recorded, OutcomeResult.DUPLICATE),
            "unknown": _ids(recorded, OutcomeResult.UNKNOWN),
            "conflicts": [
                {
                    "prediction_id": each.outcome.prediction_id,
                    "recorded": each.stored_return,
                    "received": each.outcome.market_return,
                }
                for each in recorded
                if each.result is OutcomeResult.CONFLICT
            ],
        }


def parse_definition(document: object) -> ExperimentDefinition:
    """Return the experiment that a body describes.

    Raises:
        InvalidRequestError: a field is missing, unknown or out of its range.
    """
    if not isinstance(document, dict):
        raise InvalidRequestError("request", "a JSON object", type(document).__name__)
    try:
        return ExperimentDefinition.model_validate(document)
    except ValidationError as error:
        found = error.errors()[0]
        field = ".".join(map(str, found["loc"])) or "request"
        expected = found["msg"].removeprefix("Value error, ")
        received = "nothing" if found["type"] == "missing" else repr(found["input"])[:80]
        raise InvalidRequestError(field, expected, received) from None


def parse_outcomes(document: object, now: datetime) -> tuple[list[Outcome], bool]:
    """Return the outcomes of a body, and whether they came as a list.

    Raises:
        InvalidRequestError: a field is missing, unknown, or no finite return.
        BodyTooLargeError: there are more than MAX_OUTCOMES.
    """
    if isinstance(document, dict) and "outcomes" in document:
        items = document["outcomes"]
        if set(document) != {"outcomes"} or not isinstance(items, list) or not items:
            expected = "outcomes alone, a list of at least one outcome"
            raise InvalidRequestError("request", expected, f"the fields {', '.join(document)}")
        if len(items) > MAX_OUTCOMES:
            raise BodyTooLargeError("outcomes", MAX_OUTCOMES, len(items))
        return [_outcome(each, now, f"outcomes.{at}.") for at, each in enumerate(items)], True
    return [_outcome(document, now, "")], False


def _outcome(item: object, now: datetime, where: str) -> Outcome:
    if not isinstance(item, dict) or set(item) != {"prediction_id", "market_return"}:
        received = ", ".join(map(str, item)) if isinstance(item, dict) else type(item).__name__
        expected = "an object with prediction_id and market_return"
        raise InvalidRequestError(f"{where}outcome", expected, received[:80] or "nothing")
    prediction_id, market_return = item["prediction_id"], item["market_return"]
    if not isinstance(prediction_id, str) or not 0 < len(prediction_id) <= 64:
        expected = "the prediction_id of an answer"
        raise InvalidRequestError(f"{where}prediction_id", expected, repr(prediction_id)[:80])
    if not isinstance(market_return, int | float) or isinstance(market_return, bool):
        expected = "a finite number, 0.01 for one per cent"
        raise InvalidRequestError(f"{where}market_return", expected, repr(market_return)[:80])
    try:
        return Outcome(prediction_id=prediction_id, market_return=float(market_return), time=now)
    except OverflowError:
        expected = "a finite number, 0.01 for one per cent"
        received = "an integer beyond every float"
        raise InvalidRequestError(f"{where}market_return", expected, received) from None
    except InvalidRequestError as error:
        raise InvalidRequestError(f"{where}{error.field}", error.expected, error.received) from None


def _raise_for_single(recorded: RecordedOutcome) -> None:
    outcome = recorded.outcome
    if recorded.result is OutcomeResult.UNKNOWN:
        raise UnknownPredictionError(outcome.prediction_id)
    if recorded.result is OutcomeResult.CONFLICT:
        assert recorded.stored_return is not None
        raise OutcomeConflictError(
            outcome.prediction_id, recorded.stored_return, outcome.market_return
        )


def _count(recorded: Sequence[RecordedOutcome], result: OutcomeResult) -> int:
    return sum(each.result is result for each in recorded)


def _ids(recorded: Sequence[RecordedOutcome], result: OutcomeResult) -> list[str]:
    return [each.outcome.prediction_id for each in recorded if each.result is result]


def _short(experiment: StoredExperiment) -> dict[str, Any]:
    definition = experiment.definition
    return {
        "experiment_id": definition.experiment_id,
        "status": experiment.status.value,
        "control": definition.control,
        "treatment": definition.treatment,
        "control_traffic": definition.control_traffic,
        "treatment_traffic": definition.treatment_traffic,
        "started_at": experiment.started_at,
        "ended_at": experiment.ended_at,
        "end_reason": experiment.end_reason,
    }
