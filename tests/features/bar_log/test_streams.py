"""Streams come from anyone: damaged ones are errors, and nothing else."""

import random

import numpy as np
import pyarrow as pa
import pytest

from features.bar_log.streams import MAX_ROWS, read_stream, write_bars, write_push
from features.bars import Gap, KnownBars, Symbol
from features.errors import InvalidColumnsError, InvalidTimeError
from tests.features.bar_log.bars import MINUTE_MS, MINUTELY, walk

X = Symbol("X")


def stream_of(table, compression=None):
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def table(rows=3, **columns):
    prices = {name: np.ones(rows) for name in ("open", "high", "low", "close", "volume")}
    return pa.table({"time": np.arange(rows) * MINUTE_MS, **prices, **columns})


def test_push():
    """A push arrives bit for bit, with its known_at if it has one."""
    bars = walk(100)
    for known_at in (None, bars.time + MINUTE_MS):
        ((streamed,), invalid) = read_stream(write_push(bars, known_at), X, MINUTELY)
        assert invalid == []
        np.testing.assert_array_equal(streamed.push.bars.values, bars.values)
        np.testing.assert_array_equal(streamed.push.bars.time, bars.time)
        assert (streamed.push.known_at is None) == (known_at is None)


def test_bars():
    """The metadata of a query's stream has its gaps and the next page."""
    bars = walk(2)
    known = KnownBars(bars.time, bars.values, bars.time)
    stream = write_bars(known, "X", "1m", [Gap(60_000, 120_000, 2)], 180_000)
    metadata = pa.ipc.open_stream(stream).schema.metadata
    assert metadata[b"next"] == b"1970-01-01T00:03:00Z"
    assert metadata[b"gaps"] == (
        b'[{"from": "1970-01-01T00:01:00Z", "to": "1970-01-01T00:02:00Z", "bars": 2}]'
    )


def test_is_final():
    """A column states which bars are final; a missing value means final."""
    content = stream_of(table(is_final=[True, None, False]))
    ((streamed,), _) = read_stream(content, X, MINUTELY)
    assert streamed.push.is_final.tolist() == [True, True, False]


def test_missing_values():
    """A missing symbol is invalid, and so are bars with missing times and numbers."""
    content = stream_of(table(symbol=["A", None, "A"], close=[1.0, 1.0, None]))
    ((streamed,), (invalid,)) = read_stream(content, None, MINUTELY)
    assert (streamed.rows.tolist(), invalid.rows.tolist()) == ([0, 2], [1])
    assert np.isnan(streamed.push.bars.close).tolist() == [False, True]
    times = pa.array([0, None, 0], pa.timestamp("ms", "UTC"))
    ((streamed,), _) = read_stream(stream_of(table(time=times)), X, MINUTELY)
    assert streamed.push.problems.astype(bool).tolist() == [False, True, False]


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
def test_compressed(compression):
    """Compressed buffers are rejected: their claimed size may be any."""
    for columns in ({}, {"symbol": pa.array(["A"] * 999).dictionary_encode()}):
        content = stream_of(table(999, **columns), compression)
        with pytest.raises(InvalidColumnsError, match="compressed"):
            read_stream(content, None if columns else X, MINUTELY)


def test_too_many_rows():
    """A stream has a limited number of rows."""
    with pytest.raises(InvalidColumnsError, match="at most 1000000 rows"):
        read_stream(stream_of(table(MAX_ROWS + 1)), X, MINUTELY)


@pytest.mark.parametrize("seed", range(4))
def test_damaged(seed):
    """A stream with any damage is an error, or has other bars; nothing else happens."""
    chance = random.Random(seed)
    symbols = pa.array(["A", "B", "A"]).dictionary_encode()
    content = stream_of(table(symbol=symbols, is_final=[True, False, None]))
    for _ in range(1000):
        damaged = bytearray(content)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        if chance.random() < 0.2:
            del damaged[chance.randrange(len(damaged)) :]
        try:
            pushes, invalid = read_stream(bytes(damaged), None, MINUTELY)
        except (InvalidColumnsError, InvalidTimeError):
            continue
        rows = [one.rows for one in (*pushes, *invalid)]
        assert sum(map(len, rows)) <= MAX_ROWS
