"""Every alert has a page of the runbook, with the code's own words and commands that exist."""

import re
import shlex

import pytest
import typer
from ray.scripts.scripts import cli as ray_cli
from ray.serve.scripts import cli as serve_cli

from serve_app.cli import app
from serve_app.launch.supervision import EFFECTS
from testkit.paths import ROOT
from testkit.snippets import Page, page

INDEX = page("docs/runbook/index.md")
PAGES = {
    path.name: Page(path)
    for path in sorted((ROOT / "docs/runbook").glob("*.md"))
    if path != INDEX.path
}
SECTIONS = ["Symptom", "Impact on bots", "Checks", "Remedy", "Verify"]
SOURCES = "\n".join(
    path.read_text()
    for package in ("storage", "registry", "serve_app")
    for path in (ROOT / package).rglob("*.py")
)
WORDS = re.sub(r'"\s+f?"', "", SOURCES)
"""The sources with texts that continue on the next line in one piece."""
PROGRAMS = {"modelctl": typer.main.get_command(app), "serve": serve_cli, "ray": ray_cli}
CONDITIONS = ("ended", "stopped by a signal", "no response", "failing", "running again after")


def alerts():
    return INDEX.tables()[1]


def lines():
    """Return the log lines of every page."""
    return [
        line
        for one in PAGES.values()
        for block in one.blocks("text")
        for line in block.splitlines()
    ]


def commands():
    """Return the words of every call of our or Ray's programs on the pages."""
    blocks = [block for one in PAGES.values() for block in one.blocks("bash")]
    calls = [line for block in blocks for line in block.splitlines()]
    return [call for call in map(shlex.split, calls) if call[0] in PROGRAMS]


def test_every_page_is_listed():
    """The table of alerts links to every page of the runbook, and to no other."""
    linked = {re.findall(r"\]\(([^)]+)\)", row[-1])[0] for row in alerts()}
    assert linked == set(PAGES)
    severities = {row[0] for row in INDEX.tables()[0]}
    assert {row[2] for row in alerts()} == severities


@pytest.mark.parametrize("name", PAGES)
def test_sections(name):
    """Every page has the same sections, none of them empty."""
    checked = PAGES[name]
    assert checked.headings[1:] == SECTIONS
    assert all(checked.section(heading).strip() for heading in SECTIONS)


def test_health_problems_are_alerts():
    """Every component that health names is an alert."""
    router = (ROOT / "serve_app/deployments/router.py").read_text()
    watched = set(re.findall(r'"(\w+)": [\w.]+problem,', router))
    listed = {name for row in alerts() for name in re.findall(r"`problems`: `(\w+)`", row[0])}
    assert listed == watched
    assert len(watched) == 6


def test_supervised_components_are_alerts():
    """Every component that `modelctl serve` observes is an alert."""
    listed = " ".join(row[0] for row in alerts())
    assert [str(component) for component in EFFECTS if str(component) not in listed] == []


@pytest.mark.parametrize("line", lines())
def test_log_lines_exist(line):
    """The fixed parts of every log line occur in the sources.

    A placeholder in capitals marks where a line has a value.
    """
    component, _, condition = line.partition(": ")
    if condition.startswith(CONDITIONS):
        assert component in map(str, EFFECTS)
        return
    placeholder = r"\b(?:NAME:VERSION|REASON|MODE|N)\b"
    # A component may also be a value: `fleet has a problem: REASON`.
    parts = [part.strip() for part in re.split(placeholder, line) if part.strip()]
    for name in ("bar_log", "experiment_log", "predictor", "registry", "fleet", "server"):
        parts = [part.removeprefix(f"{name} ").removeprefix(f"{name}: ") for part in parts]
    assert [part for part in parts if part.rstrip(":;") not in WORDS] == []


@pytest.mark.parametrize("words", commands(), ids=shlex.join)
def test_commands_parse(words):
    """Every command is parsed by its own program; none is run."""
    command, arguments = PROGRAMS[words[0]], words[1:]
    while hasattr(command, "commands"):  # Typer bundles its own click
        name, *arguments = arguments
        command = command.commands[name]
    command.make_context(words[0], arguments)


def test_lines_and_commands_found():
    assert len(lines()) >= 20
    assert {call[0] for call in commands()} == {"modelctl", "serve"}
