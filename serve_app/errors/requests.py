"""Requests that no version can take."""

from serve_app.errors.base import RequestError, UnavailableError


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


class RoundedFeaturesError(InvalidFeaturesError):
    """The model takes float64, and the features were sent in a type that may have rounded them."""

    code = "rounded_features"

    def __init__(self, received_type: str) -> None:
        super().__init__("features", "float64 numbers, which the model takes", received_type)
        self.args = (received_type,)

    def __str__(self) -> str:
        return (
            f"features: expected {self.expected}, received {self.received}, which may have rounded "
            f"them; send float64: JSON numbers, an .npy file of float64, or raw numbers with the "
            f"content type application/octet-stream; dtype=float64"
        )


class UnsupportedMediaTypeError(RequestError):
    """The endpoint does not accept bodies of this content type."""

    code = "unsupported_media_type"

    def __init__(self, expected: str, received: str) -> None:
        super().__init__(expected, received)
        self.expected, self.received = expected, received

    def __str__(self) -> str:
        return (
            f"Content-Type: expected {self.expected}, received {self.received}; "
            f"set the header to the type of the body"
        )


class BodyTimeoutError(RequestError):
    """The body did not arrive in time."""

    code = "body_timeout"

    def __init__(self, limit_s: float, received: int) -> None:
        super().__init__(limit_s, received)
        self.limit_s, self.received = limit_s, received

    def __str__(self) -> str:
        return (
            f"the body is incomplete: expected all of it within {self.limit_s:g} s, received "
            f"{self.received} bytes; send it faster, or a smaller one"
        )


class BodyMemoryError(UnavailableError):
    """The router holds as many bytes of bodies as it may."""

    code = "body_memory"

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit

    def __str__(self) -> str:
        return (
            f"the bodies of all requests exceed their memory: expected at most {self.limit} bytes "
            f"at once; retry in {self.retry_after_s} s or send smaller bodies"
        )


class ContentEncodingError(RequestError):
    """The body is compressed."""

    code = "unsupported_content_encoding"

    def __init__(self, received: str) -> None:
        super().__init__(received)
        self.received = received

    def __str__(self) -> str:
        return (
            f"Content-Encoding: expected identity or no such header, received {self.received}; "
            f"send the body uncompressed"
        )


class RepeatedHostError(RequestError):
    """The request has several Host headers."""

    code = "repeated_host"

    def __init__(self, received: int) -> None:
        super().__init__(received)
        self.received = received

    def __str__(self) -> str:
        return f"Host: expected one header, received {self.received}; send one"


class UnknownHostError(RequestError):
    """The request names another server than this one in its Host header."""

    code = "unknown_host"

    def __init__(self, received: str) -> None:
        super().__init__(received)
        self.received = received

    def __str__(self) -> str:
        return (
            f"Host: expected localhost, a loopback address or a name in router.hosts, received "
            f"{self.received}; add the name to router.hosts if clients use it"
        )


class ForeignOriginError(RequestError):
    """A page of another server sent the request."""

    code = "foreign_origin"

    def __init__(self, received: str) -> None:
        super().__init__(received)
        self.received = received

    def __str__(self) -> str:
        return (
            f"Origin: expected a page of this server, received {self.received}; pages of other "
            f"servers may not call it"
        )
