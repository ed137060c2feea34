"""The protocol of the channel between a router and a replica, as bytes. Pure: no IO.

A frame is a header, little-endian (u32 length of the payload, u32 type, u64 call id), followed by
the payload of its type:

    HELLO     router    {"protocol", "version", "token"} as JSON; the first frame of a connection
    ACCEPT    replica   empty: the router may send calls
    CALL      router    u32 windows, timesteps, features, bytes per value; then the values as
                        float32 or float64
    RESULTS   replica   one result per window as JSON: [direction, confidence, expected return,
                        waited s, took s, [hold, buy, sell] or null], with {level: quantile}
                        appended if the model has quantiles, or the problem of the window as a
                        string
    ERROR     replica   [code, arguments] of an error of `serve_app.errors` as JSON
    PING      router    empty: a heartbeat
    PONG      replica   empty: the reply to a heartbeat
    GOAWAY    replica   empty: send no more calls; the calls in flight are completed

No payload is executed or unpickled, and no frame is longer than its reader allows.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
import orjson

from registry.predictors import Windows
from serve_app.data_plane.decoding import Failure, Prediction, Probabilities, Run
from serve_app.errors import ClientError, ServingError

PROTOCOL = 5
"""The version of this protocol. A router and a replica of different ones use Serve's handle."""

MAX_FRAME_BYTES = 32 * 2**20
"""The longest frame of an accepted connection: ten times the largest call that a router sends."""

MAX_HELLO_BYTES = 4096
"""The longest frame of a connection that is not accepted yet."""

_HEADER = struct.Struct("<IIQ")
_SHAPE = struct.Struct("<IIII")
_TYPES: Mapping[int, np.dtype[Any]] = {4: np.dtype("<f4"), 8: np.dtype("<f8")}
"""The type of a call's values by their size in bytes."""


class ProtocolError(Exception):
    """The received bytes are not a frame of this protocol; the connection must be closed."""


class FrameType(IntEnum):
    """The type of a frame, as its number in the header."""

    HELLO = 1
    ACCEPT = 2
    CALL = 3
    RESULTS = 4
    ERROR = 5
    PING = 6
    PONG = 7
    GOAWAY = 8


class Frame(NamedTuple):
    """One message of the protocol."""

    type: FrameType
    call_id: int
    """The id that the router gave the call; 0 in frames that belong to no call."""
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """The first message of a router."""

    version: str
    """The `model:version` that the router expects the replica to serve."""
    token: str = field(repr=False)
    """The token of the replica's address, which only routers of the application receive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """The address at which a replica listens."""

    replica: str
    """The replica's unique name; a replacement has another one."""
    host: str
    port: int
    token: str = field(repr=False)
    """The token that a hello must contain."""
    heartbeat_port: int | None = None
    """The port on which a thread of the replica replies to heartbeats."""


class FrameReader:
    """Splits received bytes, in pieces of any size, into frames.

    `max_bytes`, the longest frame accepted, may be changed between two frames.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._pending = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that `data` completes; raise ProtocolError for an invalid header."""
        pending = self._pending
        pending += data
        start = 0
        while len(pending) - start >= _HEADER.size:
            length, number, call_id = _HEADER.unpack_from(pending, start)
            if length > self.max_bytes:
                raise ProtocolError(
                    f"expected a frame of at most {self.max_bytes} bytes, received one of {length}"
                )
            try:
                frame_type = FrameType(number)
            except ValueError:
                raise ProtocolError(
                    f"expected a frame of a known type, received type {number}"
                ) from None
            body = start + _HEADER.size
            if len(pending) < body + length:
                break
            start = body + length
            with memoryview(pending) as view:
                payload = bytes(view[body:start])
            yield Frame(frame_type, call_id, payload)
        del pending[:start]


def encode(frame_type: FrameType, call_id: int = 0, *parts: bytes | memoryview) -> bytes:
    """Return a frame whose payload is `parts`; raise ProtocolError for one over the limit."""
    length = sum(len(part) for part in parts)
    if length > MAX_FRAME_BYTES:
        raise ProtocolError(
            f"expected a payload of at most {MAX_FRAME_BYTES} bytes, received {length}"
        )
    return b"".join((_HEADER.pack(length, frame_type, call_id), *parts))


def encode_hello(hello: Hello) -> bytes:
    """Return the first frame of a connection."""
    document = {"protocol": PROTOCOL, "version": hello.version, "token": hello.token}
    return encode(FrameType.HELLO, 0, orjson.dumps(document))


def decode_hello(payload: bytes) -> Hello:
    """Return a router's hello; raise ProtocolError for anything else or another protocol."""
    match _parse(payload):
        case {"protocol": int(protocol), "version": str(version), "token": str(token)}:
            if protocol != PROTOCOL:
                raise ProtocolError(f"expected protocol {PROTOCOL}, received {protocol}")
            return Hello(version=version, token=token)
    raise ProtocolError("expected the fields of a hello, received others")


def encode_call(call_id: int, windows: Windows) -> bytes:
    """Return the call with windows (batch, timesteps, features)."""
    item_bytes = windows.itemsize
    shape = _SHAPE.pack(*windows.shape, item_bytes)
    values = np.ascontiguousarray(windows, dtype=_TYPES[item_bytes])
    return encode(FrameType.CALL, call_id, shape, values.data.cast("B"))


def decode_call(payload: bytes) -> Windows:
    """Return the windows of a call (batch, timesteps, features), read-only."""
    if len(payload) < _SHAPE.size:
        raise ProtocolError(
            f"expected the shape of a call's windows, received {len(payload)} bytes"
        )
    *shape, item_bytes = _SHAPE.unpack_from(payload)
    if item_bytes not in _TYPES:
        raise ProtocolError(f"expected values of 4 or 8 bytes, received {item_bytes}")
    expected = _SHAPE.size + item_bytes * shape[0] * shape[1] * shape[2]
    if len(payload) != expected or 0 in shape:
        raise ProtocolError(f"expected {expected} bytes for {shape}, received {len(payload)}")
    values: Windows = np.frombuffer(payload, _TYPES[item_bytes], offset=_SHAPE.size)
    return values.reshape(shape)


def encode_results(call_id: int, results: Sequence[Prediction | Failure]) -> bytes:
    """Return the results of a call, one per window."""
    return encode(
        FrameType.RESULTS, call_id, orjson.dumps([_as_json(result) for result in results])
    )


def decode_results(payload: bytes) -> list[Prediction | Failure]:
    """Return the results of a call, equal to those that were sent to the last bit."""
    results = _parse(payload)
    if not isinstance(results, list):
        raise ProtocolError("expected a list of results, received something else")
    return [_from_json(result) for result in results]


def encode_error(call_id: int, error: ServingError) -> bytes:
    """Return the error of a call by its code, together with the arguments that rebuild it."""
    return encode(FrameType.ERROR, call_id, orjson.dumps([type(error).code, error.args]))


def decode_error(payload: bytes) -> ServingError:
    """Return the error as the replica raised it."""
    match _parse(payload):
        case [str(code), [*arguments]] if code in _ERRORS:
            try:
                return _ERRORS[code](*arguments)
            except TypeError as problem:
                raise ProtocolError(
                    f"expected the arguments of the error {code}: {problem}"
                ) from None
    raise ProtocolError("expected the code and arguments of a known error, received something else")


def _errors_by_code(tree: type[ServingError]) -> dict[str, type[ServingError]]:
    """Return the error classes of a server by their codes; base classes have none."""
    found = {tree.code: tree} if "code" in vars(tree) else {}
    for subclass in tree.__subclasses__():
        if subclass is not ClientError:
            found |= _errors_by_code(subclass)
    return found


_ERRORS: Mapping[str, type[ServingError]] = _errors_by_code(ServingError)


def _as_json(result: Prediction | Failure) -> object:
    if isinstance(result, Failure):
        return result.problem
    waited_s, took_s = result.run or (None, None)
    values = (
        result.direction,
        result.confidence,
        result.expected_return,
        waited_s,
        took_s,
        None if result.probabilities is None else list(result.probabilities),
    )
    return values if result.return_quantiles is None else (*values, result.return_quantiles)


def _from_json(result: object) -> Prediction | Failure:
    match result:
        case str(problem):
            return Failure(problem)
        case [
            int(direction),
            float(confidence),
            float() | None as expected_return,
            float() | None as waited_s,
            float() | None as took_s,
            probabilities,
            *quantiles,
        ] if (waited_s is None) == (took_s is None):
            run = None if waited_s is None or took_s is None else Run(waited_s, took_s)
            return Prediction(
                direction,
                confidence,
                expected_return,
                run,
                _quantiles(quantiles),
                _probabilities(probabilities),
            )
    raise ProtocolError("expected a prediction or the problem of a window, received something else")


def _probabilities(value: object) -> Probabilities | None:
    match value:
        case None:
            return None
        case [float(hold), float(buy), float(sell)]:
            return Probabilities(hold, buy, sell)
    raise ProtocolError("expected the probabilities of three directions, received something else")


def _quantiles(last: list[object]) -> Mapping[str, float] | None:
    match last:
        case []:
            return None
        case [dict(quantiles)] if all(type(value) is float for value in quantiles.values()):
            return quantiles
    raise ProtocolError("expected quantiles by their levels, received something else")


def _parse(payload: bytes) -> object:
    try:
        document: object = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise ProtocolError(f"expected JSON: {error}") from None
    return document
