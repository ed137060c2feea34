"""The one table from errors to HTTP: status and code of everything a caller may see."""

from collections.abc import Mapping
from typing import Any

from serve_app.errors import (
    BodyTooLargeError,
    ExperimentConflictError,
    FleetUnavailableError,
    InvalidFeaturesError,
    InvalidRequestError,
    MalformedJsonError,
    ModelOutputError,
    NoSuchExperimentError,
    NotRegisteredError,
    NotServedError,
    OutcomeConflictError,
    OverloadedError,
    PredictionFailedError,
    ReloadInProgressError,
    ServingError,
    StorageUnavailableError,
    TooManyVersionsError,
    UnavailableError,
    UnknownPredictionError,
    UnusableVersionError,
    VersionLoadingError,
)

STATUS_AND_CODE: Mapping[type[ServingError], tuple[int, str]] = {
    MalformedJsonError: (400, "malformed_json"),
    BodyTooLargeError: (413, "too_large"),
    InvalidRequestError: (422, "invalid_request"),
    InvalidFeaturesError: (422, "invalid_features"),
    NotServedError: (404, "not_served"),
    NotRegisteredError: (404, "not_registered"),
    ReloadInProgressError: (409, "reload_in_progress"),
    UnusableVersionError: (422, "unusable_version"),
    NoSuchExperimentError: (404, "no_such_experiment"),
    ExperimentConflictError: (409, "experiment_conflict"),
    UnknownPredictionError: (404, "unknown_prediction"),
    OutcomeConflictError: (409, "outcome_conflict"),
    VersionLoadingError: (503, "loading"),
    OverloadedError: (503, "overloaded"),
    TooManyVersionsError: (503, "too_many_versions"),
    FleetUnavailableError: (503, "loading_unavailable"),
    StorageUnavailableError: (503, "storage_unavailable"),
    ModelOutputError: (500, "model_output"),
    PredictionFailedError: (500, "prediction_failed"),
}


def status_of(error: ServingError) -> int:
    """Return the HTTP status of an error."""
    return STATUS_AND_CODE[type(error)][0]


def code_of(error: ServingError) -> str:
    """Return the word by which programs know an error."""
    return STATUS_AND_CODE[type(error)][1]


def headers_of(error: ServingError) -> dict[str, str]:
    """Return the HTTP headers that go with an error."""
    if isinstance(error, UnavailableError):
        return {"Retry-After": str(error.retry_after_s)}
    return {}


def body_of(error: ServingError) -> dict[str, Any]:
    """Return what an answer says of an error: code, message and the error's own facts."""
    return {"code": code_of(error), "message": str(error), **vars(error)}
