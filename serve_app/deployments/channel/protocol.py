"""What a router and a replica say to each other over a channel, as bytes. Pure: no IO.

A frame is a header, little-endian: u32 length of what follows it, u32 kind, u64 number of the call;
then what its kind carries:

    HELLO     router    {"protocol", "version", "token"} as JSON, the first frame of a connection
    WELCOME   replica   nothing: calls may come
    CALL      router    u32 windows, timesteps, features, 0; then the numbers as float32
    ANSWER    replica   one result a window as JSON: [direction, confidence, expected return,
                        waited s, took s], or the problem as a text
    ERROR     replica   [name, arguments] of an error of `serve_app.errors` as JSON
    PING      router    nothing
    PONG      replica   nothing
    GOODBYE   replica   nothing: send no more calls; those under way are answered

Nothing of it is executed or unpickled, and no frame is longer than its reader allows.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

import numpy as np
import orjson

from registry.predictors import Windows
from serve_app import errors
from serve_app.data_plane.decoding import Failure, Prediction, Run
from serve_app.errors import ServingError

PROTOCOL = 1
"""Of routers and replicas that understand each other; any other is turned away."""

MAX_FRAME_BYTES = 32 * 2**20
"""Longest frame between two that know each other: ten times what a router puts into a call."""

MAX_HELLO_BYTES = 4096
"""Longest frame of somebody who has not said hello."""

_HEADER = struct.Struct("<IIQ")
_SHAPE = struct.Struct("<IIII")
_ERRORS = {
    name: each
    for name, each in vars(errors).items()
    if isinstance(each, type) and issubclass(each, ServingError)
}


class WireError(Exception):
    """Bytes that are no frame of this protocol; whoever sent them is not to be listened to."""


class Kind(IntEnum):
    """What a frame is."""

    HELLO = 1
    WELCOME = 2
    CALL = 3
    ANSWER = 4
    ERROR = 5
    PING = 6
    PONG = 7
    GOODBYE = 8


class Frame(NamedTuple):
    """One thing said."""

    kind: Kind
    call: int
    """The number that the router gave the call; 0 outside of calls."""
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """What a router says first."""

    version: str
    """The `model:version` that it takes the replica for."""
    token: str = field(repr=False)
    """What only those know whom the replica told it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a replica listens."""

    replica: str
    """The replica's own name, unlike that of any other before or after it."""
    host: str
    port: int
    token: str = field(repr=False)
    """What it wants to hear in a hello."""


class FrameReader:
    """Cuts what comes in, in pieces of any size, into frames.

    `max_bytes`, the longest frame taken, may be changed between two frames.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._pending = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that `data` completes; WireError where there can be none."""
        pending = self._pending
        pending += data
        start = 0
        while len(pending) - start >= _HEADER.size:
            length, number, call = _HEADER.unpack_from(pending, start)
            if length > self.max_bytes:
                raise WireError(
                    f"expected a frame of at most {self.max_bytes} bytes, received one of {length}"
                )
            try:
                kind = Kind(number)
            except ValueError:
                raise WireError(f"expected a frame of a known kind, received {number}") from None
            body = start + _HEADER.size
            if len(pending) < body + length:
                break
            start = body + length
            with memoryview(pending) as view:
                payload = bytes(view[body:start])
            yield Frame(kind, call, payload)
        del pending[:start]


def encode(kind: Kind, call: int = 0, *parts: bytes | memoryview) -> bytes:
    """Return a frame with the bytes of all `parts`; WireError where no reader would take it."""
    length = sum(len(part) for part in parts)
    if length > MAX_FRAME_BYTES:
        raise WireError(f"a frame holds {MAX_FRAME_BYTES} bytes, {length} were to be sent")
    return b"".join((_HEADER.pack(length, kind, call), *parts))


def encode_hello(hello: Hello) -> bytes:
    """Return the first frame of a connection."""
    document = {"protocol": PROTOCOL, "version": hello.version, "token": hello.token}
    return encode(Kind.HELLO, 0, orjson.dumps(document))


def decode_hello(payload: bytes) -> Hello:
    """Return what was said; WireError where that is no hello of this protocol."""
    match _parse(payload):
        case {"protocol": int(protocol), "version": str(version), "token": str(token)}:
            if protocol != PROTOCOL:
                raise WireError(f"expected protocol {PROTOCOL}, received {protocol}")
            return Hello(version=version, token=token)
    raise WireError("expected a hello, received other fields")


def encode_call(call: int, windows: Windows) -> bytes:
    """Return the call for windows (batch, timesteps, features)."""
    shape = _SHAPE.pack(*windows.shape, 0)
    numbers = np.ascontiguousarray(windows, dtype="<f4")
    return encode(Kind.CALL, call, shape, numbers.data.cast("B"))


def decode_call(payload: bytes) -> Windows:
    """Return the windows of a call (batch, timesteps, features), read-only."""
    if len(payload) < _SHAPE.size:
        raise WireError(f"expected the shape of a call's windows, received {len(payload)} bytes")
    *shape, _ = _SHAPE.unpack_from(payload)
    expected = _SHAPE.size + 4 * shape[0] * shape[1] * shape[2]
    if len(payload) != expected or 0 in shape:
        raise WireError(f"expected {expected} bytes for {shape}, received {len(payload)}")
    return np.frombuffer(payload, dtype="<f4", offset=_SHAPE.size).reshape(shape)


def encode_answer(call: int, results: Sequence[Prediction | Failure]) -> bytes:
    """Return the answer to a call, a result a window."""
    return encode(Kind.ANSWER, call, orjson.dumps([_as_json(each) for each in results]))


def decode_answer(payload: bytes) -> list[Prediction | Failure]:
    """Return the results of an answer, equal to what was sent to the last bit."""
    results = _parse(payload)
    if not isinstance(results, list):
        raise WireError("expected a list of results, received something else")
    return [_from_json(each) for each in results]


def encode_error(call: int, error: ServingError) -> bytes:
    """Return what a call is refused or failed with, an error of `serve_app.errors`."""
    return encode(Kind.ERROR, call, orjson.dumps([type(error).__name__, error.args]))


def decode_error(payload: bytes) -> ServingError:
    """Return the error as it was raised there."""
    match _parse(payload):
        case [str(name), [*arguments]] if name in _ERRORS:
            try:
                return _ERRORS[name](*arguments)
            except TypeError as problem:
                raise WireError(f"expected the arguments of a {name}: {problem}") from None
    raise WireError("expected the name and arguments of an error of ours, received something else")


def _as_json(result: Prediction | Failure) -> object:
    if isinstance(result, Failure):
        return result.problem
    waited_s, took_s = result.run or (None, None)
    return result.direction, result.confidence, result.expected_return, waited_s, took_s


def _from_json(result: object) -> Prediction | Failure:
    match result:
        case str(problem):
            return Failure(problem)
        case [int(direction), float(confidence), float() | None as expected_return, *run]:
            match run:
                case [float(waited_s), float(took_s)]:
                    return Prediction(direction, confidence, expected_return, Run(waited_s, took_s))
                case [None, None]:
                    return Prediction(direction, confidence, expected_return)
    raise WireError("expected a prediction or the problem of a window, received something else")


def _parse(payload: bytes) -> object:
    try:
        document: object = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise WireError(f"expected JSON: {error}") from None
    return document
