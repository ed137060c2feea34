"""What HTTP says of experiments and outcomes, with the book and the conductor in memory."""

import math
from datetime import UTC, datetime

import pytest

from serve_app.api.rest.schemas import ExperimentEntry, OutcomesAnswer
from serve_app.control_plane.experiment_service import (
    MAX_OUTCOMES,
    ExperimentService,
    parse_definition,
)
from serve_app.errors import (
    BodyTooLargeError,
    InvalidRequestError,
    NoSuchExperimentError,
    OutcomeConflictError,
    UnknownPredictionError,
)
from serve_app.experiments.analysis import analyse
from serve_app.experiments.blocks import BlockClock
from serve_app.experiments.definition import ExperimentStatus
from serve_app.experiments.interim_analysis import InterimAnalysis
from serve_app.experiments.store import (
    HistoryEntry,
    OutcomeResult,
    RecordedOutcome,
    StoredExperiment,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CREATE = {
    "experiment_id": "v1_vs_v2",
    "control_model_name": "toy",
    "control_model_version": "1.0.0",
    "treatment_model_name": "toy",
    "treatment_model_version": "1.1.0",
}


class Conductor:
    def __init__(self):
        self.created = []

    async def create_experiment(self, definition):
        self.created.append(definition)

    async def stop_experiment(self, experiment_id):
        return {"experiment_id": experiment_id, "status": "completed"}


class Book:
    """One running experiment, and predictions p1 (no outcome yet) and p2 (0.1)."""

    def __init__(self):
        self.outcomes = {"p1": None, "p2": 0.1}
        self.asked = 0
        self.stored = StoredExperiment(
            definition=parse_definition(CREATE),
            status=ExperimentStatus.RUNNING,
            started_at=NOW,
            ended_at=None,
            end_reason=None,
            final_report=None,
        )

    async def experiment(self, experiment_id):
        if experiment_id != "v1_vs_v2":
            raise NoSuchExperimentError(experiment_id, f"no experiment {experiment_id!r}")
        return self.stored

    async def experiments(self):
        return [self.stored]

    async def history(self, experiment_id):
        return [HistoryEntry(time=NOW, action="created", details={})]

    async def blocks(self, experiment_id):
        return []

    async def analyse(self, experiment, since):
        clock = BlockClock.of(experiment.definition, experiment.started_at)
        return InterimAnalysis(analyse(experiment.definition, clock, []), 0)

    async def record_outcomes(self, outcomes):
        self.asked += 1
        return [self._record(each) for each in outcomes]

    def _record(self, outcome):
        name = outcome.prediction_id
        if name not in self.outcomes:
            return RecordedOutcome(outcome, OutcomeResult.UNKNOWN, None)
        known = self.outcomes[name]
        if known is None:
            self.outcomes[name] = outcome.market_return
            return RecordedOutcome(outcome, OutcomeResult.ACCEPTED, outcome.market_return)
        same = known == outcome.market_return
        result = OutcomeResult.DUPLICATE if same else OutcomeResult.CONFLICT
        return RecordedOutcome(outcome, result, known)


def experiments(book=None, conductor=None):
    return ExperimentService(conductor or Conductor(), book or Book(), now=lambda: NOW)


async def test_the_book_is_asked_once_whatever_is_unknown():
    """It waits for predictions on their way itself; a second wait would outlast the client's."""
    book = Book()
    with pytest.raises(UnknownPredictionError):
        await experiments(book).record({"prediction_id": "p9", "market_return": 0.1})
    assert book.asked == 1


async def test_creating_answers_with_the_id_and_takes_the_contracts_defaults():
    conductor = Conductor()
    under_test = experiments(conductor=conductor)
    assert await under_test.create(CREATE) == {"status": "success", "experiment_id": "v1_vs_v2"}
    (definition,) = conductor.created
    assert (definition.control_traffic, definition.treatment_traffic) == (0.9, 0.1)
    assert (definition.duration_hours, definition.min_samples) == (24, 100)
    assert (definition.min_accuracy_improvement, definition.max_latency_degradation_ms) == (0.02, 2)
    assert (definition.confidence_level, definition.auto_apply) == (0.95, False)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"control_traffic": 0.9, "treatment_traffic": 0.2}, "sum to 1.1, expected 1"),
        ({"control_traffic": 1.5, "treatment_traffic": -0.5}, "control_traffic: .*equal to 1"),
        ({"treatment_model_version": "1.0.0"}, "expected two different versions"),
        ({"treatment_model_version": "newest"}, "semantic version"),
        ({"experiment_id": "../x"}, "experiment_id"),
        ({"trafic": 0.5}, "trafic: expected Extra inputs are not permitted"),
        ({"duration_hours": math.nan}, "duration_hours"),
    ],
)
async def test_a_definition_that_cannot_be_is_refused_by_its_field(changes, expected):
    with pytest.raises(InvalidRequestError, match=expected):
        await experiments().create({**CREATE, **changes})
    with pytest.raises(InvalidRequestError, match="a JSON object"):
        await experiments().create([])


async def test_an_analysis_has_every_field_of_the_contract():
    document = await experiments().analyse("v1_vs_v2")
    assert {
        "experiment_id",
        "status",
        "duration_hours",
        "control",
        "treatment",
        "improvement",
        "statistical_significance",
        "sample_ratio",
        "recommendation",
    } <= set(document)
    assert set(document["control"]) >= {
        *("model", "samples", "labelled", "accuracy", "precision", "recall", "f1_score"),
        *("win_rate", "avg_return", "sharpe_ratio", "total_pnl", "avg_latency_ms"),
        *("p95_latency_ms", "error_rate", "throughput"),
    }
    with pytest.raises(NoSuchExperimentError):
        await experiments().analyse("other")


async def test_an_ended_experiment_is_answered_with_its_last_analysis():
    book = Book()
    book.stored = StoredExperiment(
        **{
            **{each: getattr(book.stored, each) for each in StoredExperiment.__slots__},
            "final_report": {"status": "completed"},
        }
    )
    assert await experiments(book).analyse("v1_vs_v2") == {"status": "completed"}


async def test_experiments_are_listed_and_told_in_full():
    (entry,) = await experiments().list_all()
    ExperimentEntry.model_validate(entry)
    evidence = await experiments().evidence("v1_vs_v2")
    assert evidence["experiment"]["definition"]["experiment_id"] == "v1_vs_v2"
    assert [each["action"] for each in evidence["history"]] == ["created"]


async def test_a_single_outcome_is_accepted_once_and_contradicted_never():
    under_test = experiments()
    outcome = {"prediction_id": "p1", "market_return": -0.01}
    accepted = await under_test.record(outcome)
    assert accepted == {"accepted": 1, "duplicates": 0, "unknown": [], "conflicts": []}
    OutcomesAnswer.model_validate(accepted)
    assert (await under_test.record(outcome))["duplicates"] == 1
    with pytest.raises(OutcomeConflictError, match=r"has the outcome -0\.01 already"):
        await under_test.record({**outcome, "market_return": 0.02})
    with pytest.raises(UnknownPredictionError, match="'p3'"):
        await under_test.record({**outcome, "prediction_id": "p3"})


async def test_in_a_list_each_outcome_is_judged_on_its_own():
    answer = await experiments().record(
        {
            "outcomes": [
                {"prediction_id": "p1", "market_return": 0.5},
                {"prediction_id": "p2", "market_return": 0.1},
                {"prediction_id": "p2", "market_return": 0.2},
                {"prediction_id": "p9", "market_return": 0},
            ]
        }
    )
    assert answer == {
        "accepted": 1,
        "duplicates": 1,
        "unknown": ["p9"],
        "conflicts": [{"prediction_id": "p2", "recorded": 0.1, "received": 0.2}],
    }


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({}, "an object with prediction_id and market_return, received nothing"),
        ([], "received list"),
        ({"prediction_id": "p1"}, "received prediction_id"),
        ({"prediction_id": "", "market_return": 0}, "the prediction_id of an answer"),
        ({"prediction_id": "p1", "market_return": "0.1"}, "a finite number, 0.01 for one per cent"),
        ({"prediction_id": "p1", "market_return": True}, "received True"),
        ({"prediction_id": "p1", "market_return": math.nan}, "market_return"),
        ({"prediction_id": "p1", "market_return": math.inf}, "market_return"),
        ({"outcomes": []}, "a list of at least one outcome"),
        ({"outcomes": [{"prediction_id": "p1", "market_return": None}]}, r"outcomes\.0\.market"),
        ({"prediction_id": "p1", "market_return": 10**400}, "market_return: .* beyond every float"),
        (
            {
                "outcomes": [
                    {"prediction_id": "p1", "market_return": 0.1},
                    {"prediction_id": "p2", "market_return": 5000},
                ]
            },
            r"outcomes\.1\.market_return: expected a finite number from -1000 to 1000",
        ),
    ],
)
async def test_what_is_no_outcome_is_refused_with_what_was_expected(document, expected):
    with pytest.raises(InvalidRequestError, match=expected):
        await experiments().record(document)


async def test_more_outcomes_than_a_body_may_hold_are_refused_whole():
    one = {"prediction_id": "p1", "market_return": 0.1}
    with pytest.raises(BodyTooLargeError, match="at most 10000 outcomes"):
        await experiments().record({"outcomes": [one] * (MAX_OUTCOMES + 1)})
