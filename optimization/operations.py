"""What ONNXOptimizer asks of its arguments, and of what it made of them."""

import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch

from optimization.errors import InvalidInputError, ParityError, QuantizationError
from optimization.export.exporter import check_shape
from optimization.measurement.batch_dependence import BATCH
from optimization.measurement.parity import Model, Outputs, Tolerance, compare_outputs, run_all
from optimization.measurement.timing import Timing, measure
from optimization.measurement.windows import NOISE_WINDOWS, fitted, noise
from optimization.progress import Report
from optimization.quantization.quantize import QuantizationType, check_windows
from optimization.runtime import OnnxModel, Windows

logger = logging.getLogger(__name__)

PROOF_WINDOWS = 64

LEAST_WINDOWS = 200
"""One wrong direction is then just within the usual tolerance."""

_JUDGING_S = 10.0
"""For noise to run through a model once; to judge takes that three times at most."""

_MIXING = 1e-2
"""In spreads of an output: more than the order of sums, which a batch changes too."""


def sample_shape(input_shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape that begins with the batch without it; InvalidInputError for another one."""
    expected = "the batch and the sizes of one sample, such as (1, 60, 110), all at least 1"
    if not isinstance(input_shape, tuple | list) or len(input_shape) < 2:
        raise InvalidInputError("input_shape", expected, repr(input_shape))
    try:
        return check_shape(tuple(input_shape))[1:]
    except InvalidInputError:
        raise InvalidInputError("input_shape", expected, repr(input_shape)) from None


def declared_shape(model: OnnxModel) -> tuple[int, ...]:
    """Return the shape of one sample as a file declares it; InvalidInputError where it is open."""
    shape = model.input_shape[1:]
    if not shape or None in shape:
        expected = f"the shape or windows to run {model.path} on, since the file leaves it open"
        raise InvalidInputError("input", expected, str(model.input_shape))
    return tuple(each for each in shape if each is not None)


def evaluation_windows(model: OnnxModel, windows: Windows | None) -> Windows:
    """Return the given windows if they can be worked with, else noise of the declared shape."""
    if windows is None:
        made = noise(declared_shape(model), NOISE_WINDOWS)
        count = affordable(model, made, _JUDGING_S, LEAST_WINDOWS)
        logger.info("%s: judged by %d windows of noise", model.path, count)
        return made[:count]
    return fitted(check_windows("windows", windows), model.input_shape[1:])


def affordable(
    model: OnnxModel,
    windows: Windows,
    budget_s: float,
    least: int,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Return how many of the windows the model runs through once in `budget_s`, one by one.

    `least` where that is fewer, and all where there are no more than that.
    """
    batch = model.input_shape[0] or 1
    run_all(model, windows[:batch], batch)
    began = clock()
    tried = max(1, min(8, len(windows)) // batch) * batch
    run_all(model, windows[:tried], batch)
    took_s = max((clock() - began) / tried, 1e-9)
    return min(len(windows), max(least, int(budget_s / took_s)))


def windows_for(
    kind: QuantizationType,
    model: OnnxModel,
    calibration_data: Windows | None,
    windows: Windows | None,
) -> tuple[Windows, Windows]:
    """Return the windows to calibrate with, none where that is not needed, and to judge by.

    Without windows to judge by, static quantisation holds back the last third of those to
    calibrate with: noise says little of data of another size.
    """
    if kind is not QuantizationType.STATIC:
        chosen = evaluation_windows(model, windows)
        return chosen[:0], chosen
    if calibration_data is None:
        raise InvalidInputError("calibration_data", "windows for static quantisation", "none")
    calibration = check_windows("calibration_data", calibration_data)
    calibration = fitted(calibration, model.input_shape[1:])
    if (calibration == calibration[0]).all():
        received = f"the same window {len(calibration)} times"
        raise InvalidInputError("calibration_data", "windows that differ", received)
    if windows is not None:
        return calibration, evaluation_windows(model, windows)
    held_out = len(calibration) // 3
    if held_out == 0:
        expected = "at least three windows, a third of which is held out, or others to judge by"
        raise InvalidInputError("calibration_data", expected, str(len(calibration)))
    return calibration[:-held_out], calibration[-held_out:]


def refuse_mixing(model: OnnxModel, windows: Windows) -> None:
    """Raise QuantizationError if the model's answers depend on the batch: rows would lose that."""
    if model.input_shape[0] is not None:
        return
    some = windows[:BATCH]
    parity = compare_outputs(run_all(model, some, 1), run_all(model, some, BATCH))
    if parity.max_relative_difference > _MIXING:
        problem = (
            "its FP32 answers depend on what else is in the batch, which rows one at a time would "
            "change; choose quantization_type dynamic or static"
        )
        raise QuantizationError(model.path, problem)


def evaluate(
    original: OnnxModel, candidate: OnnxModel, windows: Windows, tolerance: Tolerance
) -> None:
    """Raise ParityError if the candidate is too far from the original, alone or in batches.

    A file whose batch is fixed is judged at that one.
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


def paired(expected: Outputs, received: Outputs) -> Outputs:
    """Return a file's outputs by the network's names; by their order where the names differ."""
    if expected.keys() == received.keys():
        return received
    if len(expected) != len(received):
        problem = f"expected {', '.join(expected)}, received {', '.join(received)}"
        raise ParityError("names", problem)
    return dict(zip(expected, received.values(), strict=True))


def check_quantization_type(value: object) -> QuantizationType:
    """Return the type by its name; InvalidInputError for an unknown one."""
    if isinstance(value, str) and value in set(QuantizationType):
        return QuantizationType(value)
    expected = f"one of {', '.join(QuantizationType)}"
    raise InvalidInputError("quantization_type", expected, repr(value))


def check_operators(operators: Collection[str], offered: Collection[str]) -> list[str]:
    """Return the operators if they can be quantised; InvalidInputError for others."""
    chosen = [operators] if isinstance(operators, str) else list(operators)
    if not chosen or any(each not in offered for each in chosen):
        raise InvalidInputError("operators", f"some of {', '.join(offered)}", repr(operators))
    return chosen


def calls_of(models: Mapping[str, Model], windows: Windows) -> dict[str, Callable[[], object]]:
    """Return what runs each model once on `windows`."""
    return {name: partial(model, windows) for name, model in models.items()}


def timed_calls(
    calls: Mapping[str, Callable[[], object]],
    windows: Windows,
    runs: int,
    warm_up_runs: int,
    report: Report,
    stopped: Callable[[], bool],
) -> dict[str, Timing]:
    """Time calls on `windows` in turn, telling how far it is; ends early when nobody waits."""

    steps = {0}

    def goes_on(done: int) -> bool:
        step = done * 20 // runs
        if step not in steps:
            steps.add(step)
            report(f"{done} of {runs} calls of each", done / runs)
        return not stopped()

    return measure(calls, len(windows), runs, warm_up_runs, goes_on)


@contextmanager
def torch_threads(num_threads: int) -> Iterator[None]:
    """Let PyTorch use that many threads, in the whole process, and then as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def elements(outputs: Outputs) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return the single elements of every output in one row."""
    return np.concatenate([output.astype(np.float64).ravel() for output in outputs.values()])
