"""The errors of optimization."""

import pickle
from pathlib import Path

import pytest

from optimization import errors
from optimization.errors import OptimizationError
from testkit.error_trees import defined_tree, drawn_tree

PATH = Path("m.onnx")
ERRORS = [
    errors.WeightsError(PATH, "it lacks bias"),
    errors.ExportError(PATH, "no operator"),
    errors.OpsetError(PATH, 99, (9, 20)),
    errors.UnsupportedOperatorError(PATH, "aten::fft_rfft", ("features (Spectrum)",), 18),
    errors.UnsupportedOperatorError(PATH, "aten::lstm", ("rnn (LSTM)",), 18, "projections"),
    errors.InvalidModelError(PATH, "an ONNX file", "there is none"),
    errors.InvalidInputError("runs", "at least 1", "0"),
    errors.QuantizationError(PATH, "no operators"),
    errors.GraphError(PATH, "too old"),
    errors.ParityError("confidence", "0.2 apart"),
    errors.OutputFileError(PATH, "it is a folder"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_pickling(error):
    """A pickled error keeps its type, its message and its data."""
    copy = pickle.loads(pickle.dumps(error))
    assert isinstance(copy, OptimizationError)
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))


def test_every_error_is_covered():
    """The test of pickling covers all classes of the module except the base class."""
    covered = {type(error).__name__ for error in ERRORS} | {"OptimizationError"}
    assert {edge.name for edge in defined_tree(errors)} == covered


def test_tree():
    """The docstring draws the tree of the classes."""
    assert drawn_tree(errors) == defined_tree(errors)
