"""The bar log's client turns every failure into an error of serving."""

import asyncio

import pytest
from ray.exceptions import ActorDiedError, RayTaskError

from serve_app.deployments.actors import bar_log_client
from serve_app.deployments.actors.bar_log_client import BarLogClient
from serve_app.errors import BarsUnavailableError, UnknownSymbolError


class Log:
    """A handle that returns a result, or raises an error, from every method."""

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
    return RayTaskError("bars", "a long traceback", error).as_instanceof_cause()


async def test_calls_are_passed_on():
    log = Log("report")
    assert await BarLogClient(log).append([]) == "report"
    assert log.calls == ["append", ([],)]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (raised(UnknownSymbolError("X", "1h", [])), UnknownSymbolError),
        (raised(BarsUnavailableError("full")), BarsUnavailableError),
        (raised(ZeroDivisionError()), ZeroDivisionError),
        (ActorDiedError(), BarsUnavailableError),
        (TimeoutError(), BarsUnavailableError),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
async def test_a_failure_is_raised_as_a_serving_error(error, expected):
    with pytest.raises(expected):
        await BarLogClient(Log(error)).symbols()


async def test_no_response(monkeypatch):
    """A bar log that hangs is unavailable."""
    monkeypatch.setattr(bar_log_client, "BAR_LOG_S", 0.01)

    class Hanging(Log):
        async def remote(self, *args):
            await asyncio.sleep(60)

    with pytest.raises(BarsUnavailableError, match=r"no response within 0.01 s"):
        await BarLogClient(Hanging(None)).problem()
