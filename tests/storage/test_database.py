"""The database classifies failures for its user, and prepares a file before it uses it."""

import shutil
from contextlib import closing

import pytest

from storage.database import Database, Profile
from storage.errors import DatabaseError, FailureKind

PROFILE = Profile(application="tests", write_lock=1, as_error=lambda failure: failure)


def test_kind(tmp_path):
    """Each failure has its kind."""
    (tmp_path / "x.db").write_bytes(b"no database" * 100)
    for url, kind in [
        ("x", FailureKind.INVALID_URL),
        (f"sqlite:///{tmp_path}/x.db", FailureKind.DAMAGED),
    ]:
        with pytest.raises(DatabaseError) as raised:
            Database(url, PROFILE)
        assert raised.value.kind is kind


def test_rejected_row(tmp_path):
    """A value that the table cannot hold is not reported as an unavailable database."""
    with closing(Database(f"sqlite:///{tmp_path}/x.db", PROFILE)) as database:
        with database.writing() as connection:
            connection.exec_driver_sql("CREATE TABLE t (x INTEGER NOT NULL)")
        with pytest.raises(DatabaseError) as raised, database.writing() as connection:
            connection.exec_driver_sql("INSERT INTO t VALUES (NULL)")
        assert raised.value.kind is FailureKind.REJECTED_ROW


def test_unprepared(tmp_path):
    """A replaced file is used only once it has been prepared, however often that fails."""
    path = tmp_path / "x.db"
    prepared = []

    def prepare(database):
        with database.reading() as connection:
            prepared.append(connection.exec_driver_sql("SELECT x FROM t").scalar())
        if prepared[-1] == 2:
            raise ZeroDivisionError

    for name, value in [("x", 1), ("y", 2)]:
        with (
            closing(Database(f"sqlite:///{tmp_path}/{name}.db", PROFILE)) as database,
            database.writing() as connection,
        ):
            connection.exec_driver_sql("CREATE TABLE t (x INTEGER)")
            connection.exec_driver_sql(f"INSERT INTO t VALUES ({value})")
    with closing(Database(f"sqlite:///{path}", PROFILE, prepare=prepare)) as database:
        kept = path.rename(tmp_path / "kept.db")
        shutil.copy(tmp_path / "y.db", path)
        for _ in range(2):
            with pytest.raises(ZeroDivisionError), database.reading():
                pass
        kept.replace(path)
        with database.reading() as connection:
            assert connection.exec_driver_sql("SELECT x FROM t").scalar() == 1
    assert prepared == [1, 2, 2, 1]
