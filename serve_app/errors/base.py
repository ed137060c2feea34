"""The bases of the errors of serving."""


class ServingError(Exception):
    """Base of every error of serve_app."""

    code: str
    """Identifies the error for programs; stable over HTTP, on a channel and in records."""


class RequestError(ServingError):
    """The request is invalid; sending it again unchanged will not help."""


class UnavailableError(ServingError):
    """The request is valid and may succeed later."""

    retry_after_s = 1
