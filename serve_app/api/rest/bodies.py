"""From a body to a request, by its content type. Pure: no IO.

application/json          everything in one object; also when no type is named
application/octet-stream  the numbers, float32 little-endian in row order; the rest in the query
application/x-npy         the numbers as NumPy's own file format; the rest in the query
"""

import io
import math
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from serve_app.api.rest.parsing import PREDICT_FIELDS, PredictRequest, parse_json, parse_predict
from serve_app.api.rest.schemas import NPY, RAW
from serve_app.errors import InvalidFeaturesError, InvalidRequestError

MAX_KEPT_QUERY = 256
"""Longest query that is kept parsed: a bot sends the same one again and again."""

_FLOAT32 = np.dtype("<f4")
_NPY_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
_SHAPE = re.compile(r"[0-9]{1,9}(,[0-9]{1,9}){0,7}")
_TRUTHS = {"true": True, "false": False}
_QUERY_FIELDS = (*(each for each in PREDICT_FIELDS if each != "features"), "shape")


def parse_body(content_type: str, query: str, body: bytes) -> PredictRequest:
    """Return the request that a body and its query make.

    Raises:
        MalformedJsonError: the body is to be JSON and is none.
        InvalidRequestError: a field is missing, unknown, of the wrong kind or in the wrong place.
        InvalidFeaturesError: the body is no whole number of float32, or no .npy file of numbers.
    """
    kind = content_type.partition(";")[0].strip().lower()
    read = _kept_query_fields if len(query) <= MAX_KEPT_QUERY else _query_fields
    fields = dict(read(query))
    if kind == RAW:
        numbers = _raw(body, fields.pop("shape", None))
        return parse_predict({**fields, "features": numbers})
    if "shape" in fields:
        raise InvalidRequestError("shape", f"a body of {RAW}", f"one of {kind or 'no type'}")
    if kind == NPY:
        return parse_predict({**fields, "features": _npy(body)})
    if fields:
        expected = f"fields in the body, or the content type {RAW} or {NPY} for a body of numbers"
        raise InvalidRequestError("query", expected, f"{', '.join(fields)} beside a JSON body")
    return parse_predict(parse_json(body))


def _query_fields(query: str) -> Mapping[str, object]:
    fields: dict[str, object] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in _QUERY_FIELDS:
            expected = f"the fields {', '.join(_QUERY_FIELDS)}"
            raise InvalidRequestError("query", expected, f"the unknown {name[:40]!a}")
        if name in fields:
            raise InvalidRequestError(name, "one value in the query", "several")
        fields[name] = _TRUTHS.get(value, value) if name == "timings" else value
    return fields


_kept_query_fields = lru_cache(maxsize=4096)(_query_fields)


def _raw(body: bytes, shape: object) -> NDArray[np.float32]:
    if len(body) % _FLOAT32.itemsize:
        expected = "float32 numbers, 4 bytes each, little-endian in row order"
        raise InvalidFeaturesError("features", expected, f"{len(body)} bytes")
    numbers = np.frombuffer(body, _FLOAT32)
    if shape is None:
        return numbers
    if not isinstance(shape, str) or not _SHAPE.fullmatch(shape):
        raise InvalidRequestError("shape", "lengths such as 60,110", f"{shape!a:.40}")
    lengths = [int(each) for each in shape.split(",")]
    if math.prod(lengths) != len(numbers):
        raise InvalidFeaturesError(
            "features", f"{shape} float32 numbers", f"{len(numbers)} of them"
        )
    return numbers.reshape(lengths)


def _npy(body: bytes) -> NDArray[Any]:
    """Read an array without copying it; its header may announce no more than there is."""
    file = io.BytesIO(body)
    try:
        read_header = _NPY_HEADERS[npy.read_magic(file)]
        shape, is_fortran, dtype = read_header(file)
    except (ValueError, KeyError) as error:
        raise _not_npy(f"no such file ({error})") from None
    rest = len(body) - file.tell()
    if dtype.hasobject:
        raise _not_npy("Python objects")
    if dtype.itemsize * math.prod(shape) != rest:
        raise _not_npy(f"a header for {dtype} {shape} with {rest} bytes after it")
    numbers = np.frombuffer(body, dtype, offset=file.tell())
    return numbers.reshape(shape, order="F" if is_fortran else "C")


def _not_npy(received: str) -> InvalidFeaturesError:
    return InvalidFeaturesError("features", "an .npy file with an array of numbers", received)
