"""The bar log's database reports failures as errors of the bar log, with their remedies."""

import shutil

import pytest

from features.bar_log import BarLog, BarReader
from features.bar_log.database import open_database
from features.errors import (
    BarLogUrlError,
    DamagedBarLogError,
    ForeignBarLogError,
    UnavailableBarLogError,
)
from tests.features.bar_log.bars import MINUTELY, NOW_MS, flat_bars, rows_of


@pytest.mark.parametrize(
    "url",
    [
        *("", "x", "mysql://u:secret@h/d", "sqlite://", "sqlite:///:memory:", "user:secret@host"),
        "sqlite:////no/such/folder/bars.db",
    ],
)
def test_invalid_url(url):
    """A URL that names no durable database is an error that hides a password."""
    with pytest.raises(BarLogUrlError, match="use sqlite:///") as raised:
        open_database(url)
    assert "secret" not in str(raised.value)


def test_damaged(tmp_path):
    """A file that is no database is reported as damaged."""
    (tmp_path / "bars.db").write_bytes(b"no database" * 100)
    with pytest.raises(DamagedBarLogError, match="restore"):
        open_database(f"sqlite:///{tmp_path}/bars.db")


def test_locked(tmp_path):
    """A writer that waits too long for another process is an error, and a retry works."""
    url = f"sqlite:///{tmp_path}/bars.db"
    first, second = open_database(url), open_database(url, lock_timeout_s=0.05)
    with (
        first.writing(),
        pytest.raises(UnavailableBarLogError, match=r"locked.* end the other process"),
        second.writing(),
    ):
        pass
    with second.writing() as connection:
        assert connection.exec_driver_sql("SELECT 1").scalar_one() == 1


def test_synchronous(tmp_path):
    """Commits are flushed to the disk."""
    with open_database(f"sqlite:///{tmp_path}/bars.db").writing() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"


def push(log, minute):
    return log.append("X", MINUTELY, flat_bars([minute], [1.0]), NOW_MS)


def test_moved(log, folder):
    """A moved database keeps every bar; nothing is stored meanwhile, and the log continues."""
    push(log, 1)
    path = folder / "bars.db"
    elsewhere = path.rename(folder / "elsewhere.db")
    with pytest.raises(UnavailableBarLogError, match=r"it was moved; .* move it back"):
        push(log, 2)
    with pytest.raises(UnavailableBarLogError):
        log.reader.series()
    assert not path.exists()
    elsewhere.rename(path)
    assert push(log, 2).accepted == 1
    assert rows_of(log.reader.window("X", MINUTELY, 9)) == [(1, 1.0), (2, 1.0)]


def test_deleted(log, folder):
    """The content of a deleted database is saved, and the remedy of the error works."""
    push(log, 1)
    for file in folder.glob("bars.db*"):
        file.unlink()
    with pytest.raises(UnavailableBarLogError, match=r"it was deleted; .* its content was saved"):
        push(log, 2)
    (rescued,) = folder.glob("bars.db.rescued-*")
    rescued.rename(folder / "bars.db")
    assert push(log, 2).accepted == 1
    assert rows_of(log.reader.window("X", MINUTELY, 9)) == [(1, 1.0), (2, 1.0)]


def test_replaced(log, folder, tmp_path):
    """Another log's database is rejected as long as it has the name; the history stays."""
    push(log, 1)
    log.append("X", MINUTELY, flat_bars(range(10, 60), [2.0] * 50), NOW_MS)
    parts = set((folder / "history").iterdir())
    assert parts
    with BarLog(tmp_path / "other"):
        pass
    own = (folder / "bars.db").rename(folder / "own.db")
    shutil.copy(tmp_path / "other" / "bars.db", folder / "bars.db")
    for _ in range(2):
        with pytest.raises(ForeignBarLogError):
            push(log, 2)
    own.replace(folder / "bars.db")
    assert push(log, 2).accepted == 1
    assert set((folder / "history").iterdir()) == parts
    assert len(log.reader.window("X", MINUTELY, 99)) == 52


def test_reader_of_nothing(tmp_path):
    """A reader of a folder without a log is an error and creates no file."""
    with pytest.raises(ForeignBarLogError):
        BarReader.open(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_odd_folder(tmp_path):
    """A folder's name may have characters that have a meaning in URLs."""
    folder = tmp_path / "bars ?#%25"
    with BarLog(folder) as log:
        push(log, 1)
        assert (folder / "bars.db").exists()
        reader = BarReader.open(folder)
        assert rows_of(reader.window("X", MINUTELY, 9)) == [(1, 1.0)]
        reader.close()
