"""The errors of a backup."""

from pathlib import Path

import pytest

from serve_app.backup import errors
from testkit.error_trees import defined_tree, drawn_tree

EXAMPLES = [
    errors.MissingRegistryError(Path("models")),
    errors.ArchiveError(Path("backup.tar"), "unexpected end of data"),
    errors.InUseError(Path("models")),
]


def test_tree():
    """The docstring draws the tree that the classes form, and every class has an example."""
    assert drawn_tree(errors) == defined_tree(errors)
    assert {type(error) for error in EXAMPLES} == set(errors.BackupError.__subclasses__())


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_messages(error):
    """Each error names its path, what was expected, and that nothing was done."""
    assert str(error).startswith(f"{error.path}: ")
    assert "expected" in str(error)
    assert "nothing was" in str(error)
