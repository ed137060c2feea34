"""The endpoints for models and health over ASGI."""

import pytest
from pydantic import TypeAdapter

from serve_app.api.rest import schemas
from tests.serve_app.api.rest.bodies import check_error


def test_models_follow_their_schema(http):
    """The list of models has an entry per served version."""
    response = http.get("/api/ml/models")
    TypeAdapter(list[schemas.ModelEntry]).validate_json(response.content)
    assert response.json()[0] == {
        "name": "toy",
        "version": "1.0.0",
        "stage": "Production",
        "model_type": "Toy",
        "metrics": {"accuracy": 0.5},
        "size_mb": 0.1,
        "loaded": True,
        "pending": False,
        "problem": None,
    }


@pytest.mark.parametrize("path", ["/health", "/api/ml/health"])
def test_health_follows_its_schema(http, path):
    """Both paths of the health check return the same report."""
    response = http.get(path)
    assert response.status_code == 200
    report = schemas.HealthResponse.model_validate_json(response.content)
    assert (report.status, report.loaded_models) == ("healthy", ["toy:1.0.0", "toy:1.1.0"])


def test_unhealthy_server_returns_503(http, backend):
    """An unhealthy server has the status 503, so that load balancers avoid it."""
    backend.is_loaded = False
    response = http.get("/api/ml/health")
    assert (response.status_code, response.json()["status"]) == (503, "unhealthy")


def test_problems_are_named_without_reasons(http, problems):
    """The public health names the components with a problem, and no path or address of theirs."""
    problems["experiment_log"] = "the database /srv/x.db is locked"
    response = http.get("/health")
    report = schemas.HealthResponse.model_validate_json(response.content)
    assert (response.status_code, report.status) == (200, "degraded")
    assert report.problems == ["experiment_log"]
    assert "srv" not in response.text


@pytest.mark.parametrize(("is_loaded", "status"), [(True, 200), (False, 503)])
def test_live_and_ready(http, backend, is_loaded, status):
    """A server that responds is alive; it is ready while default requests are served."""
    backend.is_loaded = is_loaded
    live, ready = http.get("/health/live"), http.get("/health/ready")
    assert live.status_code == 200
    schemas.LivenessResponse.model_validate_json(live.content)
    assert ready.status_code == status
    assert schemas.ReadinessResponse.model_validate_json(ready.content).ready == is_loaded


def test_reload_reports_version_and_stages(http, fleet):
    """The response to a reload names the version and the holder of each stage."""
    body = {"model_name": "toy", "version": "1.1.0"}
    response = http.post("/api/ml/models/reload", json=body)
    assert response.status_code == 200
    schemas.ReloadResponse.model_validate_json(response.content)
    assert response.json() == {
        "status": "success",
        "message": "toy:1.1.0 is loaded; production is 1.0.0, staging is 1.1.0",
        "model_name": "toy",
        "version": "1.1.0",
    }
    http.post("/api/ml/models/reload", json={"model_name": "toy"})
    assert fleet.requests == [("toy", "1.1.0"), ("toy", None)]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, "model_name: expected a model's name, received nothing"),
        ({"model_name": "../toy"}, "model_name: expected 1 to 64 letters"),
        ({"model_name": "toy", "version": "newest"}, "version: expected a semantic version"),
        ({"model_name": "toy", "stage": "production"}, "received the unknown 'stage'"),
        (["toy"], "request: expected a JSON object, received a list of 1"),
    ],
)
def test_invalid_reload_is_rejected(http, body, expected):
    """A reload of something that cannot name a model or a version is rejected."""
    response = http.post("/api/ml/models/reload", json=body)
    assert expected in check_error(response, 422, "invalid_request")["message"]
