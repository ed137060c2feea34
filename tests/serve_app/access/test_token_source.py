"""The tokens as they change on the disk."""

import pytest

from serve_app.access.local_token import read_local_token
from serve_app.access.roles import EVERY_ROLE, Role
from serve_app.access.token_file import TokenFile
from serve_app.access.token_source import TokenSource, local_caller
from serve_app.access.tokens import check_name, digest_of
from serve_app.errors import TokenFileError


@pytest.fixture
def file(tmp_path):
    return TokenFile(tmp_path / ".tokens.json")


@pytest.fixture
def local(tmp_path):
    return tmp_path / "state" / "operator_token"


def test_changes_are_found(file, local):
    """A read returns the tokens if they have changed since the known revision."""
    source = TokenSource(file.path, local)
    revision, table = source.read()
    assert table.tokens == ()
    assert source.read(revision) is None
    token, _ = file.create("bot", {Role.PREDICT})
    changed = source.read(revision)
    assert changed.table.tokens == (token,)
    assert source.read(changed.revision) is None
    assert source.read(None) == changed


def test_local_token(file, local):
    """The source creates the local token and accepts its replacement after it is deleted."""
    source = TokenSource(file.path, local)
    revision, table = source.read()
    (token,) = table.local
    assert (token.digest, token.roles) == (digest_of(read_local_token(local).encode()), EVERY_ROLE)
    local.unlink()
    (replaced,) = source.read(revision).table.local
    assert replaced.digest == digest_of(read_local_token(local).encode()) != token.digest


def test_without_a_place_for_the_local_token(file, tmp_path, caplog):
    """A server whose user has no writable folder serves without a local token, with one warning."""
    (tmp_path / "file").write_text("")
    source = TokenSource(file.path, tmp_path / "file" / "operator_token")
    revision, table = source.read()
    assert table.local == ()
    assert source.read(revision) is None
    assert caplog.text.count("local operator token unavailable") == 1


def test_damaged_file(file, local):
    """A file that is damaged later is an error at each read, until it is restored."""
    file.create("bot", {Role.PREDICT})
    source = TokenSource(file.path, local)
    revision, _ = source.read()
    content = file.path.read_bytes()
    file.path.write_bytes(b"{")
    for _ in range(2):
        with pytest.raises(TokenFileError):
            source.read(revision)
    file.path.write_bytes(content)
    assert [token.name for token in source.read(revision).table.tokens] == ["bot"]


def test_caller_is_a_valid_name():
    """The user's name in histories is a valid name of a token."""
    assert check_name(local_caller())
