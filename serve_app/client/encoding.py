"""Encodes a bot's request as the body of an HTTP request. Pure: no IO.

JSON has no NaN, and orjson silently writes `null` for it. Therefore the numbers are checked here,
and a NaN that stands for a missing value is written as the word `NaN`, which the server reads.
Numbers are sent as float32, the type of most models' input, and the content type declares it; a
model of float64 rejects such a request, which is then sent again in float64.
"""

import functools
import json
import numbers
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import numpy as np
import orjson
from numpy.typing import NDArray

from serve_app.client.arrays import to_array
from serve_app.errors import InvalidFeaturesError, InvalidRequestError

JSON = "application/json"
RAW = "application/octet-stream"

SINGLE: np.dtype[Any] = np.dtype(np.float32)
DOUBLE: np.dtype[Any] = np.dtype(np.float64)
"""The types in which features are sent."""

_LARGEST_EXACT = 2**53
"""The integer up to which float64 holds every integer."""


def encode_request(
    request: object, dtype: np.dtype[Any] = SINGLE, *, missing_values: bool = False
) -> bytes:
    """Return one request, with `symbol`, `features` and its optional fields, as JSON.

    Fields that are None are omitted; without features, the server predicts from its own window of
    the symbol. Unknown fields are passed on, and the server validates them.
    With `missing_values` the features may contain NaN.

    >>> encode_request({"symbol": "BTCUSDT", "features": [[0.5], [1.0]], "model_name": None})
    b'{"symbol":"BTCUSDT","features":[[0.5],[1.0]]}'

    Raises:
        InvalidFeaturesError: the features are not numbers, ragged, not finite or beyond float32.
        InvalidRequestError: a field is missing or cannot be written as JSON.
    """
    if not isinstance(request, Mapping):
        raise InvalidRequestError("request", "a dict with symbol and features", _kind(request))
    symbol = request.get("symbol")
    if not isinstance(symbol, str):
        raise InvalidRequestError("symbol", "text, for example BTCUSDT", _kind(symbol))
    fields = {name: value for name, value in request.items() if value is not None}
    if "features" in fields:
        features = as_array(fields["features"], dtype, missing_values=missing_values)
        has_missing = missing_values and bool(np.isnan(features).any())
        as_text = orjson.Fragment(json.dumps(features.tolist())) if has_missing else features
        fields["features"] = as_text
    try:
        return orjson.dumps(fields, option=orjson.OPT_SERIALIZE_NUMPY)
    except orjson.JSONEncodeError as error:
        raise InvalidRequestError("request", "fields that JSON can represent", str(error)) from None


def json_type(dtype: np.dtype[Any]) -> str:
    """Return the content type of JSON whose numbers have a type.

    >>> json_type(SINGLE)
    'application/json; dtype=float32'
    """
    return f"{JSON}; dtype={dtype.name}"


class Body(NamedTuple):
    """The body of a request, with the part of its URL that belongs to it."""

    content: bytes
    content_type: str = JSON
    query: str = ""
    """Fields that are not in `content`, encoded as a query string."""


def encode_raw(
    request: Mapping[str, object],
    dtype: np.dtype[Any] = SINGLE,
    *,
    missing_values: bool = False,
) -> Body | None:
    """Return a request with its features as bytes and its other fields as a query.

    This form is the fastest for both sides. Returns None if there are no features, or if a field is
    not text, since only JSON preserves its type for the server's validation. With `missing_values`
    the features may contain NaN.

    Raises:
        InvalidFeaturesError: the features are not numbers, ragged, not finite or beyond float32.
        InvalidRequestError: a field cannot be encoded.
    """
    if request.get("features") is None:
        return None
    features = as_array(request["features"], dtype, missing_values=missing_values)
    fields = {
        name: value for name, value in request.items() if value is not None and name != "features"
    }
    if "symbol" not in fields or not all(isinstance(value, str) for value in fields.values()):
        return None
    if features.ndim != 1:
        fields["shape"] = ",".join(map(str, features.shape))
    try:
        query = _query_of(*fields.items())
    except UnicodeEncodeError as error:
        raise InvalidRequestError(
            "request", "fields that UTF-8 can represent", str(error)
        ) from None
    content_type = RAW if dtype == SINGLE else f"{RAW}; dtype={dtype.name}"
    return Body(features.astype(dtype.newbyteorder("<"), copy=False).tobytes(), content_type, query)


@functools.lru_cache(maxsize=1024)
def _query_of(*fields: tuple[str, str]) -> str:
    """Return fields as a query string, cached since a bot repeats the same ones."""
    return urlencode(fields, quote_via=quote)


def encode_batch(requests: Iterable[bytes], max_batch_size: int) -> bytes:
    """Return encoded requests as the JSON body of one batch."""
    fragments = [orjson.Fragment(request) for request in requests]
    return orjson.dumps({"requests": fragments, "max_batch_size": max_batch_size})


def encode_command(fields: Mapping[str, object]) -> bytes:
    """Return a command's fields as JSON; fields that are None are omitted.

    Raises:
        InvalidRequestError: a field cannot be written as JSON.
    """
    try:
        return orjson.dumps({name: value for name, value in fields.items() if value is not None})
    except orjson.JSONEncodeError as error:
        raise InvalidRequestError("request", "fields that JSON can represent", str(error)) from None


def as_array(
    features: object, dtype: np.dtype[Any], *, missing_values: bool = False
) -> NDArray[Any]:
    """Return features of any numeric dtype as a contiguous array of the same shape.

    The server validates the shape, since it knows the model's input.

    >>> as_array([[1, 2], [3, 4]], SINGLE).dtype
    dtype('float32')

    Args:
        features: an array or (nested) lists.
        dtype: the type to send. Only conversions to SINGLE round.
        missing_values: whether elements may be NaN.

    Raises:
        InvalidFeaturesError: an element is not a finite number of that type, or would be rounded
            to DOUBLE; the message names it.
    """
    expected = f"an array or (nested) list of finite numbers within {dtype.name}"
    try:
        given = to_array(features)
    except (TypeError, ValueError, RuntimeError) as error:
        received = f"{_kind(features)} that is not an array ({error})"
        raise InvalidFeaturesError("features", expected, received) from None
    if given.ndim == 0:
        raise InvalidFeaturesError("features", expected, _kind(features))
    if given.dtype.kind not in "fiu":
        raise InvalidFeaturesError("features", expected, _first_non_number(features, given))
    if given.dtype == dtype:
        converted = np.ascontiguousarray(given)
    else:
        with np.errstate(over="ignore"):
            converted = given.astype(dtype, order="C")
    finite = np.isfinite(converted)
    if missing_values:
        finite |= np.isnan(converted)
    if not finite.all():
        raise InvalidFeaturesError("features", expected, _first_non_finite(given, finite))
    if dtype == DOUBLE and given.dtype.kind in "iu" and (abs(converted) > _LARGEST_EXACT).any():
        received = "integers above 2**53, which float64 rounds"
        raise InvalidFeaturesError("features", expected, received)
    if dtype == DOUBLE and given.dtype.itemsize > DOUBLE.itemsize:
        raise InvalidFeaturesError("features", expected, f"numbers of {given.dtype}")
    return converted


def _first_non_finite(given: NDArray[Any], finite: NDArray[np.bool_]) -> str:
    bad = np.argwhere(~finite)
    index = tuple(bad[0].tolist())
    return f"{given[index]} at {list(index)} ({len(bad)} such elements in all)"


def _first_non_number(features: object, given: NDArray[Any]) -> str:
    # One text among numbers makes NumPy convert all of them to text: check the original elements.
    for index, value in np.ndenumerate(np.asarray(features, dtype=object)):
        if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
            return f"{_kind(value)} at {list(index)}"
    return f"an array of {given.dtype}"


def _kind(value: object) -> str:
    """Return the type of a value, never its content, since the result is logged."""
    if type(value).__name__ in ("NAType", "NaTType"):  # of pandas, which is not imported for this
        return f"a missing value ({type(value).__name__}; fill it)"
    return "None" if value is None else f"a value of type {type(value).__name__}"
