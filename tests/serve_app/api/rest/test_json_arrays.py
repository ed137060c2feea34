"""Arrays from JSON: equal to those made from lists by a general parser, or a precise error."""

import json
import math

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.api.rest.json_arrays import MAX_NUMBERS, read_numbers
from serve_app.api.rest.json_reader import PIECE_BYTES, JsonReader
from serve_app.api.rest.slices import run_at_once
from serve_app.errors import InvalidFeaturesError, MalformedJsonError

NUMBER = st.one_of(
    st.integers(-(2**70), 2**70), st.floats(allow_nan=True, allow_infinity=True), st.booleans()
)
ROWS = st.integers(0, 4).flatmap(
    lambda width: st.lists(st.lists(NUMBER, min_size=width, max_size=width), min_size=1)
)
ANYTHING = st.recursive(
    st.one_of(NUMBER, st.none(), st.text('a[]{},":\\\n\u00e4')),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text('a[]{}"'), inner)),
)
INDENTS = st.sampled_from([None, 0, 2])


def read(body):
    reader = JsonReader(body)
    numbers = run_at_once(read_numbers(reader, "features"))
    reader.finish()
    return numbers


def leaves(value):
    return [leaf for item in value for leaf in leaves(item)] if isinstance(value, list) else [value]


def is_plain(value):
    """Return whether a value is a list of numbers, or of rows with equally many."""
    if not isinstance(value, list) or any(type(leaf) not in (int, float) for leaf in leaves(value)):
        return False
    rows = [item for item in value if isinstance(item, list)]
    is_flat = not any(isinstance(item, list) for row in rows for item in row)
    return is_flat and len(rows) in (0, len(value)) and len({*map(len, rows)}) <= 1


@given(st.one_of(st.lists(NUMBER), ROWS, ANYTHING), INDENTS)
def test_arrays_equal_the_general_parsers_lists(value, indent):
    """A list of numbers is the array of them, and everything else is rejected."""
    body = json.dumps(value, indent=indent).encode()
    if is_plain(value):
        np.testing.assert_array_equal(read(body), np.array(value, dtype=float))
    else:
        with pytest.raises(InvalidFeaturesError):
            read(body)


@given(st.binary(max_size=3), st.integers(0, 60), st.integers(0, 3))
def test_damaged_lists_are_accepted_only_if_they_are_json(inserted, position, removed):
    """A list that a damage has turned into something else is never accepted."""
    body = b"[[1.5, 2], [3e1, -4], [5, 6.25], [7, 8], [9, 10]]"
    body = body[:position] + inserted + body[position + removed :]
    try:
        numbers = read(body)
    except (MalformedJsonError, InvalidFeaturesError):
        return
    np.testing.assert_array_equal(numbers, np.array(json.loads(body), dtype=float))


@pytest.mark.parametrize("separators", [(",", ":"), (" ,\n", ":")])
@pytest.mark.parametrize("shape", [(30_000,), (9000, 1), (300, 100), (2, 15_000)])
def test_long_lists_are_read_in_pieces(shape, separators):
    """Lists and rows of many pieces have the same numbers, however long a row is."""
    expected = np.random.default_rng(1).normal(size=shape)
    body = json.dumps(expected.tolist(), separators=separators).encode()
    assert len(body) > 4 * PIECE_BYTES
    np.testing.assert_array_equal(read(body), expected)


@pytest.mark.parametrize(
    ("body", "received"),
    [
        (b"5", "5"),
        (b"null", "null"),
        (b'"[1]"', r"the text '\[1\]'"),
        (b"{}", "an object"),
        (b"[1, true]", r"true at \[1\]"),
        (b"[[1, 2], [3, null]]", r"null at \[1, 1\]"),
        (b'[1, "]"]', r"the text '\]' at \[1\]"),
        (b'[1, "\\ud800"]', r"the text '\\ud800' at \[1\]"),
        (b"[" + b"[1,NaN]," * 9000 + b"[1,null]]", r"null at \[9000, 1\]"),
        (b"[1, [2]]", "numbers beside rows"),
        (b"[[1], 2]", "numbers beside rows"),
        (b"[[1], [2, 3]]", "rows of different lengths"),
        (b"[[], [1]]", "rows of different lengths"),
        (b"[[[1]], [[2]]]", r"a list of 1 at \[0, 0\]"),
        (b"[" + b"1," * 40_000 + b"null]", r"null at \[40000\]"),
        (b"[" + b"[1,2]," * 40_000 + b"[1,null]]", r"null at \[40000, 1\]"),
        (b"[" + b"1," * MAX_NUMBERS + b"1]", "more than 1000000 numbers"),
        (b"[" + b"[1,2]," * (MAX_NUMBERS // 2) + b"[1,2]]", "more than 1000000 numbers"),
        (b"[1," + b" " * PIECE_BYTES + b"2]", "other values in the list at byte 0"),
    ],
)
def test_other_values_are_described(body, received):
    """A value that is not an array of numbers is described, with its position."""
    with pytest.raises(InvalidFeaturesError, match=f"received {received}$"):
        read(body)


@pytest.mark.parametrize(
    "body",
    [
        *(
            b"",
            b"[",
            b"[1",
            b"[1,",
            b"[1,]",
            b"[,1]",
            b"[1,,2]",
            b"[1 2]",
            b"[1}",
            b"[01]",
            b"[1]]",
        ),
        *(b"[[1],", b"[[1]", b"[nan]", b"[1\x00]", b'["\xff"]', b"[+1]", b"[1.]", b"[" * 100_000),
    ],
)
def test_malformed_lists_are_rejected(body):
    """What is not JSON is rejected."""
    with pytest.raises((MalformedJsonError, InvalidFeaturesError)):
        read(body)
    if len(body) < 100:
        with pytest.raises(MalformedJsonError):
            read(body)


def test_numbers_that_are_not_finite_are_kept():
    """NaN and numbers beyond every float are kept, so that a later check can name their place."""
    huge = b"1" + b"0" * 400
    numbers = read(b"[1, NaN, -Infinity, 1e999, %b, -%b]" % (huge, huge))
    assert [*map(str, numbers)] == ["1.0", "nan", "-inf", "inf", "inf", "-inf"]


def test_rows_that_are_not_finite_are_kept():
    """Rows with NaN are kept in any number, between plain rows and long ones."""
    rows = [[1.0, math.nan]] * 9000 + [[2.0, 3.0]] * 9000 + [[math.inf, 4.0]] * 9000
    np.testing.assert_array_equal(read(json.dumps(rows).encode()), rows)
    wide = [[math.nan] * 20_000, [1.0] * 20_000]
    np.testing.assert_array_equal(read(json.dumps(wide).encode()), wide)


def test_rejected_lists_leave_the_parser_usable():
    """The error of a rejected list, kept with its traceback, keeps nothing of the parser."""
    kept = []
    for body in (b"[1, true]", b"[[1], [true]]", b"[[1], [2, 3]]", b'["a"]', b"[[[1]]]"):
        with pytest.raises(InvalidFeaturesError) as error:
            read(body)
        kept.append(error)
    assert read(orjson.dumps([1, math.pi])).tolist() == [1, math.pi]
