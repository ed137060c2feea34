"""The pipeline of export, quantisation and timing; a failed step keeps the results before it."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from optimization.errors import OptimizationError
from optimization.files import make_folder
from optimization.measurement.timing import Timing
from optimization.results import figures_or, gains, not_faster, sizes

logger = logging.getLogger(__name__)

ONNX_FILE, QUANTIZED_FILE = "model.onnx", "model_quantized.onnx"


async def run_steps(
    folder: Path,
    export: Callable[[Path], Awaitable[bool]],
    quantize: Callable[[Path, Path], Awaitable[bool]] | None,
    time_files: Callable[[Mapping[str, Path]], Awaitable[dict[str, Timing]]],
) -> dict[str, Any]:
    """Run the steps in `folder` and return the result of ONNXOptimizer.export_and_optimize.

    Args:
        folder: the folder for the files; it is created if it does not exist.
        export: writes the FP32 file to a path.
        quantize: quantises the file at the first path to the second; None omits the step.
        time_files: times files by name, interleaved.
    """
    onnx_path, quantized_path = folder / ONNX_FILE, folder / QUANTIZED_FILE
    errors: dict[str, str] = {}
    try:
        make_folder(folder)
        exported = await export(onnx_path)
    except OptimizationError as error:
        exported, errors["export"] = False, str(error)
    quantized = False
    if quantize is not None and not exported:
        errors["quantize"] = "the export failed, so there is no file to quantise"
    elif quantize is not None:
        try:
            quantized = await quantize(onnx_path, quantized_path)
        except OptimizationError as error:
            errors["quantize"] = str(error)
    if exported and not quantized and quantized_path.exists():
        stale = f"{quantized_path} belongs to an earlier export; delete it"
        errors["quantize"] = "; ".join([*filter(None, [errors.get("quantize")]), stale])
    files = {
        **({"onnx_fp32": onnx_path} if exported else {}),
        **({"onnx_int8": quantized_path} if quantized else {}),
    }
    timings: dict[str, Timing] = {}
    if files:
        try:
            timings = await time_files(files)
        except OptimizationError as error:
            errors["benchmark"] = str(error)
    warning = not_faster(timings)
    if warning is not None:
        logger.warning("%s: %s", quantized_path, warning)
    return {
        "export_success": exported,
        "quantize_success": quantized,
        "benchmarks": {
            "onnx_fp32": figures_or(
                timings.get("onnx_fp32"), errors.get("export", errors.get("benchmark", ""))
            ),
            "onnx_int8": figures_or(
                timings.get("onnx_int8"),
                errors.get("quantize", errors.get("benchmark", "quantisation was not requested")),
            ),
        },
        "comparison": gains(timings, sizes(files), errors),
        "recommended": "onnx_int8"
        if "onnx_int8" in timings and warning is None
        else "onnx_fp32"
        if exported
        else None,
        "warnings": {} if warning is None else {"quantize": warning},
        "errors": errors,
    }
