"""The file with the tokens."""

import os
import threading
from datetime import UTC, datetime, timedelta

import pytest

from serve_app.access.roles import Role
from serve_app.access.token_file import TokenFile, stamp_of
from serve_app.access.tokens import digest_of
from serve_app.errors import TokenExistsError, TokenFileError, UnknownTokenError

NOW = datetime(2026, 1, 2, tzinfo=UTC)


class Clock:
    def __init__(self):
        self.now = NOW

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def file(tmp_path, clock):
    return TokenFile(tmp_path / ".tokens.json", clock)


def test_created_tokens_are_listed(file):
    """A created token is stored with its roles and its expiry, oldest first."""
    assert file.tokens() == ()
    bot, secret = file.create("bot", {Role.PREDICT, Role.OBSERVE}, timedelta(days=90))
    other, _ = file.create("other", {Role.OPERATE})
    assert file.tokens() == (bot, other)
    assert bot.digest == digest_of(secret.encode())
    assert bot.expires_at == NOW + timedelta(days=90)
    assert other.expires_at is None


def test_file_holds_digests_and_is_private(file):
    """The secret is stored nowhere, and the file has mode 0600."""
    _, secret = file.create("bot", {Role.PREDICT})
    assert secret not in file.path.read_text()
    assert file.path.stat().st_mode & 0o777 == 0o600


def test_revoked_token_stays_listed(file, clock):
    """A revoked token stays in the list, and its name may be used again."""
    file.create("bot", {Role.PREDICT})
    clock.now += timedelta(hours=1)
    revoked = file.revoke("bot")
    assert revoked.revoked_at == clock.now
    again, _ = file.create("bot", {Role.PREDICT})
    assert file.tokens() == (revoked, again)


def test_names_are_unique_among_usable_tokens(file, clock):
    """Two usable tokens never share a name; an expired one does not count."""
    file.create("bot", {Role.PREDICT}, timedelta(hours=1))
    with pytest.raises(TokenExistsError, match="token revoke bot"):
        file.create("bot", {Role.PREDICT})
    clock.now += timedelta(hours=1)
    file.create("bot", {Role.PREDICT})


def test_revoking_an_unknown_name(file):
    """The error lists the tokens that can be revoked."""
    file.create("bot", {Role.PREDICT})
    with pytest.raises(UnknownTokenError, match="usable: bot"):
        file.revoke("bto")


@pytest.mark.parametrize("content", [b"{", b'{"tokens": [{"name": "secret-name"}]}', b"[]"])
def test_damaged_file(file, content):
    """A damaged file is an error that does not repeat the content, and is not overwritten."""
    file.path.write_bytes(content)
    file.path.chmod(0o600)
    for call in (file.tokens, lambda: file.create("bot", {Role.PREDICT})):
        with pytest.raises(TokenFileError, match="restore it from a backup") as caught:
            call()
        assert "secret-name" not in str(caught.value)
    assert file.path.read_bytes() == content


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o660])
def test_file_that_others_can_read(file, mode):
    """A file that another user can read or write is rejected, with the remedy."""
    file.create("bot", {Role.PREDICT})
    file.path.chmod(mode)
    with pytest.raises(TokenFileError, match=f"received {mode:04o}; run chmod 600"):
        file.tokens()


def test_file_of_another_user(file, monkeypatch):
    """A file of another user is rejected, since that user creates its tokens; root is trusted."""
    file.create("bot", {Role.PREDICT})
    owner = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    if owner == 0:
        assert len(file.tokens()) == 1
        os.chown(file.path, 4321, -1)
    with pytest.raises(TokenFileError, match="expected a file of this user or root"):
        file.tokens()


def test_link_is_not_followed(file, tmp_path):
    """A link in the file's place is rejected."""
    file.path.symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").write_text("{}")
    with pytest.raises(TokenFileError):
        file.tokens()


def test_unwritable_folder(tmp_path):
    """A folder that does not exist is a token file error."""
    with pytest.raises(TokenFileError, match="nowhere"):
        TokenFile(tmp_path / "nowhere" / ".tokens.json").create("bot", {Role.PREDICT})


def test_concurrent_changes_lose_nothing(file):
    """Tokens that several processes create at once are all stored."""
    names = [f"bot{number}" for number in range(8)]
    threads = [
        threading.Thread(target=TokenFile(file.path).create, args=(name, {Role.PREDICT}))
        for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(token.name for token in file.tokens()) == names


def test_stamp_changes_with_the_file(file):
    """Each change has another stamp, even within the resolution of the file system's clock."""
    stamps = [stamp_of(file.path)]
    for name in ("a", "b", "c"):
        file.create(name, {Role.PREDICT})
        stamps.append(stamp_of(file.path))
    assert stamps[0] is None
    assert len(set(stamps)) == 4
