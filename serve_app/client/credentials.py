"""The token that a client sends, and the certificates that it trusts.

A token that was passed, or that TRADESERVE_TOKEN contains, is sent with every call. Otherwise calls
carry none until a server on this machine asks for one: the client then sends the local token of the
user (`serve_app.access.local_token`). A server elsewhere, or of another user, and a proxy never
receive that token.
"""

import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from serve_app.access.local_token import read_local_token
from serve_app.access.loopback import is_loopback
from serve_app.access.port_users import is_port_of_user

TOKEN_VARIABLE = "TRADESERVE_TOKEN"  # noqa: S105 - the name of the variable
_UNAUTHORIZED = 401


class Credentials:
    """The token of one client; no text form of this object contains it.

    Args:
        server_url: the server to which the token is sent.
        token: the token; if None, that of the environment.
        is_direct: whether calls reach the server without a proxy, which may be on another machine.

    Raises:
        ValueError: the token contains characters that a header cannot.
    """

    def __init__(
        self, server_url: str, token: str | None = None, *, is_direct: bool = True
    ) -> None:
        given, source = token, "token"
        if given is None:
            given, source = os.environ.get(TOKEN_VARIABLE) or None, TOKEN_VARIABLE
        self._headers: Mapping[str, str] = {}
        if given is not None:
            _check_token(source, given)
            self._headers = {"Authorization": f"Bearer {given}"}
        url = urlsplit(server_url)
        self._may_use_local = given is None and is_direct and is_loopback(url.hostname)
        self._port = url.port or (443 if url.scheme == "https" else 80)

    def headers(self) -> Mapping[str, str]:
        """Return the headers of the next call."""
        return self._headers

    def respond_to(self, status: int, sent: Mapping[str, str]) -> bool:
        """Return whether to send a call again, with the present headers.

        Args:
            status: the status of the response.
            sent: the headers that the call had; concurrent calls may have changed them since.
        """
        if status != _UNAUTHORIZED or not self._may_use_local:
            return False
        try:
            token = read_local_token() if is_port_of_user(self._port) else None
        except OSError:
            token = None  # the server's error states what is missing
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        # A server that rejects the token, such as a remote one behind a tunnel, may still serve
        # other calls without it.
        is_rejected = headers == sent
        self._headers = {} if is_rejected else headers
        return bool(headers) and not is_rejected


def tls_context(ca_file: Path | str | None) -> ssl.SSLContext | bool:
    """Return how certificates are verified: by the authorities in a file, or by the system's.

    Raises:
        ValueError: the file cannot be read or contains no certificate.
    """
    if ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=str(ca_file))
    except OSError as error:  # includes ssl.SSLError
        raise ValueError(
            f"ca_file: expected certificates in PEM, received {ca_file}: {error}"
        ) from error


def _check_token(source: str, token: str) -> None:
    if not isinstance(token, str) or not token.isascii() or not token.isprintable() or " " in token:
        # The value is a secret, so the message does not repeat it.
        raise ValueError(
            f"{source}: expected a token as `modelctl token create` prints it, received other text"
        )
    if not token:
        raise ValueError(f"{source}: expected a token, received an empty text; omit it instead")
