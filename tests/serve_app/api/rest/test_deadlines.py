"""The deadlines of predictions are checked before their bodies are read."""

import asyncio
import time

import pytest

from serve_app.api.rest.deadlines import DeadlineGuard, counted, documented, read_deadline
from serve_app.data_plane.deadlines import Pace, current_deadline
from serve_app.errors import InvalidRequestError
from tests.serve_app.api.rest.bodies import body, check_error

PREDICT = "/api/ml/predict"


def scope(path=PREDICT, client="127.0.0.1", **headers):
    """A request; the names of headers have underscores."""
    fields = [(name.replace("_", "-").encode(), value) for name, value in headers.items()]
    address = {"client": (client, 4), "server": ("127.0.0.1", 8001)}
    return {"type": "http", "method": "POST", "path": path, "headers": fields, **address}


def left_s(**headers):
    """The time that is left until the deadline of a request."""
    deadline, _ = read_deadline(scope(**headers))
    return deadline.due_s - time.monotonic()


def since(age_s):
    """The value of the header that HAProxy adds, for a request of this age."""
    return b"%d" % ((time.time() - age_s) * 1e6)


def test_default():
    """A request that states no deadline has 1 s."""
    assert left_s() == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize(("value", "allowed_ms"), [(b"250", 250), (b"0.5", 0.5), (b"60000", 6e4)])
def test_header(value, allowed_ms):
    deadline, _ = read_deadline(scope(x_deadline_ms=value))
    assert deadline.allowed_ms == allowed_ms
    assert left_s(x_deadline_ms=value) == pytest.approx(allowed_ms / 1e3, abs=0.2)


@pytest.mark.parametrize(
    "value", [b"0", b"-1", b"", b"soon", b"1e3", b"inf", b"nan", b"1,2", b"1 "]
)
def test_invalid_header(value):
    """Anything but a positive number is rejected with what is expected."""
    with pytest.raises(InvalidRequestError, match="a positive number of milliseconds"):
        read_deadline(scope(x_deadline_ms=value))


def test_repeated_header():
    """Two deadlines contradict each other."""
    request = scope()
    request["headers"] = [(b"x-deadline-ms", b"5")] * 2
    with pytest.raises(InvalidRequestError, match="expected one header"):
        read_deadline(request)


def test_time_before_the_router():
    """The time since the arrival at HAProxy counts; a clock that is behind adds nothing."""
    assert left_s(x_request_start=since(0.7)) == pytest.approx(0.3, abs=0.2)
    assert left_s(x_request_start=since(-5)) == pytest.approx(1.0, abs=0.2)
    assert left_s(x_request_start=b"yesterday") == pytest.approx(1.0, abs=0.2)


def test_clock_of_another_machine():
    """The arrival at a HAProxy of another machine is no age: its clock may differ."""
    assert left_s(client="10.0.0.7", x_request_start=since(5)) == pytest.approx(1.0, abs=0.2)


class App:
    """Notes the deadline of each request that it serves."""

    def __init__(self):
        self.deadlines = []

    async def __call__(self, _scope, _receive, send):
        self.deadlines.append(current_deadline.get().allowed_ms)
        await send({"type": "http.response.start", "status": 200, "headers": []})


async def statuses(guard, request):
    """Return the status and the headers of the response."""
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        raise AssertionError("the body was read")

    await guard(request, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"])


async def test_guard():
    """A request in time is served with its deadline; a late one is rejected without its body."""
    app = App()
    guard = DeadlineGuard(app, Pace())
    assert (await statuses(guard, scope(x_deadline_ms=b"250")))[0] == 200
    status, headers = await statuses(guard, scope(x_request_start=since(2)))
    assert (status, headers[b"retry-after"]) == (504, b"1")
    assert (await statuses(guard, scope(x_deadline_ms=b"x")))[0] == 422
    assert (await statuses(guard, scope("/api/ml/outcomes", x_deadline_ms=b"x")))[0] == 200
    assert app.deadlines == [250.0, float("inf")]


async def test_overload():
    """A request that would be late is rejected at once; others are admitted."""
    pace = Pace()
    guard = DeadlineGuard(App(), pace)
    for _ in range(20):
        pace.begin()
    await asyncio.sleep(0.02)
    pace.end()  # 20 ms per response: the next one is expected after 400 ms
    assert (await statuses(guard, scope(x_deadline_ms=b"60000")))[0] == 200
    status, headers = await statuses(guard, scope(x_deadline_ms=b"100"))
    assert (status, headers[b"retry-after"]) == (503, b"1")


async def test_pace_for_haproxy():
    """Responses through HAProxy carry the pace; HAProxy removes it."""
    pace = Pace()
    app = App()
    guard = DeadlineGuard(counted(app, pace), pace)
    assert b"x-pace-us" not in (await statuses(guard, scope()))[1]
    _, headers = await statuses(guard, scope(x_request_start=since(0)))
    assert int(headers[b"x-pace-us"]) == pace.interval_us > 0


async def test_only_predictions_count():
    """Health and commands say nothing about the pace of predictions."""
    pace = Pace()
    await statuses(counted(App(), pace), scope("/api/ml/health"))
    assert pace.interval_us == 0


@pytest.mark.parametrize("path", [PREDICT, f"{PREDICT}/batch"])
def test_late_request_runs_no_model(http, backend, path):
    """A request whose deadline has passed on arrival triggers no run of the model."""
    content = body() if path == PREDICT else {"requests": [body()]}
    headers = {"X-Deadline-Ms": "0.001"}
    response = http.post(path, json=content, headers=headers)
    error = check_error(response, 504, "deadline_exceeded")
    assert error["deadline_ms"] == 0.001
    assert response.headers["retry-after"] == "1"
    assert backend.batches == []
    assert http.post(path, json=content).status_code == 200


def test_documented():
    """The header is added to the parameters of an operation."""
    operation = documented({"parameters": [{"name": "shape"}], "requestBody": {}})
    assert [parameter["name"] for parameter in operation["parameters"]] == [
        "X-Deadline-Ms",
        "shape",
    ]
