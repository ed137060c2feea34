"""A copy is the log at one moment, whatever its writer does meanwhile."""

import threading

import pytest

from features.bar_log import BarLog, BarReader
from features.bar_log.copying import copy_log, has_log
from features.bars import LATEST_MS
from features.errors import ForeignBarLogError, UsedBarLogError
from tests.features.bar_log.bars import MINUTELY, NOW_MS, flat_bars, rows_of, walk
from tests.features.bar_log.conftest import SMALL


def rows(folder, url=None):
    reader = BarReader.open(folder, url)
    found = rows_of(reader.rows("X", MINUTELY, 0, LATEST_MS))
    assert reader.verify() == []
    reader.close()
    return found


def test_copy(log, folder, tmp_path):
    """Recent rows, revisions and the history are copied, and the copy can be written."""
    log.append("X", MINUTELY, walk(100), NOW_MS)
    log.append("X", MINUTELY, flat_bars([5, 200], [1.0, 2.0]), NOW_MS + 1)
    copy_log(folder, None, tmp_path / "copy", None)
    assert rows(tmp_path / "copy") == rows(folder)
    with BarLog(tmp_path / "copy", limits=SMALL) as copy:
        assert copy.append("X", MINUTELY, flat_bars([5], [1.0]), NOW_MS + 2).duplicates == 1


@pytest.mark.slow
def test_to_postgresql_and_back(log, folder, tmp_path, postgresql):
    """A copy may have a database of the other kind."""
    log.append("X", MINUTELY, walk(100), NOW_MS)
    log.append("X", MINUTELY, flat_bars([200], [2.0]), NOW_MS)
    url = postgresql.create_schema()
    copy_log(folder, None, tmp_path / "copy", url)
    assert rows(tmp_path / "copy", url) == rows(folder)
    copy_log(tmp_path / "copy", url, tmp_path / "again", None)
    assert rows(tmp_path / "again") == rows(folder)


def test_used_target(log, folder, tmp_path):
    """A copy replaces nothing, and a folder without a log cannot be copied."""
    assert has_log(folder)
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").touch()
    with pytest.raises(UsedBarLogError):
        copy_log(folder, None, tmp_path / "used", None)
    with pytest.raises(ForeignBarLogError):
        copy_log(tmp_path / "used", None, tmp_path / "copy", None)
    assert not has_log(tmp_path / "used")


def test_while_writing(log, folder, tmp_path):
    """Copies made while rows move and parts merge have all rows up to some push."""
    stop = threading.Event()
    log.append("X", MINUTELY, flat_bars([0], [1.0]), NOW_MS)

    def write():
        minute = 1
        while not stop.is_set():
            log.append("X", MINUTELY, flat_bars([minute, minute // 2], [1.0, minute]), NOW_MS)
            log.compact()
            minute += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(10):
            copy_log(folder, None, tmp_path / f"{number}", None)
    finally:
        stop.set()
        writer.join()
    for number in range(10):
        found = [minute for minute, _ in rows(tmp_path / f"{number}")]
        assert sorted(set(found)) == list(range(max(found) + 1))
