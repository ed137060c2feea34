"""ModelClient against a scripted server: its requests, results and errors."""

import asyncio
import logging
from datetime import UTC, datetime

import numpy as np
import pytest

from serve_app.client import ModelClient, get_model_client
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
    Disconnect,
    FakeServer,
    NoResponse,
    Reply,
    error,
    prediction,
)

WINDOW = np.random.default_rng(0).standard_normal((60, 110))


class TestPredict:
    async def test_response(self, server, client):
        """The server's response is returned unchanged."""
        server.script(PREDICT, Reply(prediction()))
        assert await client.predict("BTCUSDT", WINDOW) == prediction()

    async def test_fields(self, server, client):
        """Only the fields that were given are sent."""
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

    async def test_json_for_older_server(self, server, client):
        """A server that rejects raw bodies receives JSON from then on."""
        rejection = Reply(error("malformed_json", "no JSON"), status=400)
        server.script(PREDICT, rejection, Reply(prediction()))
        fields = {"symbol": "BTC+USDT ä", "features": [[0.5, -1.25], [3.0, 4.0]]}
        for _ in range(2):
            response = await client.predict("BTC+USDT ä", np.array(fields["features"]))
            assert response == prediction()
        assert server.received[PREDICT] == [fields] * 3
        assert server.content_types == ["application/octet-stream", *["application/json"] * 2]

    async def test_doubles(self, server, client):
        """A model that takes float64 receives all digits, from the second attempt on at once."""
        rejection = Reply(error("rounded_features", "send float64"), status=422)
        server.script(PREDICT, rejection, Reply(prediction()))
        for _ in range(2):
            assert await client.predict("BTCUSDT", [65432.12], "prices") == prediction()
        sent = [request["features"][0] for request in server.received[PREDICT]]
        assert sent == [float(np.float32(65432.12)), 65432.12, 65432.12]

    async def test_field_of_wrong_type(self, server, client):
        """A field that is not text is sent as JSON, so that the server can report its type."""
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
    async def test_container(self, server, client, as_given):
        """The body does not depend on the type, byte order or layout of the features."""
        server.script(PREDICT, Reply(prediction()))
        window = np.round(WINDOW * 100)
        await client.predict("BTCUSDT", as_given(window))
        sent = np.array(server.received[PREDICT][0]["features"])
        np.testing.assert_array_equal(sent, window)

    async def test_float32(self, server, client):
        """Each number is sent as the nearest float32."""
        server.script(PREDICT, Reply(prediction()))
        await client.predict("BTCUSDT", WINDOW)
        sent = np.array(server.received[PREDICT][0]["features"], np.float32)
        np.testing.assert_array_equal(sent, WINDOW.astype(np.float32))

    async def test_flat_features(self, server, client):
        """Flat features stay flat: only the server validates the shape, so it can report it."""
        server.script(PREDICT, Reply(prediction()))
        await client.predict("BTCUSDT", WINDOW.ravel())
        assert np.array(server.received[PREDICT][0]["features"]).shape == (6600,)

    @pytest.mark.parametrize(
        ("features", "received"),
        [
            (
                [[0.0, 1.0], [float("nan"), float("inf")]],
                r"nan at \[1, 0\] \(2 such elements in all\)",
            ),
            (np.array([0.0, -np.inf]), r"-inf at \[1\]"),
            (np.array([1e39, 0.0]), r"1e\+39 at \[0\]"),
            ([[1.0, None]], r"None at \[0, 1\]"),
            ([1.0, "secret"], r"a value of type str at \[1\]"),
            ([[1.0, 2.0], [3.0]], "list that is not an array"),
            (np.array([True, False]), r"type bool at \[0\]"),
            ([10**400], "an array of object"),
            (1.5, "a value of type float"),
        ],
    )
    async def test_unusable_features(self, server, client, features, received):
        """Features that are not finite float32 numbers are rejected before anything is sent."""
        with pytest.raises(InvalidFeaturesError, match=f"features: expected .*{received}"):
            await client.predict("BTCUSDT", features)
        assert not server.received

    async def test_by_symbol(self, server, client):
        """Without features only the symbol and the fields of the server's window are sent."""
        server.script(PREDICT, Reply(prediction()), Reply(prediction()))
        await client.predict("BTCUSDT")
        bar = datetime(2026, 1, 5, 9, tzinfo=UTC)
        await client.predict("BTCUSDT", bar=bar, max_age_s=5.0, timeframe="1h")
        assert server.received[PREDICT] == [
            {"symbol": "BTCUSDT"},
            {
                "symbol": "BTCUSDT",
                "timeframe": "1h",
                "bar": "2026-01-05T09:00:00+00:00",
                "max_age_s": 5.0,
            },
        ]

    async def test_missing_values(self, server):
        """A client for models that accept NaN sends it, alone and in a batch."""
        server.script(PREDICT, Reply(prediction()))
        server.script(BATCH, Reply({"predictions": [prediction()]}))
        async with ModelClient(server.url, raise_errors=True, missing_values=True) as client:
            await client.predict("BTCUSDT", [[1.0, float("nan")]])
            await client.batch_predict([{"symbol": "BTCUSDT", "features": [[1.0, float("nan")]]}])
        for sent in (server.received[PREDICT][0], server.received[BATCH][0]["requests"][0]):
            np.testing.assert_array_equal(np.array(sent["features"], float), [[1.0, np.nan]])

    @pytest.mark.parametrize(
        ("symbol", "field"), [(None, "symbol"), (7, "symbol"), ("\ud800", "request")]
    )
    async def test_unusable_symbol(self, client, symbol, field, caplog):
        """A symbol that cannot be sent is rejected, and the log line can be encoded."""
        with pytest.raises(InvalidRequestError, match=f"^{field}: expected"):
            await client.predict(symbol, [1.0])
        assert all(record.getMessage().encode() for record in caplog.records)


class TestFailure:
    async def test_none(self, server, quiet_client, reasons, caplog):
        """Without `raise_errors`, `predict` returns None and logs the reason once."""
        server.script(PREDICT, Reply(error("not_served", "net:9.9.9 is not served here"), 404))
        assert await quiet_client.predict("BTCUSDT", WINDOW, "net", "9.9.9") is None
        assert reasons() == [
            "predict BTCUSDT failed: the model server returned 404 not_served: "
            "net:9.9.9 is not served here"
        ]
        assert caplog.records[-1].levelno == logging.WARNING

    async def test_raised(self, server, reasons):
        """With `raise_errors`, the reason is logged once as well."""
        server.script(PREDICT, Reply(b"down", 500))
        async with ModelClient(server.url, timeout_s=0.3, raise_errors=True) as client:
            with pytest.raises(ClientError):
                await client.predict("BTCUSDT", WINDOW)
        assert len(reasons()) == 1

    async def test_rejected_features(self, quiet_client, reasons):
        """Features that are rejected are reported as any other failure."""
        assert await quiet_client.predict("BTCUSDT", [[1.0, float("nan")]]) is None
        assert len(reasons()) == 1
        assert "nan at [0, 1]" in reasons()[0]

    @pytest.mark.parametrize("symbol", ["BTCUSDT", WINDOW, WINDOW.tolist()])
    async def test_features_are_not_logged(self, quiet_client, symbol, caplog):
        """Features never reach the log, even if the arguments were swapped."""
        caplog.set_level(logging.DEBUG)
        features = WINDOW.copy()
        features[3, 4] = np.nan
        assert await quiet_client.predict(symbol, features) is None
        assert str(WINDOW[0, 0])[:6] not in caplog.text

    async def test_cancellation(self, server, quiet_client, reasons):
        """A cancelled call logs nothing and raises CancelledError."""
        server.script(PREDICT, NoResponse())
        call = asyncio.create_task(quiet_client.predict("BTCUSDT", WINDOW))
        await server.reached.wait()
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
    async def test_health(self, server, reply, healthy, raise_errors, reasons):
        """Only a 200 response with the status healthy or degraded counts as healthy."""
        server.script(HEALTH, reply)
        async with ModelClient(server.url, raise_errors=raise_errors) as client:
            assert await client.health_check() is healthy
        assert len(reasons()) == (0 if healthy else 1)

    async def test_models(self, server, client):
        """The server's list of models is returned unchanged."""
        models = [{"name": "net", "version": "1.0.0", "loaded": True}]
        server.script(MODELS, Reply(models))
        assert await client.list_models() == models

    async def test_models_failure(self, server, client, quiet_client, reasons):
        """A failed call returns an empty list and logs the reason, or raises it."""
        server.script(MODELS, Reply({"models": []}))
        assert await quiet_client.list_models() == []
        assert len(reasons()) == 1
        with pytest.raises(UnexpectedResponseError):
            await client.list_models()


class TestLifetime:
    async def test_reuse(self, server):
        """A client works without `initialize` and again after `cleanup`."""
        server.script(PREDICT, Reply(prediction()))
        client = ModelClient(server.url)
        assert await client.predict("BTCUSDT", [1.0]) == prediction()
        await client.cleanup()
        await client.cleanup()
        await client.initialize()
        await client.initialize()
        assert await client.predict("BTCUSDT", [1.0]) == prediction()
        await client.cleanup()

    async def test_cleanup_during_call(self, server):
        """`cleanup` ends a call in flight."""
        server.script(PREDICT, NoResponse())
        client = ModelClient(server.url, timeout_s=60.0, raise_errors=True)
        call = asyncio.create_task(client.predict("BTCUSDT", WINDOW))
        await server.reached.wait()
        await client.cleanup()
        with pytest.raises(ServerUnreachableError, match="cleanup was called"):
            await call

    @pytest.mark.parametrize("cleans_up", [True, False])
    def test_consecutive_loops(self, free_port, cleans_up):
        """A client can be used in one event loop after another."""
        client = get_model_client(f"http://127.0.0.1:{free_port}")

        async def predict():
            async with FakeServer(free_port) as server:
                server.script(PREDICT, Reply(prediction(), headers={"Connection": "close"}))
                response = await client.predict("BTCUSDT", [1.0])
                if cleans_up:
                    await client.cleanup()
                return response

        assert [asyncio.run(predict()) for _ in range(2)] == [prediction(), prediction()]
        asyncio.run(client.cleanup())

    async def test_two_urls(self, server):
        """Clients of different URLs are independent."""
        async with FakeServer() as other:
            server.script(PREDICT, Reply(prediction(direction=1)))
            other.script(PREDICT, Reply(prediction(direction=2)))
            clients = [get_model_client(server.url), get_model_client(other.url)]
            responses = [await client.predict("BTCUSDT", [1.0]) for client in clients]
            for client in clients:
                await client.cleanup()
        assert [response["prediction"]["direction"] for response in responses] == [1, 2]

    def test_same_url(self):
        """There is one client per URL, whatever its spelling."""
        client = get_model_client()
        assert client is get_model_client("http://localhost:8001")
        assert client is get_model_client("HTTP://LocalHost:8001/")
        assert client is not get_model_client("http://localhost:8002")

    @pytest.mark.parametrize(
        "url",
        ["", "localhost:8001", "ftp://host", "http://", "http://h:99999", "http://h/?a=1", None],
    )
    def test_unusable_url(self, url):
        """A URL that cannot be used is rejected by the constructor."""
        for make in (ModelClient, get_model_client):
            with pytest.raises(ValueError, match=r"server_url: expected http\(s\)://host:port"):
                make(url)

    def test_password_in_url(self):
        """A password in the URL is rejected, and the error does not repeat it."""
        with pytest.raises(ValueError, match="without user, password") as caught:
            ModelClient("http://bot:secret@host:8001")
        assert "secret" not in str(caught.value)

    @pytest.mark.parametrize(
        "name", ["timeout_s", "batch_timeout_s", "command_timeout_s", "connect_timeout_s"]
    )
    @pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf"), True, "1", None])
    def test_unusable_timeout(self, name, value):
        """A timeout that cannot be used is rejected by the constructor."""
        with pytest.raises(ValueError, match=f"{name}: expected a number of seconds above 0"):
            ModelClient(**{name: value})


class TestReloadModel:
    async def test_unreachable_server(self, free_port, monkeypatch):
        """A command does not wait for a server that cannot be reached as for one that works."""
        monkeypatch.setattr("serve_app.client.model_client.CLIENT_UNREACHABLE_S", 0.2)
        async with ModelClient(f"http://127.0.0.1:{free_port}") as client, asyncio.timeout(10):
            assert await client.reload_model("net") is False

    async def test_reload(self, server, client):
        """`reload_model` sends the model, and the version if there is one."""
        server.script(RELOAD, Reply({"status": "success", "version": "1.1.0"}))
        assert await client.reload_model("net") is True
        assert await client.reload_model("net", "1.1.0") is True
        assert server.received[RELOAD] == [
            {"model_name": "net"},
            {"model_name": "net", "version": "1.1.0"},
        ]

    async def test_lost_response(self, server, client):
        """A command whose response is lost is sent again as the same command."""
        server.script(RELOAD, Disconnect(), Disconnect(), Reply({"status": "success"}))
        assert await client.reload_model("net") is True
        assert await client.reload_model("net") is True
        first, *repeated, other = server.keys
        assert first is not None
        assert repeated == [first] * 2
        assert other not in (first, None)

    async def test_predictions_have_no_key(self, server, client):
        server.script(PREDICT, Reply(prediction()))
        await client.predict("BTCUSDT", [1.0])
        assert server.keys == [None]

    async def test_rejected_reload(self, server, quiet_client, reasons):
        """A rejected reload returns False and logs the reason once."""
        rejection = error("unusable_version", "net:1.1.0 cannot be loaded, and nothing was changed")
        server.script(RELOAD, Reply(rejection, status=422))
        assert await quiet_client.reload_model("net", "1.1.0") is False
        (reason,) = reasons()
        assert "net:1.1.0 cannot be loaded, and nothing was changed" in reason

    async def test_raised_reload(self, server, client):
        """With `raise_errors`, the error repeats the server's message."""
        server.script(RELOAD, Reply(error("reload_in_progress", "wait"), status=409))
        with pytest.raises(ServerRejectedError, match="409 reload_in_progress: wait"):
            await client.reload_model("net")

    async def test_unexpected_reload(self, server, client):
        """A response without the status success is unexpected."""
        server.script(RELOAD, Reply({"status": "ok"}))
        with pytest.raises(UnexpectedResponseError, match="status success"):
            await client.reload_model("net")

    async def test_unusable_name(self, server, client):
        """A name that JSON cannot represent is not sent."""
        with pytest.raises(InvalidRequestError):
            await client.reload_model(b"net")
        assert server.received[RELOAD] == []
