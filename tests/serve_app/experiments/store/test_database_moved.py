"""A database that is moved, deleted or replaced while it is open loses nothing acknowledged."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest

from serve_app.experiments.history import OutcomeResult
from serve_app.experiments.store import ExperimentStore
from serve_app.experiments.store.database import open_database
from serve_app.experiments.store_errors import MovedStoreError, UnavailableStoreError
from tests.serve_app.experiments.store.builders import outcome, prediction


@pytest.fixture
def path(tmp_path):
    return tmp_path / "experiments ?#%.db"


@pytest.fixture
def store(path):
    with ExperimentStore(url_of(path)) as store:
        yield store


def url_of(path: Path) -> str:
    return f"sqlite:///{quote(str(path))}"


def stored(path: Path) -> int:
    """Return the number of predictions in the file itself, without its journal."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT count(*) FROM predictions").fetchone()[0]


def write(store, *ids):
    return store.write_predictions([prediction(name, None) for name in ids]).written


def test_moved(store, path):
    """A moved database holds every commit; nothing is stored, nor a file created, meanwhile."""
    write(store, "a")
    elsewhere = path.rename(path.with_name("elsewhere.db"))
    with pytest.raises(MovedStoreError, match="it was moved; move it back"):
        write(store, "b")
    with pytest.raises(MovedStoreError):
        store.record_outcomes([outcome("a")])
    assert stored(elsewhere) == 1
    assert not path.exists()
    elsewhere.rename(path)
    assert write(store, "a", "b") == 1


def test_deleted(store, path):
    """The content of a deleted database is saved, and the remedy of the error works."""
    write(store, "a")
    for file in path.parent.iterdir():
        file.unlink()
    with pytest.raises(MovedStoreError, match="it was deleted; its content was saved: mv ") as e:
        write(store, "b")
    with pytest.raises(MovedStoreError) as again:
        store.running()
    assert again.value.rescued == e.value.rescued
    rescued = Path(e.value.rescued)
    assert rescued.stat().st_mode & 0o777 == 0o600
    assert stored(rescued) == 1
    rescued.rename(path)
    assert write(store, "a", "b") == 1
    assert store.record_outcomes([outcome("a")])[0].result is OutcomeResult.ACCEPTED


def test_restart_after_deletion(store, path):
    """A new, empty database does not take the place of a deleted one with saved content."""
    write(store, "a")
    path.unlink()
    with pytest.raises(MovedStoreError) as e:
        write(store, "b")
    store.close()
    with pytest.raises(MovedStoreError, match="it was deleted; its content was saved: mv "):
        ExperimentStore(url_of(path))
    Path(e.value.rescued).rename(path)
    with ExperimentStore(url_of(path)) as reopened:
        assert write(reopened, "a", "b") == 1


def test_deleted_journal(store, path):
    """The commits in a deleted journal are kept."""
    write(store, "a")
    path.with_name(f"{path.name}-wal").unlink()
    assert write(store, "b") == 1
    store.close()
    assert stored(path) == 2


def test_replaced(store, path, tmp_path):
    """Another database under the same name is used, and an empty file becomes one."""
    write(store, "a")
    with ExperimentStore(url_of(tmp_path / "other.db")) as other:
        write(other, "x", "y")
    path.rename(tmp_path / "first.db")
    (tmp_path / "other.db").rename(path)
    assert write(store, "a", "x") == 1
    path.rename(tmp_path / "second.db")
    path.touch()
    assert write(store, "a") == 1
    assert [stored(tmp_path / name) for name in ("first.db", "second.db")] == [1, 3]


def test_replaced_during_transaction(store, path, tmp_path):
    """What was committed to a file that lost its name meanwhile is not acknowledged."""
    write(store, "a")
    with ExperimentStore(url_of(tmp_path / "other.db")):
        pass

    def replace(database):
        with database.writing():
            path.rename(tmp_path / "first.db")
            (tmp_path / "other.db").rename(path)

    with (
        closing(open_database(url_of(path))) as database,
        pytest.raises(MovedStoreError, match="replaced during a transaction"),
    ):
        replace(database)


def test_moved_folder(tmp_path):
    """A moved folder takes its database along; it is used again once it is back."""
    folder = tmp_path / "registry"
    folder.mkdir()
    with ExperimentStore(url_of(folder / "x.db")) as store:
        write(store, "a")
        folder.rename(tmp_path / "moved")
        with pytest.raises(MovedStoreError, match="it was moved"):
            write(store, "b")
        assert stored(tmp_path / "moved" / "x.db") == 1
        (tmp_path / "moved").rename(folder)
        assert write(store, "b") == 1


def test_deleted_folder(tmp_path):
    """If the content of a deleted database cannot be saved, nothing is acknowledged."""
    folder = tmp_path / "registry"
    folder.mkdir()
    with ExperimentStore(url_of(folder / "x.db")) as store:
        write(store, "a")
        shutil.rmtree(folder)
        with pytest.raises(UnavailableStoreError, match="No such file or directory"):
            write(store, "b")
