"""The state of a starting server, as its HTTP responses show it."""

import pytest

from serve_app.launch.readiness import (
    application_states,
    failure,
    is_healthy,
    is_unhealthy,
    partial_failure,
    progress,
)
from testkit.http_server import serving

TRACEBACK = 'Traceback (most recent call last):\n  File "a.py", line 1\nValueError: no model here\n'


def state(status, message="", **deployments):
    return {"status": status, "message": message, "deployments": deployments}


@pytest.fixture
def server():
    def respond(path, headers):
        status = {"/api/serve/applications/": 200, "/ok": 200}.get(path, 503)
        if "/serve/" in path and headers["Authorization"] != "Bearer a":
            status = 401
        return status, b'{"applications": {"a": {"status": "RUNNING"}}}'

    with serving(respond) as url:
        yield url


def test_healthy(server):
    """Only 200 counts as healthy."""
    assert is_healthy(f"{server}/ok")
    assert not is_healthy(f"{server}/not-yet")


def test_unhealthy(server):
    """Only 503 counts as a running server that cannot serve."""
    assert is_unhealthy(f"{server}/not-yet")
    assert not is_unhealthy(f"{server}/ok")


def test_no_server():
    """Without a server nothing is healthy, unhealthy or deployed."""
    assert not is_healthy("http://127.0.0.1:9/ok")
    assert not is_unhealthy("http://127.0.0.1:9/ok")
    assert application_states("http://127.0.0.1:9", {}) == {}


def test_states(server):
    """The states are those of the dashboard."""
    states = application_states(server, {"Authorization": "Bearer a"})
    assert states == {"a": {"status": "RUNNING"}}
    assert application_states(server, {}) == {}


def test_starting():
    """A starting server has not failed, and its progress is described."""
    states = {"a": state("DEPLOYING", Model={"status": "UPDATING", "message": TRACEBACK})}
    assert failure(states) is None
    assert progress(states) == "application a is DEPLOYING, deployment Model is UPDATING"


def test_before_serve():
    """Before Serve runs there is neither a failure nor progress."""
    assert failure({}) is None
    assert progress({}) == "Ray Serve is not running"


def test_failed_application():
    """The failure of an application has the last line of its traceback as its reason."""
    problem, details = failure({"a": state("DEPLOY_FAILED", TRACEBACK)})
    assert problem == "application 'a' could not be deployed: ValueError: no model here"
    assert details == TRACEBACK


def test_failed_deployment():
    """The reason is that of the failed deployment, not of the application."""
    failed = {"status": "DEPLOY_FAILED", "message": TRACEBACK}
    waiting = {"status": "UPDATING", "message": "waiting for CPUs"}
    states = {"a": state("DEPLOY_FAILED", "Failed to update.", Model=failed, Router=waiting)}
    problem, _ = failure(states)
    assert problem.endswith("ValueError: no model here")


def test_partial_failure():
    """A failure next to a running application is reported as a line."""
    broken = {"status": "UPDATING", "message": TRACEBACK}
    sound = {"status": "HEALTHY", "message": ""}
    assert partial_failure({"a": state("DEPLOYING", "", Model=broken, Router=sound)}) == (
        "Model is UPDATING: ValueError: no model here"
    )
    assert partial_failure({"a": state("RUNNING", "", Router=sound)}) is None
    assert partial_failure({"a": state("DEPLOY_FAILED", TRACEBACK)}).endswith(
        "ValueError: no model here"
    )


def test_failed_version():
    """A version that fails to load is fatal only if the server is unhealthy without it."""
    failed = {"status": "DEPLOY_FAILED", "message": TRACEBACK}
    states = {
        "app": state("RUNNING"),
        "app:m:1.1.0": state("DEPLOY_FAILED", "Failed to update.", ModelServer=failed),
    }
    assert failure(states) is None
    problem, _ = failure(states, is_unhealthy=True)
    assert problem == "application 'app:m:1.1.0' could not be deployed: ValueError: no model here"
    assert partial_failure(states).endswith("ValueError: no model here")
