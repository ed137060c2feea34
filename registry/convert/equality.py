"""Converts a model in floats or in doubles, and accepts only what returns the same outputs."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from registry.convert import graph, verification
from registry.convert.errors import (
    ConversionError,
    ConverterFailedError,
    LostOptionError,
    MissingConverterError,
    OutputsDifferError,
)
from registry.convert.trained_model import TrainedModel
from registry.convert.verification import Check
from registry.reference_outputs import ORIGINAL, compare_with_reference

if TYPE_CHECKING:
    import onnx

EXTRAS: Mapping[str, str] = MappingProxyType(
    {
        "lightgbm": "tradeserve[convert-lightgbm]",
        "xgboost": "tradeserve[convert-xgboost]",
        "catboost": "tradeserve[convert-catboost]",
        "sklearn": "tradeserve[convert-scikit-learn]",
    }
)
"""The extra that installs the converter of a library."""


def needs_doubles(trained: TrainedModel, windows: NDArray[np.floating]) -> bool:
    """Return whether the model's outputs depend on digits that float32 does not have.

    The thresholds of trees lie between the values of the training, so that rounding rarely changes
    the outputs for these. Therefore other values of the same price grid are evaluated too.
    """
    if windows.dtype != np.float64:
        return False
    given = windows.reshape(len(windows), -1)
    rows = np.concatenate([given, verification.rows_on_grid(given, trained.thresholds)])
    exact, rounded = trained.predict(rows), trained.predict(rows.astype(np.float32))
    outputs = {trained.meaning: exact}, {trained.meaning: rounded}
    return bool(compare_with_reference(*outputs, ORIGINAL).differing)


def convert_exactly(
    trained: TrainedModel, rows: NDArray[np.floating], width: int
) -> tuple[bytes, list[Check]]:
    """Return the first conversion that returns what the original does, in floats or in doubles.

    Args:
        trained: the original.
        rows: real rows in the type of the converted model's input, (rows, features).
        width: the width of the output.

    Raises:
        LostOptionError: the outputs depend on doubles, of which the converter has no equal form.
        OutputsDifferError, ConverterFailedError: no conversion is equal; that of floats failed so.
        MissingConverterError: a library is not installed.
    """
    kinds = [trained.to_onnx] if rows.dtype == np.float32 else []
    if trained.to_double_onnx is not None:
        kinds.append(trained.to_double_onnx)
    failures: list[ConversionError] = []
    for to_onnx in kinds:
        try:
            content, checks = convert_and_verify(trained, rows, width, to_onnx)
            _check_equal(trained, rows, checks)
        except (ConverterFailedError, OutputsDifferError) as error:
            failures.append(error)
        else:
            return content, checks
    if rows.dtype == np.float32:
        raise failures[0]
    raise LostOptionError(
        trained.model_type,
        "windows in float64, on whose digits beyond float32 its outputs depend",
        f"{trained.converter} has no equal form of doubles ({failures[0]})",
        "train on windows.astype(numpy.float32), differences in place of levels",
    ) from failures[0]


def convert_and_verify(
    trained: TrainedModel,
    rows: NDArray[np.floating],
    width: int,
    to_onnx: "Callable[[], onnx.ModelProto]",
) -> tuple[bytes, list[Check]]:
    """Convert a model and compare the result with the original, whatever the result.

    Args:
        trained: the original.
        rows: real rows in the type of the converted model's input, (rows, features).
        width: the width of the output.
        to_onnx: converts the original.

    Raises:
        ConverterFailedError: the converter raises an error, or its result does not run.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            converted = to_onnx()
        of_float32 = rows.dtype == np.float32
        content = graph.with_one_output(converted, trained.meaning, width, of_float32=of_float32)
        kinds = verification.verification_rows(rows, graph.thresholds(converted))
        checks = verification.verify(
            trained.predict, lambda values: graph.run(content, values), kinds, trained.meaning
        )
    except ModuleNotFoundError as error:
        library = trained.framework.replace("scikit-learn", "sklearn")
        raise MissingConverterError(str(error.name), EXTRAS[library]) from error
    # The converters and ONNX Runtime raise classes of their own.
    except Exception as error:
        problem = f"{type(error).__name__}: {first_line(error)}"
        raise ConverterFailedError(trained.model_type, trained.converter, problem) from error
    return content, checks


def _check_equal(
    trained: TrainedModel, rows: NDArray[np.floating], checks: Sequence[Check]
) -> None:
    """Raise OutputsDifferError for the first comparison with a difference."""
    for check in checks:
        is_required = check.rows != verification.MISSING or bool(np.isnan(rows).any())
        if not check.is_passed and is_required:
            raise OutputsDifferError(
                trained.model_type,
                trained.converter,
                check.rows,
                check.agreement.windows,
                len(check.agreement.differing),
                check.agreement.largest,
                check.agreement.allowed,
                check.agreement.changed_directions,
            )


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, shortened."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), "no message")[:500]
