"""Who a caller is, and what it may do."""

from datetime import UTC, datetime, timedelta

import pytest

from serve_app.access.callers import Callers, require_role
from serve_app.access.roles import EVERY_ROLE, Role
from serve_app.access.tokens import Token, TokenTable, digest_of
from serve_app.errors import InvalidTokenError, MissingRoleError, MissingTokenError

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def token(name, **fields):
    return Token(
        name=name, roles={Role.PREDICT}, digest=digest_of(name.encode()), created_at=NOW, **fields
    )


TABLE = TokenTable(
    tokens=[
        token("bot"),
        token("expiring", expires_at=NOW + timedelta(hours=1)),
        token("revoked", revoked_at=NOW),
    ],
    local=[token("local")],
)


def identify(secret, *, requires_token=True, is_browser=False, now=NOW):
    callers = Callers(TABLE, requires_token=requires_token)
    return callers.identify(secret, is_browser=is_browser, now=now.timestamp())


def test_token_identifies_its_holder():
    """A created token has its name, roles and limits; the local one has no limits."""
    bot = identify(b"bot")
    assert (bot.name, bot.roles, bot.is_limited) == ("bot", {Role.PREDICT}, True)
    assert not identify(b"local").is_limited


@pytest.mark.parametrize("secret", [b"", b"bo", b"bot ", b"\xff", digest_of(b"bot").encode()])
def test_unknown_secrets(secret):
    """Anything but the secret is rejected, its stored digest included."""
    with pytest.raises(InvalidTokenError, match="does not know it"):
        identify(secret)


def test_expired_and_revoked():
    """Expiry counts at the time of the request."""
    assert identify(b"expiring").name == "expiring"
    with pytest.raises(InvalidTokenError, match="expired"):
        identify(b"expiring", now=NOW + timedelta(hours=1))
    with pytest.raises(InvalidTokenError, match="revoked"):
        identify(b"revoked")


def test_without_a_token():
    """A server that requires tokens rejects a request without one; another accepts it."""
    with pytest.raises(MissingTokenError, match="this server requires a token"):
        identify(None)
    assert identify(None, requires_token=False).roles == EVERY_ROLE


def test_invalid_token_is_not_anonymous():
    """A wrong token is rejected even where none is required."""
    with pytest.raises(InvalidTokenError):
        identify(b"wrong", requires_token=False)


def test_page_without_a_token_only_reads():
    """A web page without a token may read; anything else requires one."""
    page = identify(None, requires_token=False, is_browser=True)
    require_role(page, {Role.OBSERVE})
    with pytest.raises(MissingTokenError, match="web page"):
        require_role(page, {Role.OPERATE})


def test_missing_role_names_both():
    """The error states the roles that the token has and those of which it needs one."""
    bot = identify(b"bot")
    require_role(bot, {Role.PREDICT, Role.OBSERVE})
    with pytest.raises(MissingRoleError, match="expected the role observe or operate, received pr"):
        require_role(bot, {Role.OPERATE, Role.OBSERVE})
