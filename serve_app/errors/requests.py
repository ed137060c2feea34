"""Requests that no version can take."""

from serve_app.errors.base import RequestError


class MalformedJsonError(RequestError):
    """The body is not JSON."""

    code = "malformed_json"

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return f"the body is not valid JSON: {self.problem}; send one JSON object"


class BodyTooLargeError(RequestError):
    """The body, or the list in it, exceeds the limit."""

    code = "too_large"

    def __init__(self, what: str, limit: int, received: int) -> None:
        super().__init__(what, limit, received)
        self.what, self.limit, self.received = what, limit, received

    def __str__(self) -> str:
        return (
            f"too large: expected at most {self.limit} {self.what}, received {self.received}; "
            f"send a smaller body, or several"
        )


class InvalidRequestError(RequestError):
    """A field of the request is missing, unknown or of the wrong type."""

    code = "invalid_request"

    def __init__(self, field: str, expected: str, received: str) -> None:
        super().__init__(field, expected, received)
        self.field, self.expected, self.received = field, expected, received

    def __str__(self) -> str:
        return f"{self.field}: expected {self.expected}, received {self.received}"


class InvalidFeaturesError(InvalidRequestError):
    """The features are not finite numbers in the input shape of the model."""

    code = "invalid_features"
