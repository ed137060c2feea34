"""Tokens as values."""

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from serve_app.access.roles import Role
from serve_app.access.tokens import Token, TokenTable, digest_of, new_secret

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def token(name="bot", **fields):
    return Token(
        name=name, roles={Role.PREDICT}, digest=digest_of(name.encode()), created_at=NOW, **fields
    )


def test_secrets_are_long_and_distinct():
    """A secret has the prefix and 256 random bits."""
    secrets = {new_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert all(secret.startswith("ts_") and len(secret) == 46 for secret in secrets)


@pytest.mark.parametrize("name", ["", "-x", "a b", "a\n", "ä", "x" * 65, "anonymous"])
def test_invalid_names(name):
    """A name fits a log line and a header, and none denotes callers without a token."""
    with pytest.raises(ValidationError, match="name of a token"):
        token(name)


def test_token_needs_a_role():
    """A token without roles permits nothing and is rejected."""
    with pytest.raises(ValidationError):
        Token(name="bot", roles=(), digest="0" * 64, created_at=NOW)


def test_rejection():
    """A token is accepted until the moment at which it expires or is revoked."""
    assert token().rejection(NOW) is None
    expiring = token(expires_at=NOW + timedelta(days=1))
    assert expiring.rejection(NOW + timedelta(hours=23)) is None
    assert "expired at 2026-01-03" in expiring.rejection(NOW + timedelta(days=1))
    assert "revoked at 2026-01-02" in token(revoked_at=NOW).rejection(NOW)


def test_used_up_tokens_keep_a_server_closed():
    """A server without usable tokens still requires one if one was ever created."""
    assert not TokenTable().requires_token
    assert not TokenTable(local=[token()]).requires_token
    used_up = TokenTable(tokens=[token(revoked_at=NOW), token("other", expires_at=NOW)])
    assert used_up.requires_token
