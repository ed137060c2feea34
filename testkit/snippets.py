"""Reads the pages of the documentation and runs their snippets unchanged.

A page is addressed by its path below the project's root. Sections, code blocks, tables and links
are returned as plain values, so that a test can compare them with the code.
"""

import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from testkit.environment import shell_environment
from testkit.paths import BIN, ROOT

SERVER_URL = "http://localhost:8001"
"""The address that every page uses for the server; tests replace it with their own cluster's."""


@dataclass(frozen=True)
class Page:
    """A Markdown page of the project, or a section of one.

    Every method takes the heading of a section, without its `#` characters; without a heading it
    covers the whole page.
    """

    path: Path

    @cached_property
    def text(self) -> str:
        """The text of the page."""
        return self.path.read_text(encoding="utf-8")

    def section(self, heading: str = "") -> str:
        """Return the text below a heading, up to the next heading of the same or a higher level.

        Raises:
            KeyError: the page has no such heading, or more than one.
        """
        if not heading:
            return self.text
        lines = self.text.splitlines(keepends=True)
        levels = self._heading_levels()
        found = [at for at in levels if lines[at].lstrip("#").strip() == heading]
        if len(found) != 1:
            raise KeyError(f"{self.path}: expected one heading {heading!r}, found {len(found)}")
        (start,) = found
        ends = (at for at, level in levels.items() if at > start and level <= levels[start])
        return "".join(lines[start + 1 : next(ends, len(lines))])

    def prose(self, heading: str = "") -> str:
        """Return a section's text on one line, so that a search matches across line breaks."""
        return " ".join(self.section(heading).split())

    def blocks(self, language: str, heading: str = "") -> list[str]:
        """Return the code blocks of a language in a section."""
        return re.findall(rf"^```{language}\n(.*?)^```", self.section(heading), re.DOTALL | re.M)

    def block(self, language: str, heading: str = "") -> str:
        """Return the only code block of a language in a section."""
        (block,) = self.blocks(language, heading)
        return block

    def tables(self, heading: str = "") -> list[list[list[str]]]:
        """Return the tables of a section: rows of cells, without the heading row and the rule."""
        return [rows[2:] for rows in self._tables(heading)]

    def table_headings(self, heading: str = "") -> list[list[str]]:
        """Return the heading row of every table of a section."""
        return [rows[0] for rows in self._tables(heading)]

    def rows(self, heading: str = "") -> list[list[str]]:
        """Return the rows of all tables of a section, without heading rows and rules."""
        return [row for table in self.tables(heading) for row in table]

    def links(self) -> list[str]:
        """Return the targets of all links and images of the page, code excluded."""
        return re.findall(r"\]\(([^)\s]+)\)", self.without_code)

    @property
    def without_code(self) -> str:
        """The text without code blocks and inline code."""
        return re.sub(r"`[^`\n]*`", "", without_blocks(self.text))

    @property
    def headings(self) -> list[str]:
        """The headings of the page in order, without their `#` characters."""
        lines = self.text.splitlines()
        return [lines[at].lstrip("#").strip() for at in self._heading_levels()]

    @property
    def anchors(self) -> set[str]:
        """The anchors of the page's headings, as GitHub and MkDocs derive them."""
        words = (re.sub(r"[^\w -]", "", heading) for heading in self.headings)
        return {word.strip().lower().replace(" ", "-") for word in words}

    def _heading_levels(self) -> dict[int, int]:
        """Return the level of every heading by the number of its line, from 0."""
        levels = {}
        in_code = False
        for at, line in enumerate(self.text.splitlines()):
            if line.startswith("```"):
                in_code = not in_code
            elif not in_code and (found := re.match(r"(#+) ", line)):
                levels[at] = len(found[1])
        return levels

    def _tables(self, heading: str) -> list[list[list[str]]]:
        text = without_blocks(self.section(heading))
        found = re.findall(r"(?:^\|.*\n?)+", text, flags=re.MULTILINE)
        return [[_cells(line) for line in table.splitlines()] for table in found]


def page(path: str) -> Page:
    """Return a page by its path below the project's root, for example `docs/guides/client.md`."""
    return Page(ROOT / path)


def run_python(
    code: str,
    *,
    folder: Path = ROOT,
    environment: Mapping[str, str] | None = None,
    timeout_s: float = 120,
) -> str:
    """Run a Python snippet in a separate process, with warnings as errors, and return its output.

    Args:
        folder: the working directory.
        environment: variables that are set in addition to those of this process.
    """
    return run([sys.executable, "-W", "error", "-c", code], folder, environment, timeout_s)


def run_shell(
    script: str,
    *,
    folder: Path = ROOT,
    environment: Mapping[str, str] | None = None,
    timeout_s: float = 120,
) -> str:
    """Run a shell snippet until the first command that fails, and return its output.

    `modelctl`, `ray`, `serve` and `python` are those of this environment, with or without the
    `.venv/bin/` that a page may write in front of them.

    Args:
        folder: the working directory.
        environment: variables that are set in addition to those of this process.
    """
    script = script.replace(".venv/bin/", f"{BIN}/")
    return run(["bash", "-ec", script], folder, environment, timeout_s)


def run(
    command: list[str],
    folder: Path = ROOT,
    environment: Mapping[str, str] | None = None,
    timeout_s: float = 120,
) -> str:
    """Run a command as if from a user's shell, and return its output.

    The programs of this environment come first on the path.

    Raises: AssertionError: the exit code was not 0.
    """
    shell = shell_environment()
    done = subprocess.run(
        command,
        cwd=folder,
        env={**shell, "PATH": f"{BIN}:{shell['PATH']}", **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
    )
    assert done.returncode == 0, f"{command[-1]}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def without_blocks(text: str) -> str:
    """Return a text without its code blocks."""
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def _cells(line: str) -> list[str]:
    """Return the cells of a table's line; a bar inside a cell is written `\\|`."""
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
