"""Decision records have one form, and the index lists all of them."""

import datetime
import re

import pytest

from testkit.paths import ROOT
from testkit.snippets import Page, page

RECORDS = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
SECTIONS = ["Context", "Decision", "Alternatives", "Measurement", "Consequences"]


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_form(path):
    """A record has a number, a date, a status and the five sections."""
    record = Page(path)
    title, *sections = record.headings
    assert title.startswith(f"{int(path.stem[:4])}. ")
    assert sections == SECTIONS
    ((date, status),) = record.tables()[0]
    assert datetime.date.fromisoformat(date)
    assert re.match(r"accepted|superseded by \[", status)
    assert record.rows("Alternatives")


def test_index():
    """The index lists every record with its title and date."""
    listed = [
        (re.search(r"\((.*)\)", link)[1], re.search(r"\[(.*)\]", link)[1], date)
        for _number, link, date in page("docs/decisions/index.md").rows()
    ]
    assert listed == [
        (path.name, Page(path).headings[0].split(". ", 1)[1], Page(path).rows()[0][0])
        for path in RECORDS
    ]
