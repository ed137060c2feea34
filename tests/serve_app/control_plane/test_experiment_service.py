"""Commands on experiments, analyses and outcomes, with the fleet and the store in memory."""

import pytest

from serve_app.control_plane.experiment_service import ExperimentService, OutcomeCounts
from serve_app.errors import (
    NoSuchExperimentError,
    OutcomeConflictError,
    UnknownPredictionError,
    UnrecordedPredictionError,
)
from serve_app.experiments.definition import ExperimentDefinition
from serve_app.experiments.history import OutcomeResult, RecordedOutcome
from serve_app.experiments.prediction_ids import new_prediction_id
from serve_app.experiments.records import Outcome
from tests.serve_app.core import DEFINITION, NOW, FakeExperiments, FakeFleet


def service(reader=None, commands=None):
    return ExperimentService(commands or FakeFleet(), reader or FakeExperiments())


def outcome(prediction_id, market_return):
    return Outcome(prediction_id=prediction_id, market_return=market_return, time=NOW)


async def test_commands_reach_the_fleet():
    """The fleet starts and ends experiments; a stop returns the final analysis."""
    fleet = FakeFleet()
    under_test = service(commands=fleet)
    definition = ExperimentDefinition(**DEFINITION)
    await under_test.create(definition, "bot")
    assert fleet.created == [definition]
    assert (await under_test.stop("v1_vs_v2", "other"))["status"] == "completed"
    assert fleet.callers == ["bot", "other"]


async def test_running_experiment_is_analysed_now():
    """The analysis of a running experiment is computed for each request."""
    analysis = await service().analyse("v1_vs_v2")
    assert (analysis["experiment_id"], analysis["status"]) == ("v1_vs_v2", "running")
    with pytest.raises(NoSuchExperimentError):
        await service().analyse("other")


async def test_ended_experiment_keeps_its_analysis():
    """The analysis of an ended experiment is its stored final one."""
    reader = FakeExperiments(final_report={"status": "completed"})
    assert await service(reader).analyse("v1_vs_v2") == {"status": "completed"}


async def test_experiments_and_evidence_are_typed():
    """The list of experiments and the evidence of one are values of the domain."""
    reader = FakeExperiments()
    under_test = service(reader)
    assert await under_test.experiments() == [reader.stored]
    evidence = await under_test.evidence("v1_vs_v2")
    assert evidence.experiment is reader.stored
    assert [entry.action for entry in evidence.history] == ["created"]


async def test_single_outcome_is_recorded_once():
    """An outcome is accepted once; another value for its prediction is a conflict."""
    under_test = service()
    first = outcome("p1", -0.01)
    assert await under_test.record_one(first) == OutcomeCounts(1, 0, [], [], [])
    assert (await under_test.record_one(first)).duplicates == 1
    with pytest.raises(OutcomeConflictError, match=r"-0\.01"):
        await under_test.record_one(outcome("p1", 0.02))
    with pytest.raises(UnknownPredictionError, match="'p3'"):
        await under_test.record_one(outcome("p3", 0.02))


async def test_outcomes_are_independent():
    """Each outcome of a list has its own result."""
    conflicting = outcome("p2", 0.2)
    served = new_prediction_id(NOW)
    outcomes = [outcome("p1", 0.5), outcome("p2", 0.1), conflicting]
    outcomes += [outcome("p9", 0.0), outcome(served, 0.0)]
    assert await service().record(outcomes) == OutcomeCounts(
        accepted=1,
        duplicates=1,
        unrecorded=[served],
        unknown=["p9"],
        conflicts=[RecordedOutcome(conflicting, OutcomeResult.CONFLICT, 0.1)],
    )


async def test_unrecorded_prediction():
    """The outcome of a prediction that was served differs from one with a foreign id."""
    served = new_prediction_id(NOW)
    with pytest.raises(UnrecordedPredictionError, match=f"'{served}' was served, but"):
        await service().record_one(outcome(served, 0.02))


async def test_store_is_called_once():
    """The store waits for predictions that are still to arrive; a second call would add a second
    wait, beyond the client's timeout."""
    reader = FakeExperiments()
    with pytest.raises(UnknownPredictionError):
        await service(reader).record_one(outcome("p9", 0.1))
    assert reader.calls == 1
