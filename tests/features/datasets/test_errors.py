"""The errors of datasets: their tree and their pickling."""

import pickle

import pytest

from features.datasets import errors
from testkit.error_trees import defined_tree, drawn_tree


def test_tree():
    """The module's docstring draws the classes that it defines."""
    assert drawn_tree(errors) == defined_tree(errors)


@pytest.mark.parametrize(
    "error",
    [
        errors.InvalidDefinitionError("symbols", "one", "none"),
        errors.EmptyDatasetError("EURUSD has 3 bars", 304),
        errors.UnreadableDatasetError("a.parquet", "no such file"),
        errors.OtherFeatureSetError("a.parquet", "acme 1", "none"),
        errors.InvalidFoldsError("there are none", "pass more"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_pickled(error):
    """An error is the same after pickling, and its message has a remedy."""
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))
    assert ";" in str(error)
