"""Bars as Arrow IPC streams, the form in which they cross a network.

A stream that is received comes from anyone: its types are checked before its data is used, and its
buffers must not be compressed, since a few bytes could claim any size.
"""

import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from features.bar_log.arrow_columns import as_floats, as_times
from features.bar_log.parts import as_table
from features.bars import COLUMNS, Bars, Gap, Ints, KnownBars, Symbol
from features.errors import (
    InvalidColumnsError,
    InvalidSymbolError,
    UnknownTimeframeError,
)
from features.pushes import Push
from features.timeframes import Timeframe
from features.times import iso

MEDIA_TYPE = "application/vnd.apache.arrow.stream"

SYMBOL, TIMEFRAME, IS_FINAL, KNOWN_AT = "symbol", "timeframe", "is_final", "known_at"
"""The optional columns beside `time` and COLUMNS."""

MAX_ROWS = 1_000_000
"""The most rows of a stream."""

_DICTIONARY, _RECORD_BATCH = 2, 3
"""The numbers of dictionaries and record batches among the headers of a message."""

_MALFORMED = pa.ArrowException, OSError, ValueError, IndexError, struct.error
"""What damaged streams raise; names that are not UTF-8 raise a ValueError."""


@dataclass(frozen=True, slots=True, eq=False)
class StreamedPush:
    """The bars of one symbol and timeframe in a stream."""

    push: Push
    rows: Ints
    """The positions of the bars in the stream."""


@dataclass(frozen=True, slots=True, eq=False)
class InvalidRows:
    """Rows whose symbol or timeframe is none."""

    rows: Ints
    reason: str


def read_stream(
    body: bytes, symbol: Symbol | None, timeframe: Timeframe | None
) -> tuple[list[StreamedPush], list[InvalidRows]]:
    """Return the bars in a stream by symbol and timeframe.

    Args:
        body: the stream, with the columns `time` and COLUMNS, and optionally `symbol`, `timeframe`,
            `is_final` and `known_at`.
        symbol: the symbol of all bars; None if the stream has a column of symbols.
        timeframe: the timeframe of all bars; None if the stream has a column of them.

    Raises:
        InvalidColumnsError: it is no such stream.
        InvalidTimeError: its times have no time zone.
    """
    try:
        _check_messages(body)
        with pa.ipc.open_stream(body) as reader:
            _check_schema(reader.schema, symbol, timeframe)
            table = reader.read_all()
        table.validate(full=True)
    except _MALFORMED as error:
        raise InvalidColumnsError(f"it is no Arrow IPC stream: {error}") from error
    if len(table) > MAX_ROWS:
        raise InvalidColumnsError(f"expected at most {MAX_ROWS} rows, received {len(table)}")
    columns = {name: table.column(name).combine_chunks() for name in table.column_names}
    time, problems = as_times(columns["time"], None)
    known_at = None
    if KNOWN_AT in columns:
        known_at, at_fault = as_times(columns[KNOWN_AT], None)
        problems = np.where(problems, problems, at_fault)
    bars = Bars.of(time, [as_floats(columns[name]) for name in COLUMNS])
    is_final = None
    if IS_FINAL in columns:
        is_final = np.asarray(columns[IS_FINAL].fill_null(True).to_numpy(zero_copy_only=False))
    pushes, invalid = [], []
    for symbol_text, timeframe_text, rows in _groups(columns, symbol, timeframe, len(table)):
        try:
            name, length = Symbol(symbol_text), Timeframe.parse(timeframe_text)
        except (InvalidSymbolError, UnknownTimeframeError) as error:
            invalid.append(InvalidRows(rows, str(error)))
            continue
        push = Push(
            name,
            length,
            bars.take(rows),
            None if is_final is None else is_final[rows],
            problems[rows],
            None if known_at is None else known_at[rows],
        )
        pushes.append(StreamedPush(push, rows))
    return pushes, invalid


def write_push(bars: Bars, known_at: Ints | None = None) -> bytes:
    """Return bars of one symbol and timeframe as a stream."""
    table = as_table(KnownBars(bars.time, bars.values, bars.time if known_at is None else known_at))
    return _as_stream(table if known_at is not None else table.drop_columns([KNOWN_AT]))


def write_bars(
    bars: KnownBars, symbol: str, timeframe: str, gaps: Sequence[Gap], following_ms: int | None
) -> bytes:
    """Return bars as a stream, with what else a query returns in the metadata of its schema.

    Args:
        bars: the bars, by time.
        symbol: their symbol.
        timeframe: their timeframe.
        gaps: the gaps between them.
        following_ms: the first bar after them that the query would return without a limit.
    """
    metadata = {
        SYMBOL: symbol,
        TIMEFRAME: timeframe,
        "gaps": json.dumps(
            [{"from": iso(g.first_ms), "to": iso(g.last_ms), "bars": g.bars} for g in gaps]
        ),
        "next": "" if following_ms is None else iso(following_ms),
    }
    return _as_stream(as_table(bars).replace_schema_metadata(metadata))


def _as_stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _check_schema(schema: pa.Schema, symbol: str | None, timeframe: Timeframe | None) -> None:
    names = schema.names
    given = [SYMBOL] * (symbol is None) + [TIMEFRAME] * (timeframe is None)
    required = ["time", *COLUMNS, *given]
    allowed = {*required, IS_FINAL, KNOWN_AT}
    if len(set(names)) < len(names) or not set(required) <= set(names) <= allowed:
        raise InvalidColumnsError(
            f"expected the columns {', '.join(required)}, and optionally {IS_FINAL} and "
            f"{KNOWN_AT}, received {', '.join(names[:20])[:400]}"
        )
    for field in schema:
        if not _has_type(field):
            raise InvalidColumnsError(f"the column {field.name} has the type {field.type}"[:200])


def _has_type(field: pa.Field) -> bool:
    kind = field.type
    if field.name in (SYMBOL, TIMEFRAME):
        values = kind.value_type if pa.types.is_dictionary(kind) else kind
        return bool(pa.types.is_string(values) or pa.types.is_large_string(values))
    if field.name == IS_FINAL:
        return bool(pa.types.is_boolean(kind))
    is_number = bool(pa.types.is_integer(kind))
    if field.name in ("time", KNOWN_AT):
        return is_number or bool(pa.types.is_timestamp(kind))
    return is_number or bool(pa.types.is_floating(kind))


def _groups(
    columns: dict[str, pa.Array], symbol: str | None, timeframe: Timeframe | None, length: int
) -> Iterator[tuple[str, str, Ints]]:
    """Yield each symbol and timeframe with the positions of its bars."""
    symbols, symbol_of = _coded(columns.get(SYMBOL), symbol, length)
    name = None if timeframe is None else timeframe.name
    timeframes, timeframe_of = _coded(columns.get(TIMEFRAME), name, length)
    codes = symbol_of * len(timeframes) + timeframe_of
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    for rows in np.split(order, starts[1:]) if length else []:
        code = int(codes[rows[0]])
        yield symbols[code // len(timeframes)], timeframes[code % len(timeframes)], rows


def _coded(column: pa.Array | None, value: str | None, length: int) -> tuple[list[str], Ints]:
    if column is None:
        return [value or ""], np.zeros(length, np.int64)
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    codes = column.indices.cast(pa.int64()).fill_null(len(column.dictionary))
    texts = [text or "" for text in column.dictionary.to_pylist()]
    return [*texts, ""], np.asarray(codes.to_numpy(zero_copy_only=False))


def _check_messages(body: bytes) -> None:
    """Raise InvalidColumnsError if a record batch is compressed."""
    for message in pa.ipc.MessageReader.open_stream(body):
        if _is_compressed(bytes(message.metadata)):
            raise InvalidColumnsError("its buffers are compressed; send them uncompressed")


def _is_compressed(metadata: bytes) -> bool:
    """Return whether a message has a record batch with compressed buffers.

    Message.fbs and Schema.fbs of Arrow's format define the positions: a table is a flatbuffer's
    list of offsets to its fields, of which absent ones are 0.
    """
    (message,) = struct.unpack_from("<I", metadata, 0)
    kind = _field(metadata, message, 1)
    header = _field(metadata, message, 2)
    if kind is None or header is None:
        return False
    if metadata[kind] == _RECORD_BATCH:
        batch = header + struct.unpack_from("<I", metadata, header)[0]
    elif metadata[kind] == _DICTIONARY:  # its second field is a record batch
        dictionary = header + struct.unpack_from("<I", metadata, header)[0]
        data = _field(metadata, dictionary, 1)
        if data is None:
            return False
        batch = data + struct.unpack_from("<I", metadata, data)[0]
    else:
        return False
    return _field(metadata, batch, 3) is not None


def _field(metadata: bytes, table: int, number: int) -> int | None:
    """Return where a field of a flatbuffer's table lies, None if the table lacks it."""
    (back,) = struct.unpack_from("<i", metadata, table)
    vtable = table - back
    size = struct.unpack_from("<H", metadata, vtable)[0]
    entry = 4 + 2 * number
    if entry >= size:
        return None
    offset = struct.unpack_from("<H", metadata, vtable + entry)[0]
    return table + offset if offset else None
