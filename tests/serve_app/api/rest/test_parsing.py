"""From bodies to values that can be trusted."""

import json

import numpy as np
import pytest

from serve_app.api.rest.parsing import as_window, parse_batch, parse_json, parse_predict, symbol_of
from serve_app.errors import InvalidFeaturesError, InvalidRequestError, MalformedJsonError

FLAT = [1, 2.5, 3, 4, 5, 6]
MATRIX = [[1, 2.5], [3, 4], [5, 6]]
SHAPE = (3, 2)


@pytest.mark.parametrize(
    "features", [FLAT, MATRIX, np.array(MATRIX), np.array(FLAT, dtype=np.float16)]
)
def test_flat_and_nested_features_are_the_same_window(features):
    window = as_window(features, SHAPE)
    assert window.dtype == np.float32
    assert window.flags.c_contiguous
    assert window.tolist() == MATRIX


@pytest.mark.parametrize(
    ("features", "received"),
    [
        (FLAT[:-1], "received 5 numbers"),
        ([], "received 0 numbers"),
        ([MATRIX], "received 1 x 3 numbers"),
        (np.array(MATRIX).T, "received 2 x 3 numbers"),
        ([[1, 2], [3], [4, 5]], "rows of different lengths"),
        ([*FLAT[:-1], float("nan")], "received nan at timestep 2, feature 1"),
        ([*FLAT[:-1], float("-inf")], "received -inf at timestep 2, feature 1"),
        ([*FLAT[:-1], 1e39], r"received 1e\+39 at timestep 2, feature 1"),
        ([*FLAT[:-1], "6"], r"received the text '6' at \[5\]"),
        ([*FLAT[:-1], None], r"received null at \[5\]"),
        ([[1, 2], [3, 4], [5, True]], r"received true at \[2, 1\]"),
        ([True, *FLAT[1:]], r"received true at \[0\]"),
        ([False, True, False, True, False, True], r"received false at \[0\]"),
        ([*FLAT[:-1], 10**400], "numbers too large"),
        (None, "received null"),
        ("1,2,3", "received the text"),
        ({"0": 1}, "received an object"),
        (7, "received 1 numbers"),
    ],
)
def test_anything_but_finite_numbers_in_the_shape_is_refused(features, received):
    with pytest.raises(InvalidFeaturesError, match=received) as caught:
        as_window(features, SHAPE)
    assert "expected 6 finite numbers (3 timesteps x 2 features" in str(caught.value)


def test_ones_and_zeros_are_numbers():
    assert as_window([0, 1, 0.0, 1.0, 0, 1], SHAPE).tolist() == [[0, 1], [0, 1], [0, 1]]


def test_a_request_keeps_every_field():
    request = parse_predict(
        {
            "symbol": "BTCUSDT",
            "features": FLAT,
            "model_name": "m",
            "model_version": "staging",
            "unit_id": "bot-1",
        }
    )
    assert request.symbol == "BTCUSDT"
    assert request.features is FLAT
    assert (request.model_name, request.model_version, request.unit_id) == ("m", "staging", "bot-1")


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
def test_a_mistaken_field_is_named(document, problem):
    """An unknown field is a typing error; ignoring it would answer from another version."""
    with pytest.raises(InvalidRequestError, match=problem):
        parse_predict(document)


def test_a_batch_keeps_its_items_unparsed_so_that_a_bad_one_fails_alone():
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
def test_a_mistaken_batch_is_refused(document):
    with pytest.raises(InvalidRequestError):
        parse_batch(document)


def test_json_with_nan_is_read_so_that_the_message_can_say_where_it_is():
    body = json.dumps({"features": [1.0, float("nan"), float("inf")]}).encode()
    assert str(parse_json(body)) == "{'features': [1.0, nan, inf]}"


@pytest.mark.parametrize("body", [b"", b"{", b"{'a': 1}", b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_refused(body):
    with pytest.raises(MalformedJsonError, match="not valid JSON"):
        parse_json(body)


def test_the_symbol_of_a_failed_item_is_kept_if_it_has_one():
    assert symbol_of({"symbol": "A"}) == "A"
    for item in ({"symbol": 1}, {"symbol": "\ud800"}, {"symbol": "x" * 129}, {}, 5, None):
        assert symbol_of(item) is None
