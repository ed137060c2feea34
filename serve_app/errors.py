"""Every error of serving, as one tree.

    ServingError
    ├── RequestError                    the request is invalid
    │   ├── MalformedJsonError          the body is not JSON
    │   ├── BodyTooLargeError           the body, or the list in it, exceeds the limit
    │   ├── InvalidRequestError         a field is missing, unknown or of the wrong type
    │   │   └── InvalidFeaturesError    the features do not fit the model, or are not finite
    │   ├── NotServedError              this server does not serve the model or version
    │   ├── NotRegisteredError          the registry has no such model or version
    │   ├── ReloadInProgressError       a reload of the model is in flight
    │   ├── UnusableVersionError        the version does not load; nothing was changed
    │   ├── NoSuchExperimentError       no experiment has that id
    │   ├── ExperimentConflictError     the id, or the model, is in use by another experiment
    │   ├── UnknownPredictionError      no prediction with that id was recorded
    │   └── OutcomeConflictError        another outcome of the prediction is recorded already
    ├── UnavailableError                a later attempt may succeed, after `retry_after_s`
    │   ├── VersionLoadingError         the version has no ready replica
    │   ├── OverloadedError             more requests than the version can serve
    │   ├── TooManyVersionsError        the limit of versions loaded on demand is reached
    │   ├── FleetUnavailableError       the fleet, which loads versions, does not respond
    │   ├── StorageUnavailableError     the store of predictions and outcomes does not respond
    │   └── UnconfirmedStateError       a router may follow an older serving state
    ├── ModelOutputError                the output of the model is not a prediction
    ├── PredictionFailedError           the version failed while it computed the prediction
    ├── SettingsError                   the configuration cannot be served
    ├── ServingStateError               the file with the serving state cannot be read
    ├── ServedElsewhereError            another cluster serves the folder under the same name
    └── ClientError                     base of the errors of `ModelClient(raise_errors=True)`
        ├── ServerUnreachableError      no connection within the deadline
        ├── DeadlineExceededError       no response within the deadline
        ├── ServerRejectedError         the server returned an error
        └── UnexpectedResponseError     the response does not follow the API

Errors carry data and a code, rebuild after pickling from `args`, and are independent of HTTP: each
front end has its own table from errors to statuses.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Self

MAX_SHOWN = 200
"""The number of characters of an unexpected error that a message repeats."""


class ServingError(Exception):
    """Base of every error of serve_app."""

    code: str
    """Identifies the error for programs; stable over HTTP, on a channel and in records."""


class RequestError(ServingError):
    """The request is invalid; sending it again unchanged will not help."""


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


class NotServedError(RequestError):
    """This server does not serve the model or version."""

    code = "not_served"

    def __init__(self, model: str, version: str | None, served: Sequence[str]) -> None:
        super().__init__(model, version, tuple(served))
        self.model, self.version, self.served = model, version, tuple(served)

    def __str__(self) -> str:
        wanted = self.model if self.version is None else f"{self.model}:{self.version}"
        return f"{wanted} is not served here; served: {', '.join(self.served) or 'nothing'}"


class NotRegisteredError(RequestError):
    """The registry has no such model or version, or no version in the stage."""

    code = "not_registered"

    def __init__(self, model: str, version: str | None, problem: str) -> None:
        super().__init__(model, version, problem)
        self.model, self.version, self.problem = model, version, problem

    def __str__(self) -> str:
        return f"nothing to load: {self.problem}; see `modelctl list` for the registered versions"


class ReloadInProgressError(RequestError):
    """A reload of the model is in flight."""

    code = "reload_in_progress"

    def __init__(self, model: str, version: str) -> None:
        super().__init__(model, version)
        self.model, self.version = model, version

    def __str__(self) -> str:
        return f"{self.model} is being reloaded to {self.version} already; wait for its response"


class UnusableVersionError(RequestError):
    """The version does not load; the served versions are unchanged."""

    code = "unusable_version"

    def __init__(self, model: str, version: str, problem: str) -> None:
        super().__init__(model, version, problem)
        self.model, self.version, self.problem = model, version, problem

    def __str__(self) -> str:
        return (
            f"{self.model}:{self.version} cannot be loaded, and nothing was changed: {self.problem}"
        )


class NoSuchExperimentError(RequestError):
    """No experiment has that id."""

    code = "no_such_experiment"

    def __init__(self, experiment_id: str, problem: str) -> None:
        super().__init__(experiment_id, problem)
        self.experiment_id, self.problem = experiment_id, problem

    def __str__(self) -> str:
        return self.problem


class ExperimentConflictError(RequestError):
    """The id, or the model, is in use by another experiment."""

    code = "experiment_conflict"

    def __init__(self, experiment_id: str, problem: str) -> None:
        super().__init__(experiment_id, problem)
        self.experiment_id, self.problem = experiment_id, problem

    def __str__(self) -> str:
        return self.problem


class UnknownPredictionError(RequestError):
    """No prediction with that id was recorded."""

    code = "unknown_prediction"

    def __init__(self, prediction_id: str) -> None:
        super().__init__(prediction_id)
        self.prediction_id = prediction_id

    def __str__(self) -> str:
        return (
            f"no prediction {self.prediction_id!r} is recorded; send the prediction_id of a "
            f"response that is not older than experiments.keep_days"
        )


class OutcomeConflictError(RequestError):
    """A different outcome of the prediction is already recorded, and is kept."""

    code = "outcome_conflict"

    def __init__(self, prediction_id: str, recorded: float, received: float) -> None:
        super().__init__(prediction_id, recorded, received)
        self.prediction_id, self.recorded, self.received = prediction_id, recorded, received

    def __str__(self) -> str:
        return (
            f"prediction {self.prediction_id!r} has the outcome {self.recorded!r} already, which "
            f"remains; received {self.received!r}"
        )


class UnavailableError(ServingError):
    """The request is valid and may succeed later."""

    retry_after_s = 1


class VersionLoadingError(UnavailableError):
    """The version has no ready replica."""

    code = "loading"

    def __init__(self, model: str, version: str, problem: str | None = None) -> None:
        super().__init__(model, version, problem)
        self.model, self.version, self.problem = model, version, problem

    def __str__(self) -> str:
        if self.problem is not None:
            return (
                f"{self.model}:{self.version} is not ready: {self.problem}; "
                f"retry in {self.retry_after_s} s"
            )
        return (
            f"{self.model}:{self.version} has no ready replica: it is loading, or `serve status` "
            f"shows why it does not load; retry in {self.retry_after_s} s"
        )


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


class TooManyVersionsError(UnavailableError):
    """The limit of versions loaded on demand is reached."""

    code = "too_many_versions"

    def __init__(self, model: str, version: str, limit: int) -> None:
        super().__init__(model, version, limit)
        self.model, self.version, self.limit = model, version, limit

    def __str__(self) -> str:
        return (
            f"{self.model}:{self.version} is not loaded: at most {self.limit} versions are loaded "
            f"on demand (loading.max_versions); retry when one is idle, or declare this version"
        )


class FleetUnavailableError(UnavailableError):
    """The fleet, which loads and unloads versions, does not respond; predictions continue."""

    code = "loading_unavailable"

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return (
            f"versions can be neither loaded nor unloaded now, while predictions continue: "
            f"{self.problem}; retry in {self.retry_after_s} s"
        )


class StorageUnavailableError(UnavailableError):
    """The store of predictions and outcomes does not respond; predictions continue."""

    code = "storage_unavailable"

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return (
            f"experiments and outcomes can be neither stored nor read now, while predictions "
            f"continue; nothing was acknowledged: {self.problem}; retry in {self.retry_after_s} s"
        )


class UnconfirmedStateError(UnavailableError):
    """A router may follow an older serving state than the one that was written."""

    code = "unconfirmed_state"

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return (
            f"the serving state is not confirmed: {self.problem}; retry in {self.retry_after_s} s"
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


class SettingsError(ServingError):
    """The configuration cannot be served."""

    code = "invalid_settings"

    def __init__(self, setting: str, problem: str) -> None:
        super().__init__(setting, problem)
        self.setting, self.problem = setting, problem

    def __str__(self) -> str:
        return f"{self.setting}: {self.problem}"


class ServingStateError(ServingError):
    """The file with the serving state is damaged, or was written by another release."""

    code = "unreadable_serving_state"

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, problem)
        self.path, self.problem = path, problem

    def __str__(self) -> str:
        return (
            f"{self.path} is not a readable serving state: {self.problem}; move it away to start "
            f"with the versions of the configuration, or run the release that wrote it"
        )


class ServedElsewhereError(ServingError):
    """Another cluster serves the registry's folder under the same application name."""

    code = "served_elsewhere"

    def __init__(self, application: str, folder: str) -> None:
        super().__init__(application, folder)
        self.application, self.folder = application, folder

    def __str__(self) -> str:
        return (
            f"an application {self.application!r} of another cluster serves {self.folder} already, "
            f"and each would move the other's traffic; stop it, or rename this one "
            f"(applications.name)"
        )


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
