"""The windows for a quantisation, and the evaluation of its result against the FP32 model."""

from optimization.arguments import check_windows
from optimization.errors import InvalidInputError, ParityError, QuantizationError
from optimization.measurement.batch_dependence import BATCH
from optimization.measurement.parity import Tolerance, compare_outputs, run_all
from optimization.measurement.windows import evaluation_windows, fitted
from optimization.quantization.quantize import QuantizationType
from optimization.runtime import OnnxModel, Windows

_MIXING = 1e-2
"""In spreads of an output: more than the order of sums, which varies with the batch too."""


def split_calibration(
    kind: QuantizationType,
    model: OnnxModel,
    calibration_data: Windows | None,
    windows: Windows | None,
) -> tuple[Windows, Windows]:
    """Return the windows for calibration, empty unless `kind` needs them, and for evaluation.

    Without evaluation windows, static quantisation holds out the last third of the calibration
    data, since noise says little about data of another magnitude.

    Raises:
        InvalidInputError: calibration data is missing, constant or too short, or windows are
            invalid.
    """
    if kind is not QuantizationType.STATIC:
        chosen = evaluation_windows(model, windows)
        return chosen[:0], chosen
    if calibration_data is None:
        raise InvalidInputError("calibration_data", "windows for static quantisation", "none")
    calibration = check_windows("calibration_data", calibration_data, model.dtype)
    calibration = fitted(calibration, model.input_shape[1:])
    if (calibration == calibration[0]).all():
        received = f"the same window {len(calibration)} times"
        raise InvalidInputError("calibration_data", "windows that differ", received)
    if windows is not None:
        return calibration, evaluation_windows(model, windows)
    held_out = len(calibration) // 3
    if held_out == 0:
        expected = "at least three windows, a third of which is held out, or separate windows=..."
        raise InvalidInputError("calibration_data", expected, str(len(calibration)))
    return calibration[:-held_out], calibration[-held_out:]


def require_independent_rows(model: OnnxModel, windows: Windows) -> None:
    """Return if the FP32 outputs for a window do not depend on the rest of its batch.

    Raises:
        QuantizationError: they do, so running the rows one by one would change them.
    """
    if model.input_shape[0] is not None:
        return
    some = windows[:BATCH]
    parity = compare_outputs(run_all(model, some, 1), run_all(model, some, BATCH))
    if parity.max_relative_difference > _MIXING:
        problem = (
            "its FP32 outputs depend on the rest of the batch, so running rows one by one would "
            "change them; choose quantization_type dynamic or static"
        )
        raise QuantizationError(model.path, problem)


def evaluate(
    original: OnnxModel, candidate: OnnxModel, windows: Windows, tolerance: Tolerance
) -> None:
    """Compare the candidate with the original, one window at a time and in batches.

    A file with a fixed batch size is evaluated at that size.

    Raises:
        ParityError: the candidate exceeds the tolerance.
    """
    fixed = original.input_shape[0]
    batches = (1, BATCH) if fixed is None else (fixed,)
    windows = windows if fixed is None else windows[: max(1, len(windows) // fixed) * fixed]
    expected = run_all(original, windows, batches[0])
    for batch in batches:
        try:
            tolerance.check(compare_outputs(expected, run_all(candidate, windows, batch)))
        except ParityError as error:
            remedy = (
                f"{candidate.path} was not written; try another quantization_type, fewer operators "
                f"or a wider tolerance"
            )
            raise ParityError(error.output, f"{error.problem}; {remedy}") from error
