"""Parses JSON into requests of the core. Pure: no IO.

Bodies hold thousands of numbers, which stay untouched here: the core checks them against the input
shape of the model.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from registry.errors import InvalidNameError
from registry.records import check_model_name, check_reference
from serve_app.api.rest.fields import (
    MAX_TEXT,
    flag_field,
    is_unicode,
    object_fields,
    required_text,
    text_field,
)
from serve_app.api.rest.json_arrays import parse_with_arrays
from serve_app.data_plane.requests import PredictionRequest
from serve_app.data_plane.responses import FailedItem
from serve_app.data_plane.windows import describe
from serve_app.errors import InvalidRequestError, MalformedJsonError, ServingError

DEFAULT_BATCH_SIZE = 32

TIMINGS = "timings"
"""The field that requests the timing sections; part of this front end, not of the core."""
PREDICT_FIELDS = (*PredictionRequest._fields, TIMINGS)

_SYMBOL, _FEATURES, *_OPTIONAL_TEXTS = PredictionRequest._fields
_BATCH_FIELDS = ("requests", "max_batch_size")
_RELOAD_FIELDS = ("model_name", "version")


class ParsedPredict(NamedTuple):
    """The body of a request for one prediction."""

    request: PredictionRequest
    timings: bool
    """Whether the response contains the timing sections."""


class ParsedBatch(NamedTuple):
    """The body of a batch, whose items are parsed one by one so that an invalid one fails alone."""

    items: Sequence[Any]
    max_batch_size: int


class ParsedReload(NamedTuple):
    """The body of a reload."""

    model_name: str
    version: str | None
    """A version or the name of a stage; None selects production."""


def parse_json(body: bytes) -> object:
    """Parse a body, including the literals NaN and Infinity, which a later check reports.

    The `features` of requests become arrays if they contain nothing but numbers.

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


def parse_predict(document: object) -> ParsedPredict:
    """Check the fields of a request for one prediction.

    Raises:
        InvalidRequestError: a field is missing, unknown or of the wrong type.
    """
    fields = object_fields("request", document, PREDICT_FIELDS)
    if _FEATURES not in fields:
        raise InvalidRequestError(_FEATURES, "a list of numbers", "nothing")
    request = PredictionRequest(
        required_text(fields, _SYMBOL, "a text such as BTCUSDT"),
        fields[_FEATURES],
        *[text_field(fields, name) for name in _OPTIONAL_TEXTS],
    )
    return ParsedPredict(request, flag_field(fields, TIMINGS))


def parse_batch(document: object) -> ParsedBatch:
    """Check the fields of a batch; see `parse_item` for its requests.

    Raises:
        InvalidRequestError: a field is missing, unknown or of the wrong type.
    """
    fields = object_fields("request", document, _BATCH_FIELDS)
    items = fields.get("requests")
    if not isinstance(items, list) or not items:
        raise InvalidRequestError("requests", "a list of at least one request", describe(items))
    size = fields.get("max_batch_size", DEFAULT_BATCH_SIZE)
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise InvalidRequestError("max_batch_size", "a whole number of at least 1", describe(size))
    return ParsedBatch(items, size)


def parse_item(item: object) -> PredictionRequest | FailedItem:
    """Return a request of a batch, or its failure if it is invalid."""
    try:
        request, timings = parse_predict(item)
        if timings:
            raise InvalidRequestError(TIMINGS, "only in a single request", "true in a batch")
    except ServingError as error:
        return FailedItem(_symbol_of(item), error)
    return request


def parse_reload(document: object) -> ParsedReload:
    """Check the fields of a reload.

    Raises:
        InvalidRequestError: a field is missing, unknown or of the wrong type, or its value cannot
            name a model or a version.
    """
    fields = object_fields("request", document, _RELOAD_FIELDS)
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
    is_shown = isinstance(symbol, str) and len(symbol) <= MAX_TEXT and is_unicode(symbol)
    return symbol if is_shown else None
