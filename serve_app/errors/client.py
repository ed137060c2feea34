"""Errors that the client raises."""

from collections.abc import Mapping
from typing import Any

from serve_app.errors.base import ServingError


class ClientError(ServingError):
    """Base of the errors that the client raises with `raise_errors`."""


class ServerUnreachableError(ClientError):
    """No connection to the server within the deadline."""

    code = "server_unreachable"

    def __init__(self, url: str, problem: str) -> None:
        super().__init__(url, problem)
        self.url, self.problem = url, problem

    def __str__(self) -> str:
        return f"cannot reach the model server at {self.url}: {self.problem}; is it running?"


class DeadlineExceededError(ClientError):
    """No response within the deadline."""

    code = "deadline_exceeded"

    def __init__(self, url: str, deadline_s: float) -> None:
        super().__init__(url, deadline_s)
        self.url, self.deadline_s = url, deadline_s

    def __str__(self) -> str:
        return (
            f"no response from {self.url} within {self.deadline_s} s; "
            f"raise the timeout or reduce the load of the server"
        )


class ServerRejectedError(ClientError):
    """The server returned an error; `status`, `code` and `details` are the server's."""

    code = "rejected"

    def __init__(self, status: int, code: str, message: str, details: Mapping[str, Any]) -> None:
        super().__init__(status, code, message, dict(details))
        self.status, self.code, self.message, self.details = status, code, message, dict(details)

    def __str__(self) -> str:
        return f"the model server returned {self.status} {self.code}: {self.message}"


class UnexpectedResponseError(ClientError):
    """The response does not follow the API: another service may listen there."""

    code = "unexpected_response"

    def __init__(self, url: str, problem: str) -> None:
        super().__init__(url, problem)
        self.url, self.problem = url, problem

    def __str__(self) -> str:
        return f"unexpected response from {self.url}: {self.problem}; is it the model server?"
