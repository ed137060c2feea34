"""The bot against scripted servers."""

import io
import logging
import socket

import numpy as np
import pytest
import typer
from rich.console import Console

from examples.eurusd.bot import main, replay, report_table, run
from serve_app.errors import ServerRejectedError, ServerUnreachableError
from testkit.fake_server import PREDICT, FakeServer, Reply

HOLD, BUY, SELL = 0, 1, 2


@pytest.fixture(autouse=True)
def client_log_level():
    """Restore the level of the client's log, which the bot changes for its process."""
    logger = logging.getLogger("serve_app.client")
    level = logger.level
    yield
    logger.setLevel(level)


def response(direction):
    return {
        "prediction": {"direction": direction, "confidence": 0.5, "expected_return": 0.0},
        "model_name": "m",
        "model_version": "1.0.0",
    }


class Scripted:
    """Returns the scripted directions, or raises the scripted errors."""

    def __init__(self, *replies):
        self.replies = list(replies)

    async def predict(self, symbol, features):
        assert symbol == "EURUSD"
        assert features.shape == (60, 110)
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return response(reply)


def render(replayed, samples):
    console = Console(width=120, file=io.StringIO())
    console.print(report_table(replayed, samples))
    return " ".join(console.file.getvalue().split())


async def test_replay(samples):
    """One prediction per bar is requested, in order."""
    replayed = await replay(Scripted(BUY, HOLD, SELL), samples[:3])
    assert replayed.directions == (BUY, HOLD, SELL)
    assert replayed.served_by == {"m:1.0.0": 3}
    assert len(replayed.latencies_ms) == 3


async def test_failed_prediction(samples):
    """A failed prediction counts as a failure, never as HOLD."""
    failure = ServerRejectedError(500, "internal", "broken", {})
    replayed = await replay(Scripted(BUY, failure, HOLD), samples[:3])
    assert replayed.directions == (BUY, None, HOLD)
    assert list(replayed.failures.values()) == [1]
    text = render(replayed, samples[:3])
    assert "predictions │ 2" in text
    assert "failed predictions │ 1" in text
    assert "HOLD │ 1" in text


async def test_report(samples):
    """The report states how positions are accounted for."""
    text = render(await replay(Scripted(HOLD), samples[:1]), samples[:1])
    for words in ("held 4 bars", "No spread, commission or slippage", "undefined", "p50 / p95"):
        assert words in text


async def test_lost_server(samples):
    """The replay ends if the server becomes unreachable."""
    client = Scripted(BUY, ServerUnreachableError("http://x", "refused"))
    with pytest.raises(ServerUnreachableError):
        await replay(client, samples[:2])


async def test_run(samples):
    """The bot calls a server through ModelClient."""
    async with FakeServer() as server:
        server.script(
            PREDICT,
            Reply(response(SELL)),
            Reply({"error": {"code": "invalid_features", "message": "no"}}, status=422),
        )
        replayed = await run(server.url, samples[:2])
    assert replayed.directions == (SELL, None)
    received = np.array(server.received[PREDICT][0]["features"], dtype=np.float32)
    assert np.array_equal(received, samples.windows[0])


def test_unreachable_server(capsys):
    """An unreachable server is reported as one sentence and exit code 1."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(typer.Exit) as caught:
        main(url=f"http://127.0.0.1:{port}", bars=1)
    assert caught.value.exit_code == 1
    assert "cannot reach the model server" in capsys.readouterr().err
