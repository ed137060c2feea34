"""The errors of optimization."""

import pickle
from pathlib import Path

import pytest

from optimization import errors
from optimization.errors import OptimizationError

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
def test_an_error_survives_pickling_with_its_sentence(error):
    copy = pickle.loads(pickle.dumps(error))
    assert isinstance(copy, OptimizationError)
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))


def test_every_error_is_tried_and_drawn():
    kinds = {
        var
        for var in vars(errors).values()
        if isinstance(var, type) and issubclass(var, OptimizationError)
    }
    assert kinds - {OptimizationError} == {type(error) for error in ERRORS}
    assert all(kind.__name__ in errors.__doc__ for kind in kinds)
