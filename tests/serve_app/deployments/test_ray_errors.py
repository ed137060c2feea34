"""Every error of Ray is classified, and the error that a callee raised is extracted."""

import inspect

import pytest
from ray import exceptions as ray_core
from ray.exceptions import ActorDiedError, RayTaskError, TaskCancelledError
from ray.serve import exceptions as ray_serve
from ray.serve.exceptions import BackPressureError, gRPCStatusError

from serve_app.deployments.ray_errors import (
    FAILURES,
    RAY_ERRORS,
    CallFailure,
    cause_of,
    failure_of,
    raising_cause,
)
from serve_app.errors import NotServedError

REFUSAL = NotServedError("toy", "1.0.0", [])


def wrapped(error):
    return RayTaskError("predict", "a long traceback", error)


def as_ray_raises(error):
    """Return the error as `ray.get` raises it: also an instance of its cause's class."""
    return wrapped(error).as_instanceof_cause()


def exported_errors():
    return {
        member
        for module in (ray_core, ray_serve)
        for _, member in inspect.getmembers(module, inspect.isclass)
        if issubclass(member, BaseException)
    }


def test_every_error_of_ray_is_classified():
    """A release of Ray that adds or removes an error class fails here."""
    assert exported_errors() == set(FAILURES)


@pytest.mark.parametrize(
    "error",
    sorted(exported_errors(), key=lambda error: error.__name__),
    ids=lambda error: error.__name__,
)
def test_every_error_of_ray_is_caught(error):
    """`except RAY_ERRORS` misses none of them."""
    assert issubclass(error, RAY_ERRORS)


@pytest.mark.parametrize("wrap", [wrapped, as_ray_raises])
def test_a_raised_error_is_unwrapped(wrap):
    error = wrap(REFUSAL)
    assert failure_of(error) is CallFailure.RAISED
    assert cause_of(error) is REFUSAL


def test_nested_errors_are_unwrapped_to_the_first():
    """The callee's own call failed, and the callee passed the wrapped error on."""
    assert cause_of(wrapped(wrapped(REFUSAL))) is REFUSAL
    assert cause_of(gRPCStatusError(REFUSAL)) is REFUSAL


def test_a_callee_that_lost_an_actor_is_not_lost():
    assert failure_of(as_ray_raises(ActorDiedError())) is CallFailure.RAISED


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (ActorDiedError(), CallFailure.LOST),
        (BackPressureError(9, 8), CallFailure.OVERLOADED),
        (TaskCancelledError(), CallFailure.INTERNAL),
        (ValueError("not Ray's"), None),
    ],
)
def test_an_error_without_a_cause_is_its_own(error, failure):
    assert failure_of(error) is failure
    assert cause_of(error) is error


def test_an_expected_cause_is_raised_alone():
    with pytest.raises(NotServedError) as raised, raising_cause(NotServedError):
        raise as_ray_raises(REFUSAL)
    assert raised.value is REFUSAL


@pytest.mark.parametrize("error", [wrapped(ValueError("bug")), ActorDiedError()])
def test_any_other_error_is_raised_as_it_is(error):
    with pytest.raises(type(error)) as raised, raising_cause(NotServedError):
        raise error
    assert raised.value is error
