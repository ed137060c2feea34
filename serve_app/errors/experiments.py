"""Experiments, recorded predictions and their outcomes."""

from serve_app.errors.base import RequestError, UnavailableError


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


class UnrecordedPredictionError(RequestError):
    """The prediction was served, but is not recorded."""

    code = "unrecorded_prediction"

    def __init__(self, prediction_id: str) -> None:
        super().__init__(prediction_id)
        self.prediction_id = prediction_id

    def __str__(self) -> str:
        return (
            f"prediction {self.prediction_id!r} was served, but is not recorded: its router died "
            f"within 20 ms, it is older than experiments.keep_days, or it was outside experiments "
            f"while experiments.record_all is false; do not send its outcome again"
        )


class UnknownPredictionError(RequestError):
    """No prediction with that id was served."""

    code = "unknown_prediction"

    def __init__(self, prediction_id: str) -> None:
        super().__init__(prediction_id)
        self.prediction_id = prediction_id

    def __str__(self) -> str:
        return (
            f"no prediction {self.prediction_id!r} was served; send the prediction_id of a response"
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
