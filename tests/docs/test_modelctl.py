"""The documentation calls only commands and options that `modelctl` has."""

import re
import shlex

import pytest
from typer.main import get_command

from serve_app.cli import app
from testkit.paths import ROOT
from testkit.snippets import Page

PAGES = [
    path
    for path in [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
    if "modelctl" in path.read_text(encoding="utf-8")
]


def calls_of(page: Page) -> list[str]:
    """Return the calls of `modelctl` in the code blocks and the inline code of a page."""
    blocks = "\n".join(page.blocks("bash")).replace("\\\n", " ")
    inline = re.findall(r"`([^`\n]+)`", page.text)
    found = [re.search(r"\bmodelctl ([a-z].*)", line) for line in [*blocks.splitlines(), *inline]]
    return [match[1] for match in found if match]


def problem_of(call: str) -> str | None:
    """Return the problem with a call; None if there is none."""
    words = shlex.split(re.split(r"\)|;|&&|\|| #", call)[0].replace('"', ""), posix=True)
    command = get_command(app)
    while words and hasattr(command, "commands"):
        name = words.pop(0)
        if name not in command.commands:
            return f"modelctl {call}: no command {name}"
        command = command.commands[name]
    options = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    unknown = [word for word in words if word.startswith("-") and word not in options]
    return f"modelctl {call}: no option {unknown}" if unknown else None


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_calls(path):
    """Each command and option of a page exists."""
    assert [problem for call in calls_of(Page(path)) if (problem := problem_of(call))] == []


def test_calls_are_found():
    """The operations guide calls several commands, so that the search finds them."""
    assert len(calls_of(Page(ROOT / "docs/guides/operations.md"))) > 10
