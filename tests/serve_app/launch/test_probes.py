"""The probes of a running server, by its HTTP responses."""

import threading
import time

import pytest

from serve_app.launch.probes import Probe, application_findings, health_findings
from serve_app.launch.supervision import RUNNING, Component, Condition, Finding
from testkit.http_server import serving

BODIES = {
    "none": b'{"problems": []}',
    "storage": b'{"problems": ["storage", "fleet"]}',
    "text": b"healthy",
    "error": b'{"error": {"code": "no_router"}}',
}


@pytest.fixture
def server():
    """Responds to /STATUS/BODY."""

    def respond(path, _headers):
        _, status, name = path.split("/")
        return int(status), BODIES[name]

    with serving(respond) as url:
        yield url


def failing(detail):
    return Finding(Condition.FAILING, detail)


@pytest.mark.parametrize(
    ("path", "health", "dependencies"),
    [
        ("200/none", RUNNING, RUNNING),
        ("200/storage", RUNNING, failing("storage, fleet")),
        ("503/none", failing("status 503"), RUNNING),
        ("503/error", failing("status 503"), None),
        ("200/text", RUNNING, None),
        ("404/error", RUNNING, None),
    ],
)
def test_health(server, path, health, dependencies):
    """Every response is that of a living server, 5xx of one that cannot serve; the dependencies are
    those of the health check, and unknown where another program responds."""
    expected = {Component.HEALTH: health, Component.DEPENDENCIES: dependencies}
    found = health_findings(f"{server}/{path}")
    assert found == {part: finding for part, finding in expected.items() if finding is not None}


def test_no_server():
    """Without a response the server is silent, and nothing is known about its dependencies."""
    assert health_findings("http://127.0.0.1:9/") == {Component.HEALTH: Finding(Condition.SILENT)}


def test_applications():
    """A failed deployment is found with its reason; nothing is known without the states."""
    deployments = {"Model": {"status": "UNHEALTHY", "message": "no CPU"}}
    states = {"a": {"status": "UNHEALTHY", "message": "", "deployments": deployments}}
    assert application_findings({}) == {}
    assert application_findings(states) == {
        Component.APPLICATIONS: failing("Model is UNHEALTHY: no CPU")
    }
    states = {"a": {"status": "RUNNING", "deployments": {}}}
    assert application_findings(states) == {Component.APPLICATIONS: RUNNING}


def test_probe():
    """A probe keeps the last finding of each component, until a call returns another one."""
    calls = iter([{}, {Component.GCS: RUNNING}, {}, {Component.GCS: failing("a")}])
    seen, is_assigned = [], threading.Event()

    def call():
        is_assigned.wait(10.0)
        seen.append(dict(probe.findings))
        return next(calls, {})

    probe = Probe(call, period_s=0.001)
    is_assigned.set()
    deadline_s = time.monotonic() + 10.0
    while len(seen) < 6:
        assert time.monotonic() < deadline_s
        time.sleep(0.001)
    probe.end()
    running, failed = {Component.GCS: RUNNING}, {Component.GCS: failing("a")}
    assert seen[:6] == [{}, {}, running, running, failed, failed]
