"""Every error of serving, as one tree.

    ServingError
    ├── RequestError                    the request is invalid
    │   ├── MalformedJsonError          the body is not JSON
    │   ├── BodyTooLargeError           the body, or the list in it, exceeds the limit
    │   ├── BodyTimeoutError            the body does not arrive in time
    │   ├── UnsupportedMediaTypeError   the endpoint does not accept the content type
    │   ├── ContentEncodingError        the body is compressed
    │   ├── RepeatedHostError           the request has several Host headers
    │   ├── UnknownHostError            the Host header names another server
    │   ├── ForeignOriginError          a page of another server sent the request
    │   ├── InvalidRequestError         a field is missing, unknown or of the wrong type
    │   │   └── InvalidFeaturesError    the features do not fit the model, or are not finite
    │   │       └── RoundedFeaturesError    the model takes float64, the features are another type
    │   ├── NotServedError              this server does not serve the model or version
    │   ├── NotRegisteredError          the registry has no such model or version
    │   ├── ReloadInProgressError       a reload of the model is in flight
    │   ├── UnusableVersionError        the version does not load; nothing was changed
    │   ├── NoSuchExperimentError       no experiment has that id
    │   ├── ExperimentConflictError     the id, or the model, is in use by another experiment
    │   ├── UnknownSymbolError          the server has no bars of the symbol and timeframe
    │   ├── UnrecordedPredictionError   the prediction was served, but is not recorded
    │   ├── UnknownPredictionError      no prediction with that id was served
    │   ├── OutcomeConflictError        another outcome of the prediction is recorded already
    │   ├── WindowError                 the server has no usable window of the symbol
    │   │   ├── StaleFeaturesError      its last bar is older than the request allows
    │   │   ├── IncompleteWindowError   bars are missing
    │   │   └── NoFeatureSetError       the version names no feature set
    │   ├── MissingTokenError           the request needs a token and has none
    │   ├── InvalidTokenError           the token is unknown, expired or revoked
    │   └── MissingRoleError            the token does not permit the operation
    ├── UnavailableError                a later attempt may succeed, after `retry_after_s`
    │   ├── VersionLoadingError         the version has no ready replica
    │   ├── OverloadedError             more requests than the version can serve
    │   │   └── RouterOverloadedError   more requests than the router can serve in time
    │   ├── DeadlinePassedError         the deadline of the request has passed
    │   ├── BodyMemoryError             the bodies of all requests exceed their memory
    │   ├── TooManyVersionsError        the limit of versions loaded on demand is reached
    │   ├── FleetUnavailableError       the fleet, which loads versions, does not respond
    │   ├── StorageUnavailableError     the store of predictions and outcomes does not respond
    │   ├── BarsUnavailableError        the bar log can be neither read nor written
    │   ├── UnconfirmedStateError       a router may follow an older serving state
    │   ├── WindowsUnavailableError     the predictor of symbols does not respond
    │   ├── RateLimitError              the token has used up its quota of requests
    │   └── ConcurrencyLimitError       the token has too many requests in flight
    ├── ModelOutputError                the output of the model is not a prediction
    ├── PredictionFailedError           the version failed while it computed the prediction
    ├── SettingsError                   the configuration cannot be served
    ├── ServingStateError               the file with the serving state cannot be read
    ├── ServedElsewhereError            another cluster serves the folder under the same name
    ├── TokenFileError                  the file with the tokens cannot be read or written
    ├── TokenExistsError                a usable token has the name
    ├── UnknownTokenError               no usable token has the name
    └── ClientError                     base of the errors of `ModelClient(raise_errors=True)`
        ├── ServerUnreachableError      no connection within the deadline
        ├── DeadlineExceededError       no response within the deadline
        ├── ServerRejectedError         the server returned an error
        └── UnexpectedResponseError     the response does not follow the API

Errors carry data and a code, rebuild after pickling from `args`, and are independent of HTTP: each
front end has its own table from errors to statuses.
"""

from serve_app.errors.access import (
    ConcurrencyLimitError,
    InvalidTokenError,
    MissingRoleError,
    MissingTokenError,
    RateLimitError,
    TokenExistsError,
    TokenFileError,
    UnknownTokenError,
)
from serve_app.errors.bars import BarsUnavailableError, UnknownSymbolError
from serve_app.errors.base import (
    RequestError,
    ServingError,
    UnavailableError,
)
from serve_app.errors.client import (
    ClientError,
    DeadlineExceededError,
    ServerRejectedError,
    ServerUnreachableError,
    UnexpectedResponseError,
)
from serve_app.errors.configuration import SettingsError
from serve_app.errors.experiments import (
    ExperimentConflictError,
    NoSuchExperimentError,
    OutcomeConflictError,
    StorageUnavailableError,
    UnknownPredictionError,
    UnrecordedPredictionError,
)
from serve_app.errors.predictions import (
    DeadlinePassedError,
    ModelOutputError,
    OverloadedError,
    PredictionFailedError,
    RouterOverloadedError,
)
from serve_app.errors.requests import (
    BodyMemoryError,
    BodyTimeoutError,
    BodyTooLargeError,
    ContentEncodingError,
    ForeignOriginError,
    InvalidFeaturesError,
    InvalidRequestError,
    MalformedJsonError,
    RepeatedHostError,
    RoundedFeaturesError,
    UnknownHostError,
    UnsupportedMediaTypeError,
)
from serve_app.errors.versions import (
    FleetUnavailableError,
    NotRegisteredError,
    NotServedError,
    ReloadInProgressError,
    ServedElsewhereError,
    ServingStateError,
    TooManyVersionsError,
    UnconfirmedStateError,
    UnusableVersionError,
    VersionLoadingError,
)
from serve_app.errors.windows import (
    IncompleteWindowError,
    NoFeatureSetError,
    StaleFeaturesError,
    WindowError,
    WindowsUnavailableError,
)

__all__ = [
    "BarsUnavailableError",
    "BodyMemoryError",
    "BodyTimeoutError",
    "BodyTooLargeError",
    "ClientError",
    "ConcurrencyLimitError",
    "ContentEncodingError",
    "DeadlineExceededError",
    "DeadlinePassedError",
    "ExperimentConflictError",
    "FleetUnavailableError",
    "ForeignOriginError",
    "IncompleteWindowError",
    "InvalidFeaturesError",
    "InvalidRequestError",
    "InvalidTokenError",
    "MalformedJsonError",
    "MissingRoleError",
    "MissingTokenError",
    "ModelOutputError",
    "NoFeatureSetError",
    "NoSuchExperimentError",
    "NotRegisteredError",
    "NotServedError",
    "OutcomeConflictError",
    "OverloadedError",
    "PredictionFailedError",
    "RateLimitError",
    "ReloadInProgressError",
    "RepeatedHostError",
    "RequestError",
    "RoundedFeaturesError",
    "RouterOverloadedError",
    "ServedElsewhereError",
    "ServerRejectedError",
    "ServerUnreachableError",
    "ServingError",
    "ServingStateError",
    "SettingsError",
    "StaleFeaturesError",
    "StorageUnavailableError",
    "TokenExistsError",
    "TokenFileError",
    "TooManyVersionsError",
    "UnavailableError",
    "UnconfirmedStateError",
    "UnexpectedResponseError",
    "UnknownHostError",
    "UnknownPredictionError",
    "UnknownSymbolError",
    "UnknownTokenError",
    "UnrecordedPredictionError",
    "UnsupportedMediaTypeError",
    "UnusableVersionError",
    "VersionLoadingError",
    "WindowError",
    "WindowsUnavailableError",
]
