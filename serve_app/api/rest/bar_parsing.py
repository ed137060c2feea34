"""Parses pushes and queries of bars. Pure: no IO.

A push has one symbol, or is a list of pushes of several. An invalid bar is rejected alone; so are
the bars of an invalid symbol or timeframe in a list.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import numpy as np

from features.bars import COLUMNS, Bars, Symbol
from features.errors import InvalidSymbolError, InvalidTimeError, UnknownTimeframeError
from features.pushes import Push
from features.timeframes import NAMES, Timeframe
from features.times import parse_time, parse_times
from serve_app.api.rest.fields import check_name
from serve_app.api.rest.json_reader import JsonReader
from serve_app.api.rest.slices import Steps
from serve_app.bars.queries import DEFAULT_BARS, MAX_BARS, BarQuery
from serve_app.data_plane.windows import MAX_SHOWN, describe
from serve_app.errors import BodyTooLargeError, InvalidRequestError

MAX_PUSHED = 200_000
"""The most bars of a body in JSON."""

MAX_PUSHES = 10_000
"""The most pushes of a body in JSON."""

IS_FINAL = "is_final"
_BAR_FIELDS = ("time", *COLUMNS)
_ALL_BAR_FIELDS = frozenset((*_BAR_FIELDS, IS_FINAL))
_SYMBOL, _TIMEFRAME, _BARS = _PUSH_FIELDS = ("symbol", "timeframe", "bars")
_PUSHES = "pushes"
_BARS_PER_STEP = 64
_QUERY_FIELDS = ("timeframe", "from", "to", "known_at", "limit")


@dataclass(frozen=True, slots=True)
class InvalidPush:
    """A push of a list whose symbol or timeframe is none."""

    bars: int
    """The number of its bars."""
    reason: str


class ParsedPushes(NamedTuple):
    """The body of a push."""

    items: Sequence[Push | InvalidPush]
    is_list: bool
    """Whether the body was a list of pushes."""


@dataclass(slots=True)
class _Columns:
    """The bars that have been read."""

    times: list[object] = field(default_factory=list)
    values: list[list[float]] = field(default_factory=lambda: [[] for _ in COLUMNS])
    is_final: list[bool] = field(default_factory=list)

    def add(self, name: str, bar: object) -> None:
        """Add a bar, whose fields must be known."""
        if not isinstance(bar, dict):
            raise InvalidRequestError(name, "a bar, as a JSON object", describe(bar))
        if not bar.keys() <= _ALL_BAR_FIELDS:
            unknown = next(key for key in bar if key not in _ALL_BAR_FIELDS)
            expected = f"the fields {', '.join(_BAR_FIELDS)} and optionally {IS_FINAL}"
            raise InvalidRequestError(name, expected, f"the unknown {unknown[:MAX_SHOWN]!a}")
        for column in _BAR_FIELDS:
            if column not in bar:
                raise InvalidRequestError(f"{name}.{column}", "a value", "nothing")
        is_final = bar.get(IS_FINAL, True)
        if not isinstance(is_final, bool):
            raise InvalidRequestError(f"{name}.{IS_FINAL}", "true or false", describe(is_final))
        self.times.append(bar["time"])
        self.is_final.append(is_final)
        for numbers, column in zip(self.values, COLUMNS, strict=True):
            numbers.append(_as_float(bar[column]))

    def as_push(self, symbol: Symbol, timeframe: Timeframe) -> Push:
        """Return the bars as a push."""
        times, problems = parse_times(self.times)
        is_final = None if all(self.is_final) else np.array(self.is_final, np.bool_)
        return Push(symbol, timeframe, Bars.of(times, self.values), is_final, problems)


def read_pushes(body: bytes) -> Steps[ParsedPushes]:
    """Read one push, or `{"pushes": [ … ]}`.

    Raises:
        MalformedJsonError: the body is not JSON.
        InvalidRequestError: a field is missing, unknown or of the wrong type, or occurs twice; in a
            single push also if the symbol or the timeframe is none.
        BodyTooLargeError: there are more than MAX_PUSHED bars or MAX_PUSHES pushes.
    """
    reader = JsonReader(body)
    fields: dict[str, Any] = {}
    items: list[Push | InvalidPush] = []
    for name in reader.members("request"):
        check_name("request", name, (*_PUSH_FIELDS, _PUSHES), fields)
        if name == _PUSHES:
            fields[name] = items
            total = 0
            for index in reader.items(name, "a list of pushes"):
                if index == MAX_PUSHES:
                    raise BodyTooLargeError(_PUSHES, MAX_PUSHES, index + 1)
                prefix = f"{_PUSHES}.{index}."
                item = yield from _read_item(reader, prefix, MAX_PUSHED - total)
                total += len(item.bars) if isinstance(item, Push) else item.bars
                items.append(item)
                yield
        else:
            fields[name] = yield from _read_field(reader, name, "", MAX_PUSHED)
    reader.finish()
    if _PUSHES in fields:
        if len(fields) > 1:
            received = f"the fields {', '.join(fields)}"
            raise InvalidRequestError("request", "pushes alone", received)
        return ParsedPushes(items, is_list=True)
    _check_complete(fields, "")
    symbol, timeframe = parse_symbol(fields[_SYMBOL]), parse_timeframe(fields[_TIMEFRAME])
    return ParsedPushes([fields[_BARS].as_push(symbol, timeframe)], is_list=False)


def _read_item(reader: JsonReader, prefix: str, left: int) -> Steps[Push | InvalidPush]:
    fields: dict[str, Any] = {}
    for name in reader.members(prefix.rstrip(".")):
        check_name(prefix.rstrip("."), name, _PUSH_FIELDS, fields)
        fields[name] = yield from _read_field(reader, name, prefix, left)
    _check_complete(fields, prefix)
    columns: _Columns = fields[_BARS]
    try:
        symbol, timeframe = parse_symbol(fields[_SYMBOL]), parse_timeframe(fields[_TIMEFRAME])
    except InvalidRequestError as error:
        return InvalidPush(len(columns.times), str(error))
    return columns.as_push(symbol, timeframe)


def _read_field(reader: JsonReader, name: str, prefix: str, left: int) -> Steps[object]:
    if name != _BARS:
        return reader.value(f"{prefix}{name}")
    columns = _Columns()
    for index in reader.items(f"{prefix}{name}", "a list of bars"):
        if index == left:
            raise BodyTooLargeError(_BARS, MAX_PUSHED, MAX_PUSHED + 1)
        place = f"{prefix}{name}.{index}"
        start = reader.position
        bar = reader.value(place)
        _check_repeats(place, reader.body[start : reader.position], bar)
        columns.add(place, bar)
        if index % _BARS_PER_STEP == 0:
            yield
    return columns


def _check_complete(fields: Mapping[str, Any], prefix: str) -> None:
    for name in _PUSH_FIELDS:
        if name not in fields:
            expected = "a value, beside symbol, timeframe and bars"
            raise InvalidRequestError(f"{prefix}{name}", expected, "nothing")


def _check_repeats(name: str, text: bytes, bar: object) -> None:
    """Raise InvalidRequestError if a field of a bar occurs twice."""
    if not isinstance(bar, dict):
        return
    texts = sum(isinstance(value, str) for value in bar.values())
    if text.count(b'"') == 2 * (len(bar) + texts):
        return  # every name is one of the fields
    pairs = json.loads(text, object_pairs_hook=list)
    if len(pairs) > len(bar):
        raise InvalidRequestError(name, "one value per field", "several")


def _as_float(value: object) -> float:
    """Return a number; NaN, which a later check rejects, for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan


def parse_symbol(value: object) -> Symbol:
    """Return a symbol.

    Raises:
        InvalidRequestError: the value is none.
    """
    expected = "a symbol of 1 to 64 characters, such as EURUSD, BTC/USDT or ^GSPC"
    if not isinstance(value, str):
        raise InvalidRequestError(_SYMBOL, expected, describe(value))
    try:
        return Symbol(value)
    except InvalidSymbolError:
        raise InvalidRequestError(_SYMBOL, expected, f"{value[:MAX_SHOWN]!a}") from None


def parse_timeframe(value: object) -> Timeframe:
    """Return a timeframe.

    Raises:
        InvalidRequestError: the value is none.
    """
    expected = f"one of {', '.join(NAMES)}"
    if not isinstance(value, str):
        raise InvalidRequestError(_TIMEFRAME, expected, describe(value))
    try:
        return Timeframe.parse(value)
    except UnknownTimeframeError:
        raise InvalidRequestError(_TIMEFRAME, expected, f"{value[:MAX_SHOWN]!a}") from None


def parse_stream_query(query: str) -> tuple[Symbol | None, Timeframe | None]:
    """Return the symbol and the timeframe in the query of a push of an Arrow stream.

    Raises:
        InvalidRequestError: a field is unknown, occurs twice or has no valid value.
    """
    fields = _fields(query, (_SYMBOL, _TIMEFRAME))
    symbol, timeframe = fields.get(_SYMBOL), fields.get(_TIMEFRAME)
    return (
        None if symbol is None else parse_symbol(symbol),
        None if timeframe is None else parse_timeframe(timeframe),
    )


def parse_query(symbol: str, query: str) -> BarQuery:
    """Return the query in a URL.

    Raises:
        InvalidRequestError: a field is unknown, occurs twice or has no valid value.
    """
    fields = _fields(query, _QUERY_FIELDS)
    parsed: dict[str, Any] = {}
    if "timeframe" in fields:
        parsed["timeframe"] = parse_timeframe(fields["timeframe"])
    for name, argument in (("from", "first_ms"), ("to", "last_ms"), ("known_at", "known_at_ms")):
        if name in fields:
            parsed[argument] = _parse_time(name, fields[name])
    if "limit" in fields:
        limit = fields["limit"]
        is_number = limit.isascii() and limit.isdecimal() and len(limit) < len(str(MAX_BARS)) + 1
        if not is_number or not 1 <= int(limit) <= MAX_BARS:
            expected = f"a whole number from 1 to {MAX_BARS}"
            raise InvalidRequestError("limit", expected, f"{limit[:MAX_SHOWN]!a}")
        parsed["limit"] = int(limit)
    return BarQuery(symbol=parse_symbol(symbol), **{"limit": DEFAULT_BARS, **parsed})


def _parse_time(name: str, text: str) -> int:
    is_number = text.isascii() and text.removeprefix("-").isdecimal() and len(text) < 20
    try:
        # A + that was not escaped arrives as a space.
        return parse_time(int(text) if is_number else text.replace(" ", "+"))
    except InvalidTimeError:
        expected = "ISO 8601 with a time zone, or milliseconds since 1970"
        raise InvalidRequestError(name, expected, f"{text[:MAX_SHOWN]!a}") from None


def _fields(query: str, known: Sequence[str]) -> dict[str, str]:
    if not query.isascii():
        raise InvalidRequestError("query", "percent-encoded characters", "others")
    fields: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        check_name("query", name, known, fields)
        fields[name] = value
    return fields
