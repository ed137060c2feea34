"""Servers are compared only if their responses are equal."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from benchmarks.serving_peers.checking import (
    Answer,
    RefusedError,
    UnequalAnswersError,
    ask,
    require_equal,
    wait_until_ready,
)
from benchmarks.serving_peers.wrk import Request

ANSWER = Answer(1, 0.5, 0.001)


def test_equal_predictions():
    """Equal predictions pass, and so do those that differ in float32's last digits."""
    require_equal({"ours": [ANSWER, ANSWER], "peer": [ANSWER, Answer(1, 0.50005, 0.00105)]})


@pytest.mark.parametrize(
    "other", [Answer(2, 0.5, 0.001), Answer(1, 0.501, 0.001), Answer(1, 0.5, 0.002)]
)
def test_different_predictions(other):
    """Another direction or number is rejected, naming both contestants and the window."""
    with pytest.raises(UnequalAnswersError, match=r"window 1: ours .* peer"):
        require_equal({"ours": [ANSWER, ANSWER], "peer": [ANSWER, other]})


@pytest.fixture
def server():
    """A server that responds with its `statuses` in order, and repeats the last one."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            statuses = self.server.statuses
            self.send_response(statuses.pop(0) if len(statuses) > 1 else statuses[0])
            body = json.dumps({"prediction": vars_of(ANSWER)}).encode()
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def vars_of(answer):
    return {
        "direction": answer.direction,
        "confidence": answer.confidence,
        "expected_return": answer.expected_return,
    }


def url_of(server):
    return f"http://127.0.0.1:{server.server_port}"


REQUEST = Request(path="/", content_type="application/json", body=b"{}")


def test_waits_for_proxy(server):
    """A server that its proxy does not route to yet is waited for."""
    server.statuses = [404, 503, 200]

    wait_until_ready(url_of(server), REQUEST)

    assert server.statuses == [200]


def test_rejected_request(server):
    """An invalid request is not retried."""
    server.statuses = [400, 200]

    with pytest.raises(RefusedError, match="expected 200, received 400"):
        wait_until_ready(url_of(server), REQUEST)


def test_response(server):
    """A response is read from its object; any other status is an error."""
    server.statuses = [200, 201]

    assert ask(url_of(server), REQUEST) == ANSWER
    with pytest.raises(RefusedError, match="expected 200, received 201"):
        ask(url_of(server), REQUEST)
