"""What the client retries, for how long, and what it takes for an answer."""

import asyncio
import contextlib
import socket

import numpy as np
import pytest

from serve_app.client import ModelClient
from serve_app.client.transport import backoff_s, retry_after_s
from serve_app.errors import (
    DeadlineExceededError,
    ServerRejectedError,
    ServerUnreachableError,
    UnexpectedResponseError,
)
from testkit.fake_server import (
    PREDICT,
    Disconnect,
    FakeServer,
    NoReply,
    Reply,
    error,
    prediction,
)

WINDOW = np.random.default_rng(0).standard_normal((60, 110))
OVERLOADED = Reply(error("overloaded", "hybrid_cnn_lstm:1.0.0 is overloaded"), 503)


class TestRetry:
    @pytest.mark.parametrize("failure", [OVERLOADED, Disconnect()], ids=["503", "disconnect"])
    async def test_a_passing_failure_is_retried(self, server, quiet_client, failure, reasons):
        server.script(PREDICT, failure, failure, Reply(prediction()))
        assert await quiet_client.predict("BTCUSDT", WINDOW) == prediction()
        assert len(server.received[PREDICT]) == 3
        assert reasons() == []

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

    @pytest.mark.parametrize("status", [404, 500, 502, 504])
    async def test_a_proxys_error_in_the_servers_place_is_retried(self, server, client, status):
        """While the proxy or a replica restarts it answers in plain text, for parts of a second."""
        server.script(PREDICT, Reply(b"Path not found", status), Reply(prediction()))
        assert await client.predict("BTCUSDT", WINDOW) == prediction()

    async def test_a_retry_after_past_the_deadline_does_not_forgo_the_time_left(self, server):
        """The server counts in whole seconds, a trading loop in parts of one."""
        server.script(
            PREDICT, Reply(OVERLOADED.body, 503, {"Retry-After": "3600"}), Reply(prediction())
        )
        async with ModelClient(server.url, timeout_s=5, raise_errors=True) as client:
            assert await client.predict("BTCUSDT", WINDOW) == prediction()

    async def test_when_retries_run_out_of_time_the_last_reason_is_raised(self, server):
        server.script(PREDICT, OVERLOADED)
        async with ModelClient(server.url, timeout_s=0.2, raise_errors=True) as client:
            with pytest.raises(ServerRejectedError, match="503 overloaded"):
                await client.predict("BTCUSDT", WINDOW)
        assert len(server.received[PREDICT]) > 1

    async def test_a_silent_server_costs_the_deadline_and_no_second_request(self, server):
        server.script(PREDICT, NoReply())
        async with ModelClient(server.url, timeout_s=0.1, raise_errors=True) as client:
            with pytest.raises(DeadlineExceededError, match=r"within 0\.1 s"):
                await client.predict("BTCUSDT", WINDOW)
        assert len(server.received[PREDICT]) == 1

    async def test_a_refused_connection_is_an_unreachable_server(self, free_port):
        url = f"http://127.0.0.1:{free_port}"
        async with ModelClient(url, timeout_s=0.1, raise_errors=True) as client:
            with pytest.raises(ServerUnreachableError, match=f"{url}.*is it running"):
                await client.predict("BTCUSDT", WINDOW)

    async def test_a_host_that_lets_connections_hang_is_an_unreachable_server(self):
        """Not one that is slow to answer: the two have other remedies."""
        with contextlib.ExitStack() as sockets:
            listener = sockets.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
            for _ in range(4):  # nobody accepts, so these fill the backlog
                waiting = sockets.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(listener.getsockname())
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            async with ModelClient(url, timeout_s=0.3, raise_errors=True) as client:
                with pytest.raises(ServerUnreachableError, match="timeout"):
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
        with pytest.raises(UnexpectedResponseError, match="is it the model server"):
            await client.predict("BTCUSDT", WINDOW)

    @pytest.mark.parametrize("status", [204, 302])
    async def test_a_success_other_than_200_is_unexpected(self, server, client, status):
        server.script(PREDICT, Reply(b"", status, {"Location": "/elsewhere"}))
        with pytest.raises(UnexpectedResponseError, match=f"received {status}"):
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
        assert str(caught.value) == f"the model server returned 404 {message}"

    async def test_something_that_speaks_no_http_is_unexpected(self):
        async def babble(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"220 mail.example ready\r\n\r\n")
            writer.close()

        listener = await asyncio.start_server(babble, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        async with listener, ModelClient(f"http://127.0.0.1:{port}", raise_errors=True) as client:
            with pytest.raises(UnexpectedResponseError):
                await client.list_models()
