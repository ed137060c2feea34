"""The registry's errors: their tree and their pickling."""

import pickle

import pytest

from registry import errors
from testkit.error_trees import defined_tree, drawn_tree


def test_documented_tree_matches_classes():
    """The tree in the module's docstring is the tree of the classes."""
    assert drawn_tree(errors) == defined_tree(errors)


@pytest.mark.parametrize(
    "error",
    [
        errors.InvalidNameError("version", "x", "y"),
        errors.InvalidMetadataError("a", "b"),
        errors.SchemaVersionError("a", 1, 2),
        errors.UnknownModelError("a", ["b"]),
        errors.UnknownVersionError("a", "1.0.0", ["2.0.0"]),
        errors.EmptyStageError("a", "Staging"),
        errors.VersionExistsError("a", "1.0.0", "x", "y"),
        errors.DeletedVersionError("a", "1.0.0", "2026-01-01", "x"),
        errors.StageHeldError("a", "1.0.0", "Production", "archive"),
        errors.NothingToRollBackError("a", "1.0.0"),
        errors.StorageError("a", "disk full"),
        errors.UnsafePathError("a"),
        errors.MissingArtifactError("a", "b"),
        errors.CorruptArtifactError("a", "b", "c"),
        errors.UnreadableArtifactError("a", "b", "c"),
        errors.UnusableModelError("toy/v1.0.0/model.onnx", "NaN"),
        errors.ReferenceMismatchError("m/v1.0.0/a", 9, 2, (1, 4), "confidence", 0.5, 4, 1e-5, 1),
        errors.MissingReferenceError("a", "1.0.0"),
        errors.MissingPackageError("toy/v1.0.0/model.pt", "torch", "torch"),
        errors.NoGpuError("toy/v1.0.0/model.pt", "PyTorch", "no device"),
        errors.UnknownArchitectureError("a", ["b"]),
        errors.AmbiguousArchitectureError("Net", ["a", "b"]),
        errors.BrokenArchitectureError("Net", "acme 2.1", "no licence"),
        errors.MissingFeatureSetError("a", "1.0.0", "acme 1", "it is not installed"),
        errors.ChangedFeatureSetError("a", "1.0.0", "acme 1", "0" * 64, "1" * 64),
        errors.InputShapeError("a", [1]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_pickling_keeps_error(error):
    """An unpickled error has the same class, message and data."""
    restored = pickle.loads(pickle.dumps(error))
    assert (type(restored), str(restored)) == (type(error), str(error))
    assert vars(restored) == vars(error)
