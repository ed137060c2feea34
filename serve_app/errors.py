"""Everything that serving refuses or fails at, as one tree.

    ServingError
    ├── RequestError                    the request is at fault
    │   ├── MalformedJsonError          the body is no JSON
    │   ├── BodyTooLargeError           the body is over the limit
    │   ├── InvalidRequestError         a field is missing, unknown or of the wrong kind
    │   │   └── InvalidFeaturesError    wrong length, NaN, infinity or no number
    │   ├── NotServedError              no such model or version behind this server
    │   ├── NotRegisteredError          no such model or version in the registry
    │   ├── ReloadInProgressError       the model is being reloaded already
    │   ├── UnusableVersionError        the version cannot be loaded, so nothing was changed
    │   ├── NoSuchExperimentError       no experiment of that id
    │   ├── ExperimentConflictError     the id is taken, or the model is in another experiment
    │   ├── UnknownPredictionError      no prediction of that id was recorded
    │   └── OutcomeConflictError        another outcome of that prediction is recorded already
    ├── UnavailableError                try again after `retry_after_s`
    │   ├── VersionLoadingError         the version has no ready replica
    │   ├── OverloadedError             more requests than the version can take
    │   ├── TooManyVersionsError        no room for another version that nobody declared
    │   ├── FleetUnavailableError       what loads versions does not answer
    │   ├── StorageUnavailableError     what keeps predictions and outcomes does not answer
    │   └── UnconfirmedStateError       a router may follow an older serving state
    ├── ModelOutputError                the model answered with something that is no prediction
    ├── PredictionFailedError           the version's replica failed while it computed the answer
    ├── SettingsError                   the configuration cannot be served
    ├── ServingStateError               what is kept of the versions served cannot be read
    ├── ServedElsewhereError            another cluster serves the folder under the same name
    └── ClientError                     what `ModelClient(raise_errors=True)` raises
        ├── ServerUnreachableError      no connection within the deadline
        ├── DeadlineExceededError       no answer within the deadline
        ├── ServerRejectedError         the server answered with an error
        └── UnexpectedAnswerError       the answer is not what the API promises

Errors carry data and a code, rebuild after pickling from `args`, and know nothing of HTTP; the
table that turns them into status codes is `serve_app.api.rest.errors`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Self

MAX_SHOWN = 200
"""How much of an unforeseen error the caller is told."""


class ServingError(Exception):
    """Base of everything raised by serve_app."""

    code: str
    """The word by which programs know the error: stable over HTTP, on a channel and in records."""


class RequestError(ServingError):
    """The request is at fault; sending it again unchanged will not help."""


class MalformedJsonError(RequestError):
    """The body is not JSON."""

    code = "malformed_json"

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return f"the body is not valid JSON: {self.problem}"


class BodyTooLargeError(RequestError):
    """The body, or the list in it, is over the limit."""

    code = "too_large"

    def __init__(self, what: str, limit: int, received: int) -> None:
        super().__init__(what, limit, received)
        self.what, self.limit, self.received = what, limit, received

    def __str__(self) -> str:
        return f"too large: expected at most {self.limit} {self.what}, received {self.received}"


class InvalidRequestError(RequestError):
    """A field of the request is missing, unknown or of the wrong kind."""

    code = "invalid_request"

    def __init__(self, field: str, expected: str, received: str) -> None:
        super().__init__(field, expected, received)
        self.field, self.expected, self.received = field, expected, received

    def __str__(self) -> str:
        return f"{self.field}: expected {self.expected}, received {self.received}"


class InvalidFeaturesError(InvalidRequestError):
    """The features are not the finite numbers, in the shape, that the model takes."""

    code = "invalid_features"


class NotServedError(RequestError):
    """The model or version named is not behind this server."""

    code = "not_served"

    def __init__(self, model: str, version: str | None, served: Sequence[str]) -> None:
        super().__init__(model, version, tuple(served))
        self.model, self.version, self.served = model, version, tuple(served)

    def __str__(self) -> str:
        wanted = self.model if self.version is None else f"{self.model}:{self.version}"
        return f"{wanted} is not served here; served: {', '.join(self.served) or 'nothing'}"


class NotRegisteredError(RequestError):
    """The registry has no such model or version, or no version in that stage."""

    code = "not_registered"

    def __init__(self, model: str, version: str | None, problem: str) -> None:
        super().__init__(model, version, problem)
        self.model, self.version, self.problem = model, version, problem

    def __str__(self) -> str:
        return f"nothing to load: {self.problem}; `modelctl list` shows what is registered"


class ReloadInProgressError(RequestError):
    """The model is being reloaded already."""

    code = "reload_in_progress"

    def __init__(self, model: str, version: str) -> None:
        super().__init__(model, version)
        self.model, self.version = model, version

    def __str__(self) -> str:
        return f"{self.model} is being reloaded to {self.version} already; wait for its answer"


class UnusableVersionError(RequestError):
    """The version cannot be loaded; what served before goes on."""

    code = "unusable_version"

    def __init__(self, model: str, version: str, problem: str) -> None:
        super().__init__(model, version, problem)
        self.model, self.version, self.problem = model, version, problem

    def __str__(self) -> str:
        return (
            f"{self.model}:{self.version} cannot be loaded, and nothing was changed: {self.problem}"
        )


class NoSuchExperimentError(RequestError):
    """No experiment of that id."""

    code = "no_such_experiment"

    def __init__(self, experiment_id: str, problem: str) -> None:
        super().__init__(experiment_id, problem)
        self.experiment_id, self.problem = experiment_id, problem

    def __str__(self) -> str:
        return self.problem


class ExperimentConflictError(RequestError):
    """The experiment cannot be beside what is there already."""

    code = "experiment_conflict"

    def __init__(self, experiment_id: str, problem: str) -> None:
        super().__init__(experiment_id, problem)
        self.experiment_id, self.problem = experiment_id, problem

    def __str__(self) -> str:
        return self.problem


class UnknownPredictionError(RequestError):
    """No prediction of that id was recorded."""

    code = "unknown_prediction"

    def __init__(self, prediction_id: str) -> None:
        super().__init__(prediction_id)
        self.prediction_id = prediction_id

    def __str__(self) -> str:
        return (
            f"no prediction {self.prediction_id!r} is recorded; expected the prediction_id of an "
            f"answer that is not older than experiments.keep_days"
        )


class OutcomeConflictError(RequestError):
    """Another outcome of the prediction is recorded already, and stands."""

    code = "outcome_conflict"

    def __init__(self, prediction_id: str, recorded: float, received: float) -> None:
        super().__init__(prediction_id, recorded, received)
        self.prediction_id, self.recorded, self.received = prediction_id, recorded, received

    def __str__(self) -> str:
        return (
            f"prediction {self.prediction_id!r} has the outcome {self.recorded!r} already, which "
            f"stands; received {self.received!r}"
        )


class UnavailableError(ServingError):
    """The request is fine and may succeed later."""

    retry_after_s = 1


class VersionLoadingError(UnavailableError):
    """No replica of the version is ready."""

    code = "loading"

    def __init__(self, model: str, version: str, problem: str | None = None) -> None:
        super().__init__(model, version, problem)
        self.model, self.version, self.problem = model, version, problem

    def __str__(self) -> str:
        if self.problem is not None:
            return (
                f"{self.model}:{self.version} cannot answer: {self.problem}; "
                f"retry in {self.retry_after_s} s"
            )
        return (
            f"no replica of {self.model}:{self.version} answers: it is still loading, or it fails "
            f"and `serve status` says why; retry in {self.retry_after_s} s"
        )


class OverloadedError(UnavailableError):
    """More requests are waiting than the limits allow, or one waited too long."""

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
    """Requests have loaded as many undeclared versions as the settings allow."""

    code = "too_many_versions"

    def __init__(self, model: str, version: str, limit: int) -> None:
        super().__init__(model, version, limit)
        self.model, self.version, self.limit = model, version, limit

    def __str__(self) -> str:
        return (
            f"{self.model}:{self.version} is not loaded: at most {self.limit} versions are loaded "
            f"on demand (loading.max_versions); an idle one makes room, or declare this one"
        )


class FleetUnavailableError(UnavailableError):
    """What loads and unloads versions does not answer; predictions go on."""

    code = "loading_unavailable"

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return (
            f"versions can be neither loaded nor unloaded now, while predictions go on: "
            f"{self.problem}; retry in {self.retry_after_s} s"
        )


class StorageUnavailableError(UnavailableError):
    """What keeps predictions and outcomes does not answer; predictions go on."""

    code = "storage_unavailable"

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return (
            f"experiments and outcomes cannot be stored or read now, while predictions go on, and "
            f"nothing was acknowledged: {self.problem}; retry in {self.retry_after_s} s"
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
    """The model's output is no prediction (not finite, or of the wrong shape)."""

    code = "model_output"

    def __init__(self, model: str, version: str, problem: str) -> None:
        super().__init__(model, version, problem)
        self.model, self.version, self.problem = model, version, problem

    def __str__(self) -> str:
        return f"{self.model}:{self.version} gave no usable prediction: {self.problem}"


class PredictionFailedError(ServingError):
    """The version's replica failed; the server's log has the whole story."""

    code = "prediction_failed"

    def __init__(self, model: str, version: str, problem: str) -> None:
        super().__init__(model, version, problem)
        self.model, self.version, self.problem = model, version, problem

    def __str__(self) -> str:
        return f"{self.model}:{self.version} failed to answer: {self.problem}"

    @classmethod
    def unexpected(cls, model: str, version: str, error: BaseException) -> Self:
        """Return what the caller is told of an error that is none of ours; the log has all."""
        return cls(model, version, repr(error)[:MAX_SHOWN])


class SettingsError(ServingError):
    """The configuration asks for something that cannot be served."""

    code = "invalid_settings"

    def __init__(self, setting: str, problem: str) -> None:
        super().__init__(setting, problem)
        self.setting, self.problem = setting, problem

    def __str__(self) -> str:
        return f"{self.setting}: {self.problem}"


class ServingStateError(ServingError):
    """The file that keeps what is served was damaged, or written by another release."""

    code = "unreadable_serving_state"

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, problem)
        self.path, self.problem = path, problem

    def __str__(self) -> str:
        return (
            f"{self.path} does not say what is served: {self.problem}; move it away to start with "
            f"the versions of the configuration, or run the release that wrote it"
        )


class ServedElsewhereError(ServingError):
    """Another cluster serves the registry's folder with an application of the same name."""

    code = "served_elsewhere"

    def __init__(self, application: str, folder: str) -> None:
        super().__init__(application, folder)
        self.application, self.folder = application, folder

    def __str__(self) -> str:
        return (
            f"an application {self.application!r} of another cluster serves {self.folder} already, "
            f"and both would move each other's traffic; end it, or give this one another name "
            f"(applications.name)"
        )


class ClientError(ServingError):
    """Base of what the client raises when asked to raise."""


class ServerUnreachableError(ClientError):
    """No connection to the server within the deadline."""

    code = "server_unreachable"

    def __init__(self, url: str, problem: str) -> None:
        super().__init__(url, problem)
        self.url, self.problem = url, problem

    def __str__(self) -> str:
        return f"cannot reach the model server at {self.url}: {self.problem}; is it running?"


class DeadlineExceededError(ClientError):
    """No answer within the deadline."""

    code = "deadline_exceeded"

    def __init__(self, url: str, deadline_s: float) -> None:
        super().__init__(url, deadline_s)
        self.url, self.deadline_s = url, deadline_s

    def __str__(self) -> str:
        return (
            f"no answer from {self.url} within {self.deadline_s} s; "
            f"raise the timeout or look at the server's load"
        )


class ServerRejectedError(ClientError):
    """The server answered with an error; `status`, `code` and `details` are its own."""

    code = "rejected"

    def __init__(self, status: int, code: str, message: str, details: Mapping[str, Any]) -> None:
        super().__init__(status, code, message, dict(details))
        self.status, self.code, self.message, self.details = status, code, message, dict(details)

    def __str__(self) -> str:
        return f"the model server answered {self.status} {self.code}: {self.message}"


class UnexpectedAnswerError(ClientError):
    """The answer is not what the API promises: something else may listen there."""

    code = "unexpected_response"

    def __init__(self, url: str, problem: str) -> None:
        super().__init__(url, problem)
        self.url, self.problem = url, problem

    def __str__(self) -> str:
        return f"unexpected answer from {self.url}: {self.problem}; is it the model server?"
