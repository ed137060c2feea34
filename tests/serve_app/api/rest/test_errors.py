"""The errors of the core over HTTP."""

from serve_app import errors
from serve_app.api.rest.errors import STATUS, error_value, headers_of
from testkit.error_trees import leaves


def test_every_request_error_has_a_status():
    """Each error that a request can cause has a status.

    Errors of startup, of the commands on tokens and of the client have none.
    """
    at_startup = {errors.SettingsError, errors.ServingStateError, errors.ServedElsewhereError}
    of_commands = {errors.TokenFileError, errors.TokenExistsError, errors.UnknownTokenError}
    without_status = {*at_startup, *of_commands, *leaves(errors.ClientError)}
    expected = {*leaves(errors.ServingError)} - without_status
    bases = {errors.InvalidRequestError, errors.InvalidFeaturesError, errors.OverloadedError}
    assert expected | bases == set(STATUS)


def test_error_value_holds_the_data():
    """The JSON of an error contains its code, its message and its data."""
    error = errors.NotServedError("m", "1.0.0", ["m:2.0.0"])
    assert error_value(error) == {
        "code": "not_served",
        "message": "m:1.0.0 is not served here; served: m:2.0.0",
        "model": "m",
        "version": "1.0.0",
        "served": ("m:2.0.0",),
    }


def test_problem_without_internals():
    """The text of a library's error reaches a client without folders and addresses."""
    problem = (
        "/srv/x/models/m/v1/model.pt was modified: <Session object at 0x7f00ab>; see /api/ml/models"
    )
    value = error_value(errors.UnusableVersionError("m", "1.0.0", problem))
    assert value["problem"] == "model.pt was modified: <Session object>; see /api/ml/models"
    assert value["problem"] in value["message"]
    assert errors.PredictionFailedError.unexpected("m", "1", OSError("/a/b/c.so")).problem
    url = "https://host/a/b answered; 3 rows/s, application/json"
    assert error_value(errors.StorageUnavailableError(url))["problem"] == url


def test_only_unavailability_has_retry_after():
    """Only temporary errors have the header Retry-After."""
    assert headers_of(errors.VersionLoadingError("m", "1.0.0")) == {"Retry-After": "1"}
    assert headers_of(errors.MalformedJsonError("x")) == {}
