"""The tests mirror the source, and read it from outside."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from testkit.paths import ROOT

PACKAGES = (
    "storage",
    "registry",
    "features",
    "optimization",
    "serve_app",
    "examples",
    "benchmarks",
    "testkit",
    "tools",
)
WHOLE_PRODUCT = ("docs", "integration", "upgrade")
"""Folders of tests that belong to no single folder of the source."""
PROJECT = {"test_layout", "test_makefile", "test_makefile_audit", "test_doctests", "test_deploy"}
"""Tests of files at the project's root."""

TESTS = ROOT / "tests"
MODULES = sorted(path.relative_to(TESTS) for path in TESTS.rglob("*.py"))


def is_mirror(test: Path) -> bool:
    """Whether `a/b/test_c_aspect.py` tests the module or package `a/b/c`, or `a/b` as a whole."""
    folder = ROOT / test.parent
    name = test.stem.removeprefix("test_")
    subjects = {path.stem.strip("_") for path in folder.glob("*.py")} | {
        path.name for path in folder.iterdir() if path.is_dir()
    }
    subjects |= {test.parent.name, "imports"}  # a folder as a whole, and what it imports
    return any(name == subject or name.startswith(f"{subject}_") for subject in subjects)


def test_mirror():
    """Each test module lies and is named as the module that it tests."""
    strays = [
        str(path)
        for path in MODULES
        if path.stem.startswith("test_")
        and path.parts[0] not in WHOLE_PRODUCT
        and path.stem not in PROJECT
        and not ((ROOT / path.parent).is_dir() and is_mirror(path))
    ]
    assert strays == []


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_imports_between_tests():
    """A test module imports helpers, never another test module."""
    found = [
        (str(path), name)
        for path in MODULES
        for name in imports(TESTS / path)
        if name.startswith("tests.") and name.rpartition(".")[2].startswith("test_")
    ]
    assert found == []


@pytest.mark.parametrize("package", [*PACKAGES])
def test_source_needs_no_tests(package):
    """No package and no benchmark imports from `tests/`; shared code lies in `testkit/`."""
    found = [
        (str(path.relative_to(ROOT)), name)
        for path in (ROOT / package).rglob("*.py")
        for name in imports(path)
        if name == "tests" or name.startswith("tests.")
    ]
    assert found == []


def private_accesses(path: Path) -> Iterator[str]:
    """Yield each `value._name` but for the test's own `self._name` and NumPy-like public ones.

    A class may also call what it overrides, as `super()._name`.
    """
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Attribute) or not node.attr.startswith("_"):
            continue
        if node.attr.startswith("__") or node.attr in PUBLIC:
            continue
        owner = node.value.func if isinstance(node.value, ast.Call) else node.value
        if isinstance(owner, ast.Name) and owner.id in {"self", "cls", "super"}:
            continue
        yield f"{path.relative_to(TESTS)}:{node.lineno} {ast.unparse(node)}"


PUBLIC = {"_replace", "_asdict", "_fields", "_make", "_exit"}
"""Names with an underscore that are public: of named tuples, and `os._exit`."""


def test_private_members():
    """Tests use what the code offers to its callers."""
    assert [access for path in MODULES for access in private_accesses(TESTS / path)] == []
