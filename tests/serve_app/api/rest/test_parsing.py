"""From JSON to requests of the core."""

import json

import numpy as np
import pytest

from serve_app.api.rest.parsing import parse_predict, read_batch, read_object, read_predict
from serve_app.api.rest.slices import run_at_once
from serve_app.data_plane.requests import PredictionRequest
from serve_app.data_plane.responses import FailedItem
from serve_app.errors import BodyTooLargeError, InvalidRequestError, MalformedJsonError

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
        ({"symbol": "A", "features": None}, "features: expected a list of numbers, or no such"),
        ({"symbol": "A", "features": FLAT, "bar": 1}, "bar: expected no features beside it"),
        ({"symbol": "A", "features": FLAT, "max_age_s": 0}, "max_age_s: expected no features"),
        ({"symbol": "A", "features": FLAT, "timeframe": "1h"}, "timeframe: expected no features"),
        ({"symbol": "A", "bar": "2026-01-05T09:00"}, "bar: expected the opening of a bar"),
        ({"symbol": "A", "bar": 1.5}, "bar: .*in milliseconds since 1970, received 1.5"),
        ({"symbol": "A", "bar": True}, "bar: expected the opening .*, received true"),
        ({"symbol": "A", "bar": 10**30}, "bar: expected the opening of a bar"),
        ({"symbol": "A", "max_age_s": -1}, "max_age_s: expected a number of seconds"),
        ({"symbol": "A", "max_age_s": "1"}, "max_age_s: expected a number of seconds"),
        ({"symbol": "A", "max_age_s": True}, "max_age_s: .*received true"),
        ({"symbol": "A", "timeframe": 1}, "timeframe: expected a text"),
        ({"features": FLAT}, "symbol: expected a text such as BTCUSDT, received nothing"),
        ({"symbol": 3, "features": FLAT}, "symbol: expected a text of 1 to 128 characters"),
        ({"symbol": "x" * 129, "features": FLAT}, "symbol: expected a text of 1 to 128"),
        ({"symbol": "\ud800", "features": FLAT}, r"received the text '\\ud800'"),
        ({"symbol": "A\0", "features": FLAT}, r"none of them a control character, .*'A\\x00'"),
        ({"symbol": "A", "features": FLAT, "unit_id": "1\n2"}, "unit_id: expected a text"),
        ({"symbol": "A", "features": FLAT, "model_version": 1.0}, "model_version: expected"),
        (
            {"symbol": "A", "features": FLAT, "modelversion": "1.0.0"},
            "request: expected the fields symbol, .*, received the unknown 'modelversion'",
        ),
    ],
)
def test_invalid_field_is_named(document, problem):
    """An invalid or unknown field is named; ignoring a typing error would change the version."""
    with pytest.raises(InvalidRequestError, match=problem):
        parse_predict(document)


def test_by_symbol():
    """A request without features is one for the server's own window; its bar may be a text."""
    request, _ = parse_predict({"symbol": "A", "bar": "2026-01-05T00:00:00Z", "max_age_s": 60})
    assert (request.features, request.bar, request.max_age_s) == (None, 1767571200000, 60.0)
    request, _ = parse_predict({"symbol": "A"})
    assert (request.features, request.bar, request.max_age_s) == (None, None, None)


def any_size(size):
    """Accept a batch of any size."""


def batch(document, check_size=any_size):
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return run_at_once(read_batch(body, check_size))


def predict(body):
    return run_at_once(read_predict(body))


def test_request_is_read():
    """A request is read from JSON, with its features as an array."""
    body = b'{"features": [[1, 2], [3, 4]], "symbol": "\xc3\xa4", "timings": true, "unit_id": null}'
    request, timings = predict(body)
    assert (request.symbol, request.unit_id, timings) == ("ä", None, True)
    np.testing.assert_array_equal(request.features, [[1, 2], [3, 4]])


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"[]", "request: expected a JSON object, received a list of 0"),
        (b'{"symbol": "A", "features": null}', "features: expected"),
        (b'{"symbol": "A", "symbol": @', "symbol: expected one value, received several"),
        (b'{"modelversion": @', "received the unknown 'modelversion'"),
        (b'{"\\ud800": @', r"received the unknown '\\ud800'"),
        (b'{"symbol": ["A"], "features": [1]}', "symbol: expected .*, received a list of 1"),
    ],
)
def test_names_are_rejected_before_values(body, problem):
    """An unknown or repeated name is rejected before its value is read."""
    with pytest.raises(InvalidRequestError, match=problem):
        predict(body)


def test_batch_reads_its_items():
    """Each request of a batch is read; the fields of the batch may precede or follow them."""
    one = {"symbol": "A", "features": [1, 2]}
    first, second = batch({"max_batch_size": 4, "requests": [one, {**one, "unit_id": "b"}]})[0]
    assert (first.symbol, second.unit_id) == ("A", "b")
    assert batch({"requests": [one], "max_batch_size": 4}).max_batch_size == 4
    assert batch({"requests": [one]}).max_batch_size == 32


@pytest.mark.parametrize(
    "document",
    [
        {},
        [],
        {"requests": []},
        {"requests": {}},
        {"requests": None},
        {"requests": [1], "max_batch_size": 0},
        {"requests": [1], "max_batch_size": True},
        {"requests": [1], "max_batch_size": 1.5},
        {"requests": [1], "max_batch_size": "a"},
        {"requests": [1], "size": 1},
        b'{"requests": [1], "requests": [1]}',
        b'{"requests": [{"symbol": "%b"}]}' % (b"a" * 100_000),
    ],
)
def test_invalid_batch_is_rejected(document):
    """A batch with an invalid field is rejected whole, and so is one with an endless text."""
    with pytest.raises(InvalidRequestError):
        batch(document)


@pytest.mark.parametrize(
    ("item", "problem", "symbol"),
    [
        (b'{"symbol": "A", "features": null}', "features: expected", "A"),
        (b'{"features": [1, null], "symbol": "A"}', r"received null at \[1\]", "A"),
        (b'{"features": "]}", "symbol": "A"}', r"received the text '\]}'", "A"),
        (b'{"x": [{"y": "]}"}], "symbol": "A", "z": 1}', "the unknown 'x'", "A"),
        (b'{"symbol": "A", "symbol": "B", "features": [1]}', "symbol: expected one value", "A"),
        (b'{"symbol": "A", "features": [1], "timings": true}', "only in a single request", "A"),
        (b'{"symbol": "A", "x": [%b1]}' % (b"1," * 50_000), "the unknown 'x'", "A"),
        (b'{"symbol": 1, "features": [1]}', "symbol: expected a text", None),
        (b'{"symbol": "\\ud800", "features": [1]}', "symbol: expected a text", None),
        (b'{"symbol": "a\\u0000", "features": [1]}', "symbol: expected a text", None),
        (b'{"symbol": "%b", "features": [1]}' % (b"x" * 129), "symbol: expected a text", None),
        (b"{}", "symbol: expected a text", None),
        (b"5", "request: expected a JSON object, received 5", None),
        (b"null", "received null", None),
        (b'"no object"', "received the text 'no object'", None),
        (b"[[1, 2], [3]]", "received a list of 2", None),
        (b"[%b1]" % (b"1," * 50_000), "received a longer one", None),
    ],
)
def test_invalid_item_fails_alone(item, problem, symbol):
    """An invalid item fails alone, with its symbol if that can be shown."""
    valid = b'{"symbol": "V", "features": [1, 2]}'
    body = b'{"requests": [%b, %b, %b], "max_batch_size": 7}' % (valid, item, valid)
    (first, failed, last), size = batch(body)
    assert isinstance(failed, FailedItem)
    with pytest.raises(InvalidRequestError, match=problem):
        raise failed.error
    assert failed.symbol == symbol
    assert (first.symbol, last.symbol, size) == ("V", "V", 7)
    assert isinstance(first, PredictionRequest)


def test_batch_stops_at_its_limit():
    """Nothing of a batch is read beyond the largest number of requests."""

    def check_size(size):
        if size > 2:
            raise BodyTooLargeError("requests", 2, size)

    one = b'{"symbol": "A", "features": [1]}'
    assert len(batch(b'{"requests": [%b, %b]}' % (one, one), check_size).items) == 2
    with pytest.raises(BodyTooLargeError):
        batch(b'{"requests": [%b, %b, @' % (one, one), check_size)


@pytest.mark.parametrize("body", [b"", b"{", b"{'a': 1}", b"\xff", b"[" * 100_000])
def test_malformed_json_is_rejected(body):
    """A body that is not JSON is rejected."""
    for read in (predict, batch, lambda body: read_object(body, ("a",))):
        with pytest.raises((MalformedJsonError, InvalidRequestError)):
            read(body)


def test_short_object_is_read():
    """An object of short values is read, and its names are checked first."""
    assert read_object(b'{"a": [1], "b": null}', ("a", "b")) == {"a": [1], "b": None}
    with pytest.raises(InvalidRequestError, match="the unknown 'c'"):
        read_object(b'{"a": 1, "c": @', ("a", "b"))
