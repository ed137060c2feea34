"""One example of every error that serve_app raises."""

from serve_app import errors

EXAMPLES = [
    errors.MalformedJsonError("unexpected end"),
    errors.BodyTooLargeError("bytes", 10, 11),
    errors.InvalidRequestError("symbol", "a text", "3"),
    errors.InvalidFeaturesError("features", "6600 numbers", "3"),
    errors.NotServedError("m", "1.0.0", ["m:2.0.0"]),
    errors.NotRegisteredError("m", "1.0.0", "no such version"),
    errors.ReloadInProgressError("m", "1.0.0"),
    errors.UnusableVersionError("m", "1.0.0", "damaged"),
    errors.TooManyVersionsError("m", "1.0.0", 8),
    errors.FleetUnavailableError("no answer"),
    errors.NoSuchExperimentError("e", "no experiment 'e'"),
    errors.ExperimentConflictError("e", "experiment 'e' exists already"),
    errors.UnknownPredictionError("p"),
    errors.OutcomeConflictError("p", 0.1, 0.2),
    errors.StorageUnavailableError("no answer"),
    errors.UnconfirmedStateError("1 of 2 routers does not follow revision 7"),
    errors.ServingStateError("models/.serving-app.json", "no JSON"),
    errors.ServedElsewhereError("app", "models"),
    errors.VersionLoadingError("m", "1.0.0"),
    errors.OverloadedError("m", "1.0.0", "queue full"),
    errors.ModelOutputError("m", "1.0.0", "NaN"),
    errors.PredictionFailedError("m", "1.0.0", "its replica died"),
    errors.SettingsError("versions", "none"),
    errors.ServerUnreachableError("http://x", "refused"),
    errors.DeadlineExceededError("http://x", 1.0),
    errors.ServerRejectedError(503, "loading", "later", {"version": "1.0.0"}),
    errors.UnexpectedResponseError("http://x", "no JSON"),
]
