"""The one mapping of the errors that Ray and Ray Serve raise when a call fails.

A call through an actor handle or a deployment handle fails in one of a few ways. `failure_of`
returns which, and `cause_of` returns what the callee itself raised: over gRPC the error arrives as
it was raised, through an actor call it arrives wrapped in a RayTaskError.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum

from ray import exceptions as ray_core
from ray.serve import exceptions as ray_serve

RAY_ERRORS = (ray_core.RayError, ray_serve.RayServeException)
"""The base classes of all errors that Ray itself raises from a call."""


class CallFailure(Enum):
    """The way in which a call through Ray failed."""

    RAISED = "raised"
    """The callee ran and raised an error; `cause_of` returns it."""
    LOST = "lost"
    """The callee's process died or cannot be reached; the call may or may not have run."""
    OVERLOADED = "overloaded"
    """The queue of the callee is full; the call did not run."""
    NOT_DEPLOYED = "not deployed"
    """The deployment has failed to start, so there is nothing to call; the call did not run."""
    INTERNAL = "internal"
    """Ray itself failed: scheduling, transport, object store, cancellation."""


FAILURES: Mapping[type[Exception], CallFailure] = {
    ray_core.RayTaskError: CallFailure.RAISED,
    ray_serve.gRPCStatusError: CallFailure.RAISED,
    ray_core.RayActorError: CallFailure.LOST,
    ray_core.ActorDiedError: CallFailure.LOST,
    ray_core.ActorUnavailableError: CallFailure.LOST,
    ray_core.NodeDiedError: CallFailure.LOST,
    ray_core.WorkerCrashedError: CallFailure.LOST,
    ray_serve.ReplicaUnavailableError: CallFailure.LOST,
    ray_core.PendingCallsLimitExceeded: CallFailure.OVERLOADED,
    ray_serve.BackPressureError: CallFailure.OVERLOADED,
    ray_serve.DeploymentUnavailableError: CallFailure.NOT_DEPLOYED,
    ray_core.ActorAlreadyExistsError: CallFailure.INTERNAL,
    ray_core.ActorHandleNotFoundError: CallFailure.INTERNAL,
    ray_core.ActorPlacementGroupRemoved: CallFailure.INTERNAL,
    ray_core.ActorUnschedulableError: CallFailure.INTERNAL,
    ray_core.AsyncioActorExit: CallFailure.INTERNAL,
    ray_core.AuthenticationError: CallFailure.INTERNAL,
    ray_core.CrossLanguageError: CallFailure.INTERNAL,
    ray_core.GetTimeoutError: CallFailure.INTERNAL,
    ray_core.LocalRayletDiedError: CallFailure.INTERNAL,
    ray_core.ObjectFetchTimedOutError: CallFailure.INTERNAL,
    ray_core.ObjectFreedError: CallFailure.INTERNAL,
    ray_core.ObjectLostError: CallFailure.INTERNAL,
    ray_core.ObjectReconstructionFailedError: CallFailure.INTERNAL,
    ray_core.ObjectRefStreamEndOfStreamError: CallFailure.INTERNAL,
    ray_core.ObjectStoreFullError: CallFailure.INTERNAL,
    ray_core.OufOfBandObjectRefSerializationException: CallFailure.INTERNAL,
    ray_core.OutOfDiskError: CallFailure.INTERNAL,
    ray_core.OutOfMemoryError: CallFailure.INTERNAL,
    ray_core.OwnerDiedError: CallFailure.INTERNAL,
    ray_core.PlasmaObjectNotAvailable: CallFailure.INTERNAL,
    ray_core.RayCgraphCapacityExceeded: CallFailure.INTERNAL,
    ray_core.RayChannelError: CallFailure.INTERNAL,
    ray_core.RayChannelTimeoutError: CallFailure.INTERNAL,
    ray_core.RayDirectTransportError: CallFailure.INTERNAL,
    ray_core.RayError: CallFailure.INTERNAL,
    ray_core.RaySystemError: CallFailure.INTERNAL,
    ray_core.ReferenceCountingAssertionError: CallFailure.INTERNAL,
    ray_core.RpcError: CallFailure.INTERNAL,
    ray_core.RuntimeEnvSetupError: CallFailure.INTERNAL,
    ray_core.StreamingGeneratorReplayInconsistentError: CallFailure.INTERNAL,
    ray_core.TaskCancelledError: CallFailure.INTERNAL,
    ray_core.TaskPlacementGroupRemoved: CallFailure.INTERNAL,
    ray_core.TaskUnschedulableError: CallFailure.INTERNAL,
    ray_core.UnserializableException: CallFailure.INTERNAL,
    ray_core.UserCodeException: CallFailure.INTERNAL,
    ray_serve.RayServeException: CallFailure.INTERNAL,
    ray_serve.RequestCancelledError: CallFailure.INTERNAL,
}
"""How a call failed, by the class of the error; a test requires every class that Ray exports."""


def failure_of(error: BaseException) -> CallFailure | None:
    """Return how the call failed, None for an error that is not Ray's."""
    # An error that a callee raised also has the class of its cause, after RayTaskError.
    for base in type(error).__mro__:
        if base in FAILURES:
            return FAILURES[base]
    return None


def cause_of(error: BaseException) -> BaseException:
    """Return the error that the callee raised; `error` itself where it is not wrapped."""
    while True:
        if isinstance(error, ray_core.RayTaskError):
            error = error.cause
        elif isinstance(error, ray_serve.gRPCStatusError):
            error = error.original_exception
        else:
            return error


@contextmanager
def raising_cause(*expected: type[BaseException]) -> Iterator[None]:
    """Raise an `expected` error of the callee as the callee raised it, and any other error
    unchanged."""
    try:
        yield
    except RAY_ERRORS as error:
        cause = cause_of(error)
        if isinstance(cause, expected):
            raise cause from None
        raise
