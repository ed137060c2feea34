"""ARCHITECTURE.md shows the layers that the import contract enforces."""

import re
import tomllib

from testkit.paths import ROOT
from testkit.snippets import page

PAGE = page("ARCHITECTURE.md")
HEADING = "Layers of serve_app"


def layers() -> list[str]:
    """Return the layers of serve_app in the import contract, from top to bottom."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (contract,) = [c for c in settings["contracts"] if c.get("containers") == ["serve_app"]]
    return contract["layers"]


def test_layers():
    """The block lists exactly the layers of the contract in their order."""
    assert PAGE.block("", HEADING).splitlines() == layers()


def test_layers_described():
    """The table describes every module of every layer once, in the order of the layers."""
    named = [word for layer in layers() for word in re.split(r"\s*[|:]\s*", layer)]
    assert [row[0].strip("`") for row in PAGE.rows(HEADING)] == named


def test_packages_exist():
    """Every folder of the table exists."""
    for folder, _contents in PAGE.rows("Packages"):
        assert (ROOT / folder.strip("`")).is_dir()
