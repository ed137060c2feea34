"""The interfaces on which a server may listen."""

from datetime import UTC, datetime

import pytest

from serve_app.access.interfaces import require_tokens
from serve_app.access.loopback import is_loopback
from serve_app.access.tokens import Token, TokenTable, digest_of
from serve_app.errors import SettingsError

NO_TOKENS = TokenTable()
TOKENS = TokenTable(
    tokens=(
        Token(name="bot", roles={"predict"}, digest=digest_of(b"a"), created_at=datetime.now(UTC)),
    )
)
LOOPBACK = ("127.0.0.1", "127.0.0.2", "localhost", "::1", "::ffff:127.0.0.1")
OTHERS = (
    "0.0.0.0",
    "::",
    "::ffff:0.0.0.0",
    "::ffff:192.0.2.1",
    "fd00::5",
    "192.0.2.1",
    "trading.example",
    "",
    None,
)


@pytest.mark.parametrize("host", LOOPBACK)
def test_loopback(host):
    """A server on loopback needs no token."""
    assert is_loopback(host)
    require_tokens(host, NO_TOKENS, anonymous=False)


@pytest.mark.parametrize("host", OTHERS)
def test_other_interfaces(host):
    """A server that other machines reach needs a token, or the statement that none are wanted."""
    assert not is_loopback(host)
    with pytest.raises(SettingsError) as refusal:
        require_tokens(host, NO_TOKENS, anonymous=False)
    assert f"expected a loopback address, since no token exists, received {host!r}" in str(
        refusal.value
    )
    assert "modelctl token create" in str(refusal.value)
    assert "access: {anonymous: true}" in str(refusal.value)
    require_tokens(host, TOKENS, anonymous=False)
    require_tokens(host, NO_TOKENS, anonymous=True)
