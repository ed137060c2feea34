"""CONTRIBUTING.md names targets, tests and pages that exist."""

import re

from testkit.paths import ROOT
from testkit.snippets import page

PAGE = page("CONTRIBUTING.md")


def test_setup_takes_three_commands():
    """The set-up is one block of three lines."""
    assert len(PAGE.block("bash", "Set up").splitlines()) == 3


def test_make_targets():
    """Every target of make that the page names is one of the Makefile."""
    makefile = (ROOT / "Makefile").read_text()
    named = set(re.findall(r"\bmake ([a-z-]+)", PAGE.block("bash", "Set up")))
    named |= set(re.findall(r"`make ([a-z-]+)`", PAGE.prose()))
    assert named >= {"check", "test", "test-unit"}
    assert [name for name in named if not re.search(rf"^{name}:", makefile, re.MULTILINE)] == []


def test_paths_of_commands():
    """The tests that the commands run exist."""
    paths = re.findall(r"\b(tests/\S+\.py)", PAGE.block("bash", "Run one test"))
    assert len(paths) == 2
    assert all((ROOT / path).is_file() for path in paths)


def test_recipes():
    """The page explains how to add a setting, an error, an endpoint and a metric."""
    recipes = [heading for heading in PAGE.headings if heading.startswith("Add ")]
    assert recipes == ["Add a setting", "Add an error", "Add an endpoint", "Add a metric"]
