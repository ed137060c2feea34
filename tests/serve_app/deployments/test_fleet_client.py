"""The fleet's client turns every failure of a call into an error of serving."""

import asyncio
from types import SimpleNamespace

import pytest
from ray.exceptions import ActorDiedError, RayTaskError
from ray.serve.exceptions import DeploymentUnavailableError

from serve_app.deployments import fleet_client
from serve_app.deployments.fleet_client import FleetClient
from serve_app.errors import (
    FleetUnavailableError,
    NotRegisteredError,
    ReloadInProgressError,
    SettingsError,
)


class Method:
    """A method of the fleet's handle that returns, or raises, `result`."""

    def __init__(self, result):
        self.result = result

    async def remote(self, *_args):
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


def client(result):
    return FleetClient(SimpleNamespace(reload=Method(result)))


def wrapped(error):
    return RayTaskError("reload", "a long traceback", error).as_instanceof_cause()


async def test_a_call_returns_the_fleets_result():
    assert await client("loaded").reload("m", None, "bot") == "loaded"


@pytest.mark.parametrize("wrap", [lambda error: error, wrapped])
@pytest.mark.parametrize(
    "error", [ReloadInProgressError("m", "1.0.0"), NotRegisteredError("m", "1.0.0", "none")]
)
async def test_a_rejection_is_raised_as_it_was(error, wrap):
    """Over gRPC it arrives as it was raised, through an actor call it is wrapped."""
    with pytest.raises(type(error)) as caught:
        await client(wrap(error)).reload("m", None, "bot")
    assert caught.value is error


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (wrapped(SettingsError("versions", "none")), "versions: none"),
        (wrapped(KeyError("bug")), "KeyError"),
        (ActorDiedError(), "ActorDiedError"),
        (DeploymentUnavailableError("Fleet"), "DeploymentUnavailableError"),
    ],
    ids=["startup", "bug", "dead", "not deployed"],
)
async def test_any_other_failure_makes_the_fleet_unavailable(error, problem):
    with pytest.raises(FleetUnavailableError, match=problem):
        await client(error).reload("m", None, "bot")


async def test_a_late_response_makes_the_fleet_unavailable(monkeypatch):
    monkeypatch.setattr(fleet_client, "FLEET_REQUEST_S", 0.01)

    async def never(*_args):
        await asyncio.Event().wait()

    handle = SimpleNamespace(request=SimpleNamespace(remote=never))
    with pytest.raises(FleetUnavailableError, match="no response within 0 s"):
        await FleetClient(handle).request("m", "1.0.0")
