"""The committed pages of the reference are those that the code describes."""

from tools.reference.__main__ import PAGES, outdated


def test_pages_are_current():
    """No page of docs/reference/ is out of date; `python -m tools.reference` writes them."""
    assert outdated() == []


def test_outdated(tmp_path):
    """A page that is missing or was edited by hand is out of date."""
    (tmp_path / "http.md").write_text("edited")
    assert outdated(tmp_path) == list(PAGES)
