"""Runs `modelctl` in this process, as a shell would, and captures its output."""

import asyncio
import json

from typer.testing import CliRunner

from serve_app.cli import app
from serve_app.launch.environment import NODE_ADDRESS_VARIABLE
from serve_app.launch.ray_token import MODE_VARIABLE, PATH_VARIABLE

ENVIRONMENT = {
    "COLUMNS": "200",
    "MODELCTL_REGISTRY": None,
    "MODELCTL_SERVER": None,
    "MODELCTL_URL": None,
    # Those that modelctl sets for Ray end with the command.
    MODE_VARIABLE: None,
    PATH_VARIABLE: None,
    NODE_ADDRESS_VARIABLE: None,
}
"""A wide terminal, and none of modelctl's variables."""


def modelctl(*arguments, typed=None, **environment):
    """Run a command; `typed` is the operator's input, and other names are variables."""
    done = CliRunner().invoke(
        app, [*map(str, arguments)], env={**ENVIRONMENT, **environment}, input=typed
    )
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


async def modelctl_beside(*arguments, **environment):
    """Run a command in a thread, so that this event loop can serve its requests."""
    return await asyncio.to_thread(modelctl, *arguments, **environment)


def printed(done):
    """Return the JSON that a successful command has printed."""
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def error_text(done):
    """Return a usage error on one line, without the frame around it."""
    return " ".join(done.stderr.replace("│", " ").split())


def cells(done):
    """Return the cells of the table that a command has printed, row by row."""
    lines = [line.replace("┃", "│").split("│") for line in done.stdout.splitlines()]
    return [[cell.strip() for cell in line[1:-1]] for line in lines if len(line) > 2]
