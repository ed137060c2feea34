"""Decides on which interfaces a server may listen: pure functions of settings and tokens."""

from serve_app.access.loopback import is_loopback
from serve_app.access.tokens import TokenTable
from serve_app.errors import SettingsError


def require_tokens(host: str | None, table: TokenTable, *, anonymous: bool) -> None:
    """Check that other machines reach the server only with a token, or by an explicit choice.

    Args:
        host: the value of `http_options.host`.
        table: the tokens of the server.
        anonymous: the setting `access.anonymous`.

    Raises:
        SettingsError: anyone who reaches the server could do everything.
    """
    if anonymous or table.tokens or is_loopback(host):
        return
    raise SettingsError(
        "http_options: host",
        f"expected a loopback address, since no token exists, received {host!r}; create one with "
        f"`modelctl token create NAME --role operate`, or state that none are wanted with "
        f"`access: {{anonymous: true}}` below args",
    )
