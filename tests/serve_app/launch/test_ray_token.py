"""The file with the token of Ray's components."""

import os
import re
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from serve_app.launch.errors import RayTokenError
from serve_app.launch.ray_token import ensure_token, request_headers, token_path


@pytest.fixture
def environment(tmp_path):
    return {"RAY_AUTH_TOKEN_PATH": str(tmp_path / "folder" / "ray_token")}


def test_generated_once(environment):
    """The first start generates a token that only this user can read; later ones keep it."""
    ensure_token(environment)
    path = token_path(environment)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    token = path.read_text()
    assert re.fullmatch(r"[0-9a-f]{64}", token)
    ensure_token(environment)
    assert path.read_text() == token
    assert list(path.parent.iterdir()) == [path]


def test_concurrent_starts(environment):
    """Starts at the same time agree on one token."""

    def start(_index):
        ensure_token(environment)
        return request_headers(environment)["Authorization"]

    with ThreadPoolExecutor(8) as starts:
        assert len(set(starts.map(start, range(32)))) == 1


def test_umask(environment):
    """A permissive umask does not open the file."""
    before = os.umask(0)
    try:
        ensure_token(environment)
    finally:
        os.umask(before)
    assert stat.S_IMODE(token_path(environment).stat().st_mode) == 0o600


def test_default_path(monkeypatch, tmp_path):
    """Without a variable, the file lies below the home folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert token_path({}) == tmp_path / ".config" / "tradeserve" / "ray_token"


def test_token_in_a_variable(tmp_path):
    """A token in the environment needs no file."""
    environment = {"RAY_AUTH_TOKEN": "a", "RAY_AUTH_TOKEN_PATH": str(tmp_path / "absent")}
    ensure_token(environment)
    assert list(tmp_path.iterdir()) == []
    assert request_headers(environment) == {"Authorization": "Bearer a"}


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_file_of_several_users(environment, mode):
    """A token that other users can read is rejected, since it may be known."""
    ensure_token(environment)
    token_path(environment).chmod(mode)
    with pytest.raises(RayTokenError, match=f"expected mode 0600, received 0{mode:o}.* delete"):
        ensure_token(environment)


def test_empty_file(environment):
    """An empty token is rejected."""
    ensure_token(environment)
    token_path(environment).write_text("\n")
    with pytest.raises(RayTokenError, match="is empty; delete it"):
        ensure_token(environment)


def test_no_folder(tmp_path):
    """A path that cannot be written is reported with the variable that changes it."""
    (tmp_path / "file").write_text("")
    environment = {"RAY_AUTH_TOKEN_PATH": str(tmp_path / "file" / "ray_token")}
    with pytest.raises(RayTokenError, match=r"choose another file with .* RAY_AUTH_TOKEN_PATH"):
        ensure_token(environment)


@pytest.mark.parametrize("mode", ["disabled", ""])
def test_tokens_turned_off(environment, mode):
    """An environment without tokens is rejected."""
    with pytest.raises(RayTokenError, match=f"RAY_AUTH_MODE: expected token, received '{mode}'"):
        ensure_token({**environment, "RAY_AUTH_MODE": mode})


def test_no_token(environment):
    """Without a token, requests have no header."""
    assert request_headers(environment) == {}
