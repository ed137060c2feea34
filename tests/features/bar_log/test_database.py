import pytest

from features.bar_log.database import Database
from features.errors import BarLogUrlError, DamagedBarLogError, UnavailableBarLogError


@pytest.mark.parametrize(
    "url", ["", "x", "mysql://u:secret@h/d", "sqlite://", "sqlite:///:memory:", "user:secret@host"]
)
def test_invalid_url(url):
    """A URL that names no durable database is an error that hides a password."""
    with pytest.raises(BarLogUrlError, match="use sqlite:///") as raised:
        Database(url)
    assert "secret" not in str(raised.value)


def test_damaged(tmp_path):
    """A file that is no database is reported as damaged."""
    (tmp_path / "bars.db").write_bytes(b"no database" * 100)
    database = Database(f"sqlite:///{tmp_path}/bars.db")
    with pytest.raises(DamagedBarLogError, match="restore"), database.writing():
        pass


def test_unavailable(tmp_path):
    """A folder that does not exist is reported as unavailable."""
    database = Database(f"sqlite:///{tmp_path}/missing/bars.db")
    with pytest.raises(UnavailableBarLogError, match="unable to open"), database.reading():
        pass


def test_locked(tmp_path):
    """A writer that waits too long for another process is an error, and a retry works."""
    url = f"sqlite:///{tmp_path}/bars.db"
    first, second = Database(url), Database(url, lock_timeout_s=0.05)
    with (
        first.writing(),
        pytest.raises(UnavailableBarLogError, match="locked"),
        second.writing(),
    ):
        pass
    with second.writing() as connection:
        assert connection.exec_driver_sql("SELECT 1").scalar_one() == 1


def test_synchronous(tmp_path):
    """Commits are flushed to the disk."""
    with Database(f"sqlite:///{tmp_path}/bars.db").writing() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
