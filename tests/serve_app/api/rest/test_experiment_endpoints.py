"""The endpoints for experiments and outcomes over ASGI."""

from pydantic import TypeAdapter

from serve_app.api.rest import schemas
from tests.serve_app.api.rest.bodies import check_error
from tests.serve_app.core import DEFINITION, NOW


def test_create_returns_the_id(http, fleet):
    """The response to a new experiment contains its id, and the defaults are the contract's."""
    response = http.post("/api/ml/ab-test/create", json=DEFINITION)
    assert response.json() == {"status": "success", "experiment_id": "v1_vs_v2"}
    schemas.ExperimentCreated.model_validate_json(response.content)
    (definition,) = fleet.created
    assert (definition.control_traffic, definition.treatment_traffic) == (0.9, 0.1)
    assert (definition.duration_hours, definition.min_samples) == (24, 100)
    assert (definition.min_accuracy_improvement, definition.max_latency_degradation_ms) == (0.02, 2)
    assert (definition.confidence_level, definition.auto_apply) == (0.95, False)


def test_experiments_follow_their_schema(http):
    """The list of experiments has an entry per experiment."""
    response = http.get("/api/ml/ab-test")
    TypeAdapter(list[schemas.ExperimentEntry]).validate_json(response.content)
    (entry,) = response.json()
    assert (entry["control"], entry["treatment"]) == ("toy:1.0.0", "toy:1.1.0")
    assert entry["started_at"] == NOW.isoformat()


def test_analysis_has_the_fields_of_the_contract(http):
    """The analysis of an experiment has every field of the contract."""
    document = http.get("/api/ml/ab-test/v1_vs_v2/analyze").json()
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
    check_error(http.get("/api/ml/ab-test/other/analyze"), 404, "no_such_experiment")


def test_evidence_holds_definition_and_history(http):
    """The evidence of an experiment contains its definition and its history."""
    evidence = http.get("/api/ml/ab-test/v1_vs_v2/evidence").json()
    assert evidence["experiment"]["definition"]["experiment_id"] == "v1_vs_v2"
    assert [entry["action"] for entry in evidence["history"]] == ["created"]


def test_stop_returns_the_final_analysis(http):
    """The response to a stop is the final analysis."""
    response = http.post("/api/ml/ab-test/v1_vs_v2/stop")
    assert response.json() == {"experiment_id": "v1_vs_v2", "status": "completed"}


def test_single_outcome_fails_as_a_whole(http):
    """A single outcome that cannot be recorded is an error, not an entry in a list."""
    outcome = {"prediction_id": "p1", "market_return": -0.01}
    accepted = http.post("/api/ml/outcomes", json=outcome)
    schemas.OutcomesResponse.model_validate_json(accepted.content)
    assert accepted.json() == {
        "accepted": 1,
        "duplicates": 0,
        "unrecorded": [],
        "unknown": [],
        "conflicts": [],
    }
    assert http.post("/api/ml/outcomes", json=outcome).json()["duplicates"] == 1
    conflicting = http.post("/api/ml/outcomes", json={**outcome, "market_return": 0.02})
    check_error(conflicting, 409, "outcome_conflict")
    unknown = http.post("/api/ml/outcomes", json={**outcome, "prediction_id": "p3"})
    check_error(unknown, 404, "unknown_prediction")


def test_outcomes_in_a_list_are_independent(http):
    """Each outcome of a list succeeds or fails on its own."""
    outcomes = [
        {"prediction_id": "p1", "market_return": 0.5},
        {"prediction_id": "p2", "market_return": 0.1},
        {"prediction_id": "p2", "market_return": 0.2},
        {"prediction_id": "p9", "market_return": 0},
    ]
    assert http.post("/api/ml/outcomes", json={"outcomes": outcomes}).json() == {
        "accepted": 1,
        "duplicates": 1,
        "unrecorded": [],
        "unknown": ["p9"],
        "conflicts": [{"prediction_id": "p2", "recorded": 0.1, "received": 0.2}],
    }
