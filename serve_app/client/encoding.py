"""From a bot's request to bytes that say what it meant. Pure: no IO.

JSON has no NaN: orjson writes `null` in its place without a word. So the numbers are checked
here, as float32, which is also what the models take.
"""

import functools
import numbers
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import numpy as np
import orjson
from numpy.typing import NDArray

from serve_app.errors import InvalidFeaturesError, InvalidRequestError

JSON = "application/json"
RAW = "application/octet-stream"

_EXPECTED = "an array or (nested) list of finite numbers within float32"


def encode_request(request: object) -> bytes:
    """Return one request, with `symbol`, `features` and what else it names, as JSON.

    Fields that are None are left out; fields unknown here are for the server to judge.

    Raises:
        InvalidFeaturesError: the features are no numbers, ragged, not finite or beyond float32.
        InvalidRequestError: a field is missing or cannot be written as JSON.
    """
    if not isinstance(request, Mapping):
        raise InvalidRequestError("request", "a dict with symbol and features", _kind(request))
    symbol = request.get("symbol")
    if not isinstance(symbol, str):
        raise InvalidRequestError("symbol", "a text such as BTCUSDT", _kind(symbol))
    fields = {name: value for name, value in request.items() if value is not None}
    fields["features"] = as_float32(fields.get("features"))
    try:
        return orjson.dumps(fields, option=orjson.OPT_SERIALIZE_NUMPY)
    except orjson.JSONEncodeError as error:
        raise InvalidRequestError("request", "fields that JSON can hold", str(error)) from None


class Body(NamedTuple):
    """What is sent."""

    content: bytes
    content_type: str = JSON
    query: str = ""


def encode_raw(request: Mapping[str, object]) -> Body | None:
    """Return a request's features as bytes and its other fields as a query.

    The fastest form for both sides. None where a field is no text: JSON then shows the server what
    it is.

    Raises:
        InvalidFeaturesError: the features are no numbers, ragged, not finite or beyond float32.
        InvalidRequestError: a field cannot be written.
    """
    features = as_float32(request.get("features"))
    fields = {
        name: value for name, value in request.items() if value is not None and name != "features"
    }
    if "symbol" not in fields or not all(isinstance(each, str) for each in fields.values()):
        return None
    if features.ndim != 1:
        fields["shape"] = ",".join(map(str, features.shape))
    try:
        query = _query_of(*fields.items())
    except UnicodeEncodeError as error:
        raise InvalidRequestError("request", "fields that UTF-8 can hold", str(error)) from None
    return Body(features.astype("<f4", copy=False).tobytes(), RAW, query)


@functools.lru_cache(maxsize=1024)
def _query_of(*fields: tuple[str, str]) -> str:
    """Return fields as a query; a bot asks with the same ones again and again."""
    return urlencode(fields, quote_via=quote)


def encode_batch(requests: Iterable[bytes], max_batch_size: int) -> bytes:
    """Return encoded requests as the body of one batch."""
    fragments = [orjson.Fragment(request) for request in requests]
    return orjson.dumps({"requests": fragments, "max_batch_size": max_batch_size})


def encode_command(fields: Mapping[str, object]) -> bytes:
    """Return a command's fields as JSON; those that are None are left out.

    Raises:
        InvalidRequestError: a field cannot be written as JSON.
    """
    try:
        return orjson.dumps({name: value for name, value in fields.items() if value is not None})
    except orjson.JSONEncodeError as error:
        raise InvalidRequestError("request", "fields that JSON can hold", str(error)) from None


def as_float32(features: object) -> NDArray[np.float32]:
    """Return features of any numeric dtype as contiguous float32 of the same shape.

    The shape is for the server to judge, which knows what the model takes.

    Raises:
        InvalidFeaturesError: saying which element is no finite float32 number.
    """
    try:
        given = np.asarray(features)
    except (TypeError, ValueError, RuntimeError) as error:
        received = f"{_kind(features)} that is no array ({error})"
        raise InvalidFeaturesError("features", _EXPECTED, received) from None
    if given.ndim == 0:
        raise InvalidFeaturesError("features", _EXPECTED, _kind(features))
    if given.dtype.kind not in "fiu":
        raise InvalidFeaturesError("features", _EXPECTED, _first_no_number(features, given))
    if given.dtype == np.float32:
        converted = np.ascontiguousarray(given)
    else:
        with np.errstate(over="ignore"):
            converted = given.astype(np.float32, order="C")
    finite = np.isfinite(converted)
    if not finite.all():
        raise InvalidFeaturesError("features", _EXPECTED, _first_not_finite(given, finite))
    return converted


def _first_not_finite(given: NDArray[Any], finite: NDArray[np.bool_]) -> str:
    bad = np.argwhere(~finite)
    index = tuple(bad[0].tolist())
    return f"{given[index]} at {list(index)} ({len(bad)} such in all)"


def _first_no_number(features: object, given: NDArray[Any]) -> str:
    # A text among numbers turns the whole array into texts, so look at the elements as given.
    for index, value in np.ndenumerate(np.asarray(features, dtype=object)):
        if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
            return f"{_kind(value)} at {list(index)}"
    return f"an array of {given.dtype}"


def _kind(value: object) -> str:
    """Name what `value` is, never what it holds: this goes to the log."""
    return "None" if value is None else f"a value of type {type(value).__name__}"
