"""Requests are admitted by their tokens, on every path through the front end."""

from datetime import UTC, datetime

import pytest
from starlette.routing import Route
from starlette.testclient import TestClient

from serve_app.access.control import AccessControl
from serve_app.access.quotas import Limits
from serve_app.access.roles import Role
from serve_app.access.tokens import Token, TokenTable, digest_of
from serve_app.api.rest.access import PUBLIC, ROLES
from serve_app.api.rest.app import build_rest_api
from tests.serve_app.api.rest.bodies import SETTINGS, body, check_error
from tests.serve_app.core import DEFINITION, core

NOW = datetime(2026, 1, 2, tzinfo=UTC)
TABLE = TokenTable(
    tokens=[
        Token(name=role, roles={role}, digest=digest_of(f"ts_{role}".encode()), created_at=NOW)
        for role in Role
    ]
)
PREDICT = "/api/ml/predict"
STREAM = "/api/ml/stream"
ENDPOINTS = [
    (method, path.format(experiment_id="v1_vs_v2", name="start.js", symbol="A/B"), roles)
    for (method, path), roles in ROLES.items()
    if path != STREAM
]
"""All but the stream, whose response does not end; its query is invalid instead."""
ENDPOINTS.append(("GET", f"{STREAM}?symbols=", ROLES["GET", STREAM]))


@pytest.fixture
def clock():
    return [0.0]


@pytest.fixture
def control(clock):
    return AccessControl(TABLE, Limits(5, 2), clock=lambda: clock[0])


@pytest.fixture
def open_http():
    """A client of a server without tokens."""
    control = AccessControl(TokenTable(), Limits(1, 1))
    api = build_rest_api(core().services, SETTINGS, print, print, control)
    return TestClient(api, "http://localhost")


def bearer(role, scheme="Bearer"):
    return {"Authorization": f"{scheme} ts_{role}"}


def test_every_endpoint_has_roles(api):
    """The table holds exactly the endpoints of the application."""
    routes = [route for route in api.routes if isinstance(route, Route)]
    served = {
        (method, route.path_format)
        for route in routes
        for method in route.methods
        if method != "HEAD"
    }
    assert len(routes) == len(api.routes)
    assert served == set(ROLES)


@pytest.mark.parametrize(("method", "path", "roles"), ENDPOINTS)
def test_endpoints_require_their_roles(http, method, path, roles):
    """Without a token a request gets 401, with a wrong role 403, with a right one neither."""
    if roles is PUBLIC:
        assert http.request(method, path).status_code == 200
        return
    check_error(http.request(method, path), 401, "missing_token")
    for role in Role:
        response = http.request(method, path, headers=bearer(role))
        if role in roles:
            assert response.status_code not in (401, 403, 429)
        else:
            assert check_error(response, 403, "missing_role")["required"] == sorted(roles)
            if method == "GET":  # a HEAD has no body, and needs the same role
                assert http.head(path, headers=bearer(role)).status_code == 403


@pytest.mark.parametrize("path", [PREDICT, "/api/ml/models", "/api/ml/nothing"])
def test_challenges(http, path):
    """A 401 names the scheme, and tells a missing token from a rejected one."""
    missing = http.get(path) if path != PREDICT else http.post(path)
    assert missing.headers["www-authenticate"] == "Bearer"
    wrong = http.request("GET" if path != PREDICT else "POST", path, headers=bearer("wrong"))
    check_error(wrong, 401, "invalid_token")
    assert wrong.headers["www-authenticate"] == 'Bearer error="invalid_token"'


@pytest.mark.parametrize(
    "authorization", ["Basic ts_predict", "ts_predict", "Bearer", "Bearer ", "Bearerts_predict"]
)
def test_other_forms_are_rejected(http, authorization):
    """An Authorization header of another form is an error, and the response does not repeat it."""
    response = http.post(PREDICT, json=body(), headers={"Authorization": authorization})
    check_error(response, 401, "invalid_token")
    assert "ts_predict" not in response.text


def test_scheme_is_case_insensitive(http):
    """The scheme may have any case, as RFC 9110 requires."""
    for scheme in ("bearer", "BEARER"):
        assert http.post(PREDICT, json=body(), headers=bearer("predict", scheme)).is_success


def test_two_tokens_are_rejected(http):
    """A request with two Authorization headers has no single caller."""
    headers = [("Authorization", "Bearer ts_predict"), ("Authorization", "Bearer ts_operate")]
    check_error(http.post(PREDICT, json=body(), headers=headers), 401, "invalid_token")


def test_rejected_predictions_are_counted(http, counted):
    """A rejected request for a prediction appears in the metrics with its status."""
    http.post(PREDICT)
    http.post(PREDICT, headers=bearer("observe"))
    assert counted == [(PREDICT, 401), (PREDICT, 403)]


@pytest.mark.parametrize("path", [PREDICT, "/api/ml/models"])
def test_rate_limit(http, clock, path):
    """Each response states what is left; beyond it there is a 429 until the bucket fills."""
    method, arguments = ("POST", {"json": body()}) if path == PREDICT else ("GET", {})
    send = lambda: http.request(method, path, headers=bearer("predict"), **arguments)  # noqa: E731
    responses = [send() for _ in range(6)]
    assert [response.status_code for response in responses] == [200] * 5 + [429]
    policy = '"requests";q=5;w=1, "concurrency";q=2;qu="concurrent-requests"'
    assert {response.headers["ratelimit-policy"] for response in responses} == {policy}
    assert responses[0].headers["ratelimit"] == '"requests";r=4;t=1, "concurrency";r=1'
    assert responses[5].headers["ratelimit"] == '"requests";r=0;t=1, "concurrency";r=2'
    check_error(responses[5], 429, "rate_limited")
    assert responses[5].headers["retry-after"] == "1"
    assert http.get("/api/ml/models", headers=bearer("observe")).status_code == 200
    clock[0] += 1
    assert send().status_code == 200


def test_changes_carry_the_name_of_the_token(http, fleet):
    """A reload and the start and end of an experiment are made in the name of their caller."""
    post = lambda path, **fields: http.post(path, headers=bearer("operate"), **fields)  # noqa: E731
    assert post("/api/ml/models/reload", json={"model_name": "toy"}).is_success
    assert post("/api/ml/ab-test/create", json=DEFINITION).is_success
    assert post("/api/ml/ab-test/v1_vs_v2/stop").is_success
    assert fleet.callers == ["operate"] * 3


async def test_failed_requests_leave_no_trace_in_flight(api, control):
    """A request that ends with an error or without a client is not in flight any more."""
    quota = control.quota(control.identify(b"ts_predict", is_browser=False))
    http = TestClient(api, "http://localhost", raise_server_exceptions=False)
    headers = {**bearer("predict"), "Content-Type": "application/json"}
    http.post(PREDICT, content=b"{", headers=headers)
    assert quota.in_flight == 0


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://localhost"},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Mode": "cors"},
    ],
)
def test_pages_need_a_token_for_commands(open_http, headers):
    """A page without a token reads, and neither predicts nor changes anything."""
    assert open_http.get("/api/ml/models", headers=headers).status_code == 200
    for path in (PREDICT, "/api/ml/outcomes", "/api/ml/models/reload", "/api/ml/ab-test/x/stop"):
        check_error(open_http.post(path, json={}, headers=headers), 401, "missing_token")
    assert open_http.post("/api/ml/models/reload", json={"model_name": "toy"}).status_code == 200


def test_document_states_the_roles(http):
    """The OpenAPI document states the scheme, and the roles of each endpoint."""
    document = http.get("/openapi.json").json()
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    paths = document["paths"]
    assert paths["/api/ml/models/reload"]["post"]["security"] == [{"token": ["operate"]}]
    assert paths["/health"]["get"]["security"] == [{}]
