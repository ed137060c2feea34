"""The local token of a user."""

import threading
from pathlib import Path

import pytest

from serve_app.access.local_token import (
    ensure_local_token,
    local_token_path,
    read_local_token,
)


def test_path_follows_the_environment(monkeypatch, tmp_path):
    """The file lies below XDG_CONFIG_HOME, and below the home folder without it."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert local_token_path() == tmp_path / "tradeserve" / "operator_token"
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")  # to be ignored, as the standard requires
    assert local_token_path() == Path.home() / ".config/tradeserve/operator_token"


def test_token_is_created_once(tmp_path):
    """The first call creates a private file, and every later one returns its token."""
    path = tmp_path / "new" / "operator_token"
    assert read_local_token(path) is None
    token = ensure_local_token(path)
    assert token.startswith("ts_")
    assert ensure_local_token(path) == read_local_token(path) == token
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert list(path.parent.iterdir()) == [path]


def test_concurrent_servers_agree(tmp_path):
    """Servers that start at once use the same token."""
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(ensure_local_token(tmp_path / "token")))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_file_that_others_can_read_is_ignored(tmp_path, mode):
    """A token that another user may have read or written is neither sent nor accepted."""
    path = tmp_path / "token"
    ensure_local_token(path)
    path.chmod(mode)
    assert read_local_token(path) is None
    with pytest.raises(OSError, match="remove the file"):
        ensure_local_token(path)
