"""Reading a document front to back: names before values, bounded pieces, precise errors."""

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.api.rest.json_reader import MAX_DEPTH, MAX_VALUE_BYTES, PIECE_BYTES, JsonReader
from serve_app.api.rest.slices import run_at_once
from serve_app.errors import InvalidRequestError, MalformedJsonError

VALUE = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**63),
        st.floats(allow_nan=False),
        st.text(max_size=9),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=9,
)


def read(body):
    reader = JsonReader(body)
    fields = {name: reader.value(name) for name in reader.members("request")}
    reader.finish()
    return fields


@given(st.dictionaries(st.text(max_size=9), VALUE, max_size=5), st.sampled_from([None, 3]))
def test_objects_equal_those_of_a_general_parser(document, indent):
    """An object has the values that a general parser reads from the same bytes."""
    body = json.dumps(document, indent=indent).encode()
    assert read(body) == document


@given(st.binary(max_size=3), st.integers(0, 60), st.integers(0, 3))
def test_damaged_objects_are_accepted_only_if_they_are_json(inserted, position, removed):
    """What a general parser rejects is rejected; of equal names the caller decides."""
    body = b'{"a": [1, {"b": "c\\"d"}], "e" : null, "f": -1.5e3, "g": "\xc3\xa4"}'
    body = body[:position] + inserted + body[position + removed :]
    try:
        expected = json.loads(body.decode())
    except ValueError:
        expected = None
    try:
        fields = read(body)
    except (MalformedJsonError, InvalidRequestError):
        assert expected is None or not isinstance(expected, dict)
    else:
        assert repr(fields) == repr(expected)


@given(VALUE, st.sampled_from([None, 1]))
def test_skipped_values_end_where_read_ones_do(value, indent):
    """A value is skipped up to its end, whatever brackets its texts contain."""
    body = json.dumps([value, '][}{\\"', value], indent=indent).encode()
    reader = JsonReader(body)
    for _ in reader.items("list", "a list"):
        run_at_once(reader.skip())
    reader.finish()


def test_name_is_known_before_its_value_is_read():
    """A caller sees a name while the reader is still before the value."""
    reader = JsonReader(b'{"unknown": @')
    assert next(reader.members("request")) == "unknown"
    assert reader.is_at(b"@")


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "expected a value at byte 0, received the end"),
        (b"{", "expected a name in double quotes and ':' at byte 1, received the end"),
        (b"{'a': 1}", "expected a name in double quotes and ':' at byte 1, received \"'\""),
        (b'{"a" 1}', "expected a name in double quotes and ':' at byte 1"),
        (b'{"a": 1', "expected ',' or '}' at byte 7, received the end"),
        (b'{"a": 1]', "expected ',' or '}' at byte 7, received ']'"),
        (b'{"a": [1}}', "expected another closing bracket at byte 8, received '}'"),
        (b'{"a": "x', "expected a value at byte 6"),
        (b'{"a": ["x]}', "expected the end of a text at byte 11, received the end"),
        (b'{"a": 1}x', "expected the end at byte 8, received 'x'"),
        (b'{"a": nule}', "at byte 6"),
        (b'{"a": [nul]}', "at byte 7"),
        (b'{"\xff": 1}', "str is not valid UTF-8"),
        (b'{"a": 1}\xff', r"received '\\xff'"),
        (b'{"a": 1,' + b" " * 5000 + b'"b": 1}', "received ' '"),
    ],
)
def test_malformed_document_is_located(body, problem):
    """The error names the expectation, the byte and what is there."""
    with pytest.raises(MalformedJsonError, match=problem):
        read(body)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"[]", "request: expected a JSON object, received a list of 0"),
        (b'"' + b"a" * 9000 + b'"', "request: expected a value of at most 4096 bytes"),
        (b'{"a": "%b"}' % (b"a" * MAX_VALUE_BYTES), "a: expected a value of at most 4096 bytes"),
        (b'{"a": [%b1]}' % (b"1," * MAX_VALUE_BYTES), "received a longer one at byte 6"),
        (b'{"a": %b}' % (b"1" * 5000), "a: expected a value of at most 4096 bytes"),
        (b'{"%b": 1}' % (b"a" * 9000), "names and texts of at most 4096 bytes"),
        (b'{"a": %b1%b}' % (b"[" * 65, b"]" * 65), f"nested at most {MAX_DEPTH} deep"),
    ],
)
def test_limits_are_named(body, problem):
    """A value beyond a limit is rejected with the limit, and is not read."""
    with pytest.raises(InvalidRequestError, match=problem):
        read(body)


def test_long_values_are_skipped_in_steps():
    """A long value is skipped in pieces, so that the caller can pause."""
    items = orjson.dumps([[index, "]["] for index in range(50_000)])
    reader = JsonReader(items + b" ")
    assert len([*reader.skip()]) >= len(items) // PIECE_BYTES
    reader.finish()


def test_endless_text_is_not_skipped():
    """A text longer than a piece ends the search for the end of a value."""
    for body in (b'"%b"', b'["%b"]', b'[1, "%b"]'):
        with pytest.raises(InvalidRequestError, match="names and texts of at most"):
            run_at_once(JsonReader(body % (b"a" * 2 * PIECE_BYTES)).skip())
