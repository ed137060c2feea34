"""HAProxy rejects predictions that would be late, and passes bursts and everything else on."""

import http.client
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from serve_app.data_plane.deadlines import DEFAULT_MS
from serve_app.launch.haproxy_shedding import (
    ALWAYS_PASSED,
    BURST_MS,
    DEFAULT_DEADLINE_MS,
    LARGE_BODY_BYTES,
    shedding_rules,
)
from tests.serve_app.launch.haproxy_servers import started

PREDICT = "/api/ml/predict"


class Router:
    """Responds to GET at once; holds each POST until the test releases it; reports its pace."""

    def __init__(self):
        self.pace_us = 0
        self.held = 0
        self.arrivals = []
        self.released = threading.Event()


class Server(ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True


@contextmanager
def serving(router):
    """The port of a router."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            if int(self.headers["Content-Length"]) > LARGE_BODY_BYTES:
                self.do_GET()  # before the body has been sent
                return
            self.rfile.read(int(self.headers["Content-Length"]))
            router.arrivals.append(self.headers["X-Request-Start"])
            router.held += 1
            router.released.wait(30)
            self.do_GET()

        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Security-Policy", "x")
            self.send_header("Content-Length", "2")
            if router.pace_us:
                self.send_header("X-Pace-Us", str(router.pace_us))
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_args):
            pass

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    router.released.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def router():
    return Router()


@pytest.fixture
def proxy(tmp_path_factory, router):
    """A running HAProxy with one router."""
    with serving(router) as port, started(tmp_path_factory.mktemp("ha"), port) as proxy:
        yield proxy


def post(proxy, path=PREDICT, **headers):
    """Return the status, the headers and the body of a response."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    connection = http.client.HTTPConnection("127.0.0.1", proxy.config.frontend_port, timeout=30)
    with closing(connection):
        connection.request("POST", path, b"x" * 9000, fields)
        response = connection.getresponse()
        return response.status, response.headers, response.read()


@contextmanager
def in_flight(proxy, router, number):
    """Keep requests in flight."""
    with ThreadPoolExecutor(number) as pool:
        before = router.held
        posted = [pool.submit(post, proxy, X_Deadline_Ms="60000") for _ in range(number)]
        deadline_s = time.monotonic() + 20
        while router.held < before + number:
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
        try:
            yield
        finally:
            router.released.set()
            assert [one.result()[0] for one in posted] == [200] * number
            router.released.clear()


def learn(proxy, router, pace_us):
    """Let HAProxy learn the pace from a response."""
    router.pace_us = pace_us
    status, headers, _ = proxy.get(path=PREDICT)
    assert status == 200
    assert "X-Pace-Us" not in headers


def test_default_deadline():
    """HAProxy and the routers assume the same deadline."""
    assert DEFAULT_DEADLINE_MS == DEFAULT_MS


def test_no_application_at_the_root():
    """Without an application at the root there is nothing to shed."""
    assert shedding_rules("    acl is_http-a path_beg /a/\n", "status 503") == ""


def test_late_prediction_is_rejected(proxy, router):
    """40 in flight at 5 ms each: a prediction with 100 ms is rejected, and in a burst only that.

    When the burst is over, 200 ms are a standing queue: more than a tenth of 1 s, less than a
    tenth of 10 s. Commands pass at any time.
    """
    with in_flight(proxy, router, ALWAYS_PASSED + 8), ThreadPoolExecutor(3) as pool:
        learn(proxy, router, 5000)
        before = router.held
        admitted = pool.submit(post, proxy)  # the burst begins
        while router.held == before:
            assert not admitted.done()
            time.sleep(0.01)
        status, headers, content = post(proxy, X_Deadline_Ms="100")
        assert (status, headers["Retry-After"]) == (503, "1")
        assert json.loads(content)["error"]["code"] == "overloaded"
        assert headers["Content-Security-Policy"]
        time.sleep(BURST_MS / 1e3 + 0.1)
        assert post(proxy)[0] == 503
        patient = pool.submit(post, proxy, X_Deadline_Ms="10000")
        command = pool.submit(post, proxy, "/api/ml/outcomes")
        router.released.set()
        assert {one.result()[0] for one in (admitted, patient, command)} == {200}


def test_few_are_never_rejected(proxy, router):
    """A slow model receives as many requests as share one run, whatever they take."""
    with in_flight(proxy, router, ALWAYS_PASSED - 1):
        learn(proxy, router, 1_000_000)
        threading.Timer(0.3, router.released.set).start()
        assert post(proxy, X_Deadline_Ms="100")[0] == 200


def test_connection_survives_a_rejection(proxy, router):
    """A rejected request does not cost its connection: the next one uses it."""
    # From another address, whose connections are within their limit.
    connection = http.client.HTTPConnection(
        "127.0.0.1", proxy.config.frontend_port, timeout=30, source_address=("127.0.0.9", 0)
    )
    with in_flight(proxy, router, ALWAYS_PASSED), closing(connection):
        learn(proxy, router, 50_000)
        for _ in range(3):
            connection.request("POST", PREDICT, b"x" * 12_000, {"X-Deadline-Ms": "100"})
            response = connection.getresponse()
            assert (response.status, response.getheader("Connection")) == (503, None)
            response.read()


def test_arrival(proxy, router):
    """HAProxy notes the arrival, and overwrites what a client claims."""
    router.released.set()
    before_us = time.time() * 1e6
    assert post(proxy, X_Request_Start="1")[0] == 200
    assert before_us - 1000 <= int(router.arrivals[0]) <= time.time() * 1e6


def test_slow_bodies_are_no_load(proxy, router):
    """A body that has not arrived keeps its request out of the estimate, and out of the router."""
    learn(proxy, router, 50_000)
    connections = [
        http.client.HTTPConnection("127.0.0.1", proxy.config.frontend_port, timeout=30)
        for _ in range(ALWAYS_PASSED + 8)
    ]
    for connection in connections:
        connection.putrequest("POST", PREDICT)
        connection.putheader("Content-Length", "9000")
        connection.endheaders(b"x" * 100)
    router.released.set()
    assert post(proxy, X_Deadline_Ms="100")[0] == 200
    assert router.held == 1
    for connection in connections:
        connection.close()


def test_large_body_is_not_waited_for(proxy):
    """A router can reject a body by its announced size, before any of it is sent."""
    connection = http.client.HTTPConnection("127.0.0.1", proxy.config.frontend_port, timeout=30)
    with closing(connection):
        connection.putrequest("POST", PREDICT)
        connection.putheader("Content-Length", str(LARGE_BODY_BYTES + 1))
        connection.endheaders()
        assert connection.getresponse().status == 200
