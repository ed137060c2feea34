"""Callers that are unknown or lack a role or a quota, and files of tokens."""

from collections.abc import Sequence

from serve_app.errors.base import RequestError, ServingError, UnavailableError


class MissingTokenError(RequestError):
    """The request has no token, and needs one."""

    code = "missing_token"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"{self.reason}: expected the header Authorization: Bearer TOKEN, received none; an "
            f"operator creates tokens with `modelctl token create`"
        )


class InvalidTokenError(RequestError):
    """The token of the request is unknown, expired or revoked."""

    code = "invalid_token"

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return (
            f"the token is not accepted: {self.problem}; an operator creates another one with "
            f"`modelctl token create`"
        )


class MissingRoleError(RequestError):
    """The token of the request does not have a role that the operation requires."""

    code = "missing_role"

    def __init__(self, token: str, roles: Sequence[str], required: Sequence[str]) -> None:
        super().__init__(token, tuple(roles), tuple(required))
        self.token, self.roles, self.required = token, tuple(roles), tuple(required)

    def __str__(self) -> str:
        return (
            f"token {self.token!r} does not permit this: expected the role "
            f"{' or '.join(self.required)}, received {', '.join(self.roles)}; use another token"
        )


class RateLimitError(UnavailableError):
    """The token has used up its quota of requests."""

    code = "rate_limited"

    def __init__(self, token: str, requests_per_s: int, retry_after_s: int) -> None:
        super().__init__(token, requests_per_s, retry_after_s)
        self.token, self.requests_per_s = token, requests_per_s
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return (
            f"token {self.token!r} exceeds its limit: expected at most {self.requests_per_s} "
            f"requests per second and router; send fewer, or raise access.requests_per_s"
        )


class ConcurrencyLimitError(UnavailableError):
    """The token has as many requests in flight as it may have."""

    code = "too_many_concurrent_requests"

    def __init__(self, token: str, max_concurrent_requests: int) -> None:
        super().__init__(token, max_concurrent_requests)
        self.token, self.max_concurrent_requests = token, max_concurrent_requests

    def __str__(self) -> str:
        return (
            f"token {self.token!r} exceeds its limit: expected at most "
            f"{self.max_concurrent_requests} requests in flight per router; wait for responses, or "
            f"raise access.max_concurrent_requests"
        )


class TokenFileError(ServingError):
    """The file with the tokens cannot be read or written."""

    code = "token_file"

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, problem)
        self.path, self.problem = path, problem

    def __str__(self) -> str:
        return f"token file {self.path}: {self.problem}"


class TokenExistsError(ServingError):
    """A usable token has this name."""

    code = "token_exists"

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return (
            f"a token {self.name!r} exists and is accepted; choose another name, or replace it: "
            f"`modelctl token revoke {self.name}`"
        )


class UnknownTokenError(ServingError):
    """No usable token has this name."""

    code = "unknown_token"

    def __init__(self, name: str, usable: Sequence[str]) -> None:
        super().__init__(name, tuple(usable))
        self.name, self.usable = name, tuple(usable)

    def __str__(self) -> str:
        return f"no usable token is named {self.name!r}; usable: {', '.join(self.usable) or 'none'}"
