"""Arrays from JSON: equal to those made from lists, or left to a general parser."""

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.api.rest.json_arrays import parse_with_arrays

NUMBER = st.one_of(
    st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False, allow_infinity=False)
)
ROWS = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.lists(NUMBER, min_size=width, max_size=width), min_size=1)
)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="["))
REQUEST = st.fixed_dictionaries(
    {"features": st.one_of(st.lists(NUMBER), ROWS)},
    optional={"symbol": TEXT, "unit_id": TEXT, "timings": st.booleans(), "model_name": st.none()},
)


def as_lists(document):
    return {
        key: value.tolist()
        if isinstance(value, np.ndarray)
        else [as_lists(item) for item in value]
        if isinstance(value, list)
        else value
        for key, value in document.items()
    }


def as_floats(document):
    def floats(value):
        return [floats(item) for item in value] if isinstance(value, list) else float(value)

    return {
        key: floats(value)
        if key == "features"
        else [as_floats(item) for item in value]
        if key == "requests"
        else value
        for key, value in document.items()
    }


@given(st.one_of(REQUEST, st.fixed_dictionaries({"requests": st.lists(REQUEST, max_size=3)})))
def test_arrays_equal_the_general_parsers_lists(document):
    """The arrays hold the numbers that a general parser returns as lists."""
    body = orjson.dumps(document)
    assert as_lists(parse_with_arrays(body)) == as_floats(orjson.loads(body))


def test_ordinary_requests_are_parsed():
    """Flat and nested features, alone and in a batch, become arrays."""
    flat = orjson.dumps({"symbol": "A", "features": [1, 2.5, -3e-7]})
    nested = orjson.dumps({"features": [[1, 2], [3, 4]], "symbol": "A"})
    both = orjson.dumps({"requests": [{"features": [1]}, {"features": [[1]]}], "max_batch_size": 2})
    assert parse_with_arrays(flat)["features"].tolist() == [1, 2.5, -3e-7]
    assert parse_with_arrays(nested)["features"].shape == (2, 2)
    shapes = [item["features"].shape for item in parse_with_arrays(both)["requests"]]
    assert shapes == [(1,), (1, 1)]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"[1, 2]",
        b'"features"',
        b'{"features": [1, NaN]}',
        b'{"features": [1, 1e999]}',
        b'{"features": [1, true]}',
        b'{"features": [1, "2"]}',
        b'{"features": [1, null]}',
        b'{"features": [1, [2]]}',
        b'{"features": [[1], [2, 3]]}',
        b'{"features": [[[1]], [[2]]]}',
        b'{"features": [1, {"a": 2}]}',
        b'{"features": [1], "features": [2]}',
        b'{"features": [1], "symbol": ["A"]}',
        b'{"features": [1], "symbol": {"a": 1}}',
        b'{"requests": [1]}',
        b'{"requests": [{"requests": []}]}',
        b'{"features": [1], "symbol": "["}',
        b'{"symbol": "\xff", "features": [1]}',
        b"[" * 100_000,
    ],
)
def test_other_bodies_are_left_to_the_general_parser(body):
    """A body that is not an object of plain fields and numbers is left to a general parser."""
    assert parse_with_arrays(body) is None
