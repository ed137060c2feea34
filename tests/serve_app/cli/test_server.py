"""`modelctl` as it asks a running server, with its exit codes."""

import asyncio
import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from serve_app.cli import app
from serve_app.timeouts import CLIENT_COMMAND_S
from testkit.fake_server import MODELS, RELOAD, Disconnect, Reply, error

WIDE = {"COLUMNS": "200", "MODELCTL_URL": None}
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


async def modelctl(*arguments, **environment):
    def run():
        return CliRunner().invoke(app, list(arguments), env={**WIDE, **environment})

    done = await asyncio.to_thread(run)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def cells(table):
    lines = [line.replace("┃", "│").split("│") for line in table.splitlines()]
    return [[cell.strip() for cell in line[1:-1]] for line in lines if len(line) > 2]


async def test_served_lists_what_the_server_serves_as_a_table_and_as_json(server):
    server.script(MODELS, Reply(SERVED))
    table = await modelctl("served", "--url", server.url)
    assert cells(table.stdout) == [
        ["model", "version", "stage", "loaded"],
        ["m", "1.0.0", "Production", "yes"],
        ["m", "1.1.0", "None", "no"],
    ]
    listed = await modelctl("served", "--url", server.url, "--json")
    assert json.loads(listed.stdout) == SERVED


async def test_a_server_without_versions_is_no_error(server):
    server.script(MODELS, Reply([]))
    done = await modelctl("served", MODELCTL_URL=server.url)
    assert (done.exit_code, done.stdout) == (0, f"nothing is served at {server.url}\n")
    assert json.loads((await modelctl("served", "--json", MODELCTL_URL=server.url)).stdout) == []


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        (("m",), {"model_name": "m"}),
        (("m", "1.1.0"), {"model_name": "m", "version": "1.1.0"}),
        (("m", "staging"), {"model_name": "m", "version": "staging"}),
    ],
)
async def test_reload_sends_the_version_and_prints_the_servers_message(server, arguments, sent):
    server.script(MODELS, Reply(SERVED))
    server.script(RELOAD, Reply(RELOADED))
    done = await modelctl("reload", *arguments, "--url", server.url)
    assert (done.exit_code, done.stdout) == (0, "m:1.1.0 is loaded; production is 1.1.0\n")
    assert server.received[RELOAD] == [sent]
    answer = await modelctl("reload", *arguments, "--json", MODELCTL_URL=server.url)
    assert json.loads(answer.stdout) == RELOADED


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (404, "not_registered", "nothing to load: model 'm' has no version '9.9.9'"),
        (409, "reload_in_progress", "m is being reloaded to 1.1.0 already"),
        (422, "unusable_version", "m:1.1.0 cannot be loaded, and nothing was changed: damaged"),
    ],
)
async def test_what_the_server_refuses_is_one_line_on_stderr_and_exit_code_1(
    server, status, code, message
):
    server.script(MODELS, Reply(SERVED))
    server.script(RELOAD, Reply(error(code, message), status))
    done = await modelctl("reload", "m", "1.1.0", "--url", server.url, "--json")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == f"error: the model server answered {status} {code}: {message}\n"


async def test_a_shell_sees_the_reason_once(server):
    """A process of its own, where the client's log lines would go to stderr as well."""
    server.script(MODELS, Reply(SERVED))
    server.script(RELOAD, Reply(error("reload_in_progress", "wait"), 409))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from serve_app.cli import app; app()", "reload", "m"),
        env={**os.environ, "MODELCTL_URL": server.url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert (process.returncode, out) == (1, b"")
    assert err == b"error: the model server answered 409 reload_in_progress: wait\n"


async def test_a_server_that_is_not_there_is_named_and_not_waited_for_as_for_a_version(free_port):
    url = f"http://127.0.0.1:{free_port}"
    async with asyncio.timeout(CLIENT_COMMAND_S / 4):
        done = await modelctl("reload", "m", "--url", url)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: cannot reach the model server at {url}")


async def test_a_reload_whose_router_dies_is_sent_again(server):
    server.script(MODELS, Reply(SERVED))
    server.script(RELOAD, Disconnect(), Reply(RELOADED))
    done = await modelctl("reload", "m", "--url", server.url)
    assert (done.exit_code, len(server.received[RELOAD])) == (0, 2)


async def test_a_url_that_is_none_is_exit_code_2():
    done = await modelctl("served", "--url", "localhost:8001")
    assert done.exit_code == 2
    assert "expected http(s)://host:port" in " ".join(done.stderr.replace("│", " ").split())


async def test_reload_wants_a_name():
    assert (await modelctl("reload")).exit_code == 2
