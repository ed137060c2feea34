"""ModelClient against a scripted server: what it sends, believes and makes of a failure."""

import asyncio
import logging
import re
import subprocess
import sys

import numpy as np
import pytest

from serve_app.client import ModelClient, get_model_client
from serve_app.client.encoding import as_float32
from serve_app.errors import (
    ClientError,
    InvalidFeaturesError,
    InvalidRequestError,
    ServerRejectedError,
    ServerUnreachableError,
    UnexpectedResponseError,
)
from testkit.fake_server import (
    BATCH,
    HEALTH,
    MODELS,
    PREDICT,
    RELOAD,
    FakeServer,
    NoReply,
    Reply,
    batch_of,
    error,
    prediction,
)
from testkit.paths import ROOT

PAGE = (ROOT / "docs" / "guides" / "client.md").read_text("utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
WINDOW = np.random.default_rng(0).standard_normal((60, 110))


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

    async def test_an_older_server_that_takes_no_raw_bodies_gets_json_from_then_on(
        self, server, client
    ):
        refusal = Reply(error("malformed_json", "no JSON"), status=400)
        server.script(PREDICT, refusal, Reply(prediction()))
        fields = {"symbol": "BTC+USDT ä", "features": [[0.5, -1.25], [3.0, 4.0]]}
        for _ in range(2):
            answer = await client.predict("BTC+USDT ä", np.array(fields["features"]))
            assert answer == prediction()
        assert server.received[PREDICT] == [fields] * 3
        assert server.content_types == ["application/octet-stream", *["application/json"] * 2]

    async def test_a_field_that_is_no_text_goes_as_json_so_that_the_server_sees_what_it_is(
        self, server, client
    ):
        server.script(PREDICT, Reply(prediction()))
        await client.predict("BTCUSDT", [1.0], model_version=1.0)
        assert server.received[PREDICT][0]["model_version"] == 1.0

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


class TestFailure:
    async def test_without_raise_errors_predict_is_none_and_the_reason_is_logged_once(
        self, server, quiet_client, reasons, caplog
    ):
        server.script(PREDICT, Reply(error("not_served", "net:9.9.9 is not served here"), 404))
        assert await quiet_client.predict("BTCUSDT", WINDOW, "net", "9.9.9") is None
        assert reasons() == [
            "predict BTCUSDT failed: the model server returned 404 not_served: "
            "net:9.9.9 is not served here"
        ]
        assert caplog.records[-1].levelno == logging.WARNING

    async def test_with_raise_errors_the_reason_is_logged_once_too(self, server, client, reasons):
        server.script(PREDICT, Reply(b"down", 500))
        with pytest.raises(ClientError):
            await client.predict("BTCUSDT", WINDOW)
        assert len(reasons()) == 1

    async def test_refused_features_are_a_failure_like_any_other(self, quiet_client, reasons):
        assert await quiet_client.predict("BTCUSDT", [[1.0, float("nan")]]) is None
        assert len(reasons()) == 1
        assert "nan at [0, 1]" in reasons()[0]

    @pytest.mark.parametrize("symbol", ["BTCUSDT", WINDOW, WINDOW.tolist()])
    async def test_features_never_reach_the_log(self, quiet_client, symbol, caplog):
        """Not even where the arguments were swapped."""
        caplog.set_level(logging.DEBUG)
        features = WINDOW.copy()
        features[3, 4] = np.nan
        assert await quiet_client.predict(symbol, features) is None
        assert str(WINDOW[0, 0])[:6] not in caplog.text

    async def test_cancellation_is_not_a_failure(self, server, quiet_client, reasons):
        server.script(PREDICT, NoReply())
        call = asyncio.create_task(quiet_client.predict("BTCUSDT", WINDOW))
        await server.requested.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert reasons() == []


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
        self, server, reply, healthy, raise_errors, reasons
    ):
        server.script(HEALTH, reply)
        async with ModelClient(server.url, raise_errors=raise_errors) as client:
            assert await client.health_check() is healthy
        assert len(reasons()) == (0 if healthy else 1)

    async def test_models_are_listed_as_the_server_lists_them(self, server, client):
        models = [{"name": "net", "version": "1.0.0", "loaded": True}]
        server.script(MODELS, Reply(models))
        assert await client.list_models() == models

    async def test_no_list_is_empty_with_its_reason_in_the_log_or_raised(
        self, server, client, quiet_client, reasons
    ):
        server.script(MODELS, Reply({"models": []}))
        assert await quiet_client.list_models() == []
        assert len(reasons()) == 1
        with pytest.raises(UnexpectedResponseError):
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
        server.script(PREDICT, NoReply())
        client = ModelClient(server.url, timeout_s=60.0, raise_errors=True)
        call = asyncio.create_task(client.predict("BTCUSDT", WINDOW))
        await server.requested.wait()
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
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    heavy = {"ray", "torch", "onnx", "onnxruntime", "fastapi", "pydantic", "registry", "pandas"}
    assert heavy & set(run.stdout.split()) == set()


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
async def test_the_examples_of_the_documentation_run(server, example):
    """As they stand, against a server that answers, without a warning."""
    server.script(PREDICT, Reply(prediction()))
    server.script(BATCH, batch_of)
    server.script(HEALTH, Reply({"status": "healthy"}))
    server.script(MODELS, Reply([{"name": "net", "version": "1.0.0", "loaded": True}]))
    code = example.replace("http://localhost:8001", server.url)
    run = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "-c", code, cwd=ROOT, stderr=asyncio.subprocess.PIPE
    )
    _, stderr = await run.communicate()
    assert run.returncode == 0, stderr.decode()
    assert b"Warning" not in stderr  # one that is raised in a destructor does not end Python


class TestReloadModel:
    async def test_names_the_model_and_the_version_if_there_is_one(self, server, client):
        server.script(RELOAD, Reply({"status": "success", "version": "1.1.0"}))
        assert await client.reload_model("net") is True
        assert await client.reload_model("net", "1.1.0") is True
        assert server.received[RELOAD] == [
            {"model_name": "net"},
            {"model_name": "net", "version": "1.1.0"},
        ]

    async def test_a_refusal_is_false_with_its_reason_logged_once(
        self, server, quiet_client, reasons
    ):
        refusal = error("unusable_version", "net:1.1.0 cannot be loaded, and nothing was changed")
        server.script(RELOAD, Reply(refusal, status=422))
        assert await quiet_client.reload_model("net", "1.1.0") is False
        (reason,) = reasons()
        assert "net:1.1.0 cannot be loaded, and nothing was changed" in reason

    async def test_a_refusal_raises_the_server_s_own_words(self, server, client):
        server.script(RELOAD, Reply(error("reload_in_progress", "wait"), status=409))
        with pytest.raises(ServerRejectedError, match="409 reload_in_progress: wait"):
            await client.reload_model("net")

    async def test_something_else_that_answers_is_no_success(self, server, client):
        server.script(RELOAD, Reply({"status": "ok"}))
        with pytest.raises(UnexpectedResponseError, match="status success"):
            await client.reload_model("net")

    async def test_a_name_that_json_cannot_hold_is_not_sent(self, server, client):
        with pytest.raises(InvalidRequestError):
            await client.reload_model(b"net")
        assert server.received[RELOAD] == []
