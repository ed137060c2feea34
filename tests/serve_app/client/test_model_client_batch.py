"""ModelClient.batch_predict: order, several bodies, failures in their place."""

import numpy as np
import pytest

from serve_app.api.rest.errors import error_value
from serve_app.client import ModelClient
from serve_app.client.encoding import encode_request
from serve_app.errors import (
    InvalidRequestError,
    ServerRejectedError,
    UnexpectedResponseError,
)
from testkit.fake_server import (
    BATCH,
    NoResponse,
    Reply,
    batch_of,
    error,
    prediction,
)

WINDOW = np.random.default_rng(0).standard_normal((60, 110))
SYMBOLS = [f"S{index}" for index in range(5)]


class TestBatch:
    def requests(self, symbols=SYMBOLS):
        return [{"symbol": symbol, "features": WINDOW[:2]} for symbol in symbols]

    async def test_order(self, server, client):
        """The entries have the order of the requests."""
        server.script(BATCH, batch_of)
        assert await client.batch_predict(self.requests()) == [prediction(s) for s in SYMBOLS]
        assert server.received[BATCH][0]["max_batch_size"] == 32

    async def test_several_bodies(self, server, client):
        """More than `max_batch_size` requests are sent in several bodies."""
        server.script(BATCH, batch_of)
        entries = await client.batch_predict(self.requests(), max_batch_size=2)
        assert [entry["symbol"] for entry in entries] == SYMBOLS
        sent = server.received[BATCH]
        assert [len(body["requests"]) for body in sent] == [2, 2, 1]
        assert {body["max_batch_size"] for body in sent} == {2}

    async def test_large_body(self, server, client):
        """A body above 1 MiB is sent without a warning of aiohttp."""
        server.script(BATCH, batch_of)
        requests = [{"symbol": "A", "features": WINDOW}] * 32
        assert len(await client.batch_predict(requests)) == 32

    @pytest.mark.parametrize("raise_errors", [False, True])
    async def test_invalid_request(self, server, raise_errors, reasons):
        """A request that the client or the server rejects fails alone and in its place."""

        def respond(document):
            entries = batch_of(document).body["predictions"]
            entries[1] = {"symbol": "S2"} | error("not_served", "no such model")
            return Reply({"predictions": entries})

        server.script(BATCH, respond)
        requests = self.requests()
        requests[0] = {"symbol": "S0", "features": [[1.0, float("nan")]]}
        requests[3] = "no request"
        async with ModelClient(server.url, raise_errors=raise_errors) as client:
            entries = await client.batch_predict(requests)
        assert [entry["symbol"] for entry in entries] == ["S0", "S1", "S2", None, "S4"]
        codes = [entry.get("error", {}).get("code") for entry in entries]
        assert codes == ["invalid_features", None, "not_served", "invalid_request", None]
        assert "nan at [0, 1]" in entries[0]["error"]["message"]
        assert [request["symbol"] for request in server.received[BATCH][0]["requests"]] == [
            "S1",
            "S2",
            "S4",
        ]
        assert len(reasons()) == 1
        assert "3 of 5 requests failed" in reasons()[0]

    async def test_same_error(self, client):
        """The client's error of a request equals the server's."""
        requests = [{"symbol": "A", "features": 1.0}, {"symbol": 1, "features": [1.0]}]
        entries = await client.batch_predict(requests)
        for request, entry in zip(requests, entries, strict=True):
            with pytest.raises(InvalidRequestError) as caught:
                encode_request(request)
            assert entry["error"] == error_value(caught.value)

    async def test_failed_body(self, server, quiet_client, reasons):
        """Each request of a failed body has the error of the body."""
        rejected = Reply(error("too_large", "too large", limit=9), 413)
        server.script(BATCH, batch_of, rejected, batch_of)
        entries = await quiet_client.batch_predict(self.requests(), max_batch_size=2)
        failure = {"code": "too_large", "message": "too large", "limit": 9}
        assert entries == [
            prediction("S0"),
            prediction("S1"),
            {"symbol": "S2", "error": failure},
            {"symbol": "S3", "error": failure},
            prediction("S4"),
        ]
        assert reasons() == [
            "batch_predict: 2 of 5 requests failed (2 too_large); first failure, S2: too large"
        ]

    async def test_raised_body(self, server, reasons):
        """With `raise_errors`, a failed body raises its error."""
        server.script(BATCH, batch_of, Reply(b"down", 500))
        async with ModelClient(server.url, batch_timeout_s=0.5, raise_errors=True) as client:
            with pytest.raises(ServerRejectedError):
                await client.batch_predict(self.requests(), max_batch_size=2)
        assert len(reasons()) == 1

    async def test_deadline(self, server):
        """All bodies share one deadline."""
        server.script(BATCH, NoResponse())
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
    async def test_unexpected_entries(self, server, client, body):
        """A response with another number or kind of entries is unexpected."""
        server.script(BATCH, Reply(body))
        with pytest.raises(UnexpectedResponseError):
            await client.batch_predict(self.requests())

    async def test_nothing_to_send(self, server, client):
        """Without valid requests nothing is sent."""
        assert await client.batch_predict([]) == []
        bad = await client.batch_predict([{"symbol": "A", "features": "x"}])
        assert bad[0]["error"]["code"] == "invalid_features"
        assert not server.received

    @pytest.mark.parametrize("size", [0, -1, 2.0, True, None])
    async def test_max_batch_size(self, client, size):
        """`max_batch_size` must be a whole number of at least 1."""
        with pytest.raises(ValueError, match="max_batch_size: expected"):
            await client.batch_predict([], max_batch_size=size)
