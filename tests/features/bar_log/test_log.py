import numpy as np
import pytest

from features import Bars, Rejection, Symbol
from features.bar_log import BarLog, Dropped, Push
from features.bars import LATEST_MS
from features.errors import (
    DamagedBarLogError,
    ForeignBarLogError,
    InvalidSymbolError,
    InvalidTimeError,
    LockedBarLogError,
    UnavailableBarLogError,
    UnknownSeriesError,
)
from tests.features.bar_log.bars import MINUTE_MS, MINUTELY, NOW_MS, flat_bars, rows_of, walk


def counts(result):
    return result.accepted, result.duplicates, result.revised, len(result.rejected)


def test_push(log_of_any_database):
    """New bars are accepted once, and equal ones are duplicates, also within one push."""
    log = log_of_any_database
    bars = flat_bars([3, 1, 2, 1], [3.0, 1.0, 2.0, 1.0])
    assert counts(log.append("X", MINUTELY, bars, NOW_MS)) == (3, 1, 0, 0)
    assert counts(log.append("X", MINUTELY, bars, NOW_MS + 1)) == (0, 4, 0, 0)
    window = log.reader.window("X", MINUTELY, 2)
    assert rows_of(window) == [(2, 2.0), (3, 3.0)]
    assert window.known_at.tolist() == [NOW_MS] * 2


def test_numbers(log_of_any_database):
    """The log returns the bits that it received, from the database and from the history."""
    log = log_of_any_database
    bars = walk(25)
    log.append("X", MINUTELY, bars, NOW_MS)
    for _ in range(2):
        found = log.reader.window("X", MINUTELY, 25)
        assert np.array_equal(found.values.view(np.int64), bars.values.view(np.int64))
        log.compact()
    assert log.reader.verify() == []


def test_revision(log_of_any_database):
    """Other numbers are a new row, visible from its known_at on; the earlier row stays."""
    log = log_of_any_database
    log.append("X", MINUTELY, flat_bars([1, 2], [1.0, 2.0]), NOW_MS)
    revised = log.append("X", MINUTELY, flat_bars([1, 2], [1.5, 2.0]), NOW_MS + 10)
    assert counts(revised) == (0, 1, 1, 0)
    views = [
        rows_of(log.reader.window("X", MINUTELY, 9, known_at_ms=known_at))
        for known_at in (NOW_MS - 1, NOW_MS, NOW_MS + 9, NOW_MS + 10)
    ]
    before, after = [(1, 1.0), (2, 2.0)], [(1, 1.5), (2, 2.0)]
    assert views == [[], before, before, after]


def test_clock_steps_back(log):
    """A revision is later than the row that it revises, even if the clock was set back."""
    log.append("X", MINUTELY, flat_bars([1], [1.0]), NOW_MS)
    log.append("X", MINUTELY, flat_bars([1, 1], [2.0, 3.0]), NOW_MS - 5000)
    rows = log.reader.rows("X", MINUTELY, 0, LATEST_MS)
    assert rows.close.tolist() == [1.0, 2.0, 3.0]
    assert rows.known_at.tolist() == [NOW_MS, NOW_MS + 1, NOW_MS + 2]


def test_rejected(log):
    """Invalid bars are rejected with their positions, and the others are accepted."""
    time = np.array([1, 2, 3, 4]) * MINUTE_MS + np.array([0, 1, 0, 0])
    values = np.ones((5, 4))
    values[1, 2] = 0.5
    result = log.append("X", MINUTELY, Bars.of(time, values), NOW_MS)
    assert result.accepted == 2
    assert list(result.rejected) == [(1, Rejection.OFF_GRID), (2, Rejection.HIGH_BELOW_LOW)]


def test_nothing_valid(log):
    """A push without a valid bar, or without any, leaves no trace."""
    log.append("X", MINUTELY, flat_bars([1], [np.nan]), NOW_MS)
    log.append("Y", MINUTELY, flat_bars([], []), NOW_MS)
    assert log.reader.series() == []
    with pytest.raises(UnknownSeriesError, match="one of these: none"):
        log.reader.window("X", MINUTELY, 1)


@pytest.mark.parametrize("symbol", ["../../etc/passwd", "a\x00b", "", "X" * 65])
def test_hostile_symbol(log, symbol):
    """A text that is no symbol touches neither database nor disk."""
    with pytest.raises(InvalidSymbolError):
        log.append(symbol, MINUTELY, flat_bars([1], [1.0]), NOW_MS)


@pytest.mark.parametrize("known_at_ms", [2**63, -(2**62), 10**15])
def test_impossible_clock(log, known_at_ms):
    """A clock outside the years 1 to 9999 is an error."""
    with pytest.raises(InvalidTimeError):
        log.append("X", MINUTELY, flat_bars([1], [1.0]), known_at_ms)


def test_several_symbols(log_of_any_database):
    """Pushes of several symbols are one transaction, and each has a result."""
    log = log_of_any_database
    pushes = [
        Push(Symbol(name), MINUTELY, flat_bars(minutes, [1.0] * len(minutes)))
        for name, minutes in (("B", [1, 2]), ("A/B", [1, 5]), ("B", [2, 3]))
    ]
    results = log.append_all(pushes, NOW_MS)
    assert [counts(result)[:2] for result in results] == [(2, 0), (2, 0), (1, 1)]
    first, second = log.reader.series()
    assert (first.symbol, first.bars, first.gaps, first.missing) == ("A/B", 2, 1, 3)
    assert (second.symbol, second.bars, second.gaps, second.missing) == ("B", 3, 0, 0)
    assert second.age_ms(NOW_MS) == NOW_MS - 4 * MINUTE_MS


def test_all_or_nothing(log, folder):
    """If one push of a transaction fails, nothing of the others is stored."""
    (folder / "history").rmdir()
    pushes = [
        Push(Symbol("X"), MINUTELY, walk(1)),
        Push(Symbol("Y"), MINUTELY, walk(40)),  # it would be a part of the history
    ]
    with pytest.raises(UnavailableBarLogError, match="nothing was acknowledged"):
        log.append_all(pushes, NOW_MS)
    assert log.reader.series() == []


def provisional(minute, price):
    bars = flat_bars([minute], [price])
    return Push(Symbol("X"), MINUTELY, bars, is_final=np.array([False]))


def test_provisional(log):
    """A bar that is not final is kept apart until a final one arrives."""
    log.append("X", MINUTELY, flat_bars([1], [1.0]), NOW_MS)
    (result,) = log.append_all([provisional(2, 2.0)], 2 * MINUTE_MS + 5)
    assert counts(result) == (1, 0, 0, 0)
    log.append_all([provisional(2, 2.5)], 2 * MINUTE_MS + 6)
    assert rows_of(log.reader.provisional("X", MINUTELY)) == [(2, 2.5)]
    assert rows_of(log.reader.window("X", MINUTELY, 9)) == [(1, 1.0)]
    log.append("X", MINUTELY, flat_bars([2], [2.6]), NOW_MS)
    assert len(log.reader.provisional("X", MINUTELY)) == 0
    assert rows_of(log.reader.window("X", MINUTELY, 9)) == [(1, 1.0), (2, 2.6)]


def test_superseded(log):
    """A bar that is not final is rejected once a final or a later one is known."""
    log.append("X", MINUTELY, flat_bars([5], [1.0]), NOW_MS)
    log.append_all([provisional(8, 2.0)], NOW_MS)
    (final_known,), (later_known,) = (
        log.append_all([provisional(minute, 2.0)], NOW_MS) for minute in (5, 7)
    )
    assert list(final_known.rejected) == list(later_known.rejected) == [(0, Rejection.SUPERSEDED)]


def test_large_push(log, folder):
    """A large push is written to the history at once; a small one stays in the database."""
    log.append("X", MINUTELY, walk(40), NOW_MS)
    log.append("X", MINUTELY, walk(10, first_minute=40), NOW_MS)
    assert len(list((folder / "history").iterdir())) == 1
    (summary,) = log.reader.series()
    assert (summary.bars, summary.gaps) == (50, 0)


def test_compact(log, folder):
    """Compaction moves rows to the history and keeps the newest in the database."""
    log.append("X", MINUTELY, walk(29), NOW_MS)
    before = log.reader.rows("X", MINUTELY, 0, LATEST_MS)
    assert log.compact() == 24
    assert log.compact() == 0
    after = log.reader.rows("X", MINUTELY, 0, LATEST_MS)
    assert np.array_equal(before.time, after.time)
    assert np.array_equal(before.values, after.values)
    assert len(list((folder / "history").iterdir())) == 1


def test_flood_of_revisions(log):
    """Many revisions of one bar move to the history as well, and none is lost."""
    for number in range(3):
        prices = np.arange(25) + 25.0 * number
        result = log.append("X", MINUTELY, flat_bars([7] * 25, prices), NOW_MS + 100 * number)
        assert result.accepted + result.revised == 25
        assert log.compact() > 0
    assert log.reader.rows("X", MINUTELY, 0, LATEST_MS).close.tolist() == list(range(75))
    assert rows_of(log.reader.window("X", MINUTELY, 5)) == [(7, 74.0)]
    at_begin = log.reader.window("X", MINUTELY, 5, known_at_ms=NOW_MS + 3)
    assert rows_of(at_begin) == [(7, 3.0)]


def test_merge(log, folder):
    """Parts that overlap are merged into parts that do not, with the same rows."""
    shuffled = walk(400).take(np.random.default_rng(0).permutation(400))
    for start in range(0, 400, 40):
        log.append("X", MINUTELY, shuffled.take(slice(start, start + 40)), NOW_MS + start)
    before = log.reader.rows("X", MINUTELY, 0, LATEST_MS)
    assert len(list((folder / "history").iterdir())) == 10
    log.compact()
    assert len(list((folder / "history").iterdir())) == 1
    after = log.reader.rows("X", MINUTELY, 0, LATEST_MS)
    assert np.array_equal(before.known_at, after.known_at)
    assert np.array_equal(before.values, after.values)
    assert log.reader.verify() == []


def test_known_before_end(log):
    """A final bar cannot have been known before its end."""
    push = Push(Symbol("X"), MINUTELY, walk(1), known_at=np.array([MINUTE_MS - 1]))
    (result,) = log.append_all([push], NOW_MS)
    assert list(result.rejected) == [(0, Rejection.KNOWN_TOO_EARLY)]


def test_retention(log, folder):
    """Parts before a time are dropped with their files, and their bars are rejected later."""
    for start in (0, 40, 80):
        log.append("X", MINUTELY, walk(40, first_minute=start), NOW_MS)
    log.append("X", MINUTELY, flat_bars([3], [1.0]), NOW_MS + 1)
    assert log.drop_before(85 * MINUTE_MS) == Dropped(parts=2, rows=81)
    assert len(list((folder / "history").iterdir())) == 1
    (summary,) = log.reader.series()
    assert (summary.first_ms, summary.bars) == (80 * MINUTE_MS, 40)
    result = log.append("X", MINUTELY, walk(2, first_minute=79), NOW_MS + 2)
    assert list(result.rejected) == [(0, Rejection.EXPIRED)]
    assert log.drop_before(85 * MINUTE_MS) == Dropped(parts=0, rows=0)


def test_one_writer(log, folder):
    """A second writer is refused until the first one closes the log."""
    with pytest.raises(LockedBarLogError, match="another process writes"):
        BarLog(folder)
    log.close()
    BarLog(folder).close()


def test_leftovers(folder):
    """Files that a killed writer has left behind are deleted when the log is opened."""
    BarLog(folder).close()
    (folder / "history" / "1-abc.parquet").write_bytes(b"half a par")
    (folder / "history" / ".abc.tmp").touch()
    BarLog(folder).close()
    assert list((folder / "history").iterdir()) == []


def test_missing_part(log, folder):
    """A log without one of its parts is not opened."""
    log.append("X", MINUTELY, walk(40), NOW_MS)
    log.close()
    (part,) = (folder / "history").iterdir()
    part.unlink()
    with pytest.raises(DamagedBarLogError, match=part.name):
        BarLog(folder)


def test_foreign_database(folder, tmp_path):
    """A folder is used only with the database of its own log."""
    BarLog(folder).close()
    other = tmp_path / "other"
    BarLog(other).close()
    with pytest.raises(ForeignBarLogError, match="do not belong to one bar log"):
        BarLog(folder, f"sqlite:///{other}/bars.db")


def test_folder_above_missing(tmp_path):
    """The folder above that of the log must exist."""
    with pytest.raises(UnavailableBarLogError, match="nothing was acknowledged"):
        BarLog(tmp_path / "missing" / "log")
