"""The examples in docstrings run and print what they show."""

import doctest
import importlib
import re

import pytest

from testkit.paths import ROOT

PACKAGES = ("examples", "features", "optimization", "registry", "serve_app", "storage", "testkit")
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
    if re.search(r"^ *>>> ", path.read_text(), re.MULTILINE)
)
"""Every module that has examples."""


@pytest.mark.parametrize("module", MODULES)
def test_examples_of_a_module(module, tmp_path, monkeypatch):
    """Each example runs in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(
        importlib.import_module(module), optionflags=doctest.ELLIPSIS, raise_on_error=False
    )
    assert result.failed == 0
    assert result.attempted > 0
