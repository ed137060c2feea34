"""The errors of reaching the registry actor: their tree and their pickling."""

import pickle

import pytest

from serve_app.deployments.actors import errors
from testkit.error_trees import defined_tree, drawn_tree


def test_documented_tree_matches_classes():
    """The tree in the module's docstring is the tree of the classes."""
    assert drawn_tree(errors) == defined_tree(errors)


@pytest.mark.parametrize(
    "error",
    [
        errors.ClusterUnreachableError("auto", "none"),
        errors.NoRegistryActorError("auto"),
        errors.SeveralRegistriesError("auto", ["a", "b"]),
        errors.RegistryActorDownError("it died"),
        errors.InterruptedChangeError("rollback", "m"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_pickling_keeps_error(error):
    """An unpickled error has the same class, message and data."""
    restored = pickle.loads(pickle.dumps(error))
    assert (type(restored), str(restored)) == (type(error), str(error))
    assert vars(restored) == vars(error)
