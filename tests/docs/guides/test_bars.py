"""The guide to bars: its example runs, and its claims match the code."""

import asyncio
import json

from features.timeframes import NAMES
from serve_app.api.rest import schemas
from serve_app.api.rest.bar_parsing import read_pushes
from serve_app.api.rest.slices import run_at_once
from testkit.fake_server import BARS, SYMBOLS, FakeServer, Reply
from testkit.snippets import SERVER_URL, page, run_python

PAGE = page("docs/guides/bars.md")


async def test_example():
    """The example runs against a server that responds, without a warning."""
    (example,) = PAGE.blocks("python")
    report = {"accepted": 1, "duplicates": 0, "revised": 0, "rejected": []}
    async with FakeServer() as server:
        server.script(BARS, Reply(report))
        server.script(f"{BARS}/EURUSD", Reply({"bars": [{"close": 1.175}], "gaps": []}))
        server.script(SYMBOLS, Reply([{"symbol": "EURUSD"}]))
        await asyncio.to_thread(run_python, example.replace(SERVER_URL, server.url))


def test_push():
    """The body in the guide is accepted, and its response has the documented form."""
    command = PAGE.blocks("bash")[0]
    body = command[command.index("{") : command.rindex("}") + 1]
    ((push,), is_list) = run_at_once(read_pushes(body.encode()))
    assert (push.symbol, len(push.bars), is_list) == ("EURUSD", 1, False)
    assert not push.problems.any()
    schemas.PushResponse.model_validate(json.loads(PAGE.blocks("json")[0]))


def test_parameters():
    """The table lists every parameter of a query."""
    _, table = PAGE.tables()[:2]
    documented = [row[0].strip("`") for row in table]
    assert documented == [parameter["name"] for parameter in schemas.parameters_of_bars()]


def test_timeframes():
    """The ranges of timeframes are those of the code."""
    assert {"1m", "30m", "1h", "12h", "1d", "1w"} <= set(NAMES)
    assert "60m" not in NAMES
    assert "24h" not in NAMES
