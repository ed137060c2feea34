"""The page on feature sets agrees with the code."""

from features.feature_sets import ENTRY_POINT_GROUP, FeatureSet, Rule
from testkit.snippets import page, run_python

PAGE = page("docs/concepts/feature-sets.md")


def test_snippet(tmp_path):
    """The feature set of the snippet passes its check."""
    assert run_python(PAGE.block("python"), folder=tmp_path).strip() == "None"


def test_members():
    """The table lists the members of the protocol."""
    members = {row[0].strip("`").partition("(")[0] for row in PAGE.rows("Writing one")}
    assert members == {name for name in vars(FeatureSet) if not name.startswith("_")}


def test_rules():
    """The table lists the rules in their order."""
    rows = [(row[0].strip("`"), row[1]) for row in PAGE.rows("The check")]
    assert rows == [(rule.name, rule.value) for rule in Rule]


def test_entry_point():
    """The entry point is in the group that is searched."""
    assert f'entry-points."{ENTRY_POINT_GROUP}"' in PAGE.block("toml")
