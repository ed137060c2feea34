"""ModelClient's experiments and outcomes against a scripted server."""

import math

import numpy as np
import pytest

from serve_app.errors import InvalidRequestError, ServerRejectedError, UnexpectedResponseError
from testkit.fake_server import CREATE, EXPERIMENTS, OUTCOMES, Reply, error

ANALYSIS = {"experiment_id": "a_b", "recommendation": {"action": "continue", "reasons": []}}
TAKEN = {"accepted": 1, "duplicates": 0, "unrecorded": [], "unknown": [], "conflicts": []}


async def create(client, **fields):
    return await client.create_ab_test(
        experiment_id="a_b",
        control_model="net",
        control_version="1.0.0",
        treatment_model="net",
        treatment_version="1.1.0",
        **fields,
    )


async def test_create(server, client):
    """The request has the shares of both variants and the additional settings."""
    server.script(CREATE, Reply({"status": "success", "experiment_id": "a_b"}))
    assert await create(client) is True
    assert await create(client, traffic_split=0.75, auto_apply=True) is True
    first, second = server.received[CREATE]
    assert first["control_traffic"] == 0.9
    assert math.isclose(first["treatment_traffic"], 0.1)
    assert second == {
        "experiment_id": "a_b",
        "control_model_name": "net",
        "control_model_version": "1.0.0",
        "treatment_model_name": "net",
        "treatment_model_version": "1.1.0",
        "control_traffic": 0.75,
        "treatment_traffic": 0.25,
        "auto_apply": True,
    }


async def test_rejected_create(server, quiet_client, reasons):
    """A rejected experiment returns False and logs the server's reason."""
    rejection = error("experiment_conflict", "experiment 'x' is running on model 'net'")
    server.script(CREATE, Reply(rejection, status=409))
    assert await create(quiet_client) is False
    (reason,) = reasons()
    assert "experiment 'x' is running on model 'net'" in reason
    assert await create(quiet_client, traffic_split="half") is False
    assert len(server.received[CREATE]) == 1


async def test_analysis_and_stop(server, client):
    """The analysis and the final analysis are returned unchanged."""
    server.script(f"{EXPERIMENTS}/a_b/analyze", Reply(ANALYSIS))
    server.script(f"{EXPERIMENTS}/a_b/stop", Reply({**ANALYSIS, "status": "completed"}))
    assert await client.get_ab_test_analysis("a_b") == ANALYSIS
    assert (await client.stop_ab_test("a_b"))["status"] == "completed"


async def test_analysis_failure(server, quiet_client):
    """A failed call returns None."""
    server.script(f"{EXPERIMENTS}/a_b/analyze", Reply(error("no_such_experiment", "no"), 404))
    server.script(f"{EXPERIMENTS}/a_b/stop", Reply([]))
    assert await quiet_client.get_ab_test_analysis("a_b") is None
    assert await quiet_client.stop_ab_test("a_b") is None
    assert await quiet_client.get_ab_test_analysis("") is None


async def test_list(server, client):
    """Experiments are listed as the server lists them; another response is unexpected."""
    server.script(EXPERIMENTS, Reply([{"experiment_id": "a_b"}]))
    assert await client.list_ab_tests() == [{"experiment_id": "a_b"}]
    server.script(EXPERIMENTS, Reply({}))
    with pytest.raises(UnexpectedResponseError, match="expected a JSON list of experiments"):
        await client.list_ab_tests()


async def test_id_in_path(server, client):
    """The id of an experiment cannot change the path of the request."""
    server.script("/api/ml/ab-test/..%2Fhealth/analyze", Reply(ANALYSIS))
    server.script("/api/ml/ab-test/../health/analyze", Reply(ANALYSIS))
    await client.get_ab_test_analysis("../health")
    assert "/api/ml/health/analyze" not in server.received


async def test_record_outcome(server, client):
    """An outcome may be recorded twice with the same value."""
    server.script(OUTCOMES, Reply(TAKEN), Reply({**TAKEN, "accepted": 0, "duplicates": 1}))
    assert await client.record_outcome("p1", np.float32(0.5)) is True
    assert await client.record_outcome("p1", 0.5) is True
    assert server.received[OUTCOMES] == [{"prediction_id": "p1", "market_return": 0.5}] * 2


@pytest.mark.parametrize("value", [math.nan, math.inf, "0.1", None, True])
async def test_unusable_outcome(server, client, value):
    """An outcome that is not a finite number is not sent."""
    with pytest.raises(InvalidRequestError, match="market_return: expected a finite number"):
        await client.record_outcome("p1", value)
    assert server.received[OUTCOMES] == []


async def test_conflicting_outcome(server, client):
    """A conflicting outcome raises the server's message."""
    server.script(OUTCOMES, Reply(error("outcome_conflict", "has the outcome 0.5 already"), 409))
    with pytest.raises(ServerRejectedError, match=r"409 outcome_conflict: has the outcome 0\.5"):
        await client.record_outcome("p1", 0.6)


async def test_several_outcomes(server, client):
    """Several outcomes are sent in one body."""
    server.script(OUTCOMES, Reply({**TAKEN, "accepted": 2}), Reply({"ok": True}))
    assert (await client.record_outcomes([("p1", 0.1), ("p2", -0.1)]))["accepted"] == 2
    assert [outcome["prediction_id"] for outcome in server.received[OUTCOMES][0]["outcomes"]] == [
        "p1",
        "p2",
    ]
    with pytest.raises(UnexpectedResponseError, match="number accepted"):
        await client.record_outcomes([("p1", 0.1)])
