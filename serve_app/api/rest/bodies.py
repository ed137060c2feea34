"""Reads the bodies of requests, and decodes that of a prediction by its content type.

application/json          all fields in one object; also without a content type
application/octet-stream  the numbers as float32, little-endian in row order; the rest in the query
application/x-npy         the numbers in NumPy's file format; the rest in the query

The parameter `dtype` of the content type declares another type: float64 for raw numbers, or float32
for JSON whose sender has rounded its numbers.
"""

import math
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
from numpy.typing import NDArray
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive

from serve_app.api.rest.npy import read_npy
from serve_app.api.rest.parsing import (
    OF_WINDOW,
    PREDICT_FIELDS,
    TIMINGS,
    ParsedBatch,
    ParsedPredict,
    parse_predict,
    read_batch,
    read_predict,
)
from serve_app.api.rest.schemas import ARROW, NPY, RAW
from serve_app.api.rest.slices import Steps
from serve_app.data_plane.requests import PredictionRequest
from serve_app.data_plane.windows import MAX_SHOWN
from serve_app.errors import BodyTooLargeError, InvalidFeaturesError, InvalidRequestError

MAX_CACHED_QUERY = 256
"""The longest query that is cached, in characters; a bot repeats the same one."""

JSON_ONLY = ("features", *OF_WINDOW)
"""The fields that are in no query: a body of numbers is the window."""

_FLOAT32 = np.dtype("<f4")
_TYPES: Mapping[str, np.dtype[Any]] = {"float32": _FLOAT32, "float64": np.dtype("<f8")}
_LENGTH = re.compile(r"[0-9]{1,18}")
_SHAPE = re.compile(r"[1-9][0-9]{0,8}(,[1-9][0-9]{0,8}){0,7}")
_FLAGS = {"true": True, "false": False}
QUERY_FIELDS = (*(name for name in PREDICT_FIELDS if name not in JSON_ONLY), "shape")
"""The fields of a request whose body holds nothing but numbers."""


async def read_body(request: Request) -> bytes:
    """Return the body of a request that the guards have admitted, which is one message."""
    message = await request.receive()
    body: bytes = message["body"]
    return body


async def receive_body(
    receive: Receive, limit_bytes: int, announced: int | None, add: Callable[[int], None]
) -> bytes:
    """Return a body, and read at most `limit_bytes` of it.

    Args:
        receive: receives the messages of a request.
        limit_bytes: the limit.
        announced: the length that the request announces, None if it announces none.
        add: receives the size of each part before it is kept; its errors are passed on.

    Raises:
        BodyTooLargeError: the body exceeds the limit, as announced or as received.
        ClientDisconnect: the client has left.
    """
    if announced is not None and announced > limit_bytes:
        raise BodyTooLargeError("bytes", limit_bytes, announced)
    chunks, received, is_more = [], 0, True
    while is_more:  # Request.stream does the same, with a generator and two more frames
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk = message.get("body", b"")
        received += len(chunk)
        if received > limit_bytes:
            raise BodyTooLargeError("bytes", limit_bytes, received)
        add(len(chunk))
        chunks.append(chunk)
        is_more = message.get("more_body", False)
    # A body in one chunk is not copied.
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def announced_bytes(content_length: str) -> int | None:
    """Return the length in a Content-Length header; None if it contains no such number."""
    return int(content_length) if _LENGTH.fullmatch(content_length) else None


def prefers_arrow(accept: str) -> bool:
    """Return whether an Accept header names the type of Arrow streams.

    >>> prefers_arrow("application/vnd.apache.arrow.stream"), prefers_arrow("*/*")
    (True, False)
    """
    for part in accept.lower().split(","):
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        if kind == ARROW and "q=0" not in parameters:
            return True
    return False


def read_window(content_type: str, query: str, body: bytes) -> Steps[ParsedPredict]:
    """Read a request for one prediction from its body and its query.

    Args:
        content_type: the header; empty if there is none.
        query: the query of the URL, with its escapes.
        body: the body.

    Raises:
        MalformedJsonError: the body is declared as JSON but is not.
        InvalidRequestError: a field is missing, unknown, of the wrong type or in the wrong place.
        InvalidFeaturesError: the features are not numbers.
    """
    kind, _, parameters = content_type.partition(";")
    kind = kind.strip().lower()
    dtype = _declared_type(parameters) if parameters else None
    read = _cached_query_fields if len(query) <= MAX_CACHED_QUERY else _query_fields
    fields = dict(read(query))
    if kind == RAW:
        numbers = _raw(body, dtype or _FLOAT32, fields.pop("shape", None))
        return parse_predict({**fields, "features": numbers})
    if "shape" in fields:
        received = f"one of {kind[:MAX_SHOWN] or 'no type'}"
        raise InvalidRequestError("shape", f"a body of {RAW}", received)
    if kind == NPY:
        if dtype is not None:
            raise InvalidRequestError("dtype", f"a body of {RAW} or JSON", f"one of {NPY}")
        return parse_predict({**fields, "features": read_npy(body)})
    if fields:
        expected = f"fields in the body, or the content type {RAW} or {NPY} for a body of numbers"
        raise InvalidRequestError("query", expected, f"{', '.join(fields)} with a JSON body")
    parsed = yield from read_predict(body)
    if dtype is None:
        return parsed
    return parsed._replace(request=_in_type(parsed.request, dtype))


def read_windows(
    content_type: str, body: bytes, check_size: Callable[[int], None]
) -> Steps[ParsedBatch]:
    """Read a batch of requests; see `read_batch`.

    Raises:
        InvalidRequestError: the content type declares a type that windows do not have.
    """
    _, _, parameters = content_type.partition(";")
    dtype = _declared_type(parameters) if parameters else None
    parsed = yield from read_batch(body, check_size)
    if dtype is None:
        return parsed
    items = [
        _in_type(item, dtype) if isinstance(item, PredictionRequest) else item
        for item in parsed.items
    ]
    return parsed._replace(items=items)


@lru_cache(maxsize=64)
def _declared_type(parameters: str) -> np.dtype[Any] | None:
    """Return the type of the numbers that the parameters of a content type declare, if any."""
    for parameter in parameters.lower().split(";"):
        name, _, value = parameter.strip().partition("=")
        if name == "dtype":
            if value.strip('"') not in _TYPES:
                raise InvalidRequestError("dtype", " or ".join(_TYPES), f"{value!a:.40}")
            return _TYPES[value.strip('"')]
    return None


def _in_type(request: PredictionRequest, dtype: np.dtype[Any]) -> PredictionRequest:
    """Return a request with its features in the type that its sender declared."""
    if request.features is None:
        return request
    with np.errstate(over="ignore"):
        return request._replace(features=np.asarray(request.features).astype(dtype, copy=False))


def _query_fields(query: str) -> Mapping[str, object]:
    if not query.isascii():
        raise InvalidRequestError("query", "percent-encoded characters", "others")
    fields: dict[str, object] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in QUERY_FIELDS:
            expected = f"the fields {', '.join(QUERY_FIELDS)}"
            raise InvalidRequestError("query", expected, f"the unknown {name[:40]!a}")
        if name in fields:
            raise InvalidRequestError(name, "one value in the query", "several")
        fields[name] = _FLAGS.get(value, value) if name == TIMINGS else value
    return fields


_cached_query_fields = lru_cache(maxsize=4096)(_query_fields)


def _raw(body: bytes, dtype: np.dtype[Any], shape: object) -> NDArray[Any]:
    if len(body) % dtype.itemsize:
        expected = f"{dtype.name} numbers, {dtype.itemsize} bytes each, little-endian in row order"
        raise InvalidFeaturesError("features", expected, f"{len(body)} bytes")
    numbers: NDArray[Any] = np.frombuffer(body, dtype)
    if shape is None:
        return numbers
    if not isinstance(shape, str) or not _SHAPE.fullmatch(shape):
        raise InvalidRequestError("shape", "lengths such as 60,110", f"{shape!a:.40}")
    lengths = [int(length) for length in shape.split(",")]
    if math.prod(lengths) != len(numbers):
        raise InvalidFeaturesError(
            "features", f"{shape} {dtype.name} numbers", f"{len(numbers)} numbers"
        )
    return numbers.reshape(lengths)
