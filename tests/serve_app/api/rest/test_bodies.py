"""The forms in which a window is accepted."""

import io
import json

import numpy as np
import pytest

from serve_app.api.rest.bodies import read_window, read_windows
from serve_app.api.rest.schemas import NPY, RAW
from serve_app.api.rest.slices import run_at_once
from serve_app.data_plane.windows import as_window
from serve_app.errors import (
    InvalidFeaturesError,
    InvalidRequestError,
    MalformedJsonError,
    RoundedFeaturesError,
)
from testkit.models import metadata

WINDOW = np.array([[1, 2.5], [-3, 4e-3], [5, 6]], dtype=np.float32)

DOUBLES = np.array([[65432.12, 0.1], [1 / 3, 1e-300], [1e300, -0.0]])
DOUBLE = metadata(input_type="float64")


def parse_body(content_type, query, body):
    return run_at_once(read_window(content_type, query, body))


def npy(numbers, version=(1, 0), **kwargs):
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asarray(numbers), version=version, **kwargs)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content_type", "query", "body"),
    [
        ("application/json", "", json.dumps({"symbol": "A", "features": WINDOW.tolist()}).encode()),
        ("", "", json.dumps({"symbol": "A", "features": WINDOW.ravel().tolist()}).encode()),
        (RAW, "symbol=A", WINDOW.tobytes()),
        ("Application/Octet-Stream; q=1", "symbol=A&shape=3,2", WINDOW.tobytes()),
        (NPY, "symbol=A", npy(WINDOW)),
        (NPY, "symbol=A", npy(WINDOW.ravel(), version=(2, 0))),
        (NPY, "symbol=A", npy(np.asfortranarray(WINDOW))),
        (NPY, "symbol=A", npy(WINDOW.astype(">f8"))),
    ],
)
def test_every_form_is_the_same_window(content_type, query, body):
    """JSON, raw numbers and .npy files with the same numbers are the same window."""
    request, timings = parse_body(content_type, query, body)
    assert request.symbol == "A"
    assert not timings
    window = as_window(request.features, metadata())
    assert window.dtype == np.float32
    np.testing.assert_array_equal(window, WINDOW)


def test_query_holds_the_other_fields():
    """The query of a body of numbers holds every other field, also quoted ones."""
    query = "symbol=%C3%A4%20%2B&model_name=m&model_version=staging&unit_id=bot-1&timings=true"
    request, timings = parse_body(RAW, query, WINDOW.tobytes())
    assert request.symbol == "ä +"
    assert (request.model_name, request.model_version, request.unit_id) == ("m", "staging", "bot-1")
    assert timings


@pytest.mark.parametrize(
    ("content_type", "query", "problem"),
    [
        (RAW, "", "symbol: expected a text such as BTCUSDT, received nothing"),
        (
            RAW,
            "symbol=A&modelversion=1",
            "query: expected the fields .* the unknown 'modelversion'",
        ),
        (RAW, "symbol=A&symbol=B", "symbol: expected one value in the query, received several"),
        (RAW, "symbol=A&timings=1", "timings: expected true or false, received the text '1'"),
        (RAW, "symbol=A&features=1", "query: expected the fields"),
        (RAW, "symbol=A&shape=3x2", "shape: expected lengths such as 60,110, received '3x2'"),
        (RAW, "symbol=A&shape=0,999999999,999999999", "shape: expected lengths such as 60,110"),
        (RAW, "symbol=A%00", r"symbol: expected a text .*, received the text 'A\\x00'"),
        (RAW, "symbol=\xff", "query: expected percent-encoded characters"),
        (NPY, "symbol=A&shape=3,2", "shape: expected a body of application/octet-stream"),
        (
            "",
            "model_version=1.0.0",
            "query: expected fields in the body, .* model_version with a JSON body",
        ),
    ],
)
def test_invalid_query_names_its_field(content_type, query, problem):
    """An invalid field of a query is named; with a JSON body every field is invalid."""
    with pytest.raises(InvalidRequestError, match=problem):
        parse_body(content_type, query, WINDOW.tobytes())


@pytest.mark.parametrize(
    ("content_type", "query", "body", "problem"),
    [
        (RAW, "symbol=A", b"12345", "float32 numbers, 4 bytes each, .* received 5 bytes"),
        (RAW, "symbol=A&shape=4,2", WINDOW.tobytes(), "4,2 float32 numbers, received 6 numbers"),
        (RAW, "symbol=A&shape=" + "9" * 9 + ",999999999", b"", "received 0 numbers"),
        (NPY, "symbol=A", b"", "an .npy file with an array of numbers, received another file"),
    ],
)
def test_body_without_numbers_is_rejected(content_type, query, body, problem):
    """A body that does not hold the declared numbers is rejected."""
    with pytest.raises(InvalidFeaturesError, match=problem):
        parse_body(content_type, query, body)


def test_infinite_numbers_are_checked_as_in_json():
    """Infinite numbers in a body of numbers are rejected like those in JSON."""
    infinite = np.array([1, 2, 3, 4, 5, np.inf], dtype=np.float32).tobytes()
    with pytest.raises(InvalidFeaturesError, match="inf at timestep 2, feature 1"):
        as_window(parse_body(RAW, "symbol=A", infinite).request.features, metadata())


def test_raw_bytes_sent_as_json_are_rejected():
    """Raw numbers are not valid JSON, so a client can detect a server that accepts no raw
    bodies."""
    with pytest.raises(MalformedJsonError):
        parse_body("application/json", "", WINDOW.tobytes())


@pytest.mark.parametrize(
    ("content_type", "query", "body"),
    [
        ("application/json", "", json.dumps({"symbol": "A", "features": DOUBLES.tolist()})),
        (
            "application/json; charset=utf-8",
            "",
            json.dumps({"symbol": "A", "features": [*DOUBLES.flat]}),
        ),
        (f"{RAW}; dtype=float64", "symbol=A", DOUBLES.tobytes()),
        (f'{RAW};DTYPE="float64"', "symbol=A&shape=3,2", DOUBLES.tobytes()),
        (NPY, "symbol=A", npy(DOUBLES)),
        (NPY, "symbol=A", npy(np.asfortranarray(DOUBLES.astype(">f8")))),
    ],
)
def test_doubles_arrive_unchanged_in_every_form(content_type, query, body):
    """A model of float64 receives the doubles that were sent, in JSON, raw and .npy bodies."""
    content = body.encode() if isinstance(body, str) else body
    window = as_window(parse_body(content_type, query, content).request.features, DOUBLE)
    assert window.tobytes() == DOUBLES.tobytes()


@pytest.mark.parametrize(
    ("content_type", "query", "body"),
    [
        (RAW, "symbol=A", WINDOW.tobytes()),
        (NPY, "symbol=A", npy(WINDOW)),
        (
            "application/json; dtype=float32",
            "",
            json.dumps({"symbol": "A", "features": WINDOW.tolist()}).encode(),
        ),
    ],
)
def test_rounded_numbers_are_rejected_by_a_float64_model(content_type, query, body):
    """Numbers that were sent as float32 are rejected, whatever form declares them so."""
    features = parse_body(content_type, query, body).request.features
    np.testing.assert_array_equal(as_window(features, metadata()), WINDOW)
    with pytest.raises(RoundedFeaturesError, match="received float32"):
        as_window(features, DOUBLE)


@pytest.mark.parametrize(
    ("content_type", "problem"),
    [
        (f"{RAW}; dtype=int8", "dtype: expected float32 or float64, received 'int8'"),
        (f"{NPY}; dtype=float64", "dtype: expected a body of application/octet-stream or JSON"),
    ],
)
def test_type_that_a_window_cannot_have_is_rejected(content_type, problem):
    """A declared type is float32 or float64, and an .npy file declares its own."""
    with pytest.raises(InvalidRequestError, match=problem):
        parse_body(content_type, "symbol=A", npy(WINDOW))


def test_types_of_a_batch():
    """The numbers of a batch are doubles, unless its content type declares float32."""
    body = json.dumps({"requests": [{"symbol": "A", "features": [0.1]}, {"symbol": 1}]}).encode()
    for content_type, dtype in (("", np.float64), ("application/json; dtype=float32", np.float32)):
        items = run_at_once(read_windows(content_type, body, lambda _: None)).items
        assert items[0].features.dtype == dtype
        assert items[1].error.code == "invalid_request"
