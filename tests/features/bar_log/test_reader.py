import numpy as np
import pytest

from features.bar_log import BarReader
from features.bar_log.reader import SCAN_BARS
from features.errors import ForeignBarLogError, UnknownSeriesError
from features.timeframes import Timeframe
from tests.features.bar_log.bars import MINUTE_MS, MINUTELY, NOW_MS, flat_bars, rows_of, walk


def test_window(log):
    """A window ends with the last bar at or before a time, and may be shorter than wanted."""
    log.append("X", MINUTELY, flat_bars([1, 2, 5], [1.0, 2.0, 5.0]), NOW_MS)
    read = log.reader.window
    assert rows_of(read("X", MINUTELY, 2, until_ms=5 * MINUTE_MS)) == [(2, 2.0), (5, 5.0)]
    assert rows_of(read("X", MINUTELY, 2, until_ms=5 * MINUTE_MS - 1)) == [(1, 1.0), (2, 2.0)]
    assert rows_of(read("X", MINUTELY, 9, until_ms=MINUTE_MS)) == [(1, 1.0)]
    assert len(read("X", MINUTELY, 0)) == len(read("X", MINUTELY, 9, until_ms=0)) == 0


def test_range(log):
    """A range includes both ends, and a limit keeps its first bars."""
    log.append("X", MINUTELY, flat_bars([1, 2, 5, 6], [1.0, 2.0, 5.0, 6.0]), NOW_MS)
    bounds = 2 * MINUTE_MS, 6 * MINUTE_MS
    found = [
        rows_of(log.reader.range("X", MINUTELY, *bounds, limit=limit)) for limit in (1, 2, 3, 4)
    ]
    assert found == [[(2, 2.0), (5, 5.0), (6, 6.0)][:count] for count in (1, 2, 3, 3)]


def test_unknown(log):
    """An unknown series is an error that lists the known ones."""
    log.append("X", MINUTELY, flat_bars([1], [1.0]), NOW_MS)
    for symbol, timeframe in (("Y", MINUTELY), ("X", Timeframe.parse("1h"))):
        with pytest.raises(UnknownSeriesError, match="one of these: X 1m"):
            log.reader.window(symbol, timeframe, 1)


def test_scan(log):
    """A scan yields every bar once, in blocks."""
    count = SCAN_BARS + 10
    log.append("X", MINUTELY, walk(count), NOW_MS)
    log.append("X", MINUTELY, walk(1, first_minute=count), NOW_MS)
    blocks = list(log.reader.scan("X", MINUTELY, known_at_ms=NOW_MS))
    assert [len(block) for block in blocks] == [SCAN_BARS, 11]
    minutes = np.concatenate([block.time for block in blocks]) // MINUTE_MS
    assert np.array_equal(minutes, np.arange(count + 1))


def test_other_process(log, folder):
    """A reader needs no lock, and sees what is committed, also after parts were dropped."""
    log.append("X", MINUTELY, walk(40), NOW_MS)
    reader = BarReader.open(folder)
    assert len(reader.window("X", MINUTELY, 99)) == 40
    log.append("X", MINUTELY, walk(40, first_minute=40), NOW_MS)
    log.drop_before(40 * MINUTE_MS)
    assert len(reader.window("X", MINUTELY, 99)) == 40
    assert [summary.bars for summary in reader.series()] == [40]
    reader.close()


def test_no_log(tmp_path):
    """Opening a folder without a log for reading creates nothing."""
    with pytest.raises(ForeignBarLogError):
        BarReader.open(tmp_path / "log")
    assert list(tmp_path.iterdir()) == []


def test_verify(log, folder):
    """A part that was changed by other software is reported."""
    log.append("X", MINUTELY, walk(40), NOW_MS)
    assert log.reader.verify() == []
    (part,) = (folder / "history").iterdir()
    content = bytearray(part.read_bytes())
    content[len(content) // 4] ^= 1
    part.write_bytes(content)
    (problem,) = log.reader.verify()
    assert part.name in problem
