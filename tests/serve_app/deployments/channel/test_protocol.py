"""Messages of a channel survive the round trip, and any other bytes are rejected."""

import inspect
import json
import struct

import numpy as np
import pytest

from serve_app import errors
from serve_app.data_plane.decoding import Failure, Prediction, Probabilities, Run
from serve_app.deployments.channel.protocol import (
    MAX_FRAME_BYTES,
    PROTOCOL,
    Address,
    FrameReader,
    FrameType,
    Hello,
    ProtocolError,
    decode_call,
    decode_error,
    decode_hello,
    decode_results,
    encode,
    encode_call,
    encode_error,
    encode_hello,
    encode_results,
)
from serve_app.errors import InvalidFeaturesError
from tests.serve_app.error_examples import EXAMPLES

WINDOWS = np.random.default_rng(0).standard_normal((4, 3, 2)).astype(np.float32)
HELLO = Hello(version="toy:1.0.0", token="secret")


def read(data, max_bytes=MAX_FRAME_BYTES):
    return list(FrameReader(max_bytes).feed(data))


def only(data):
    (frame,) = read(data)
    return frame


def test_windows_arrive_bit_for_bit():
    frame = only(encode_call(7, WINDOWS))
    assert (frame.type, frame.call_id) == (FrameType.CALL, 7)
    received = decode_call(frame.payload)
    assert received.dtype == np.float32
    assert np.array_equal(received, WINDOWS)


def test_doubles_arrive_bit_for_bit():
    """Windows of a float64 model keep all their digits."""
    windows = np.array([[[65432.12, 1 / 3]]])
    received = decode_call(only(encode_call(7, windows)).payload)
    assert received.dtype == np.float64
    assert received.tobytes() == windows.tobytes()


def test_windows_in_another_layout_arrive():
    transposed = WINDOWS.astype(">f8").transpose(0, 2, 1)
    assert np.array_equal(decode_call(only(encode_call(1, transposed)).payload), transposed)


def test_results_arrive_bit_for_bit():
    """So do the times of the run that computed them."""
    results = [
        Prediction(2, 1 / 3, -1e-17, Run(0.0, 1e-9)),
        Prediction(0, 0.0, None, Run(0.25, 0.5)),
        Failure("an output is NaN or infinite"),
        Prediction(1, 1.0, 0.01),
        Prediction(1, 1.0, 0.01, None, {"0.1": -1 / 3, "0.5": 0.01}),
        Prediction(1, 1.0, 0.01, Run(0.25, 0.5), {"0.5": 0.01}),
        Prediction(1, 0.5, None, None, None, Probabilities(0.25, 0.5, 1 / 3)),
        Prediction(1, 0.5, 0.01, None, {"0.5": 0.01}, Probabilities(0.0, 1.0, 0.0)),
    ]
    received = decode_results(only(encode_results(3, results)).payload)
    assert received == results
    runs = [result.run for result in received if isinstance(result, Prediction)]
    assert runs == [Run(0.0, 1e-9), Run(0.25, 0.5), None, None, Run(0.25, 0.5), None, None]


OF_CALLERS = (errors.ClientError, errors.RouterOverloadedError)
"""Errors that no replica raises."""


@pytest.mark.parametrize(
    "error",
    [example for example in EXAMPLES if not isinstance(example, OF_CALLERS)],
    ids=lambda error: type(error).__name__,
)
def test_every_error_arrives_as_it_was_raised(error):
    received = decode_error(only(encode_error(1, error)).payload)
    assert type(received) is type(error)
    assert str(received) == str(error)


def test_a_hello_arrives_and_hides_its_token():
    """The repr of a hello or an address does not contain the token either."""
    assert decode_hello(only(encode_hello(HELLO)).payload) == HELLO
    address = Address(replica="a", host="127.0.0.1", port=1, token="secret")
    assert "secret" not in f"{HELLO} {address}"


@pytest.mark.parametrize("size", [1, 7, 16, 1000])
def test_frames_are_assembled_from_any_pieces(size):
    frames = [
        encode(FrameType.PING),
        encode_call(1, WINDOWS),
        encode(FrameType.PONG),
        encode_hello(HELLO),
    ]
    stream = b"".join(frames)
    reader, found = FrameReader(MAX_FRAME_BYTES), []
    for start in range(0, len(stream), size):
        found += reader.feed(stream[start : start + size])
    assert [frame.type for frame in found] == [
        FrameType.PING,
        FrameType.CALL,
        FrameType.PONG,
        FrameType.HELLO,
    ]
    assert np.array_equal(decode_call(found[1].payload), WINDOWS)


def test_a_truncated_frame_is_kept_back():
    assert read(encode_call(1, WINDOWS)[:-1]) == []


def test_a_frame_over_the_limit_is_rejected():
    """Its header alone is enough."""
    header = encode_call(1, WINDOWS)[:16]
    with pytest.raises(ProtocolError, match="at most 100 bytes, received one of 112"):
        read(header, max_bytes=100)


def test_no_frame_over_the_limit_is_encoded():
    with pytest.raises(ProtocolError, match=str(MAX_FRAME_BYTES)):
        encode(FrameType.RESULTS, 1, bytes(MAX_FRAME_BYTES + 1))


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n", struct.pack("<IIQ", 0, 99, 0)])
def test_garbage_is_rejected(garbage):
    with pytest.raises(ProtocolError, match="expected a frame of"):
        read(garbage)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        struct.pack("<IIII", 1, 3, 2, 0) + bytes(23),
        struct.pack("<IIII", 1, 3, 2, 0) + bytes(25),
        struct.pack("<IIII", 0, 3, 2, 0),
        struct.pack("<IIII", 2**32 - 1, 2**32 - 1, 2**32 - 1, 0) + bytes(24),
    ],
)
def test_a_call_must_fill_its_shape(payload):
    with pytest.raises(ProtocolError, match="expected"):
        decode_call(payload)


@pytest.mark.parametrize(
    "document",
    [
        {},
        [1],
        [[1, 0.5]],
        [[1, 0.5, 0.1, 0.2]],
        [["1", 0.5, None, None, None]],
        [[1, 0.5, None, 0.1, None]],
        [[1, 0.5, None, 0.1, None, None]],
        [[1, 0.5, None, None, None, [0.5, 0.5]]],
        [[1, 0.5, None, None, None, [0.5, 0.5, "0"]]],
    ],
)
def test_invalid_results_are_rejected(document):
    with pytest.raises(ProtocolError, match="expected"):
        decode_results(json.dumps(document).encode())


@pytest.mark.parametrize(
    "document",
    [
        {"code": "overloaded"},
        ["SystemExit", []],
        ["overloaded"],
        ["OverloadedError", ["m", "1.0.0", "queue full"]],
        ["ServingError", []],
        ["invalid_features", ["only one"]],
    ],
)
def test_an_unknown_error_is_rejected(document):
    """Only a code selects a class, and base classes have none."""
    with pytest.raises(ProtocolError, match="expected"):
        decode_error(json.dumps(document).encode())


@pytest.mark.parametrize(
    "document",
    [
        [],
        {"protocol": PROTOCOL, "version": "toy:1.0.0"},
        {"protocol": PROTOCOL - 1, "version": "toy:1.0.0", "token": "secret"},
        {"protocol": PROTOCOL, "version": "toy:1.0.0", "token": 5},
    ],
)
def test_a_hello_of_another_protocol_is_rejected(document):
    with pytest.raises(ProtocolError, match="expected"):
        decode_hello(json.dumps(document).encode())


@pytest.mark.parametrize("decode", [decode_hello, decode_results, decode_error])
def test_a_payload_other_than_json_is_rejected(decode):
    with pytest.raises(ProtocolError, match="expected JSON"):
        decode(b"\x80\x04")  # how a pickle begins


def test_an_error_arrives_with_its_fields():
    error = decode_error(only(encode_error(1, InvalidFeaturesError("features", "6", "5"))).payload)
    assert (error.field, error.expected, error.received) == ("features", "6", "5")


def test_error_codes_are_unique():
    """Two classes with one code would be indistinguishable on the wire."""
    classes = [member for _, member in inspect.getmembers(errors, inspect.isclass)]
    of_servers = [error for error in classes if not issubclass(error, errors.ClientError)]
    codes = [vars(error)["code"] for error in of_servers if "code" in vars(error)]
    assert len(codes) > 20
    assert len(codes) == len(set(codes))
