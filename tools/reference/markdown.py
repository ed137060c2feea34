"""Pieces of Markdown that the pages share."""

import re
from collections.abc import Iterable, Sequence


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; line breaks in cells become spaces, and bars are escaped."""
    lines = [_line(headings), _line(["---"] * len(headings)), *map(_line, rows)]
    return "\n".join(lines) + "\n"


def code(text: object) -> str:
    """Return inline code."""
    return f"`{text}`"


def docstring(text: str) -> str:
    """Return a docstring as Markdown: its sections as lists, its indented blocks as code."""
    lines: list[str] = []
    in_section = False
    for line in text.splitlines():
        if re.fullmatch(r"(Args|Returns|Raises|Yields):", line):
            in_section = True
            lines += [f"**{line}**", ""]
        elif in_section and re.match(r"    \S", line):
            name, colon, rest = line.strip().partition(": ")
            lines.append(f"- `{name}`: {rest}" if colon else f"- {line.strip()}")
        elif in_section and line.startswith("        "):
            lines.append(f"  {line.strip()}")
        else:
            in_section = in_section and not line.strip()
            lines.append(line)
    return "\n".join(lines).strip() + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"
