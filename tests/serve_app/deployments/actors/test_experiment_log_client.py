"""The experiment log's client turns every failure into an error of serving."""

import pytest
from ray.exceptions import ActorDiedError, RayTaskError

from serve_app.deployments.actors.experiment_log_client import ExperimentLogClient
from serve_app.errors import (
    ExperimentConflictError,
    InvalidRequestError,
    NoSuchExperimentError,
    StorageUnavailableError,
)
from serve_app.experiments.store_errors import (
    ExperimentExistsError,
    FullStoreError,
    ModelInExperimentError,
    UnknownExperimentError,
)


class Log:
    """An experiment log's handle that returns a result, or raises an error, from every method."""

    def __init__(self, result):
        self.result, self.calls = result, []

    def __getattr__(self, name):
        self.calls.append(name)
        return self

    async def remote(self, *args):
        self.calls.append(args)
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


def raised(error):
    return RayTaskError("experiment", "a long traceback", error).as_instanceof_cause()


async def test_calls_are_limited_to_the_application():
    log = Log(["found"])
    assert await ExperimentLogClient(log, "trading").running() == ["found"]
    assert log.calls == ["running", ("trading",)]


async def test_many_outcomes_are_sent_in_several_calls():
    """The results of outcomes keep their order over all calls, each of which is short."""

    class Echo:
        def __init__(self):
            self.record_outcomes, self.sizes = self, []

        async def remote(self, outcomes):
            self.sizes.append(len(outcomes))
            return [f"recorded {outcome}" for outcome in outcomes]

    log = Echo()
    recorded = await ExperimentLogClient(log, "trading").record_outcomes([*range(2500)])
    assert recorded == [f"recorded {index}" for index in range(2500)]
    assert log.sizes == [1000, 1000, 500]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (raised(UnknownExperimentError("e", ["a", "b"])), NoSuchExperimentError),
        (raised(ExperimentExistsError("e", "running")), ExperimentConflictError),
        (raised(ModelInExperimentError("m", "e")), ExperimentConflictError),
        (raised(FullStoreError("sqlite:///x.db", "disk full")), StorageUnavailableError),
        (raised(InvalidRequestError("field", "a", "b")), InvalidRequestError),
        (ActorDiedError(), StorageUnavailableError),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
async def test_a_failure_is_raised_as_a_serving_error(error, expected):
    with pytest.raises(expected) as caught:
        await ExperimentLogClient(Log(error), "trading").experiment("e")
    assert type(caught.value) is expected


async def test_a_fault_of_the_log_keeps_its_traceback():
    with pytest.raises(RayTaskError, match="a long traceback"):
        await ExperimentLogClient(Log(raised(KeyError("bug"))), "trading").experiment("e")
