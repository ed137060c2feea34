"""Maps the errors of the core to HTTP: one table of status codes, and the error in a body."""

import re
from collections.abc import Mapping
from typing import Any

from serve_app.errors import (
    BarsUnavailableError,
    BodyMemoryError,
    BodyTimeoutError,
    BodyTooLargeError,
    ConcurrencyLimitError,
    ContentEncodingError,
    DeadlinePassedError,
    ExperimentConflictError,
    FleetUnavailableError,
    ForeignOriginError,
    IncompleteWindowError,
    InvalidFeaturesError,
    InvalidRequestError,
    InvalidTokenError,
    MalformedJsonError,
    MissingRoleError,
    MissingTokenError,
    ModelOutputError,
    NoFeatureSetError,
    NoSuchExperimentError,
    NotRegisteredError,
    NotServedError,
    OutcomeConflictError,
    OverloadedError,
    PredictionFailedError,
    RateLimitError,
    ReloadInProgressError,
    RepeatedHostError,
    RoundedFeaturesError,
    RouterOverloadedError,
    ServingError,
    StaleFeaturesError,
    StorageUnavailableError,
    TooManyVersionsError,
    UnavailableError,
    UnconfirmedStateError,
    UnknownHostError,
    UnknownPredictionError,
    UnknownSymbolError,
    UnrecordedPredictionError,
    UnsupportedMediaTypeError,
    UnusableVersionError,
    VersionLoadingError,
    WindowsUnavailableError,
)

STATUS: Mapping[type[ServingError], int] = {
    MalformedJsonError: 400,
    RepeatedHostError: 400,
    ForeignOriginError: 403,
    BodyTimeoutError: 408,
    BodyTooLargeError: 413,
    ContentEncodingError: 415,
    UnsupportedMediaTypeError: 415,
    UnknownHostError: 421,
    BodyMemoryError: 503,
    InvalidRequestError: 422,
    InvalidFeaturesError: 422,
    RoundedFeaturesError: 422,
    NotServedError: 404,
    NotRegisteredError: 404,
    ReloadInProgressError: 409,
    UnusableVersionError: 422,
    NoSuchExperimentError: 404,
    ExperimentConflictError: 409,
    UnrecordedPredictionError: 404,
    UnknownPredictionError: 404,
    UnknownSymbolError: 404,
    OutcomeConflictError: 409,
    StaleFeaturesError: 409,
    IncompleteWindowError: 409,
    NoFeatureSetError: 422,
    VersionLoadingError: 503,
    OverloadedError: 503,
    RouterOverloadedError: 503,
    DeadlinePassedError: 504,
    TooManyVersionsError: 503,
    FleetUnavailableError: 503,
    StorageUnavailableError: 503,
    BarsUnavailableError: 503,
    WindowsUnavailableError: 503,
    UnconfirmedStateError: 503,
    ModelOutputError: 500,
    PredictionFailedError: 500,
    MissingTokenError: 401,
    InvalidTokenError: 401,
    MissingRoleError: 403,
    RateLimitError: 429,
    ConcurrencyLimitError: 429,
}

_FOLDER = re.compile(r"(?<![\w.:/~-])/(?!api/)(?:[^\s/:'\"]+/)+(?=[^\s/])")
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def headers_of(error: ServingError) -> dict[str, str]:
    """Return the HTTP headers of the response to a request that failed with an error."""
    if isinstance(error, UnavailableError):
        return {"Retry-After": str(error.retry_after_s)}
    if isinstance(error, MissingTokenError):
        return {"WWW-Authenticate": "Bearer"}
    if isinstance(error, InvalidTokenError):
        return {"WWW-Authenticate": 'Bearer error="invalid_token"'}
    if isinstance(error, MissingRoleError):
        return {"WWW-Authenticate": 'Bearer error="insufficient_scope"'}
    return {}


def error_value(error: ServingError) -> dict[str, Any]:
    """Return an error as a JSON value: its code, its message and its data.

    A `problem` may be the text of a library's error: the folders of the files that it names, and
    the addresses of objects, are left out.
    """
    value = {"code": error.code, "message": str(error), **vars(error)}
    if "problem" in value:
        value |= {name: without_internals(value[name]) for name in ("message", "problem")}
    return value


def without_internals(text: str | None) -> str | None:
    """Return a text without the folders of absolute paths and without addresses of objects."""
    return text and _ADDRESS.sub("", _FOLDER.sub("", text))
