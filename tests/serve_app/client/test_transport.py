"""Retries, deadlines and the validation of responses."""

import asyncio
import contextlib
import logging
import socket
import threading
import time

import numpy as np
import pytest

from serve_app.client import ModelClient
from serve_app.client.credentials import Credentials
from serve_app.client.deadlines import Deadline
from serve_app.client.encoding import Body
from serve_app.client.transport import Transport, backoff_s, retry_after_s
from serve_app.errors import (
    DeadlineExceededError,
    ServerRejectedError,
    ServerUnreachableError,
    UnexpectedResponseError,
)
from testkit.fake_server import (
    PREDICT,
    RELOAD,
    Disconnect,
    FakeServer,
    NoResponse,
    Reply,
    error,
    prediction,
    server_in_thread,
)

WINDOW = np.random.default_rng(0).standard_normal((60, 110))
OVERLOADED = Reply(error("overloaded", "hybrid_cnn_lstm:1.0.0 is overloaded"), 503)


class TestRetry:
    @pytest.mark.parametrize("failure", [OVERLOADED, Disconnect()], ids=["503", "disconnect"])
    async def test_transient_failure(self, server, quiet_client, failure, reasons):
        """A 503 and a broken connection are retried."""
        server.script(PREDICT, failure, failure, Reply(prediction()))
        assert await quiet_client.predict("BTCUSDT", WINDOW) == prediction()
        assert len(server.received[PREDICT]) == 3
        assert reasons() == []

    async def test_closed_connection(self, free_port):
        """After the server has closed an idle connection, the next call opens another."""
        async with ModelClient(f"http://127.0.0.1:{free_port}", timeout_s=5.0) as client:
            for _ in range(2):
                async with FakeServer(free_port) as server:
                    server.script(PREDICT, Reply(prediction()))
                    assert await client.predict("BTCUSDT", [1.0]) == prediction()

    @pytest.mark.parametrize("status", [400, 404, 413, 422, 500, 502])
    async def test_permanent_failure(self, server, client, status):
        """An error of the server with another status is not retried."""
        server.script(PREDICT, Reply(error("some_code", "why", field="symbol"), status))
        with pytest.raises(ServerRejectedError, match=f"{status} some_code: why") as caught:
            await client.predict("BTCUSDT", WINDOW)
        assert caught.value.details == {"field": "symbol"}
        assert len(server.received[PREDICT]) == 1

    @pytest.mark.parametrize("status", [404, 500, 502, 504])
    async def test_proxy_error(self, server, client, status):
        """A plain-text error of a proxy is retried: it lasts while a replica restarts."""
        server.script(PREDICT, Reply(b"Path not found", status), Reply(prediction()))
        assert await client.predict("BTCUSDT", WINDOW) == prediction()

    async def test_long_retry_after(self, server):
        """A Retry-After beyond the deadline does not prevent retries within it."""
        busy = Reply(OVERLOADED.body, 503, {"Retry-After": "3600"})
        server.script(PREDICT, busy, Reply(prediction()))
        async with ModelClient(server.url, timeout_s=5, raise_errors=True) as client:
            assert await client.predict("BTCUSDT", WINDOW) == prediction()

    async def test_late_response(self, server, client):
        """A request that the server drops at its deadline is not repeated."""
        server.script(PREDICT, Reply(error("deadline_exceeded", "no time is left"), 504))
        with pytest.raises(ServerRejectedError, match="504 deadline_exceeded"):
            await client.predict("BTCUSDT", WINDOW)
        assert len(server.received[PREDICT]) == 1

    async def test_wait_for_other_requests(self):
        """A request that waits for the end of others is not one that cannot connect."""

        def slowly(_: object) -> Reply:
            time.sleep(0.002)  # 100 requests in flight take longer than connecting may
            return Reply(prediction())

        with server_in_thread(PREDICT, slowly) as url:
            async with ModelClient(
                url, timeout_s=30, connect_timeout_s=0.1, raise_errors=True
            ) as client:
                calls = [client.predict("BTCUSDT", [1.0]) for _ in range(120)]
                assert await asyncio.gather(*calls) == [prediction()] * 120

    async def test_last_reason(self, server):
        """At the deadline, the reason of the last attempt is raised."""
        server.script(PREDICT, OVERLOADED)
        async with ModelClient(server.url, timeout_s=0.2, raise_errors=True) as client:
            with pytest.raises(ServerRejectedError, match="503 overloaded"):
                await client.predict("BTCUSDT", WINDOW)
        assert len(server.received[PREDICT]) > 1

    async def test_no_response(self, server):
        """Without a response, the call ends at the deadline and is not repeated."""
        server.script(PREDICT, NoResponse())
        async with ModelClient(server.url, timeout_s=0.1, raise_errors=True) as client:
            with pytest.raises(DeadlineExceededError, match=r"within 0\.1 s"):
                await client.predict("BTCUSDT", WINDOW)
        assert len(server.received[PREDICT]) == 1

    async def test_cleanup_during_calls(self, server):
        """Calls in flight, and those that wait for them, end with the client."""
        server.script(PREDICT, NoResponse())
        client = ModelClient(server.url, timeout_s=30, raise_errors=True)
        calls = [asyncio.create_task(client.predict("BTCUSDT", [1.0])) for _ in range(120)]
        await server.reached.wait()
        await client.cleanup()
        for call in calls:
            with pytest.raises(ServerUnreachableError, match="cleanup"):
                await call

    async def test_response_while_busy(self):
        """A response that arrives in time is returned, although the bot was busy beyond it."""
        received = threading.Event()

        def respond(_: object) -> Reply:
            received.set()
            time.sleep(0.2)  # until the bot is busy
            return Reply(prediction())

        with server_in_thread(PREDICT, respond) as url:
            async with ModelClient(url, timeout_s=1.0, raise_errors=True) as client:
                call = asyncio.create_task(client.predict("BTCUSDT", [1.0]))
                await asyncio.to_thread(received.wait, 10)
                time.sleep(1.2)  # noqa: ASYNC251 keeps the event loop busy
                assert await call == prediction()

    @pytest.mark.parametrize(
        ("first", "reason"),
        [(Disconnect(), DeadlineExceededError), (OVERLOADED, ServerRejectedError)],
        ids=["disconnect", "503"],
    )
    async def test_no_response_to_retry(self, server, first, reason):
        """A retry without a response has reached the server, whose own reason comes first."""
        server.script(PREDICT, first, NoResponse())
        async with ModelClient(server.url, timeout_s=1.0, raise_errors=True) as client:
            with pytest.raises(reason):
                await client.predict("BTCUSDT", WINDOW)
        assert len(server.received[PREDICT]) == 2

    async def test_return_of_server(self, free_port, caplog):
        """The first response after an outage is logged once."""
        caplog.set_level(logging.INFO, "serve_app.client")
        url = f"http://127.0.0.1:{free_port}"
        async with ModelClient(url, timeout_s=0.1) as client:
            for _ in range(2):
                assert await client.predict("BTCUSDT", [1.0]) is None
            async with FakeServer(free_port) as server:
                server.script(PREDICT, Reply(prediction()))
                for _ in range(2):
                    assert await client.predict("BTCUSDT", [1.0]) == prediction()
        assert [record.getMessage().split(" after ")[0] for record in caplog.records[2:]] == [
            f"server {url} responds again"
        ]

    async def test_refused_connection(self, free_port):
        """A refused connection is reported as an unreachable server."""
        url = f"http://127.0.0.1:{free_port}"
        async with ModelClient(url, timeout_s=0.1, raise_errors=True) as client:
            with pytest.raises(ServerUnreachableError, match=f"{url}.*is it running"):
                await client.predict("BTCUSDT", WINDOW)

    async def test_unreachable_server_ends_a_long_call(self, free_port):
        """A call gives up on a server that it cannot connect to, long before its deadline."""
        url = f"http://127.0.0.1:{free_port}"
        transport = Transport(url, 0.25, Credentials(url))
        async with asyncio.timeout(10):
            with pytest.raises(ServerUnreachableError):
                await transport.call("POST", RELOAD, Body(b"{}"), Deadline.after(60, 0.2))
        await transport.close()

    async def test_broken_connections_end_no_long_call(self, server):
        """A connection that breaks, for example when a router dies, was a connection."""
        server.script(RELOAD, *[Disconnect()] * 6, Reply({"status": "success"}))
        transport = Transport(server.url, 0.25, Credentials(server.url))
        deadline = Deadline.after(60, 0.2)
        assert await transport.call("POST", RELOAD, Body(b"{}"), deadline) == {"status": "success"}
        await transport.close()

    async def test_hanging_connection(self):
        """A connection that is not accepted is an unreachable server, not a slow response."""
        with contextlib.ExitStack() as sockets:
            listener = sockets.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
            for _ in range(4):  # fill the backlog of connections that are never accepted
                waiting = sockets.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(listener.getsockname())
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            async with ModelClient(url, timeout_s=0.3, raise_errors=True) as client:
                with pytest.raises(ServerUnreachableError, match="timeout"):
                    await client.predict("BTCUSDT", WINDOW)

    def test_backoff(self):
        """The wait doubles from 10 ms to 0.5 s, less the jitter."""
        waits_s = [backoff_s(attempt, 0.0) for attempt in (0, 1, 2, 6, 5000)]
        assert waits_s == [0.01, 0.02, 0.04, 0.5, 0.5]
        assert backoff_s(0, 1.0) == 0.005

    @pytest.mark.parametrize(
        ("header", "wait_s"),
        [(None, 0.0), ("2", 2.0), ("-1", 0.0), ("Wed, 21 Oct 2026 07:28:00 GMT", 0.0)],
    )
    def test_retry_after(self, header, wait_s):
        """Retry-After is read in seconds; a date is ignored."""
        assert retry_after_s(header) == wait_s


class TestResponses:
    @pytest.mark.parametrize(
        "body",
        [b"", b"<html>", [], {}, {"prediction": 1}, {"prediction": {}}]
        + [{"prediction": {"direction": bad}} for bad in (3, -1, 1.0, True, "BUY", None)],
    )
    async def test_no_direction(self, server, client, body):
        """A 200 response without a valid direction is unexpected."""
        server.script(PREDICT, Reply(body))
        with pytest.raises(UnexpectedResponseError, match="is it the model server"):
            await client.predict("BTCUSDT", WINDOW)

    @pytest.mark.parametrize("status", [204, 302])
    async def test_other_success(self, server, client, status):
        """A success other than 200 is unexpected."""
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
    async def test_foreign_error(self, server, body, message):
        """The error of another sender is passed on, shortened."""
        server.script(PREDICT, Reply(body, 404))
        async with ModelClient(server.url, timeout_s=0.3, raise_errors=True) as client:
            with pytest.raises(ServerRejectedError) as caught:
                await client.predict("BTCUSDT", WINDOW)
        assert str(caught.value) == f"the model server returned 404 {message}"

    async def test_no_http(self):
        """A response that is not HTTP is unexpected."""

        async def babble(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"220 mail.example ready\r\n\r\n")
            writer.close()

        listener = await asyncio.start_server(babble, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        async with listener, ModelClient(f"http://127.0.0.1:{port}", raise_errors=True) as client:
            with pytest.raises(UnexpectedResponseError):
                await client.list_models()
