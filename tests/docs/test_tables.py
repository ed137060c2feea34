"""Tables of the pages contain facts: headings on every column, and short cells."""

import re

import pytest

from testkit.snippets import Page
from tests.docs.pages import PAGES, name_of

LONGEST_CELL = 110
"""Characters as displayed; about what fits next to two other columns."""

UNCHECKED = (
    "docs/reference/",  # generated: the length follows from the docstrings
    "docs/guides/experiments-storage.md",
    "docs/guides/http.md",
)
"""Pages that do not follow the rule."""


@pytest.mark.parametrize(
    "path", [path for path in PAGES if not name_of(path).startswith(UNCHECKED)], ids=name_of
)
def test_tables(path):
    """Every column of every table has a heading, and no cell is an essay."""
    checked = Page(path)
    assert [row for row in checked.table_headings() if not all(row)] == []
    cells = [cell for row in checked.rows() for cell in row]
    assert [cell for cell in cells if len(displayed(cell)) > LONGEST_CELL] == []


def displayed(cell: str) -> str:
    """Return the text of a cell without the targets of its links."""
    return re.sub(r"\]\([^)]*\)", "", cell).replace("[", "")
