"""The snippet and the sizes of the page on the bar log agree with the code."""

from features.bar_log import Limits
from features.bar_log.parts import GROUP_ROWS
from testkit.snippets import page, run_python

PAGE = page("docs/concepts/bar-log.md")


def test_snippet(tmp_path):
    """The snippet reads the bar that it appended, and leaves a log in the folder."""
    assert run_python(PAGE.block("python"), folder=tmp_path).strip() == "[1.175]"
    assert (tmp_path / "bars" / "bars.db").exists()


def test_sizes():
    """The numbers of rows are those of the code."""
    text = PAGE.section("Sizes").replace("\n", " ")
    assert f"row groups of {GROUP_ROWS:,} rows" in text
    assert f"until there are {Limits().recent_rows // 2:,} of them" in text
    assert f"more than {Limits().overlapping_parts} parts" in text
