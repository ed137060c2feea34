"""From a request's body to values that can be trusted. Pure: no IO.

Bodies hold thousands of numbers, so nothing here touches them one by one in Python unless
something is wrong with them.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from registry.errors import InvalidNameError
from registry.predictors import Windows
from registry.records import check_model_name, check_reference
from serve_app.api.rest.json_arrays import parse_with_arrays
from serve_app.errors import InvalidFeaturesError, InvalidRequestError, MalformedJsonError

MAX_TEXT = 128
MAX_SHOWN = 40
"""How much of a mistaken value an error repeats."""

DEFAULT_BATCH_SIZE = 32
PREDICT_FIELDS = ("symbol", "features", "model_name", "model_version", "unit_id", "timings")
_BATCH_FIELDS = ("requests", "max_batch_size")
_RELOAD_FIELDS = ("model_name", "version")


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictRequest:
    """One request, its features not yet held against the model's input shape."""

    symbol: str
    features: object
    model_name: str | None = None
    model_version: str | None = None
    unit_id: str | None = None
    timings: bool = False
    """Whether the answer is to say where its time went."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadRequest:
    """A model, and the version of it that is to answer; production if None."""

    model_name: str
    version: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRequest:
    """A list of requests, each still to be parsed so that a bad one fails alone."""

    items: Sequence[Any]
    max_batch_size: int


def parse_json(body: bytes) -> object:
    """Parse a body, also with the literals NaN and Infinity, which a later check names.

    The `features` of requests become arrays where they are nothing but numbers.

    Raises:
        MalformedJsonError: the body is not JSON.
    """
    document = parse_with_arrays(body)
    if document is not None:
        return document
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        problem = str(error)
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise MalformedJsonError(problem) from None


def parse_predict(document: object) -> PredictRequest:
    """Check one request's fields.

    Raises:
        InvalidRequestError: a field is missing, unknown or of the wrong kind.
    """
    fields = _object("request", document, PREDICT_FIELDS)
    if "features" not in fields:
        raise InvalidRequestError("features", "a list of numbers", "nothing")
    symbol = _text(fields, "symbol")
    if symbol is None:
        raise InvalidRequestError("symbol", "a text such as BTCUSDT", "nothing")
    return PredictRequest(
        symbol=symbol,
        features=fields["features"],
        model_name=_text(fields, "model_name"),
        model_version=_text(fields, "model_version"),
        unit_id=_text(fields, "unit_id"),
        timings=_truth(fields, "timings"),
    )


def parse_batch(document: object) -> BatchRequest:
    """Check a batch's own fields; its requests are parsed one by one later.

    Raises:
        InvalidRequestError: a field is missing, unknown or of the wrong kind.
    """
    fields = _object("request", document, _BATCH_FIELDS)
    items = fields.get("requests")
    if not isinstance(items, list) or not items:
        raise InvalidRequestError("requests", "a list of at least one request", _describe(items))
    size = fields.get("max_batch_size", DEFAULT_BATCH_SIZE)
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise InvalidRequestError("max_batch_size", "a whole number of at least 1", _describe(size))
    return BatchRequest(items=items, max_batch_size=size)


def parse_reload(document: object) -> ReloadRequest:
    """Check what is to be reloaded.

    Raises:
        InvalidRequestError: a field is missing, unknown or of the wrong kind, or names no model or
            version that could be.
    """
    fields = _object("request", document, _RELOAD_FIELDS)
    model, version = _text(fields, "model_name"), _text(fields, "version")
    if model is None:
        raise InvalidRequestError("model_name", "a model's name", "nothing")
    try:
        check_model_name(model)
        return ReloadRequest(model_name=model, version=version and check_reference(version))
    except InvalidNameError as error:
        field = "version" if error.kind == "version" else "model_name"
        raise InvalidRequestError(field, error.expected, _describe(error.value)) from None


def symbol_of(document: object) -> str | None:
    """Return the symbol of a request that failed, if it has one."""
    symbol = document.get("symbol") if isinstance(document, Mapping) else None
    is_shown = isinstance(symbol, str) and len(symbol) <= MAX_TEXT and _is_unicode(symbol)
    return symbol if is_shown else None


def as_window(features: object, shape: tuple[int, ...]) -> Windows:
    """Return features as one float32 window of `shape` (timesteps, features).

    Args:
        features: timesteps x features numbers, flat in row order or as the nested matrix.
        shape: what the model takes.

    Raises:
        InvalidFeaturesError: wrong length or shape, no number, NaN, infinity, or a number that
            float32 cannot hold.
    """
    expected = _expected(shape)
    if isinstance(features, list):
        _refuse_other_lengths(features, shape, expected)
    numbers = _numbers(features, expected)
    if numbers.shape != shape and numbers.shape != (shape[0] * shape[1],):
        received = " x ".join(map(str, numbers.shape)) or "1"
        raise InvalidFeaturesError("features", expected, f"{received} numbers")
    window = numbers.reshape(shape)
    if window.dtype != np.float32 or not window.flags.c_contiguous:
        with np.errstate(over="ignore"):
            window = np.ascontiguousarray(window, dtype=np.float32)
    if not np.isfinite(window).all():
        raise InvalidFeaturesError("features", expected, _first_not_finite(window, numbers, shape))
    return window


def _refuse_other_lengths(features: list[Any], shape: tuple[int, ...], expected: str) -> None:
    """Refuse a list by its length alone, before time goes into its numbers."""
    timesteps, columns = shape
    if features and isinstance(features[0], list):
        lengths = {len(row) if isinstance(row, list) else 1 for row in features}
        if lengths != {columns} and len(lengths) > 1:
            raise InvalidFeaturesError("features", expected, "rows of different lengths")
        if len(features) != timesteps or lengths != {columns}:
            received = f"{len(features)} x {lengths.pop()} numbers"
            raise InvalidFeaturesError("features", expected, received)
    elif len(features) != timesteps * columns:
        raise InvalidFeaturesError("features", expected, f"{len(features)} numbers")


def _numbers(features: object, expected: str) -> NDArray[Any]:
    try:
        numbers = np.asarray(features)
    except ValueError:
        raise InvalidFeaturesError("features", expected, "rows of different lengths") from None
    if numbers.size and numbers.dtype.kind not in "fiu":
        raise InvalidFeaturesError("features", expected, _first_no_number(features))
    if isinstance(features, list) and _hides_a_boolean(features, numbers):
        raise InvalidFeaturesError("features", expected, _first_no_number(features))
    return numbers


def _hides_a_boolean(features: list[Any], numbers: NDArray[Any]) -> bool:
    """Tell whether NumPy took a boolean among numbers for 0 or 1; looks only if there are such."""
    if not ((numbers == 0) | (numbers == 1)).any():
        return False
    values = chain.from_iterable(features) if numbers.ndim > 1 else features
    return bool in set(map(type, values))


def _expected(shape: tuple[int, ...]) -> str:
    timesteps, features = shape
    return (
        f"{timesteps * features} finite numbers "
        f"({timesteps} timesteps x {features} features, in row order)"
    )


def _first_no_number(features: object) -> str:
    if not isinstance(features, list):
        return _describe(features)
    for index, item in enumerate(features):
        for column, value in enumerate(item) if isinstance(item, list) else [(None, item)]:
            if isinstance(value, bool) or not isinstance(value, int | float):
                place = index if column is None else f"{index}, {column}"
                return f"{_describe(value)} at [{place}]"
    return "numbers too large"


def _first_not_finite(window: Windows, numbers: NDArray[Any], shape: tuple[int, ...]) -> str:
    bad = np.argwhere(~np.isfinite(window))
    timestep, feature = bad[0].tolist()
    value = numbers.reshape(shape)[timestep, feature]
    return (
        f"{value} at timestep {timestep}, feature {feature}"
        f" ({len(bad)} such in all; float32 holds up to 3.4e38)"
    )


def _object(what: str, document: object, known: Sequence[str]) -> Mapping[str, Any]:
    if not isinstance(document, dict):
        raise InvalidRequestError(what, "a JSON object", _describe(document))
    unknown = [key for key in document if key not in known]
    if unknown:
        received = f"{len(unknown)} unknown, the first {unknown[0][:MAX_SHOWN]!a}"
        raise InvalidRequestError(what, f"the fields {', '.join(known)}", received)
    return document


def _text(fields: Mapping[str, Any], field: str) -> str | None:
    value = fields.get(field)
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT or not _is_unicode(value):
        raise InvalidRequestError(field, f"a text of 1 to {MAX_TEXT} characters", _describe(value))
    return value


def _truth(fields: Mapping[str, Any], field: str) -> bool:
    value = fields.get(field)
    if value is not None and not isinstance(value, bool):
        raise InvalidRequestError(field, "true or false", _describe(value))
    return bool(value)


def _is_unicode(value: str) -> bool:
    """Tell whether a text can be sent: JSON's escapes can spell half a character."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _describe(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"the text {value[:MAX_SHOWN]!a}"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, int | float):
        return str(value)[:MAX_SHOWN]
    return f"a {type(value).__name__}"
