"""The commands on the versions of a running server, with their exit codes."""

import asyncio
import os
import sys

import pytest

from serve_app.timeouts import CLIENT_COMMAND_S
from testkit.fake_server import MODELS, RELOAD, Disconnect, Reply, error
from tests.serve_app.cli.commands import cells, error_text, printed
from tests.serve_app.cli.commands import modelctl_beside as modelctl

SERVED = [
    {"name": "m", "version": "1.0.0", "stage": "Production", "model_type": "T", "loaded": True},
    {"name": "m", "version": "1.1.0", "stage": "None", "model_type": "T", "loaded": False},
]
RELOADED = {
    "status": "success",
    "message": "m:1.1.0 is loaded; production is 1.1.0",
    "model_name": "m",
    "version": "1.1.0",
}


async def test_served(server):
    """`served` lists the versions of the server, as a table and as JSON."""
    server.script(MODELS, Reply(SERVED))
    table = await modelctl("served", "--url", server.url)
    assert cells(table) == [
        ["model", "version", "stage", "loaded"],
        ["m", "1.0.0", "Production", "yes"],
        ["m", "1.1.0", "None", "no"],
    ]
    assert printed(await modelctl("served", "--url", server.url, "--json")) == SERVED


async def test_served_notes(server):
    """`served` states which settings serve, and why the changed ones do not."""
    changed = [
        {**SERVED[0], "pending": True, "problem": "no module named torch"},
        {**SERVED[0], "pending": True, "problem": None},
        {**SERVED[1], "pending": False, "problem": "it is damaged"},
        {**SERVED[0], "pending": False, "problem": None},
    ]
    server.script(MODELS, Reply(changed))
    table = await modelctl("served", "--url", server.url)
    assert [row[-1] for row in cells(table)] == [
        "note",
        "previous settings serve: no module named torch",
        "previous settings serve: the changed ones are loading",
        "it is damaged",
        "",
    ]


async def test_served_empty(server):
    """A server without versions is not an error."""
    server.script(MODELS, Reply([]))
    done = await modelctl("served", MODELCTL_URL=server.url)
    assert (done.exit_code, done.stdout) == (0, f"nothing is served at {server.url}\n")
    assert printed(await modelctl("served", "--json", MODELCTL_URL=server.url)) == []


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        (("m",), {"model_name": "m"}),
        (("m", "1.1.0"), {"model_name": "m", "version": "1.1.0"}),
        (("m", "staging"), {"model_name": "m", "version": "staging"}),
    ],
)
async def test_reload(server, arguments, sent):
    """`reload` sends the version and prints the server's message."""
    server.script(MODELS, Reply(SERVED))
    server.script(RELOAD, Reply(RELOADED))
    done = await modelctl("reload", *arguments, "--url", server.url)
    assert (done.exit_code, done.stdout) == (0, "m:1.1.0 is loaded; production is 1.1.0\n")
    assert server.received[RELOAD] == [sent]
    done = await modelctl("reload", *arguments, "--json", MODELCTL_URL=server.url)
    assert printed(done) == RELOADED


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (404, "not_registered", "nothing to load: model 'm' has no version '9.9.9'"),
        (409, "reload_in_progress", "m is being reloaded to 1.1.0 already"),
        (422, "unusable_version", "m:1.1.0 cannot be loaded, and nothing was changed: damaged"),
    ],
)
async def test_rejection(server, status, code, message):
    """A rejection by the server is one line on stderr and exit code 1."""
    server.script(MODELS, Reply(SERVED))
    server.script(RELOAD, Reply(error(code, message), status))
    done = await modelctl("reload", "m", "1.1.0", "--url", server.url, "--json")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == f"error: the model server returned {status} {code}: {message}\n"


async def test_reason_is_printed_once(server):
    """In a separate process, the client's log line does not repeat the reason on stderr."""
    server.script(MODELS, Reply(SERVED))
    server.script(RELOAD, Reply(error("reload_in_progress", "wait"), 409))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from serve_app.cli import app; app()", "reload", "m"),
        env={**os.environ, "MODELCTL_URL": server.url},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert (process.returncode, out) == (1, b"")
    assert err == b"error: the model server returned 409 reload_in_progress: wait\n"


async def test_unreachable_server(free_port):
    """An unreachable server is reported without the long wait for a version."""
    url = f"http://127.0.0.1:{free_port}"
    async with asyncio.timeout(CLIENT_COMMAND_S / 4):
        done = await modelctl("reload", "m", "--url", url)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: cannot reach the model server at {url}")


async def test_reload_is_retried(server):
    """A reload whose router dies is sent again."""
    server.script(MODELS, Reply(SERVED))
    server.script(RELOAD, Disconnect(), Reply(RELOADED))
    done = await modelctl("reload", "m", "--url", server.url)
    assert (done.exit_code, len(server.received[RELOAD])) == (0, 2)


async def test_invalid_url():
    """An invalid URL ends with exit code 2."""
    done = await modelctl("served", "--url", "localhost:8001")
    assert done.exit_code == 2
    assert "expected http(s)://host:port" in error_text(done)
