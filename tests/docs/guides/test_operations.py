"""The flags, settings, commands, codes and log lines of the guide to operations are the code's."""

import re
import shlex
from pathlib import Path
from typing import get_args

import pytest
import typer
import yaml
from ray.scripts.scripts import cli as ray_cli
from ray.serve.scripts import cli as serve_cli

from serve_app.api.rest import errors
from serve_app.api.rest.schemas import HealthResponse
from serve_app.app import require_gpus
from serve_app.cli import app
from serve_app.errors import SettingsError
from serve_app.launch import environment
from serve_app.launch.environment import SERVER_ENVIRONMENT
from serve_app.settings import AppSettings
from testkit.paths import ROOT
from testkit.snippets import page

PAGE = page("docs/guides/operations.md")
SOURCES = "\n".join(
    path.read_text()
    for package in ("storage", "registry", "serve_app")
    for path in (ROOT / package).rglob("*.py")
)
PROGRAMS = {"modelctl": typer.main.get_command(app), "serve": serve_cli, "ray": ray_cli}


def commands():
    """Return the words of every call of our or Ray's programs in the shell snippets."""
    inner = re.compile(r'^(?:eval "\$\(|kubectl exec .* -- |.*\bxargs )')
    lines = [inner.sub("", line) for block in PAGE.blocks("bash") for line in block.splitlines()]
    words = [shlex.split(line.removesuffix(')"')) for line in lines if not line.startswith("kube")]
    inline = [shlex.split(call) for call in re.findall(r"`(modelctl [a-z][^`]*)`", PAGE.text)]
    return [call for call in (*words, *inline) if call and call[0] in PROGRAMS]


def test_flags_described():
    """The page gives the value, effect and cost of every flag of the server's environment."""
    described = {}
    for name, value, effect, cost in PAGE.rows("Environment"):
        assert effect
        assert cost
        described[name.strip("`")] = value.strip("`")
    assert described == dict(SERVER_ENVIRONMENT)


def test_haproxy_flags_counted():
    """`modelctl serve` sets as many flags for the files of HAProxy as the page states."""
    assert len(environment.haproxy_files(Path("/tmp"))) == 5
    assert "further five for HAProxy's files" in PAGE.prose("Environment")


@pytest.mark.parametrize("snippet", PAGE.blocks("yaml"))
def test_yaml_snippets_are_settings(snippet):
    """Every YAML snippet parses to exactly the settings that it shows."""
    shown = yaml.safe_load(snippet)
    settings = AppSettings.model_validate(shown)
    assert settings.model_dump(mode="json", exclude_unset=True) == shown


def test_gpu_error_quoted():
    """The page quotes the error for missing GPUs word for word."""
    snippet = PAGE.block("yaml", "GPUs")
    settings = AppSettings.model_validate(yaml.safe_load(snippet))
    with pytest.raises(SettingsError) as refusal:
        require_gpus(settings.versions, 0)
    (quoted,) = re.findall(r"`(versions: .*?)…`", PAGE.prose("GPUs"))
    assert str(refusal.value).startswith(quoted)


def test_snippets_found():
    """The other tests of this module find snippets and commands to check."""
    assert len(PAGE.blocks("yaml")) >= 5
    assert {call[0] for call in commands()} == set(PROGRAMS)


@pytest.mark.parametrize("words", commands(), ids=shlex.join)
def test_commands_parse(words):
    """Every command is parsed by its own program; none is run."""
    command, arguments = PROGRAMS[words[0]], words[1:]
    while hasattr(command, "commands"):  # Typer bundles its own click
        name, *arguments = arguments
        command = command.commands[name]
    if arguments or not is_mention(words):
        command.make_context(words[0], arguments)


def is_mention(words):
    """Return whether prose names a command without a call of it, as in `modelctl serve`."""
    return f"`{' '.join(words)}`" in PAGE.text


def test_error_codes():
    """Every pair of status and code in the table on reload is one of the server."""
    known = {(status, error.code) for error, status in errors.STATUS.items()}
    named = [row[0] for row in PAGE.rows("Promote")]
    assert len(named) == 5
    for row in named:
        status, code = row.split()
        assert (int(status), code.strip("`")) in known


def test_health_states_described():
    """The page describes every state that the health endpoint reports."""
    states, components = PAGE.tables("When something is wrong")[:2]
    described = {re.findall(r"`(\w+)`", row[0])[0] for row in states}
    assert described == set(get_args(HealthResponse.model_fields["status"].annotation))
    watched = re.findall(
        r'"(\w+)": [\w.]+problem,', (ROOT / "serve_app/deployments/router.py").read_text()
    )
    assert [row[0] for row in components] == [f"`{name}`" for name in watched]


def test_log_lines_exist():
    """The fixed parts of every log line of the page occur in the sources.

    A placeholder in capitals marks where a line has a value.
    """
    cells = [row[0] for row in PAGE.tables("Log lines")[0]]
    lines = [line for cell in cells for line in re.findall(r"`([^`]+)`", cell)]
    assert len(lines) >= 20
    for line in lines:
        parts = [part.strip() for part in re.split(r"\b[A-Z]{2,}(?::[A-Z]+)?\b|\bN\b", line)]
        missing = [part for part in parts if part and part not in SOURCES]
        assert not missing, line
