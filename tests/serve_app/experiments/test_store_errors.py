"""The errors of the experiment store: one tree, whose leaves survive pickling."""

import pickle

import pytest

from serve_app.experiments import store_errors as errors
from testkit.error_trees import defined_tree, drawn_tree, leaves

EXAMPLES = [
    errors.InvalidUrlError("mysql://x", "mysql is not supported"),
    errors.NewerSchemaError("sqlite:///x", "0009", ["0001", "0002"]),
    errors.DamagedStoreError("sqlite:///x", "file is not a database"),
    errors.LockedStoreError("sqlite:///x", "database is locked"),
    errors.FullStoreError("sqlite:///x", "database or disk is full"),
    errors.LatePredictionsError("p1"),
    errors.ReadOnlyStoreError("sqlite:///x", "attempt to write a readonly database"),
    errors.MovedStoreError("sqlite:///x", "it was moved", None),
    errors.MovedStoreError("sqlite:///x", "it was deleted", "x.rescued-20260101T000000Z"),
    errors.UsedStoreError("sqlite:///x", "experiments"),
    errors.RejectedRowError("sqlite:///x", "too long"),
    errors.UnknownExperimentError("e9", ["e1"]),
    errors.ExperimentExistsError("e1", "running"),
    errors.ModelInExperimentError("m", "e1"),
    errors.BufferFullError("predictions", 10, 9, 2),
    errors.LogClosedError(),
    errors.ExportError("x.parquet", "no space"),
    errors.MissingPackageError("exporting", "pyarrow", "export"),
]


def test_drawn_tree():
    """The docstring draws the tree that the classes form."""
    assert drawn_tree(errors) == defined_tree(errors)


def test_examples_complete():
    """Every leaf of the tree has an example here."""
    assert set(leaves(errors.StoreError)) == {type(example) for example in EXAMPLES}


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_pickling(error):
    """An error is equal after pickling: same class, text and data."""
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_message(error):
    """A message states the fact, then, behind a semicolon, the remedy."""
    fact, separator, remedy = str(error).rpartition("; ")
    assert fact
    assert separator
    assert remedy
