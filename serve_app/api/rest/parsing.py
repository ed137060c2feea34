"""Parses JSON into requests of the core. Pure: no IO.

Bodies hold thousands of numbers, which stay untouched here: the core checks them against the input
shape of the model.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from features.errors import InvalidTimeError
from features.times import parse_time
from registry.errors import InvalidNameError
from registry.records import check_model_name, check_reference
from serve_app.api.rest.fields import (
    MAX_TEXT,
    check_name,
    flag_field,
    is_printable,
    object_fields,
    required_text,
    text_field,
)
from serve_app.api.rest.json_arrays import read_numbers
from serve_app.api.rest.json_reader import JsonReader
from serve_app.api.rest.slices import Steps
from serve_app.data_plane.requests import PredictionRequest
from serve_app.data_plane.responses import FailedItem
from serve_app.data_plane.windows import describe
from serve_app.errors import InvalidRequestError, ServingError

DEFAULT_BATCH_SIZE = 32

TIMINGS = "timings"
"""The field that requests the timing sections; part of this front end, not of the core."""
PREDICT_FIELDS = (*PredictionRequest._fields, TIMINGS)

_SYMBOL, _FEATURES, *_OPTIONAL_TEXTS, _BAR, _MAX_AGE = PredictionRequest._fields
OF_WINDOW = ("timeframe", _BAR, _MAX_AGE)
"""The fields of a request for the server's own window."""
_REQUESTS, _BATCH_SIZE = _BATCH_FIELDS = ("requests", "max_batch_size")
_MAX_NAMES = 64
"""The number of names among which the symbol of an invalid request of a batch is searched."""
_LIST_OF_REQUESTS = "a list of at least one request"
_RELOAD_FIELDS = ("model_name", "version")


class ParsedPredict(NamedTuple):
    """The body of a request for one prediction."""

    request: PredictionRequest
    timings: bool
    """Whether the response contains the timing sections."""


class ParsedBatch(NamedTuple):
    """The body of a batch."""

    items: Sequence[PredictionRequest | FailedItem]
    """A request that is invalid is a failed item and keeps its position."""
    max_batch_size: int


class ParsedReload(NamedTuple):
    """The body of a reload."""

    model_name: str
    version: str | None
    """A version or the name of a stage; None selects production."""


def read_object(body: bytes, known: Sequence[str]) -> Mapping[str, Any]:
    """Return the fields of an object that holds short values alone.

    Raises:
        MalformedJsonError: the body is not JSON.
        InvalidRequestError: the body is not an object, a name is unknown or occurs twice, or a
            value is long.
    """
    reader = JsonReader(body)
    fields: dict[str, Any] = {}
    for name in reader.members("request"):
        check_name("request", name, known, fields)
        fields[name] = reader.value(name)
    reader.finish()
    return fields


def read_predict(body: bytes) -> Steps[ParsedPredict]:
    """Read a request for one prediction, with its features as an array.

    Raises:
        MalformedJsonError: the body is not JSON.
        InvalidRequestError: a field is missing, unknown, of the wrong type, or occurs twice.
        InvalidFeaturesError: the features are not numbers, or rows of them.
    """
    reader = JsonReader(body)
    fields: dict[str, Any] = {}
    for name in reader.members("request"):
        yield from _read_field(reader, name, fields)
    reader.finish()
    return parse_predict(fields)


def read_batch(body: bytes, check_size: Callable[[int], None]) -> Steps[ParsedBatch]:
    """Read a batch, of which each request is valid or invalid on its own.

    Args:
        body: the body.
        check_size: raises an error if a batch may not hold that many requests.

    Raises:
        MalformedJsonError: the body is not JSON.
        InvalidRequestError: a field of the batch itself is missing, unknown, of the wrong type, or
            occurs twice.
    """
    reader = JsonReader(body)
    items: list[PredictionRequest | FailedItem] = []
    fields: dict[str, Any] = {_REQUESTS: items}
    read = set[str]()
    for name in reader.members("request"):
        check_name("request", name, _BATCH_FIELDS, read)
        read.add(name)
        if name != _REQUESTS:
            fields[name] = reader.value(name)
            continue
        for index in reader.items(name, _LIST_OF_REQUESTS):
            check_size(index + 1)
            items.append((yield from _read_item(reader)))
            yield
    reader.finish()
    if not items:
        received = "a list of 0" if _REQUESTS in read else "nothing"
        raise InvalidRequestError(_REQUESTS, _LIST_OF_REQUESTS, received)
    size = fields.get(_BATCH_SIZE, DEFAULT_BATCH_SIZE)
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise InvalidRequestError(_BATCH_SIZE, "a whole number of at least 1", describe(size))
    return ParsedBatch(items, size)


def _read_item(reader: JsonReader) -> Steps[PredictionRequest | FailedItem]:
    """Read a request of a batch; of an invalid one, only its symbol and its end."""
    start = reader.position
    fields: dict[str, Any] = {}
    failure: InvalidRequestError | None = None
    if not reader.is_at(b"{"):
        try:
            received = describe(reader.value("request"))
        except InvalidRequestError as error:
            received = error.received
            reader.position = start
            yield from reader.skip()
        return FailedItem(None, InvalidRequestError("request", "a JSON object", received))
    for index, name in enumerate(reader.members("request")):
        start = reader.position
        if failure is not None and (_SYMBOL in fields or index > _MAX_NAMES):
            yield from reader.skip_rest()
            break
        try:
            yield from _read_field(reader, name, fields)
        except InvalidRequestError as error:
            failure = failure or error.with_traceback(None)  # which would keep the numbers read
            reader.position = start
            yield from reader.skip()
    return parse_item(fields) if failure is None else FailedItem(_symbol_of(fields), failure)


def _read_field(reader: JsonReader, name: str, fields: dict[str, Any]) -> Steps[None]:
    check_name("request", name, PREDICT_FIELDS, fields)
    if name == _FEATURES:
        fields[name] = yield from read_numbers(reader, name)
    else:
        fields[name] = reader.value(name)


def parse_predict(document: object) -> ParsedPredict:
    """Check the fields of a request for one prediction.

    Raises:
        InvalidRequestError: a field is missing, unknown or of the wrong type.
    """
    fields = object_fields("request", document, PREDICT_FIELDS)
    symbol = required_text(fields, _SYMBOL, "a text such as BTCUSDT")
    model_name, model_version, unit_id, timeframe = [
        text_field(fields, name) for name in _OPTIONAL_TEXTS
    ]
    bar, max_age_s = _bar_of(fields), _max_age_of(fields)
    features = fields.get(_FEATURES)
    if _FEATURES in fields:
        if features is None:
            expected = "a list of numbers, or no such field for the server's window"
            raise InvalidRequestError(_FEATURES, expected, "null")
        for name, value in zip(OF_WINDOW, (timeframe, bar, max_age_s), strict=True):
            if value is not None:
                raise InvalidRequestError(name, "no features beside it, or no such field", "both")
    request = PredictionRequest(
        symbol, features, model_name, model_version, unit_id, timeframe, bar, max_age_s
    )
    return ParsedPredict(request, flag_field(fields, TIMINGS))


def _bar_of(fields: Mapping[str, Any]) -> int | None:
    value = fields.get(_BAR)
    if value is None:
        return None
    try:
        return parse_time(value)
    except InvalidTimeError:
        expected = "the opening of a bar in ISO 8601 with a zone, or in milliseconds since 1970"
        raise InvalidRequestError(_BAR, expected, describe(value)) from None


def _max_age_of(fields: Mapping[str, Any]) -> float | None:
    value = fields.get(_MAX_AGE)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise InvalidRequestError(_MAX_AGE, "a number of seconds of at least 0", describe(value))
    return float(value)


def parse_item(item: object) -> PredictionRequest | FailedItem:
    """Return a request of a batch, or its failure if it is invalid."""
    try:
        request, timings = parse_predict(item)
        if timings:
            raise InvalidRequestError(TIMINGS, "only in a single request", "true in a batch")
    except ServingError as error:
        return FailedItem(_symbol_of(item), error.with_traceback(None))
    return request


def parse_reload(body: bytes) -> ParsedReload:
    """Read a reload.

    Raises:
        MalformedJsonError: the body is not JSON.
        InvalidRequestError: a field is missing, unknown or of the wrong type, or its value cannot
            name a model or a version.
    """
    fields = read_object(body, _RELOAD_FIELDS)
    version = text_field(fields, "version")
    model = required_text(fields, "model_name", "a model's name")
    try:
        return ParsedReload(check_model_name(model), version and check_reference(version))
    except InvalidNameError as error:
        field = "version" if error.kind == "version" else "model_name"
        raise InvalidRequestError(field, error.expected, describe(error.value)) from None


def _symbol_of(document: object) -> str | None:
    """Return the symbol of an invalid request, if it has one."""
    symbol = document.get("symbol") if isinstance(document, Mapping) else None
    is_shown = isinstance(symbol, str) and len(symbol) <= MAX_TEXT and is_printable(symbol)
    return symbol if is_shown else None
