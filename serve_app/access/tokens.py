"""Tokens as values: who holds them, what they permit, and until when. No IO.

A token's secret is 32 random bytes. Only its SHA-256 digest is stored: a secret with that much
entropy cannot be guessed from its digest, so a slow hash would add latency and no protection.
"""

import hashlib
import re
import secrets
from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from serve_app.access.roles import Role

SECRET_PREFIX = "ts_"  # noqa: S105 - marks secrets for scanners of source code
SECRET_BYTES = 32
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
NAME_EXPECTED = "1 to 64 letters, digits, '.', '_', '@' or '-', starting with a letter or digit"
ANONYMOUS = "anonymous"
"""The name of callers without a token; no token has it."""


def new_secret() -> str:
    """Return a new secret: the prefix and 43 characters of URL-safe base64."""
    return SECRET_PREFIX + secrets.token_urlsafe(SECRET_BYTES)


def digest_of(secret: bytes) -> str:
    """Return the hex SHA-256 digest of a secret.

    >>> digest_of(b"ts_example")[:8]
    '27365540'
    """
    return hashlib.sha256(secret).hexdigest()


def check_name(name: str) -> str:
    """Return `name` if it is a valid name of a token.

    Raises:
        ValueError: it is not.
    """
    if not NAME.fullmatch(name):
        raise ValueError(f"name of a token: expected {NAME_EXPECTED}, received {name!a:.80}")
    if name == ANONYMOUS:
        raise ValueError(f"name of a token: {name!r} denotes callers without one; choose another")
    return name


class Token(BaseModel):
    """A token as it is stored: without its secret."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, AfterValidator(check_name)]
    """The caller's name in histories, logs and limits."""

    roles: Annotated[frozenset[Role], Field(min_length=1)]
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    created_at: AwareDatetime
    expires_at: AwareDatetime | None = None
    """The time from which the token is rejected; None if it never expires."""

    revoked_at: AwareDatetime | None = None

    def rejection(self, now: datetime) -> str | None:
        """Return why the token is rejected at `now`; None if it is accepted."""
        if self.revoked_at is not None:
            return f"{self.name!r} was revoked at {self.revoked_at:%Y-%m-%d %H:%M:%S} UTC"
        if self.expires_at is not None and now >= self.expires_at:
            return f"{self.name!r} expired at {self.expires_at:%Y-%m-%d %H:%M:%S} UTC"
        return None


class TokenTable(BaseModel):
    """Every token of a server."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tokens: tuple[Token, ...] = ()
    """The tokens that an operator has created, revoked and expired ones included."""

    local: tuple[Token, ...] = ()
    """The token of the server's own user on its machine; see `local_token`."""

    @property
    def requires_token(self) -> bool:
        """Whether every request needs a token: as soon as one has been created.

        Revoking the last token, or its expiry, does not open the server again.
        """
        return bool(self.tokens)
