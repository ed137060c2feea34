"""The application around the endpoints: errors, the fast path and the OpenAPI document."""

import asyncio
import json
import re

import pytest

from serve_app.api.rest.app import build_rest_api
from serve_app.api.rest.parsing import PREDICT_FIELDS
from tests.serve_app.api.rest.bodies import JSON, SETTINGS, body, check_error
from tests.serve_app.core import WINDOW, FakeBackend, core


def test_errors_have_the_statuses_of_the_contract(http):
    """Each error of the core has the status and the code of the contract."""
    post = lambda content: http.post("/api/ml/predict", content=content, headers=JSON)  # noqa: E731
    check_error(post(b"{"), 400, "malformed_json")
    check_error(post(json.dumps(body([1]))), 422, "invalid_features")
    check_error(post(json.dumps(body([float("nan"), *WINDOW[1:]]))), 422, "invalid_features")
    check_error(post(json.dumps(body(extra=1))), 422, "invalid_request")
    missing = check_error(post(json.dumps(body(model_version="2.0.0"))), 404, "not_served")
    assert missing["served"] == ["toy:1.0.0", "toy:1.1.0"]


def test_loading_version_sets_retry_after(http, backend):
    """A 503 has the header Retry-After."""
    backend.is_loaded = False
    response = http.post("/api/ml/predict", json=body())
    check_error(response, 503, "loading")
    assert response.headers["retry-after"] == "1"


def test_unknown_endpoints_return_errors_of_the_same_form(http):
    """Unknown endpoints and methods have error bodies like any other."""
    check_error(http.get("/api/ml/nothing"), 404, "no_such_endpoint")
    check_error(http.get("/api/ml/predict"), 405, "method_not_allowed")


@pytest.mark.parametrize(
    "path", ["/health", "/api/ml/health", "/api/ml/models", "/docs", "/api/ml/ab-test/a/analyze"]
)
def test_head_returns_the_headers_of_get(http, path):
    """Uptime checks send HEAD: it has the status and the headers of GET, and no body."""
    head, get = http.head(path), http.get(path)
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert int(head.headers["content-length"]) > 0  # health reports its uptime, of varying length
    assert {**head.headers, "content-length": ""} == {**get.headers, "content-length": ""}


def test_head_of_an_endpoint_without_get_is_rejected(http):
    """HEAD is GET without a body, and predictions have no GET."""
    response = http.head("/api/ml/predict")
    assert (response.status_code, response.headers["allow"]) == (405, "POST")


def test_unexpected_error_is_logged_and_not_exposed(http, backend, caplog):
    """The response to an unexpected error contains no detail; the log contains all."""
    backend.error = RuntimeError("secret detail")
    error = check_error(http.post("/api/ml/predict", json=body()), 500, "internal_error")
    assert "secret" not in error["message"]
    assert "secret detail" in caplog.text


def test_fast_path_serves_predictions_only(api):
    """The fast path serves POST to the endpoints for predictions, and nothing else."""
    for path in ("/api/ml/predict", "/api/ml/predict/batch"):
        assert api.has_fast_path({"method": "POST", "path": path})
        assert not api.has_fast_path({"method": "GET", "path": path})
    assert not api.has_fast_path({"method": "POST", "path": "/api/ml/outcomes"})
    assert not api.has_fast_path({"type": "lifespan"})


def test_fast_path_counts_paths_and_statuses(http, counted):
    """Requests for predictions are counted with their status; other requests are not."""
    http.post("/api/ml/predict", json=body())
    http.post("/api/ml/predict", content=b"{", headers=JSON)
    http.post("/api/ml/predict/batch", json={"requests": [body()]})
    http.get("/api/ml/models")
    assert counted == [
        ("/api/ml/predict", 200),
        ("/api/ml/predict", 400),
        ("/api/ml/predict/batch", 200),
    ]


async def test_disconnected_client_is_counted_as_499(control):
    """A client that disconnects during a prediction is counted with the status 499."""

    class Hanging(FakeBackend):
        async def predict(self, window):
            await asyncio.sleep(60)

    counted, sent = [], []
    count = lambda path, status: counted.append((path, status))  # noqa: E731
    api = build_rest_api(core(old=Hanging(1)).services, SETTINGS, print, count, control)
    messages = iter([{"type": "http.request", "body": json.dumps(body()).encode()}])
    scope = {"type": "http", "method": "POST", "path": "/api/ml/predict", "query_string": b""}

    async def receive():
        return next(messages, {"type": "http.disconnect"})

    async def send(message):
        sent.append(message)

    async with asyncio.timeout(5):
        await api(
            {
                **scope,
                "headers": [
                    (b"host", b"localhost"),
                    (b"content-type", b"application/json"),
                    (b"content-length", b"9"),
                ],
            },
            receive,
            send,
        )
    assert counted == [("/api/ml/predict", 499)]
    assert sent[0]["status"] == 499


def test_openapi_describes_every_endpoint(http):
    """The OpenAPI document contains every endpoint, its body and its schemas."""
    document = http.get("/openapi.json").json()
    assert set(document["paths"]) == {
        "/api/ml/predict",
        "/api/ml/predict/batch",
        "/api/ml/predict/series",
        "/api/ml/models",
        "/api/ml/models/reload",
        "/api/ml/ab-test",
        "/api/ml/ab-test/create",
        "/api/ml/ab-test/{experiment_id}/analyze",
        "/api/ml/ab-test/{experiment_id}/evidence",
        "/api/ml/ab-test/{experiment_id}/stop",
        "/api/ml/outcomes",
        "/api/ml/bars",
        "/api/ml/bars/{symbol}",
        "/api/ml/symbols",
        "/api/ml/stream",
        "/api/ml/features/{symbol}",
        "/api/ml/health",
        "/health",
        "/health/live",
        "/health/ready",
    }
    posts = {path: item["post"] for path, item in document["paths"].items() if "post" in item}
    assert {path for path, post in posts.items() if "requestBody" not in post} == {
        "/api/ml/ab-test/{experiment_id}/stop"
    }
    text = http.get("/openapi.json").text
    references = set(re.findall(r'"\$ref":"#/components/schemas/(\w+)"', text))
    assert {"PredictBody", "BatchBody", "PredictResponse"} <= references
    assert references <= set(document["components"]["schemas"])
    fields = document["components"]["schemas"]["PredictBody"]["properties"]
    assert set(fields) == set(PREDICT_FIELDS)
