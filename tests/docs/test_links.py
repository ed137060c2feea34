"""Every relative link of every page leads to a file, and to an anchor if it names one."""

from pathlib import Path

import pytest

from testkit.snippets import Page
from tests.docs.pages import PAGES, name_of


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_links(path):
    """The page links only to existing files and headings of the project, or to other sites."""
    broken = [link for link in Page(path).links() if not leads_somewhere(path, link)]
    assert broken == []


def leads_somewhere(path: Path, link: str) -> bool:
    """Return whether a link of a page has a target."""
    if link.startswith("https://"):
        return True
    target, _, anchor = link.partition("#")
    file = path.parent / target if target else path
    if not file.exists():
        return False
    return not anchor or anchor in Page(file).anchors
