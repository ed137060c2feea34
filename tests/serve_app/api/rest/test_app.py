"""The HTTP face over ASGI, with the service's backends in process."""

import asyncio
import json
import re

import numpy as np
import pytest
from pydantic import TypeAdapter
from starlette.testclient import TestClient

from serve_app.api.rest import schemas
from serve_app.api.rest.app import build_http
from serve_app.api.rest.parsing import PREDICT_FIELDS
from serve_app.api.rest.schemas import RAW
from serve_app.data_plane.timing import Stage
from tests.serve_app.control_plane.test_experiment_service import experiments
from tests.serve_app.data_plane.test_predictions import GOOD, Backend, request, service

LIMIT_BYTES = 2000
INVALID = "invalid_request"


@pytest.fixture
def backend():
    return Backend(1)


@pytest.fixture
def observed():
    return []


@pytest.fixture
def counted():
    return []


@pytest.fixture
def http(backend, observed, counted):
    count = lambda path, status: counted.append((path, status))  # noqa: E731
    app = build_http(service(old=backend), experiments(), LIMIT_BYTES, observed.append, count)
    return TestClient(app, raise_server_exceptions=False)


def check(answer, status, code):
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/json"
    schemas.ErrorAnswer.model_validate(answer.json())
    return answer.json()["error"]


def test_a_prediction_follows_its_schema(http):
    answer = http.post("/api/ml/predict", json=request())
    assert answer.status_code == 200
    assert schemas.PredictAnswer.model_validate_json(answer.content).prediction.direction == 1


def test_requests_for_predictions_are_counted_with_their_status(http, counted):
    http.post("/api/ml/predict", json=request())
    http.post("/api/ml/predict", content=b"{")
    http.post("/api/ml/predict/batch", json={"requests": [request()]})
    http.get("/api/ml/models")
    assert counted == [
        ("/api/ml/predict", 200),
        ("/api/ml/predict", 400),
        ("/api/ml/predict/batch", 200),
    ]


def test_a_batch_follows_its_schema_with_a_failed_item_in_its_place(http):
    answer = http.post("/api/ml/predict/batch", json={"requests": [request(), request([1])]})
    assert answer.status_code == 200
    good, bad = schemas.BatchAnswer.model_validate_json(answer.content).predictions
    assert (type(good), type(bad)) == (schemas.PredictAnswer, schemas.FailedItem)


def test_models_and_health_follow_their_schemas(http):
    TypeAdapter(list[schemas.ModelEntry]).validate_json(http.get("/api/ml/models").content)
    for path in ("/health", "/api/ml/health"):
        answer = http.get(path)
        assert answer.status_code == 200
        assert schemas.HealthAnswer.model_validate_json(answer.content).status == "healthy"


def test_an_unhealthy_server_answers_503(http, backend):
    backend.is_loaded = False
    answer = http.get("/api/ml/health")
    assert (answer.status_code, answer.json()["status"]) == (503, "unhealthy")


def test_errors_have_the_contracts_statuses(http):
    post = lambda body: http.post("/api/ml/predict", content=body)  # noqa: E731
    check(post(b"{"), 400, "malformed_json")
    check(post(json.dumps(request([1]))), 422, "invalid_features")
    check(post(json.dumps(request([float("nan"), *GOOD[1:]]))), 422, "invalid_features")
    check(post(json.dumps(request(extra=1))), 422, "invalid_request")
    served = check(post(json.dumps(request(model_version="2.0.0"))), 404, "not_served")["served"]
    assert served == ["toy:1.0.0", "toy:1.1.0"]


def test_a_loading_version_says_when_to_retry(http, backend):
    backend.is_loaded = False
    answer = http.post("/api/ml/predict", json=request())
    check(answer, 503, "loading")
    assert answer.headers["retry-after"] == "1"


def test_a_large_body_is_refused_whether_announced_or_not(http):
    large = b"x" * (LIMIT_BYTES + 1)
    error = check(http.post("/api/ml/predict", content=large), 413, "too_large")
    assert (error["limit"], error["received"]) == (LIMIT_BYTES, LIMIT_BYTES + 1)
    check(http.post("/api/ml/predict", content=iter([large])), 413, "too_large")


def test_unknown_endpoints_and_methods_answer_in_the_same_form(http):
    check(http.get("/api/ml/nothing"), 404, "no_such_endpoint")
    check(http.get("/api/ml/predict"), 405, "method_not_allowed")


def test_an_unforeseen_failure_is_logged_and_tells_nothing_of_the_inside(http, backend, caplog):
    backend.error = RuntimeError("secret detail")
    error = check(http.post("/api/ml/predict", json=request()), 500, "internal_error")
    assert "secret" not in error["message"]
    assert "secret detail" in caplog.text


def test_one_document_describes_every_endpoint(http):
    document = http.get("/openapi.json").json()
    assert set(document["paths"]) == {
        "/api/ml/predict",
        "/api/ml/predict/batch",
        "/api/ml/models",
        "/api/ml/models/reload",
        "/api/ml/ab-test",
        "/api/ml/ab-test/create",
        "/api/ml/ab-test/{experiment_id}/analyze",
        "/api/ml/ab-test/{experiment_id}/evidence",
        "/api/ml/ab-test/{experiment_id}/stop",
        "/api/ml/outcomes",
        "/api/ml/health",
        "/health",
    }
    posts = {path: each["post"] for path, each in document["paths"].items() if "post" in each}
    assert {path for path, each in posts.items() if "requestBody" not in each} == {
        "/api/ml/ab-test/{experiment_id}/stop"
    }
    text = http.get("/openapi.json").text
    references = set(re.findall(r'"\$ref":"#/components/schemas/(\w+)"', text))
    assert {"PredictBody", "BatchBody", "PredictAnswer"} <= references
    assert references <= set(document["components"]["schemas"])
    fields = document["components"]["schemas"]["PredictBody"]["properties"]
    assert set(fields) == set(PREDICT_FIELDS)


def test_a_reload_follows_its_schema(http):
    body = {"model_name": "toy", "version": "1.1.0"}
    answer = http.post("/api/ml/models/reload", json=body)
    assert answer.status_code == 200
    assert schemas.ReloadAnswer.model_validate_json(answer.content).version == "1.1.0"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, "model_name: expected a model's name, received nothing"),
        ({"model_name": "../toy"}, "model_name: expected 1 to 64 letters"),
        ({"model_name": "toy", "version": "newest"}, "version: expected a semantic version"),
        ({"model_name": "toy", "stage": "production"}, "received 1 unknown, the first 'stage'"),
        (["toy"], "request: expected a JSON object, received a list of 1"),
    ],
)
def test_a_reload_of_something_that_cannot_be_named_is_refused(http, body, expected):
    error = check(http.post("/api/ml/models/reload", json=body), 422, "invalid_request")
    assert expected in error["message"]


def test_a_body_of_numbers_is_answered_as_json_is(http):
    raw = np.array(GOOD, dtype="<f4").tobytes()
    answer = http.post(
        "/api/ml/predict?symbol=BTCUSDT", content=raw, headers={"content-type": RAW}
    ).json()
    assert answer["prediction"] == http.post("/api/ml/predict", json=request()).json()["prediction"]
    check(http.post("/api/ml/predict", content=raw, headers={"content-type": RAW}), 422, INVALID)


def test_an_answer_tells_its_stages_when_asked_and_they_are_observed(http, observed):
    assert "timings" not in http.post("/api/ml/predict", json=request()).json()
    answer = http.post("/api/ml/predict", json={**request(), "timings": True})
    timings = schemas.PredictAnswer.model_validate_json(answer.content).timings.model_dump()
    assert all(each >= 0 for each in timings.values() if each is not None)
    assert {"read", "parse", "route", "queue", "serialise"} == {each.value for each in observed[0]}
    assert timings["read_ms"] == pytest.approx(observed[1][Stage.READ] * 1e3)
    batch = {"requests": [{**request(), "timings": True}]}
    (refused,) = http.post("/api/ml/predict/batch", json=batch).json()["predictions"]
    assert "timings: expected only in a request of its own" in refused["error"]["message"]


async def test_a_hot_endpoint_turns_what_nobody_foresaw_into_an_error_of_the_server(http, backend):
    backend.error = RuntimeError("secret")
    error = check(http.post("/api/ml/predict", json=request()), 500, "internal_error")
    assert "secret" not in error["message"]
    check(http.get("/api/ml/predict"), 405, "method_not_allowed")


async def test_a_client_that_left_is_counted_as_such_and_not_answered(backend, counted):
    class Slow(Backend):
        async def predict(self, window):
            await asyncio.sleep(60)

    count = lambda path, status: counted.append((path, status))  # noqa: E731
    app = build_http(service(old=Slow(1)), experiments(), LIMIT_BYTES, print, count)
    messages = iter([{"type": "http.request", "body": json.dumps(request()).encode()}])
    scope = {"type": "http", "method": "POST", "path": "/api/ml/predict", "query_string": b""}

    async def receive():
        return next(messages, {"type": "http.disconnect"})

    sent = []

    async def send(message):
        sent.append(message)

    async with asyncio.timeout(5):
        await app({**scope, "headers": []}, receive, send)
    assert counted == [("/api/ml/predict", 499)]
    assert sent[0]["status"] == 499
