"""docs/guides/operations.md says what is so: its flags, settings, commands, codes and log lines."""

import re
import shlex
from pathlib import Path
from typing import get_args

import click
import pytest
import typer
import yaml
from ray.scripts.scripts import cli as ray_cli
from ray.serve.scripts import cli as serve_cli

from serve_app.api.rest import errors
from serve_app.api.rest.schemas import HealthAnswer
from serve_app.app import require_gpus
from serve_app.cli import app
from serve_app.errors import SettingsError
from serve_app.launch import environment
from serve_app.launch.environment import SERVER_ENVIRONMENT
from serve_app.settings import AppSettings
from testkit.paths import ROOT

DOCUMENT = (ROOT / "docs" / "guides" / "operations.md").read_text()
SOURCES = "\n".join(path.read_text() for path in (ROOT / "serve_app").rglob("*.py"))
PROGRAMS = {"modelctl": typer.main.get_command(app), "serve": serve_cli, "ray": ray_cli}


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", DOCUMENT, flags=re.DOTALL)


def section(heading):
    return DOCUMENT.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def rows(text):
    """Return the cells of a section's tables, without headings and rules."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def commands():
    """Return the words of every call of a program of ours or Ray's in the shell snippets."""
    inner = re.compile(r'^(?:eval "\$\(|kubectl exec .* -- |.*\bxargs )')
    lines = [inner.sub("", line) for block in blocks("bash") for line in block.splitlines()]
    words = [shlex.split(line.removesuffix(')"')) for line in lines if not line.startswith("kube")]
    inline = [shlex.split(each) for each in re.findall(r"`(modelctl [a-z][^`]*)`", DOCUMENT)]
    return [each for each in (*words, *inline) if each and each[0] in PROGRAMS]


def test_every_flag_is_described_with_its_value_effect_and_cost():
    described = {}
    for name, value, effect, cost in (each for each in rows(section("Environment"))[1:]):
        assert effect
        assert cost
        described[name.strip("`")] = value.strip("`")
    assert described == dict(SERVER_ENVIRONMENT)


def test_the_further_flags_of_modelctl_serve_are_as_many_as_it_says():
    assert len(environment.haproxy_files(Path("/tmp"))) == 5
    assert "further five for HAProxy's files" in " ".join(section("Environment").split())


@pytest.mark.parametrize("snippet", blocks("yaml"))
def test_every_snippet_is_settings_that_mean_what_it_shows(snippet):
    shown = yaml.safe_load(snippet)
    settings = AppSettings.model_validate(shown)
    assert settings.model_dump(mode="json", exclude_unset=True) == shown


def test_the_refusal_without_gpus_is_quoted_as_it_is():
    (snippet,) = re.findall(r"```yaml\n(.*?)```", section("GPUs"), flags=re.DOTALL)
    settings = AppSettings.model_validate(yaml.safe_load(snippet))
    with pytest.raises(SettingsError) as refusal:
        require_gpus(settings.versions, 0)
    (quoted,) = re.findall(r"`(versions: .*?)…`", " ".join(section("GPUs").split()))
    assert str(refusal.value).startswith(quoted)


def test_there_are_snippets_and_commands():
    assert len(blocks("yaml")) >= 5
    assert {each[0] for each in commands()} == set(PROGRAMS)


@pytest.mark.parametrize("words", commands(), ids=shlex.join)
def test_every_command_is_one_that_its_program_takes(words):
    """Parsed by the program itself, and not run."""
    command, arguments = PROGRAMS[words[0]], words[1:]
    while isinstance(command, click.Group):
        name, arguments = arguments[0], arguments[1:]
        found = command.get_command(click.Context(command), name)
        assert found is not None, name
        command = found
    command.make_context(words[0], arguments)


def test_every_code_of_an_answer_is_one_that_the_server_gives():
    known = {(status, error.code) for error, status in errors.STATUS.items()}
    named = [row[0] for row in rows(section("Promote"))[1:]]
    assert len(named) == 4
    for each in named:
        status, code = each.split()
        assert (int(status), code.strip("`")) in known


def test_every_state_of_health_is_described():
    described = re.findall(r"^\| `(\w+)`", section("When something is wrong"), flags=re.MULTILINE)
    assert set(described) == set(get_args(HealthAnswer.model_fields["status"].annotation))


def test_every_line_to_look_for_is_one_that_is_written():
    """Of each line its fixed part, with a placeholder in capitals where the line has a value."""
    table = section("When something is wrong").split("| You see | Do |")[1]
    lines = re.findall(r"^\| `([^`]+)`", table, flags=re.MULTILINE)
    assert len(lines) >= 8
    for line in lines:
        parts = [each.strip() for each in re.split(r"\b[A-Z]{2,}(?::[A-Z]+)?\b|\bN\b", line)]
        missing = [each for each in parts if each and each not in SOURCES]
        assert not missing, line


def test_every_link_leads_somewhere():
    links = re.findall(r"\]\(([^)#]+)\)", DOCUMENT)
    local = [link for link in links if not link.startswith("https://")]
    assert local
    assert [link for link in local if not (ROOT / "docs" / "guides" / link).exists()] == []
