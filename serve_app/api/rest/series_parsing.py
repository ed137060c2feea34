"""Parses requests for series. Pure: no IO."""

from collections.abc import Mapping
from typing import Any

from features.bars import LATEST_MS
from features.errors import InvalidTimeError
from features.times import parse_time
from serve_app.api.rest.fields import check_name, text_field
from serve_app.api.rest.json_arrays import read_numbers
from serve_app.api.rest.json_reader import JsonReader
from serve_app.api.rest.slices import Steps
from serve_app.data_plane.series import SeriesRequest
from serve_app.data_plane.windows import describe
from serve_app.errors import InvalidRequestError

SERIES_FIELDS = (
    "symbol",
    "features",
    "model_name",
    "model_version",
    "timeframe",
    "from",
    "to",
    "known_at",
)
_FEATURES = "features"
_OF_BARS = ("timeframe", "from", "to", "known_at")


def read_series(body: bytes) -> Steps[SeriesRequest]:
    """Read a request for a series.

    Raises:
        MalformedJsonError: the body is not JSON.
        InvalidRequestError: a field is missing, unknown, of the wrong type, or occurs twice.
        InvalidFeaturesError: the features are not numbers, or rows of them.
    """
    reader = JsonReader(body)
    fields: dict[str, Any] = {}
    for name in reader.members("request"):
        check_name("request", name, SERIES_FIELDS, fields)
        if name == _FEATURES:
            fields[name] = yield from read_numbers(reader, name)
        else:
            fields[name] = reader.value(name)
    reader.finish()
    return parse_series(fields)


def parse_series(fields: Mapping[str, Any]) -> SeriesRequest:
    """Check the fields of a request.

    Raises:
        InvalidRequestError: a field is missing, beside features, or of the wrong type.
    """
    symbol, model_name, model_version, timeframe = [
        text_field(fields, name) for name in ("symbol", "model_name", "model_version", "timeframe")
    ]
    first_ms, last_ms, known_at_ms = [_time_of(fields, name) for name in _OF_BARS[1:]]
    if _FEATURES in fields:
        for name in _OF_BARS:
            if fields.get(name) is not None:
                raise InvalidRequestError(name, "no features beside it, or no such field", "both")
    else:
        if symbol is None:
            raise InvalidRequestError("symbol", "a text such as BTCUSDT, or features", "nothing")
        if first_ms is None:
            raise InvalidRequestError("from", "the first bar of the range", "nothing")
    return SeriesRequest(
        symbol,
        fields.get(_FEATURES),
        model_name,
        model_version,
        timeframe,
        first_ms,
        LATEST_MS if last_ms is None else last_ms,
        LATEST_MS if known_at_ms is None else known_at_ms,
    )


def _time_of(fields: Mapping[str, Any], name: str) -> int | None:
    value = fields.get(name)
    if value is None:
        return None
    try:
        return parse_time(value)
    except InvalidTimeError:
        expected = "ISO 8601 with a time zone, or milliseconds since 1970"
        raise InvalidRequestError(name, expected, describe(value)) from None
