"""The access control of a process."""

import logging
from datetime import UTC, datetime

import pytest

from serve_app.access.control import AccessControl
from serve_app.access.quotas import Limits
from serve_app.access.roles import Role
from serve_app.access.tokens import Token, TokenTable, digest_of
from serve_app.errors import InvalidTokenError, MissingTokenError

NOW = datetime(2026, 1, 2, tzinfo=UTC)
BOT = Token(name="bot", roles={Role.PREDICT}, digest=digest_of(b"s"), created_at=NOW)
LOCAL = Token(name="me", roles={Role.OPERATE}, digest=digest_of(b"l"), created_at=NOW)
OPEN = TokenTable(local=[LOCAL])
CLOSED = TokenTable(tokens=[BOT], local=[LOCAL])
LIMITS = Limits(10, 5)


def identify(control, secret):
    return control.identify(secret, is_browser=False)


def test_first_token_closes_the_server():
    """Requests need a token from the moment at which the first one is known."""
    control = AccessControl(OPEN, LIMITS)
    assert not identify(control, None).has_token
    control.adopt(CLOSED)
    with pytest.raises(MissingTokenError):
        identify(control, None)
    assert identify(control, b"s").name == "bot"


def test_missing_file_does_not_open_the_server(caplog):
    """If the file disappears, created tokens are rejected and none is still not enough."""
    control = AccessControl(CLOSED, LIMITS)
    with caplog.at_level(logging.ERROR):
        control.adopt(OPEN)
    assert "token file missing" in caplog.text
    with pytest.raises(MissingTokenError):
        identify(control, None)
    with pytest.raises(InvalidTokenError):
        identify(control, b"s")
    assert identify(control, b"l").name == "me"


def test_anonymous():
    """With `anonymous`, requests without a token are accepted although tokens exist."""
    control = AccessControl(CLOSED, LIMITS, anonymous=True)
    assert not identify(control, None).has_token
    assert identify(control, b"s").name == "bot"


def test_quotas_belong_to_created_tokens():
    """Each created token has one quota; other callers have none."""
    control = AccessControl(CLOSED, LIMITS, anonymous=True)
    bot = control.quota(identify(control, b"s"))
    assert bot is control.quota(identify(control, b"s"))
    assert control.quota(identify(control, b"l")) is None
    assert control.quota(identify(control, None)) is None
