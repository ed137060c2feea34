"""The pages of the documentation."""

from pathlib import Path

from testkit.paths import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])


def name_of(path: Path) -> str:
    """Return the path of a page below the project's root."""
    return str(path.relative_to(ROOT))
