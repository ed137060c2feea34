"""Decides who a caller is and what it may do: pure functions of the tokens and the request."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hmac import compare_digest

from serve_app.access.roles import EVERY_ROLE, Role
from serve_app.access.tokens import ANONYMOUS, Token, TokenTable, digest_of
from serve_app.errors import InvalidTokenError, MissingRoleError, MissingTokenError


@dataclass(frozen=True, slots=True)
class Caller:
    """The sender of a request."""

    name: str
    """The name of its token, as recorded with its changes."""
    roles: frozenset[Role]
    has_token: bool
    is_limited: bool
    """Whether the limits per token apply: to created tokens, not to the local one."""


ANONYMOUS_CALLER = Caller(ANONYMOUS, EVERY_ROLE, has_token=False, is_limited=False)
ANONYMOUS_BROWSER = Caller(ANONYMOUS, frozenset({Role.OBSERVE}), has_token=False, is_limited=False)
"""A page without a token only reads: any page that a user opens can send requests."""


class Callers:
    """Identifies callers by their tokens; holds no secrets.

    Args:
        table: the tokens.
        requires_token: whether requests without a token are rejected.
    """

    def __init__(self, table: TokenTable, *, requires_token: bool) -> None:
        self._requires_token = requires_token
        self._local = frozenset(token.digest for token in table.local)
        self._by_digest: Mapping[str, Token] = {
            token.digest: token for token in (*table.tokens, *table.local)
        }

    def identify(self, secret: bytes | None, *, is_browser: bool, now: float) -> Caller:
        """Return the caller of a request.

        Args:
            secret: the token that the request carries, None without one.
            is_browser: whether a web page sent the request.
            now: the time in seconds since the epoch.

        Raises:
            MissingTokenError: the request needs a token.
            InvalidTokenError: its token is unknown, expired or revoked.
        """
        if secret is None:
            if self._requires_token:
                raise MissingTokenError("this server requires a token")
            return ANONYMOUS_BROWSER if is_browser else ANONYMOUS_CALLER
        digest = digest_of(secret)
        token = self._by_digest.get(digest)
        # The lookup depends on the digest only, which reveals nothing of another token's secret.
        if token is None or not compare_digest(token.digest, digest):
            raise InvalidTokenError("the server does not know it")
        if token.expires_at is not None or token.revoked_at is not None:
            problem = token.rejection(datetime.fromtimestamp(now, UTC))
            if problem is not None:
                raise InvalidTokenError(problem)
        return Caller(token.name, token.roles, has_token=True, is_limited=digest not in self._local)


def require_role(caller: Caller, permitted: Collection[Role]) -> None:
    """Check that a caller has one of the roles that permit an operation.

    Raises:
        MissingTokenError: the caller has no token, and a token might permit it.
        MissingRoleError: its token does not permit it.
    """
    if not caller.roles.isdisjoint(permitted):
        return
    if not caller.has_token:
        raise MissingTokenError("a request from a web page requires a token for this")
    raise MissingRoleError(caller.name, sorted(caller.roles), sorted(permitted))
