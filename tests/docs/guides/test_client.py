"""The guide to the client: its examples run, and its tables match the code."""

import asyncio
import inspect

import pytest

from serve_app import errors
from serve_app.client import ModelClient
from testkit.fake_server import (
    BATCH,
    HEALTH,
    MODELS,
    PREDICT,
    FakeServer,
    Reply,
    batch_of,
    prediction,
)
from testkit.fake_server import error as rejection
from testkit.snippets import SERVER_URL, page, run_python

PAGE = page("docs/guides/client.md")
EXAMPLES = PAGE.blocks("python")
CALLS = {
    "predict": ("BTCUSDT", [1.0]),
    "batch_predict": ([{"symbol": "BTCUSDT", "features": [1.0]}],),
    "list_models": (),
    "health_check": (),
    "reload_model": ("m",),
    "reload": ("m",),
    "create_ab_test": ("a_b", "m", "1.0.0", "m", "1.1.0"),
    "list_ab_tests": (),
    "get_ab_test_analysis": ("a_b",),
    "get_ab_test_evidence": ("a_b",),
    "stop_ab_test": ("a_b",),
    "record_outcome": ("p1", 0.1),
    "record_outcomes": ([("p1", 0.1)],),
    "push_bars": ("EURUSD", "1h", []),
    "push_all_bars": ([],),
    "push_stream": (b"stream", "EURUSD", "1h"),
    "get_bars": ("EURUSD",),
    "predict_series": ("EURUSD",),
    "symbols": (),
}
"""A call of every method that can fail."""


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
async def test_examples(example):
    """Each example runs as it stands, against a server that responds, without a warning."""
    async with FakeServer() as server:
        server.script(PREDICT, Reply(prediction()))
        server.script(BATCH, batch_of)
        server.script(HEALTH, Reply({"status": "healthy"}))
        server.script(MODELS, Reply([{"name": "net", "version": "1.0.0", "loaded": True}]))
        await asyncio.to_thread(run_python, example.replace(SERVER_URL, server.url))


def test_parameters():
    """The table lists every parameter of the constructor with its default."""
    documented = {row[0].strip("`"): row[1].strip("`") for row in PAGE.rows("Parameters")}
    parameters = inspect.signature(ModelClient).parameters.values()
    assert documented == {parameter.name: str(parameter.default) for parameter in parameters}


def test_calls():
    """The table of failures lists every method that calls the server."""
    calls, _ = PAGE.tables("Failures")
    methods = {
        name
        for name, _ in inspect.getmembers(ModelClient, inspect.iscoroutinefunction)
        if not name.startswith("_")
    }
    assert {row[0].strip("`") for row in calls} == set(CALLS) == methods - {"initialize", "cleanup"}


@pytest.mark.parametrize("name", CALLS)
async def test_result_of_failure(name):
    """If the server rejects a call, it returns the result in the table, and raises if
    documented."""
    calls, _ = PAGE.tables("Failures")
    _, result, raised = next(row for row in calls if row[0] == f"`{name}`")
    async with FakeServer() as server:
        server.default = Reply(rejection("rejected", "no"), 404)
        async with ModelClient(server.url) as client:
            failed = await getattr(client, name)(*CALLS[name])
        if name == "batch_predict":
            failed = {"symbol", "error"} & set(failed[0])
            assert failed == {"symbol", "error"}
        else:
            assert result.startswith(f"`{failed}`")
        async with ModelClient(server.url, raise_errors=True) as client:
            if raised.startswith("raises"):
                with pytest.raises(errors.ClientError):
                    await getattr(client, name)(*CALLS[name])
            else:
                assert raised == f"`{await getattr(client, name)(*CALLS[name])}`"


def test_errors():
    """The table lists every error of the client with its code."""
    _, table = PAGE.tables("Failures")
    listed = {row[0].strip("`"): row[1].strip("`") for row in table}
    raised = [
        errors.InvalidFeaturesError,
        errors.InvalidRequestError,
        *errors.ClientError.__subclasses__(),
    ]
    codes = {error.__name__: error.code for error in raised}
    assert listed == codes | {"ServerRejectedError": "the server's"}
