"""Batches: order, several bodies, and failures in their place."""

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
    NoReply,
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
    async def test_a_bad_request_fails_alone_and_in_its_place(self, server, raise_errors, reasons):
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
        assert len(reasons()) == 1
        assert "3 of 5 requests failed" in reasons()[0]

    async def test_what_the_client_refuses_reads_as_if_the_server_had(self, client):
        requests = [{"symbol": "A", "features": 1.0}, {"symbol": 1, "features": [1.0]}]
        entries = await client.batch_predict(requests)
        for request, entry in zip(requests, entries, strict=True):
            with pytest.raises(InvalidRequestError) as caught:
                encode_request(request)
            assert entry["error"] == error_value(caught.value)

    async def test_a_failed_body_leaves_an_error_for_each_of_its_requests(
        self, server, quiet_client, reasons
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
        assert reasons() == [
            "batch_predict: 2 of 5 requests failed (2 too_large); the first, S2: too large"
        ]

    async def test_with_raise_errors_a_failed_body_raises(self, server, client, reasons):
        server.script(BATCH, batch_of, Reply(b"down", 500))
        with pytest.raises(ServerRejectedError):
            await client.batch_predict(self.requests(), max_batch_size=2)
        assert len(reasons()) == 1

    async def test_all_bodies_share_one_deadline(self, server):
        server.script(BATCH, NoReply())
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
        with pytest.raises(UnexpectedResponseError):
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
