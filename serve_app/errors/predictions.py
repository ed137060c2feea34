"""Predictions that fail although the request is valid."""

from typing import Self

from serve_app.errors.base import ServingError, UnavailableError

MAX_SHOWN = 200
"""The number of characters of an unexpected error that a message repeats."""


class OverloadedError(UnavailableError):
    """More requests wait than the limits allow, or a request waited too long."""

    code = "overloaded"

    def __init__(self, model: str, version: str, problem: str) -> None:
        super().__init__(model, version, problem)
        self.model, self.version, self.problem = model, version, problem

    def __str__(self) -> str:
        return (
            f"{self.model}:{self.version} is overloaded ({self.problem}); "
            f"retry in {self.retry_after_s} s or send fewer requests"
        )


class RouterOverloadedError(OverloadedError):
    """A response within the caller's deadline is not expected."""

    def __init__(self, in_flight: int, expected_ms: float, deadline_ms: float) -> None:
        UnavailableError.__init__(self, in_flight, expected_ms, deadline_ms)
        self.in_flight, self.expected_ms, self.deadline_ms = in_flight, expected_ms, deadline_ms

    def __str__(self) -> str:
        return (
            f"expected a response within the deadline of {self.deadline_ms:g} ms, estimated "
            f"{self.expected_ms:.0f} ms with {self.in_flight} requests in flight in this router; "
            f"retry in {self.retry_after_s} s or send fewer requests"
        )


class DeadlinePassedError(UnavailableError):
    """The deadline of the request has passed; the model does not run for it any more."""

    code = "deadline_exceeded"

    def __init__(self, deadline_ms: float) -> None:
        super().__init__(deadline_ms)
        self.deadline_ms = deadline_ms

    def __str__(self) -> str:
        return (
            f"no response within the deadline of {self.deadline_ms:g} ms; send fewer requests, or "
            f"allow more time with X-Deadline-Ms"
        )


class ModelOutputError(ServingError):
    """The output of the model is not a prediction: not finite, or of the wrong shape."""

    code = "model_output"

    def __init__(self, model: str, version: str, problem: str) -> None:
        super().__init__(model, version, problem)
        self.model, self.version, self.problem = model, version, problem

    def __str__(self) -> str:
        return f"{self.model}:{self.version} returned no usable prediction: {self.problem}"


class PredictionFailedError(ServingError):
    """The version failed on the request; the log of the server has the traceback."""

    code = "prediction_failed"

    def __init__(self, model: str, version: str, problem: str) -> None:
        super().__init__(model, version, problem)
        self.model, self.version, self.problem = model, version, problem

    def __str__(self) -> str:
        return f"{self.model}:{self.version} failed on the request: {self.problem}"

    @classmethod
    def unexpected(cls, model: str, version: str, error: BaseException) -> Self:
        """Return the serving error for an unexpected error, with a shortened message."""
        return cls(model, version, repr(error)[:MAX_SHOWN])
