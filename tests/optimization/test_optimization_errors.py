"""The errors of optimization."""

import pickle
from pathlib import Path

import pytest

from optimization.errors import ExportError, OptimizationError, ParityError


@pytest.mark.parametrize(
    "error", [ExportError(Path("m.onnx"), "no operator"), ParityError("confidence", "0.2 apart")]
)
def test_an_error_survives_pickling_with_its_sentence(error):
    copy = pickle.loads(pickle.dumps(error))
    assert isinstance(copy, OptimizationError)
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))
