"""The parameters of a client, validated. Pure."""

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

DEFAULT_SERVER_URL = "http://localhost:8001"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientParameters:
    """The arguments of a ModelClient; no text form contains the token or the proxy's password.

    Raises:
        ValueError: the server's URL, a timeout or the proxy is invalid.
    """

    server_url: str
    timeout_s: float
    batch_timeout_s: float
    command_timeout_s: float
    connect_timeout_s: float
    raise_errors: bool
    missing_values: bool
    token: str | None = field(repr=False)
    ca_file: Path | str | None
    proxy: str | None = field(repr=False)

    def __post_init__(self) -> None:
        for name in ("timeout_s", "batch_timeout_s", "command_timeout_s", "connect_timeout_s"):
            _check_timeout(name, getattr(self, name))
        object.__setattr__(self, "server_url", check_url(self.server_url))
        if self.proxy is not None:
            _check_proxy(self.proxy)

    def as_arguments(self) -> dict[str, Any]:
        """Return the keyword arguments of ModelClient."""
        return asdict(self)


def check_url(server_url: str) -> str:
    """Return the canonical form of a server's URL: lower case, without a trailing slash.

    Raises:
        ValueError: it is no such URL, or contains a password, which log lines would repeat.
    """
    expected = f"expected http(s)://host:port such as {DEFAULT_SERVER_URL}"
    if not isinstance(server_url, str):
        raise ValueError(f"server_url: {expected}, received a {type(server_url).__name__}")  # noqa: TRY004 one error for every invalid parameter
    try:
        parts = urlsplit(server_url.strip())
        parts.port  # noqa: B018 raises ValueError on an invalid port
    except ValueError as error:
        raise ValueError(f"server_url: {expected}, received {server_url!r} ({error})") from None
    if parts.username is not None or parts.query or parts.fragment:
        # Log lines and errors contain the URL, so it must not contain a password.
        raise ValueError(f"server_url: {expected}, without user, password, query or fragment")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"server_url: {expected}, received {server_url!r}")
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path.rstrip('/')}"


def _check_timeout(name: str, value: float) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value <= 0:
        raise ValueError(f"{name}: expected a number of seconds above 0, received {value!r}")


def _check_proxy(proxy: str) -> None:
    try:
        parts = urlsplit(proxy)
        is_valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        is_valid = is_valid and parts.path in ("", "/") and not parts.query and not parts.fragment
    except (AttributeError, TypeError, ValueError):
        is_valid = False
    if not is_valid:
        # The value may contain a password, so the message does not repeat it.
        raise ValueError(
            "proxy: expected http://host:port, with user:password@ in front of the host if it "
            "requires them, received another value"
        )
