"""From JSON to requests of the core."""

import json

import pytest

from serve_app.api.rest.parsing import parse_batch, parse_item, parse_json, parse_predict
from serve_app.data_plane.requests import PredictionRequest
from serve_app.data_plane.responses import FailedItem
from serve_app.errors import InvalidRequestError, MalformedJsonError

FLAT = [1, 2.5, 3, 4, 5, 6]


def test_features_are_not_copied():
    """The numbers of a request stay the same object; the core checks them later."""
    request, timings = parse_predict({"symbol": "A", "features": FLAT, "timings": True})
    assert request.features is FLAT
    assert timings


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ([], "request: expected a JSON object, received a list of 0"),
        ({"symbol": "A"}, "features: expected a list of numbers, received nothing"),
        ({"features": FLAT}, "symbol: expected a text such as BTCUSDT, received nothing"),
        ({"symbol": 3, "features": FLAT}, "symbol: expected a text of 1 to 128 characters"),
        ({"symbol": "x" * 129, "features": FLAT}, "symbol: expected a text of 1 to 128"),
        ({"symbol": "\ud800", "features": FLAT}, r"received the text '\\ud800'"),
        ({"symbol": "A", "features": FLAT, "model_version": 1.0}, "model_version: expected"),
        (
            {"symbol": "A", "features": FLAT, "modelversion": "1.0.0"},
            "1 unknown, the first 'modelversion'",
        ),
    ],
)
def test_invalid_field_is_named(document, problem):
    """An invalid or unknown field is named; ignoring a typing error would change the version."""
    with pytest.raises(InvalidRequestError, match=problem):
        parse_predict(document)


def test_batch_keeps_its_items_unparsed():
    """The items of a batch are parsed one by one later, so that an invalid one fails alone."""
    batch = parse_batch({"requests": [1, {"symbol": "A"}], "max_batch_size": 4})
    assert (batch.items, batch.max_batch_size) == ([1, {"symbol": "A"}], 4)
    assert parse_batch({"requests": [1]}).max_batch_size == 32


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"requests": []},
        {"requests": {}},
        {"requests": [1], "max_batch_size": 0},
        {"requests": [1], "max_batch_size": True},
        {"requests": [1], "max_batch_size": 1.5},
        {"requests": [1], "size": 1},
    ],
)
def test_invalid_batch_is_rejected(document):
    """A batch with an invalid field is rejected whole."""
    with pytest.raises(InvalidRequestError):
        parse_batch(document)


def test_json_with_nan_is_parsed():
    """JSON with NaN is parsed, so that a later check can name its position."""
    body = json.dumps({"features": [1.0, float("nan"), float("inf")]}).encode()
    assert str(parse_json(body)) == "{'features': [1.0, nan, inf]}"


@pytest.mark.parametrize("body", [b"", b"{", b"{'a': 1}", b"\xff", b"[" * 100_000])
def test_malformed_json_is_rejected(body):
    """A body that is not JSON is rejected."""
    with pytest.raises(MalformedJsonError, match="not valid JSON"):
        parse_json(body)


def test_valid_item_is_a_request():
    """A valid item of a batch is a request of the core."""
    item = {"symbol": "A", "features": FLAT, "unit_id": "bot-1"}
    assert parse_item(item) == PredictionRequest(symbol="A", features=FLAT, unit_id="bot-1")


def test_failed_item_keeps_its_symbol():
    """The failure of an invalid item keeps its symbol, if that is a text that can be shown."""
    failed = parse_item({"symbol": "A"})
    assert isinstance(failed, FailedItem)
    assert (failed.symbol, failed.error.code) == ("A", "invalid_request")
    for item in ({"symbol": 1}, {"symbol": "\ud800"}, {"symbol": "x" * 129}, {}, 5, None):
        assert parse_item(item).symbol is None
