"""Modules and files that a page names exist."""

import importlib
import re

import pytest

from testkit.paths import ROOT
from testkit.snippets import Page
from tests.docs.pages import PAGES, name_of

PACKAGES = "serve_app|registry|features|optimization|testkit|tools|benchmarks|examples|tests|docs"
DOTTED = re.compile(rf"`((?:{PACKAGES})(?:\.\w+)+)[^`]*`")
PATH = re.compile(rf"`((?:{PACKAGES})/[\w/.-]*)`")


@pytest.mark.parametrize(
    "path",
    [path for path in PAGES if path.name != "CHANGELOG.md"],  # which also lists former names
    ids=name_of,
)
def test_names(path):
    """Every dotted name on the page can be imported, and every path exists."""
    text = re.sub(r"^```.*?^```", "", Page(path).text, flags=re.DOTALL | re.MULTILINE)
    assert [name for name in DOTTED.findall(text) if not is_known(name)] == []
    assert [name for name in PATH.findall(text) if not (ROOT / name).exists()] == []


def is_known(name: str) -> bool:
    """Return whether a dotted name is a module, or an attribute in one."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            value = importlib.import_module(".".join(parts[:length]))
        except ImportError:
            continue
        for attribute in parts[length:]:
            if not hasattr(value, attribute):
                return False
            value = getattr(value, attribute)
        return True
    return False
