"""Files that only their owner can read."""

import stat

import pytest

from serve_app.access.private_file import write_once


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
