"""Files that only their owner can read."""

import os
import pwd
import stat
import tempfile
from pathlib import Path

import pytest

from serve_app.access.private_file import home_folder, write_once


@pytest.fixture
def homeless(monkeypatch, tmp_path):
    """A user that the system does not know, without HOME."""

    def unknown(_):
        raise KeyError("uid not found")

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / f"tradeserve-{os.getuid()}"


def test_user_without_home(homeless):
    """Without a home folder a private one in the temporary folder takes its place."""
    assert home_folder() == home_folder() == homeless
    assert stat.S_IMODE(homeless.stat().st_mode) == 0o700


def test_home_that_cannot_be_written(homeless, monkeypatch, tmp_path):
    """A home folder that the user may not write, such as / in a container, is not used."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(os, "access", lambda path, _: Path(path) != home)
    assert home_folder() == homeless
    (home / ".config" / "tradeserve").mkdir(parents=True)
    assert home_folder() == home


def test_folder_of_others(homeless):
    """A folder that others may change is rejected."""
    homeless.mkdir()
    homeless.chmod(0o777)
    with pytest.raises(PermissionError, match="set HOME instead"):
        home_folder()


def test_new_file(tmp_path):
    """A new file and its folders are private, and nothing is left beside it."""
    path = tmp_path / "folder" / "secret"
    write_once(path, "a")
    assert path.read_text() == "a"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [*path.parent.iterdir()] == [path]


def test_existing_file(tmp_path):
    """A file that exists stays as it is."""
    path = tmp_path / "secret"
    path.write_text("a")
    write_once(path, "b")
    assert path.read_text() == "a"
    assert [*tmp_path.iterdir()] == [path]


def test_unusable_folder(tmp_path):
    """A folder that is a file is reported."""
    (tmp_path / "folder").write_text("")
    with pytest.raises(OSError, match="folder"):
        write_once(tmp_path / "folder" / "secret", "a")
