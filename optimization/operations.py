"""The operations of ONNXOptimizer, synchronous.

Each verifies its result before it writes a file.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from optimization.arguments import (
    check_count,
    check_operators,
    check_windows,
    declared_shape,
    sample_shape,
)
from optimization.export.exporter import export_onnx
from optimization.export.weights import load_weights
from optimization.files import check_target, put
from optimization.graph import optimize_graph, rowwise
from optimization.measurement.parity import Tolerance, match_names, require_parity, run_all
from optimization.measurement.timing import Timing, measure_models
from optimization.measurement.windows import evaluation_windows, noise
from optimization.networks import check_network, prepared, torch_model, torch_threads
from optimization.progress import Report
from optimization.quantization.evaluation import (
    evaluate,
    require_independent_rows,
    split_calibration,
)
from optimization.quantization.quantize import (
    DYNAMIC_OPERATORS,
    STATIC_OPERATORS,
    QuantizationType,
    check_quantization_type,
    quantize_dynamically,
    quantize_statically,
)
from optimization.quantization.selection import quantize_if_faster
from optimization.results import Comparison
from optimization.runtime import GraphLevel, OnnxModel, Windows, graph_level, read_onnx

VERIFICATION_WINDOWS = 64
"""The windows of noise on which a rewritten graph is verified and a network compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The connection of an operation, which runs in a worker thread, to its caller."""

    report: Report
    stopped: Callable[[], bool]
    """Returns True once the caller has been cancelled; then no file is written."""
    num_threads: int
    """The number of threads of measured models."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Iterations:
    """The number of calls of a measurement."""

    measured: int
    warm_up: int

    def __post_init__(self) -> None:
        check_count("num_iterations", self.measured, least=1)
        check_count("warmup_iterations", self.warm_up, least=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantization:
    """The options of a quantisation; see ONNXOptimizer.quantize_model."""

    quantization_type: str
    calibration_data: Windows | None
    symmetric: bool
    per_channel: bool
    operators: Collection[str] | None
    windows: Windows | None
    tolerance: Tolerance


def export(
    caller: Caller,
    network: nn.Module,
    model_path: Path | None,
    output_path: Path,
    input_shape: tuple[int, ...],
    opset_version: int,
    verbose: bool,
) -> bool:
    """Export a network; see ONNXOptimizer.export_to_onnx."""
    shape = sample_shape(input_shape)
    check_target(output_path)
    check_network(network)
    if model_path is not None:
        load_weights(network, model_path)
    export_onnx(network, output_path, shape, opset_version, verbose=verbose, stopped=caller.stopped)
    return True


def quantize(caller: Caller, source: Path, target: Path, options: Quantization) -> bool:
    """Write an INT8 model within the tolerance; see ONNXOptimizer.quantize_model."""
    kind = check_quantization_type(options.quantization_type)
    check_target(target, source)
    content = read_onnx(source)
    original = OnnxModel(content, caller.num_threads, source)
    calibration, held_out = split_calibration(
        kind, original, options.calibration_data, options.windows
    )
    if kind is QuantizationType.ROWWISE:
        require_independent_rows(original, held_out)

    def quantized_with(operators: Collection[str]) -> bytes:
        if kind is QuantizationType.STATIC:
            return quantize_statically(
                content, source, operators, calibration, options.per_channel, options.symmetric
            )
        quantized = quantize_dynamically(content, source, operators, options.per_channel)
        return rowwise(quantized, source) if kind is QuantizationType.ROWWISE else quantized

    caller.report("quantising", 0.1)
    offered = STATIC_OPERATORS if kind is QuantizationType.STATIC else DYNAMIC_OPERATORS
    if options.operators is not None:
        result = quantized_with(check_operators(options.operators, offered))
    else:
        sample = held_out[: original.input_shape[0] or 1]
        result = quantize_if_faster(
            content, source, offered, quantized_with, sample, caller.num_threads
        )
    caller.report("comparing with FP32", 0.7)
    candidate = OnnxModel(result, caller.num_threads, target)
    evaluate(original, candidate, held_out, options.tolerance)
    put(target, result, caller.stopped)
    return True


def rewrite_graph(caller: Caller, source: Path, target: Path, level: GraphLevel | int) -> bool:
    """Write the graph that ONNX Runtime optimises; see ONNXOptimizer.optimize_graph."""
    graph_level(level)
    check_target(target, source)
    content = read_onnx(source)
    caller.report("rewriting", 0.2)
    result = optimize_graph(content, source, level)
    caller.report("comparing", 0.7)
    original = OnnxModel(content, name=source)
    windows = evaluation_windows(original, None)[:VERIFICATION_WINDOWS]
    require_parity(original, OnnxModel(result, name=target), windows)
    put(target, result, caller.stopped)
    return True


def time_files(
    caller: Caller, files: Mapping[str, Path], input_shape: tuple[int, ...], iterations: Iterations
) -> dict[str, Timing]:
    """Time files on seeded noise, interleaved; `input_shape` includes the batch."""
    generated = noise(sample_shape(input_shape), int(input_shape[0]))
    models = {name: OnnxModel(path, caller.num_threads) for name, path in files.items()}
    windows = generated.astype(next(iter(models.values())).dtype)
    return measure_models(
        models, windows, iterations.measured, iterations.warm_up, caller.report, caller.stopped
    )


def compare(
    caller: Caller,
    network: nn.Module,
    onnx_path: Path,
    input_shape: tuple[int, ...] | None,
    windows: Windows | None,
    iterations: Iterations,
) -> Comparison:
    """Compare a file with its network; see ONNXOptimizer.compare_pytorch_onnx."""
    check_network(network)
    exported = OnnxModel(onnx_path, caller.num_threads, is_exported=True)
    shape = (1, *declared_shape(exported)) if input_shape is None else input_shape
    sample, batch = sample_shape(shape), int(shape[0])
    compared = (
        noise(sample, max(batch, VERIFICATION_WINDOWS))
        if windows is None
        else check_windows("windows", windows, exported.dtype)
    )
    with prepared(network, onnx_path) as reference, torch_threads(caller.num_threads):
        pytorch = torch_model(reference)
        expected = run_all(pytorch, compared, batch)
        received = match_names(expected, run_all(exported, compared, batch))
        timings = measure_models(
            {"pytorch": pytorch, "onnx": exported},
            compared[[index % len(compared) for index in range(batch)]],
            iterations.measured,
            iterations.warm_up,
            caller.report,
            caller.stopped,
        )
    return Comparison(
        expected=expected, received=received, pytorch=timings["pytorch"], onnx=timings["onnx"]
    )
