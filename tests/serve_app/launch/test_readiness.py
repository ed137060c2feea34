"""What a coming up server's answers mean."""

import http.server
import threading

import pytest

from serve_app.launch.readiness import (
    answers,
    application_states,
    failure,
    is_unhealthy,
    progress,
    trouble,
)

TRACEBACK = 'Traceback (most recent call last):\n  File "a.py", line 1\nValueError: no model here\n'


def state(status, message="", **deployments):
    return {"status": status, "message": message, "deployments": deployments}


@pytest.fixture
def server():
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            status = {"/api/serve/applications/": 200, "/ok": 200}.get(self.path, 503)
            body = b'{"applications": {"a": {"status": "RUNNING"}}}'
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_only_200_is_an_answer(server):
    assert answers(f"{server}/ok")
    assert not answers(f"{server}/not-yet")


def test_only_503_is_a_server_that_is_up_and_cannot_serve(server):
    assert is_unhealthy(f"{server}/not-yet")
    assert not is_unhealthy(f"{server}/ok")


def test_nothing_listening_is_no_answer():
    assert not answers("http://127.0.0.1:9/ok")
    assert not is_unhealthy("http://127.0.0.1:9/ok")
    assert application_states("http://127.0.0.1:9") == {}


def test_the_states_are_the_dashboards(server):
    assert application_states(server) == {"a": {"status": "RUNNING"}}


def test_a_server_that_comes_up_has_not_failed():
    states = {"a": state("DEPLOYING", Model={"status": "UPDATING", "message": TRACEBACK})}
    assert failure(states) is None
    assert progress(states) == "application a is DEPLOYING, deployment Model is UPDATING"


def test_before_serve_is_up_there_is_nothing_to_tell():
    assert failure({}) is None
    assert progress({}) == "Ray Serve is not up"


def test_an_application_that_cannot_be_built_says_why():
    problem, details = failure({"a": state("DEPLOY_FAILED", TRACEBACK)})
    assert problem == "application 'a' could not be deployed: ValueError: no model here"
    assert details == TRACEBACK


def test_the_cause_is_the_failed_deployments_own():
    failed = {"status": "DEPLOY_FAILED", "message": TRACEBACK}
    waiting = {"status": "UPDATING", "message": "waiting for CPUs"}
    states = {"a": state("DEPLOY_FAILED", "Failed to update.", Model=failed, Router=waiting)}
    problem, _ = failure(states)
    assert problem.endswith("ValueError: no model here")


def test_what_fails_beside_a_server_that_answers_is_told():
    broken = {"status": "UPDATING", "message": TRACEBACK}
    sound = {"status": "HEALTHY", "message": ""}
    assert trouble({"a": state("DEPLOYING", "", Model=broken, Router=sound)}) == (
        "Model is UPDATING: ValueError: no model here"
    )
    assert trouble({"a": state("RUNNING", "", Router=sound)}) is None
    assert trouble({"a": state("DEPLOY_FAILED", TRACEBACK)}).endswith("ValueError: no model here")


def test_a_version_that_cannot_be_loaded_stops_only_a_server_that_has_no_answer_without_it():
    failed = {"status": "DEPLOY_FAILED", "message": TRACEBACK}
    states = {
        "app": state("RUNNING"),
        "app:m:1.1.0": state("DEPLOY_FAILED", "Failed to update.", ModelServer=failed),
    }
    assert failure(states) is None
    problem, _ = failure(states, is_unhealthy=True)
    assert problem == "application 'app:m:1.1.0' could not be deployed: ValueError: no model here"
    assert trouble(states).endswith("ValueError: no model here")
