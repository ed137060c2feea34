"""ModelClient against a scripted server: what it sends, takes for an answer and makes of failure."""

import asyncio
import logging
import pathlib
import re
import socket
import subprocess
import sys

import numpy as np
import pytest

from serve_app.client import ModelClient, get_model_client
from serve_app.client.encoding import as_float32
from serve_app.client.transport import backoff_s, retry_after_s
from serve_app.errors import (
    ClientError,
    DeadlineExceededError,
    InvalidFeaturesError,
    InvalidRequestError,
    ServerRejectedError,
    ServerUnreachableError,
    ServingError,
    UnexpectedAnswerError,
)
from tests.serve_app.fake_server import (
    BATCH,
    HEALTH,
    MODELS,
    PREDICT,
    Disconnect,
    FakeServer,
    Reply,
    Silence,
    batch_of,
    error,
    prediction,
)

WINDOW = np.random.default_rng(0).standard_normal((60, 110))
OVERLOADED = Reply(error("overloaded", "hybrid_cnn_lstm:1.0.0 is overloaded"), 503)
SYMBOLS = [f"S{index}" for index in range(5)]


@pytest.fixture
async def server():
    async with FakeServer() as fake:
        yield fake


@pytest.fixture
async def client(server):
    async with ModelClient(server.url, timeout_s=5.0, raise_errors=True) as client:
        yield client


@pytest.fixture
async def quiet_client(server):
    async with ModelClient(server.url, timeout_s=5.0) as client:
        yield client


@pytest.fixture
def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def reasons(caplog):
    return [r.getMessage() for r in caplog.records if r.name.startswith("serve_app.client")]


class TestPredict:
    async def test_returns_the_server_s_answer_as_it_is(self, server, client):
        server.script(PREDICT, Reply(prediction()))
        assert await client.predict("BTCUSDT", WINDOW) == prediction()

    async def test_sends_the_fields_that_were_given_and_no_others(self, server, client):
        server.script(PREDICT, Reply(prediction()))
        await client.predict("BTCUSDT", [1.0])
        await client.predict("BTCUSDT", [1.0], "net", "staging", unit_id="bot-1")
        assert server.received[PREDICT] == [
            {"symbol": "BTCUSDT", "features": [1.0]},
            {
                "symbol": "BTCUSDT",
                "features": [1.0],
                "model_name": "net",
                "model_version": "staging",
                "unit_id": "bot-1",
            },
        ]

    @pytest.mark.parametrize(
        "as_given",
        [
            lambda window: window,
            lambda window: window.astype(np.float32),
            lambda window: window.astype(">f8"),
            lambda window: window.astype(np.int16),
            np.asfortranarray,
            lambda window: window.tolist(),
            list,
        ],
        ids=["float64", "float32", "big-endian", "int16", "column order", "lists", "list of rows"],
    )
    async def test_whatever_holds_the_numbers_the_same_body_goes_out(
        self, server, client, as_given
    ):
        server.script(PREDICT, Reply(prediction()))
        window = np.round(WINDOW * 100)
        await client.predict("BTCUSDT", as_given(window))
        sent = np.array(server.received[PREDICT][0]["features"])
        np.testing.assert_array_equal(sent, window)

    async def test_numbers_arrive_as_the_float32_they_are_nearest_to(self, server, client):
        server.script(PREDICT, Reply(prediction()))
        await client.predict("BTCUSDT", WINDOW)
        sent = np.array(server.received[PREDICT][0]["features"], np.float32)
        np.testing.assert_array_equal(sent, WINDOW.astype(np.float32))

    async def test_flat_features_stay_flat(self, server, client):
        """The shape is the server's to judge, so a transposed window is not hidden from it."""
        server.script(PREDICT, Reply(prediction()))
        await client.predict("BTCUSDT", WINDOW.ravel())
        assert np.array(server.received[PREDICT][0]["features"]).shape == (6600,)

    @pytest.mark.parametrize(
        ("features", "received"),
        [
            ([[0.0, 1.0], [float("nan"), float("inf")]], r"nan at \[1, 0\] \(2 such in all\)"),
            (np.array([0.0, -np.inf]), r"-inf at \[1\]"),
            (np.array([1e39, 0.0]), r"1e\+39 at \[0\]"),
            ([[1.0, None]], r"None at \[0, 1\]"),
            ([1.0, "secret"], r"a value of type str at \[1\]"),
            ([[1.0, 2.0], [3.0]], "list that is no array"),
            (np.array([True, False]), r"type bool at \[0\]"),
            ([10**400], "an array of object"),
            (1.5, "a value of type float"),
            (None, "None"),
        ],
    )
    async def test_features_that_json_would_bend_are_refused_before_they_are_sent(
        self, server, client, features, received
    ):
        with pytest.raises(InvalidFeaturesError, match=f"features: expected .*{received}"):
            await client.predict("BTCUSDT", features)
        assert not server.received

    @pytest.mark.parametrize(
        ("symbol", "field"), [(None, "symbol"), (7, "symbol"), ("\ud800", "request")]
    )
    async def test_a_symbol_that_cannot_be_sent_is_refused(self, client, symbol, field):
        with pytest.raises(InvalidRequestError, match=f"^{field}: expected"):
            await client.predict(symbol, [1.0])


class TestRetry:
    @pytest.mark.parametrize("failure", [OVERLOADED, Disconnect()], ids=["503", "disconnect"])
    async def test_a_passing_failure_is_retried(self, server, quiet_client, failure, caplog):
        server.script(PREDICT, failure, failure, Reply(prediction()))
        assert await quiet_client.predict("BTCUSDT", WINDOW) == prediction()
        assert len(server.received[PREDICT]) == 3
        assert reasons(caplog) == []

    async def test_a_server_that_closed_an_idle_connection_is_connected_to_again(self, free_port):
        async with ModelClient(f"http://127.0.0.1:{free_port}", timeout_s=5.0) as client:
            for _ in range(2):
                async with FakeServer(free_port) as server:
                    server.script(PREDICT, Reply(prediction()))
                    assert await client.predict("BTCUSDT", [1.0]) == prediction()

    @pytest.mark.parametrize("status", [400, 404, 413, 422, 500, 502])
    async def test_any_other_status_is_not_retried(self, server, client, status):
        server.script(PREDICT, Reply(error("some_code", "why", field="symbol"), status))
        with pytest.raises(ServerRejectedError, match=f"{status} some_code: why") as caught:
            await client.predict("BTCUSDT", WINDOW)
        assert caught.value.details == {"field": "symbol"}
        assert len(server.received[PREDICT]) == 1

    async def test_a_wait_past_the_deadline_is_not_begun(self, server, client):
        server.script(PREDICT, Reply(OVERLOADED.body, 503, {"Retry-After": "3600"}))
        with pytest.raises(ServerRejectedError, match="503 overloaded"):
            await client.predict("BTCUSDT", WINDOW)
        assert len(server.received[PREDICT]) == 1

    async def test_when_retries_run_out_of_time_the_last_reason_is_raised(self, server):
        server.script(PREDICT, OVERLOADED)
        async with ModelClient(server.url, timeout_s=0.2, raise_errors=True) as client:
            with pytest.raises(ServerRejectedError, match="503 overloaded"):
                await client.predict("BTCUSDT", WINDOW)
        assert len(server.received[PREDICT]) > 1

    async def test_a_silent_server_costs_the_deadline_and_no_second_request(self, server):
        server.script(PREDICT, Silence())
        async with ModelClient(server.url, timeout_s=0.1, raise_errors=True) as client:
            with pytest.raises(DeadlineExceededError, match=r"within 0\.1 s"):
                await client.predict("BTCUSDT", WINDOW)
        assert len(server.received[PREDICT]) == 1

    async def test_a_refused_connection_is_an_unreachable_server(self, free_port):
        url = f"http://127.0.0.1:{free_port}"
        async with ModelClient(url, timeout_s=0.1, raise_errors=True) as client:
            with pytest.raises(ServerUnreachableError, match=f"{url}.*is it running"):
                await client.predict("BTCUSDT", WINDOW)

    def test_the_wait_doubles_from_10_ms_to_half_a_second_less_the_jitter(self):
        waits_s = [backoff_s(attempt, 0.0) for attempt in (0, 1, 2, 6, 5000)]
        assert waits_s == [0.01, 0.02, 0.04, 0.5, 0.5]
        assert backoff_s(0, 1.0) == 0.005

    @pytest.mark.parametrize(
        ("header", "wait_s"),
        [(None, 0.0), ("2", 2.0), ("-1", 0.0), ("Wed, 21 Oct 2026 07:28:00 GMT", 0.0)],
    )
    def test_retry_after_is_read_in_seconds(self, header, wait_s):
        assert retry_after_s(header) == wait_s


class TestAnswers:
    @pytest.mark.parametrize(
        "body",
        [b"", b"<html>", [], {}, {"prediction": 1}, {"prediction": {}}]
        + [{"prediction": {"direction": bad}} for bad in (3, -1, 1.0, True, "BUY", None)],
    )
    async def test_a_200_without_a_direction_is_no_prediction(self, server, client, body):
        server.script(PREDICT, Reply(body))
        with pytest.raises(UnexpectedAnswerError, match="is it the model server"):
            await client.predict("BTCUSDT", WINDOW)

    @pytest.mark.parametrize("status", [204, 302])
    async def test_a_success_other_than_200_is_unexpected(self, server, client, status):
        server.script(PREDICT, Reply(b"", status, {"Location": "/elsewhere"}))
        with pytest.raises(UnexpectedAnswerError, match=f"received {status}"):
            await client.predict("BTCUSDT", WINDOW)

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            (b"404 page\n not found", "http_error: 404 page not found"),
            (b"\xff" + b"x" * 5000, "http_error: \ufffd" + "x" * 199),
            (b"", "http_error: no message"),
            ({"detail": "gone"}, 'http_error: {"detail":"gone"}'),
            ({"error": {}}, "http_error: no message"),
        ],
    )
    async def test_an_error_in_a_proxy_s_words_is_passed_on(self, server, client, body, message):
        server.script(PREDICT, Reply(body, 404))
        with pytest.raises(ServerRejectedError) as caught:
            await client.predict("BTCUSDT", WINDOW)
        assert str(caught.value) == f"the model server answered 404 {message}"

    async def test_something_that_speaks_no_http_is_unexpected(self):
        async def babble(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"220 mail.example ready\r\n\r\n")
            writer.close()

        listener = await asyncio.start_server(babble, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        async with listener, ModelClient(f"http://127.0.0.1:{port}", raise_errors=True) as client:
            with pytest.raises(UnexpectedAnswerError):
                await client.list_models()


class TestFailure:
    async def test_without_raise_errors_predict_is_none_and_the_reason_is_logged_once(
        self, server, quiet_client, caplog
    ):
        server.script(PREDICT, Reply(error("not_served", "net:9.9.9 is not served here"), 404))
        assert await quiet_client.predict("BTCUSDT", WINDOW, "net", "9.9.9") is None
        assert reasons(caplog) == [
            "predict BTCUSDT failed: the model server answered 404 not_served: "
            "net:9.9.9 is not served here"
        ]
        assert caplog.records[-1].levelno == logging.WARNING

    async def test_with_raise_errors_the_reason_is_logged_once_too(self, server, client, caplog):
        server.script(PREDICT, Reply(b"down", 500))
        with pytest.raises(ClientError):
            await client.predict("BTCUSDT", WINDOW)
        assert len(reasons(caplog)) == 1

    async def test_refused_features_are_a_failure_like_any_other(self, quiet_client, caplog):
        assert await quiet_client.predict("BTCUSDT", [[1.0, float("nan")]]) is None
        assert len(reasons(caplog)) == 1
        assert "nan at [0, 1]" in reasons(caplog)[0]

    @pytest.mark.parametrize("symbol", ["BTCUSDT", WINDOW, WINDOW.tolist()])
    async def test_features_never_reach_the_log(self, quiet_client, symbol, caplog):
        """Not even where the arguments were swapped."""
        caplog.set_level(logging.DEBUG)
        features = WINDOW.copy()
        features[3, 4] = np.nan
        assert await quiet_client.predict(symbol, features) is None
        assert str(WINDOW[0, 0])[:6] not in caplog.text

    async def test_cancellation_is_not_a_failure(self, server, quiet_client, caplog):
        server.script(PREDICT, Silence())
        call = asyncio.create_task(quiet_client.predict("BTCUSDT", WINDOW))
        while not server.received[PREDICT]:
            await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert reasons(caplog) == []


class TestBatch:
    def requests(self, symbols=SYMBOLS):
        return [{"symbol": symbol, "features": WINDOW[:2]} for symbol in symbols]

    async def test_entries_come_in_the_order_of_the_requests(self, server, client):
        server.script(BATCH, batch_of)
        assert await client.batch_predict(self.requests()) == [prediction(s) for s in SYMBOLS]
        assert server.received[BATCH][0]["max_batch_size"] == 32

    async def test_more_than_max_batch_size_go_in_several_bodies(self, server, client):
        server.script(BATCH, batch_of)
        entries = await client.batch_predict(self.requests(), max_batch_size=2)
        assert [entry["symbol"] for entry in entries] == SYMBOLS
        sent = server.received[BATCH]
        assert [len(body["requests"]) for body in sent] == [2, 2, 1]
        assert {body["max_batch_size"] for body in sent} == {2}

    async def test_a_body_above_a_mebibyte_is_sent_without_a_warning(self, server, client):
        server.script(BATCH, batch_of)
        requests = [{"symbol": "A", "features": WINDOW}] * 32
        assert len(await client.batch_predict(requests)) == 32

    @pytest.mark.parametrize("raise_errors", [False, True])
    async def test_a_bad_request_fails_alone_and_in_its_place(self, server, raise_errors, caplog):
        """Whether the server refuses it or the client."""

        def answer(document):
            entries = batch_of(document).body["predictions"]
            entries[1] = {"symbol": "S2"} | error("not_served", "no such model")
            return Reply({"predictions": entries})

        server.script(BATCH, answer)
        requests = self.requests()
        requests[0] = {"symbol": "S0", "features": [[1.0, float("nan")]]}
        requests[3] = "no request"
        async with ModelClient(server.url, raise_errors=raise_errors) as client:
            entries = await client.batch_predict(requests)
        assert [entry["symbol"] for entry in entries] == ["S0", "S1", "S2", None, "S4"]
        codes = [entry.get("error", {}).get("code") for entry in entries]
        assert codes == ["invalid_features", None, "not_served", "invalid_request", None]
        assert "nan at [0, 1]" in entries[0]["error"]["message"]
        assert [each["symbol"] for each in server.received[BATCH][0]["requests"]] == [
            "S1",
            "S2",
            "S4",
        ]
        assert len(reasons(caplog)) == 1
        assert "3 of 5 requests failed" in reasons(caplog)[0]

    async def test_a_failed_body_leaves_an_error_for_each_of_its_requests(
        self, server, quiet_client, caplog
    ):
        refused = Reply(error("too_large", "too large", limit=9), 413)
        server.script(BATCH, batch_of, refused, batch_of)
        entries = await quiet_client.batch_predict(self.requests(), max_batch_size=2)
        failure = {"code": "too_large", "message": "too large", "limit": 9}
        assert entries == [
            prediction("S0"),
            prediction("S1"),
            {"symbol": "S2", "error": failure},
            {"symbol": "S3", "error": failure},
            prediction("S4"),
        ]
        assert reasons(caplog) == [
            "batch_predict: 2 of 5 requests failed (2 too_large); the first, S2: too large"
        ]

    async def test_with_raise_errors_a_failed_body_raises(self, server, client, caplog):
        server.script(BATCH, batch_of, Reply(b"down", 500))
        with pytest.raises(ServerRejectedError):
            await client.batch_predict(self.requests(), max_batch_size=2)
        assert len(reasons(caplog)) == 1

    async def test_all_bodies_share_one_deadline(self, server):
        server.script(BATCH, Silence())
        async with ModelClient(server.url, batch_timeout_s=0.1) as client:
            entries = await client.batch_predict(self.requests(), max_batch_size=2)
        assert [entry["error"]["code"] for entry in entries] == ["deadline_exceeded"] * 5
        assert len(server.received[BATCH]) == 1

    @pytest.mark.parametrize(
        "body",
        [
            [],
            {"predictions": None},
            {"predictions": [prediction()]},
            {"predictions": [prediction()] * 6},
            {"predictions": [prediction()] * 4 + [{"symbol": "S4", "error": None}]},
        ],
    )
    async def test_another_number_of_entries_or_kind_is_unexpected(self, server, client, body):
        server.script(BATCH, Reply(body))
        with pytest.raises(UnexpectedAnswerError):
            await client.batch_predict(self.requests())

    async def test_nothing_to_ask_is_nothing_to_send(self, server, client):
        assert await client.batch_predict([]) == []
        bad = await client.batch_predict([{"symbol": "A", "features": None}])
        assert bad[0]["error"]["code"] == "invalid_features"
        assert not server.received

    @pytest.mark.parametrize("size", [0, -1, 2.0, True, None])
    async def test_max_batch_size_must_be_a_whole_number(self, client, size):
        with pytest.raises(ValueError, match="max_batch_size: expected"):
            await client.batch_predict([], max_batch_size=size)


class TestHealthAndModels:
    @pytest.mark.parametrize(
        ("reply", "healthy"),
        [
            (Reply({"status": "healthy"}), True),
            (Reply({"status": "degraded"}), True),
            (Reply({"status": "unhealthy"}), False),
            (Reply({"status": "unhealthy"}, 503, {"Retry-After": "60"}), False),
            (Reply(["healthy"]), False),
            (Reply(b"ok"), False),
        ],
    )
    @pytest.mark.parametrize("raise_errors", [False, True])
    async def test_health_is_a_200_that_says_healthy_or_degraded(
        self, server, reply, healthy, raise_errors, caplog
    ):
        server.script(HEALTH, reply)
        async with ModelClient(server.url, raise_errors=raise_errors) as client:
            assert await client.health_check() is healthy
        assert len(reasons(caplog)) == (0 if healthy else 1)

    async def test_models_are_listed_as_the_server_lists_them(self, server, client):
        models = [{"name": "net", "version": "1.0.0", "loaded": True}]
        server.script(MODELS, Reply(models))
        assert await client.list_models() == models

    async def test_no_list_is_empty_with_its_reason_in_the_log_or_raised(
        self, server, client, quiet_client, caplog
    ):
        server.script(MODELS, Reply({"models": []}))
        assert await quiet_client.list_models() == []
        assert len(reasons(caplog)) == 1
        with pytest.raises(UnexpectedAnswerError):
            await client.list_models()


class TestLifetime:
    async def test_works_without_initialize_and_again_after_cleanup(self, server):
        server.script(PREDICT, Reply(prediction()))
        client = ModelClient(server.url)
        assert await client.predict("BTCUSDT", [1.0]) == prediction()
        await client.cleanup()
        await client.cleanup()
        await client.initialize()
        await client.initialize()
        assert await client.predict("BTCUSDT", [1.0]) == prediction()
        await client.cleanup()

    async def test_cleanup_ends_a_call_that_still_runs(self, server):
        server.script(PREDICT, Silence())
        client = ModelClient(server.url, timeout_s=60.0, raise_errors=True)
        call = asyncio.create_task(client.predict("BTCUSDT", WINDOW))
        while not server.received[PREDICT]:
            await asyncio.sleep(0)
        await client.cleanup()
        with pytest.raises(ServerUnreachableError, match="cleanup was called"):
            await call

    @pytest.mark.parametrize("cleans_up", [True, False])
    def test_one_client_serves_one_event_loop_after_another(self, free_port, cleans_up):
        client = get_model_client(f"http://127.0.0.1:{free_port}")

        async def ask():
            async with FakeServer(free_port) as server:
                server.script(PREDICT, Reply(prediction(), headers={"Connection": "close"}))
                answer = await client.predict("BTCUSDT", [1.0])
                if cleans_up:
                    await client.cleanup()
                return answer

        assert [asyncio.run(ask()) for _ in range(2)] == [prediction(), prediction()]
        asyncio.run(client.cleanup())

    async def test_two_urls_are_two_clients(self, server):
        async with FakeServer() as other:
            server.script(PREDICT, Reply(prediction(direction=1)))
            other.script(PREDICT, Reply(prediction(direction=2)))
            clients = [get_model_client(server.url), get_model_client(other.url)]
            answers = [await client.predict("BTCUSDT", [1.0]) for client in clients]
            for client in clients:
                await client.cleanup()
        assert [answer["prediction"]["direction"] for answer in answers] == [1, 2]

    def test_the_same_url_is_the_same_client(self):
        client = get_model_client()
        assert client is get_model_client("http://localhost:8001")
        assert client is get_model_client("HTTP://LocalHost:8001/")
        assert client is not get_model_client("http://localhost:8002")

    @pytest.mark.parametrize(
        "url",
        ["", "localhost:8001", "ftp://host", "http://", "http://h:99999", "http://h/?a=1", None],
    )
    def test_a_url_that_cannot_be_used_is_refused_at_once(self, url):
        for make in (ModelClient, get_model_client):
            with pytest.raises(ValueError, match=r"server_url: expected http\(s\)://host:port"):
                make(url)

    def test_a_password_in_the_url_is_refused_without_being_repeated(self):
        with pytest.raises(ValueError, match="without user, password") as caught:
            ModelClient("http://bot:secret@host:8001")
        assert "secret" not in str(caught.value)

    @pytest.mark.parametrize("name", ["timeout_s", "batch_timeout_s", "connect_timeout_s"])
    @pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf"), True, "1", None])
    def test_a_timeout_that_cannot_be_used_is_refused_at_once(self, name, value):
        with pytest.raises(ValueError, match=f"{name}: expected a number of seconds above 0"):
            ModelClient(**{name: value})


def test_what_encoding_returns_is_a_float32_array_without_a_copy_where_it_was_one():
    window = WINDOW.astype(np.float32)
    assert as_float32(window) is window


def test_importing_the_client_imports_nothing_of_the_server():
    """A bot installs neither Ray nor torch."""
    code = "import sys, serve_app.client; print(*{name.split('.')[0] for name in sys.modules})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"ray", "torch", "onnx", "onnxruntime", "fastapi", "pydantic", "registry", "pandas"}
    assert heavy & set(run.stdout.split()) == set()


async def test_the_examples_of_the_documentation_run(server):
    """Every Python block of docs/client.md, against a server that answers."""
    server.script(PREDICT, Reply(prediction()))
    server.script(BATCH, batch_of)
    server.script(HEALTH, Reply({"status": "healthy"}))
    server.script(MODELS, Reply([{"name": "net", "version": "1.0.0", "loaded": True}]))
    page = pathlib.Path("docs/client.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert blocks
    for block in blocks:
        code = block.replace("http://localhost:8001", server.url)
        run = await asyncio.create_subprocess_exec(
            sys.executable, "-W", "error", "-c", code, stderr=asyncio.subprocess.PIPE
        )
        _, problems = await run.communicate()
        assert (run.returncode, problems.decode()) == (0, "")


def test_every_error_a_call_raises_is_a_serving_error():
    """So that one `except` is enough around a call with `raise_errors`."""
    assert issubclass(ClientError, ServingError)
    assert issubclass(InvalidRequestError, ServingError)
