"""The words that the glossary bans occur nowhere in the sources."""

import re
import subprocess

import pytest

from testkit.paths import ROOT
from testkit.snippets import page

PAGE = page("docs/glossary.md")
KINDS = (".py", ".md", ".yaml", ".yml", ".toml", ".jinja", ".css", ".sh", "Makefile", "run")
LEFT_OUT = (
    "docs/glossary.md",
    "tests/docs/test_language.py",
    "optimization/search/evidence_keys.py",
    "benchmarks/results/",
    "tests/upgrade/data/",
)


def banned_words() -> list[str]:
    """Return the words of the column Not and of the section on style."""
    cells = [row[2] for row in PAGE.rows()]
    style = PAGE.section("Style").split("\n\n")[0]
    return re.findall(r"`([^`]+)`", " ".join([*cells, style]))


def allowed_phrases() -> list[str]:
    """Return the phrases that are correct although they contain a banned word."""
    return re.findall(r"`([^`]+)`", PAGE.section("Style").split("\n\n")[1])


def pattern_of(phrases: list[str]) -> re.Pattern[str]:
    """Return a pattern for phrases in prose, in snake_case and in CamelCase, and across lines."""
    gap = r"(?:[\s_-]|\n\s*#)+"
    words = [re.split(r"[\s-]", phrase) for phrase in phrases]
    spaced = "|".join(gap.join(map(re.escape, parts)) for parts in words)
    camel = "|".join("".join(part[:1].upper() + part[1:] for part in parts) for parts in words)
    return re.compile(rf"(?<![A-Za-z])(?i:{spaced})(?![a-z])|(?<=[a-z])(?:{camel})(?![a-z])")


BANNED = pattern_of(banned_words())
ALLOWED = pattern_of(allowed_phrases())


def findings(text: str) -> list[str]:
    """Return the banned words of a text, each with the number of its line."""
    text = ALLOWED.sub(lambda found: "-" * 3 + "\n" * found[0].count("\n"), text)
    return [f"{text.count(chr(10), 0, at.start()) + 1}: {at[0]}" for at in BANNED.finditer(text)]


def sources() -> list[str]:
    """Return the paths of the files to search, those that git tracks."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [
        path
        for path in listed.stdout.splitlines()
        if path.endswith(KINDS) and not path.startswith(LEFT_OUT)
    ]


def test_banned_words_absent():
    """No source contains a word that the glossary bans."""
    found = {path: findings((ROOT / path).read_text(encoding="utf-8")) for path in sources()}
    assert {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "text", ["It is Proven", "for_ever", "two batch-\nmates", "AbTestArm", "carried\n# out", "ARMS"]
)
def test_findings(text):
    """A banned word is found in prose, in names, in any case and across a line break."""
    assert len(findings(text)) == 1


@pytest.mark.parametrize("text", ["the order book", "OrderBookTransformer", "alarm", "improve"])
def test_allowed(text):
    """Allowed phrases, and words that only contain a banned one, are not reported."""
    assert findings(text) == []


def test_one_term_per_row():
    """No term is banned in one row and defined in another."""
    terms = {term.strip("` ") for row in PAGE.rows() for term in row[0].split(",")}
    assert terms.isdisjoint(banned_words())
