"""What goes over a channel comes out as it went in, and anything else is refused."""

import json
import struct

import numpy as np
import pytest

from serve_app.data_plane.decoding import Failure, Prediction, Run
from serve_app.deployments.channel.protocol import (
    MAX_FRAME_BYTES,
    Address,
    FrameReader,
    Hello,
    Kind,
    WireError,
    decode_answer,
    decode_call,
    decode_error,
    decode_hello,
    encode,
    encode_answer,
    encode_call,
    encode_error,
    encode_hello,
)
from serve_app.errors import InvalidFeaturesError
from tests.serve_app.test_errors import EXAMPLES

WINDOWS = np.random.default_rng(0).standard_normal((4, 3, 2)).astype(np.float32)
HELLO = Hello(version="toy:1.0.0", token="secret")


def read(data, max_bytes=MAX_FRAME_BYTES):
    return list(FrameReader(max_bytes).feed(data))


def only(data):
    (frame,) = read(data)
    return frame


def test_windows_arrive_to_the_last_bit():
    frame = only(encode_call(7, WINDOWS))
    assert (frame.kind, frame.call) == (Kind.CALL, 7)
    received = decode_call(frame.payload)
    assert received.dtype == np.float32
    assert np.array_equal(received, WINDOWS)


def test_windows_that_lie_otherwise_in_memory_arrive_too():
    turned = WINDOWS.astype(">f8").transpose(0, 2, 1)
    assert np.array_equal(decode_call(only(encode_call(1, turned)).payload), turned)


def test_results_arrive_to_the_last_bit_with_the_times_of_their_run():
    results = [
        Prediction(2, 1 / 3, -1e-17, Run(0.0, 1e-9)),
        Prediction(0, 0.0, None, Run(0.25, 0.5)),
        Failure("an output is NaN or infinite"),
        Prediction(1, 1.0, 0.01),
    ]
    received = decode_answer(only(encode_answer(3, results)).payload)
    assert received == results
    runs = [each.run for each in received if isinstance(each, Prediction)]
    assert runs == [Run(0.0, 1e-9), Run(0.25, 0.5), None]


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_every_error_of_ours_arrives_as_what_it_is(error):
    received = decode_error(only(encode_error(1, error)).payload)
    assert type(received) is type(error)
    assert str(received) == str(error)


def test_a_hello_arrives_and_neither_it_nor_an_address_shows_its_token():
    assert decode_hello(only(encode_hello(HELLO)).payload) == HELLO
    address = Address(replica="a", host="127.0.0.1", port=1, token="secret")
    assert "secret" not in f"{HELLO} {address}"


@pytest.mark.parametrize("size", [1, 7, 16, 1000])
def test_frames_are_found_in_pieces_of_any_size(size):
    frames = [encode(Kind.PING), encode_call(1, WINDOWS), encode(Kind.PONG), encode_hello(HELLO)]
    stream = b"".join(frames)
    reader, found = FrameReader(MAX_FRAME_BYTES), []
    for start in range(0, len(stream), size):
        found += reader.feed(stream[start : start + size])
    assert [each.kind for each in found] == [Kind.PING, Kind.CALL, Kind.PONG, Kind.HELLO]
    assert np.array_equal(decode_call(found[1].payload), WINDOWS)


def test_a_truncated_frame_is_waited_for():
    assert read(encode_call(1, WINDOWS)[:-1]) == []


def test_a_frame_over_the_limit_is_refused_by_its_header_alone():
    header = encode_call(1, WINDOWS)[:16]
    with pytest.raises(WireError, match="at most 100 bytes, received one of 112"):
        read(header, max_bytes=100)


def test_no_frame_is_made_that_no_reader_would_take():
    with pytest.raises(WireError, match=str(MAX_FRAME_BYTES)):
        encode(Kind.ANSWER, 1, bytes(MAX_FRAME_BYTES + 1))


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n", struct.pack("<IIQ", 0, 99, 0)])
def test_garbage_is_refused(garbage):
    with pytest.raises(WireError, match="expected a frame of"):
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
def test_a_call_whose_numbers_do_not_fill_its_shape_is_refused(payload):
    with pytest.raises(WireError, match="expected"):
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
    ],
)
def test_an_answer_that_is_no_list_of_results_is_refused(document):
    with pytest.raises(WireError, match="expected"):
        decode_answer(json.dumps(document).encode())


@pytest.mark.parametrize(
    "document",
    [
        {"name": "OverloadedError"},
        ["SystemExit", []],
        ["ServingError"],
        ["Mapping", []],
        ["InvalidFeaturesError", ["only one"]],
    ],
)
def test_an_error_that_is_none_of_ours_is_refused(document):
    with pytest.raises(WireError, match="expected"):
        decode_error(json.dumps(document).encode())


@pytest.mark.parametrize(
    "document",
    [
        [],
        {"protocol": 1, "version": "toy:1.0.0"},
        {"protocol": 2, "version": "toy:1.0.0", "token": "secret"},
        {"protocol": 1, "version": "toy:1.0.0", "token": 5},
    ],
)
def test_a_hello_of_another_protocol_is_refused(document):
    with pytest.raises(WireError, match="expected"):
        decode_hello(json.dumps(document).encode())


@pytest.mark.parametrize("decode", [decode_hello, decode_answer, decode_error])
def test_what_is_no_json_is_refused(decode):
    with pytest.raises(WireError, match="expected JSON"):
        decode(b"\x80\x04")  # how a pickle begins


def test_an_error_is_raised_with_its_fields():
    error = decode_error(only(encode_error(1, InvalidFeaturesError("features", "6", "5"))).payload)
    assert (error.field, error.expected, error.received) == ("features", "6", "5")
