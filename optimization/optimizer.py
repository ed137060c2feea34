"""ONNXOptimizer: export, quantise, optimise, measure and compare, each proven before it counts."""

import asyncio
import threading
from collections.abc import Callable, Collection, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from optimization.export.exporter import check_network, export_onnx, prepared
from optimization.export.weights import load_weights
from optimization.files import check_target, put
from optimization.graph import optimize_graph, rowwise
from optimization.measurement.parity import Tolerance, require_parity, run_all, torch_model
from optimization.measurement.timing import Timing, check_count
from optimization.measurement.windows import noise
from optimization.operations import (
    PROOF_WINDOWS,
    calls_of,
    check_operators,
    check_quantization_type,
    declared_shape,
    evaluate,
    evaluation_windows,
    paired,
    refuse_mixing,
    sample_shape,
    timed_calls,
    torch_threads,
    windows_for,
)
from optimization.pipeline import run_steps
from optimization.progress import Report, shown
from optimization.quantization.quantize import (
    DYNAMIC_OPERATORS,
    STATIC_OPERATORS,
    QuantizationType,
    check_windows,
    quantize_dynamically,
    quantize_statically,
)
from optimization.quantization.selection import quantize_if_faster
from optimization.results import comparison, figures
from optimization.runtime import GraphLevel, OnnxModel, Windows, graph_level, read_onnx

T = TypeVar("T")


class ONNXOptimizer:
    """Makes ONNX files of networks, faster ones of ONNX files, and measures them.

    A method does what it says, returning the evidence or True, or raises an `OptimizationError`
    with what was expected and what came; then no file was written and a former one stays. The
    work happens in a worker thread; who cancels gets no file.

    Args:
        num_threads: threads of whatever is measured.
        tolerance: how far a quantised model may be from its original.
        verbose: tell of every step on standard error; each method has it too.
    """

    def __init__(
        self, num_threads: int = 1, tolerance: Tolerance | None = None, verbose: bool = False
    ) -> None:
        self.num_threads = check_count("num_threads", num_threads, least=1)
        self.tolerance = tolerance or Tolerance()
        self.verbose = verbose

    async def export_to_onnx(
        self,
        model: nn.Module,
        model_path: Path | str | None,
        output_path: Path | str,
        input_shape: tuple[int, ...],
        opset_version: int = 18,
        verbose: bool | None = None,
    ) -> bool:
        """Export a network with the weights in `model_path` to one ONNX file; see export_onnx.

        Args:
            model: the network; it gets the weights.
            model_path: a state dict or a checkpoint; None for the weights that the network has.
            output_path: the file to write.
            input_shape: with the batch, for example (1, 60, 110); the file takes any batch.
            opset_version: ONNX operator set.
            verbose: print the nodes of the exported graph.

        Raises:
            WeightsError: there are no such weights, or they are another network's.
            ExportError: see export_onnx.
            ParityError: the file gives something else than the network.
        """

        def work(_report: Report, stopped: Callable[[], bool]) -> bool:
            shape = sample_shape(input_shape)
            check_target(Path(output_path))
            check_network(model)
            if model_path is not None:
                load_weights(model, Path(model_path))
            export_onnx(
                model,
                Path(output_path),
                shape,
                opset_version,
                verbose=self._is_verbose(verbose),
                stopped=stopped,
            )
            return True

        return await self._run("export", verbose, work)

    async def quantize_model(
        self,
        onnx_path: Path | str,
        output_path: Path | str,
        quantization_type: str = QuantizationType.DYNAMIC,
        calibration_data: Windows | None = None,
        *,
        symmetric: bool = False,
        per_channel: bool = True,
        operators: Collection[str] | None = None,
        windows: Windows | None = None,
        tolerance: Tolerance | None = None,
        verbose: bool | None = None,
    ) -> bool:
        """Write an INT8 model that gives what the FP32 one gives, within the tolerance.

        Without `operators` it is smaller or faster; one that is smaller alone is logged as a
        warning with what was measured.

        Args:
            onnx_path: the FP32 model.
            output_path: the file to write.
            quantization_type: `dynamic`, `rowwise` or `static`, see QuantizationType.
            calibration_data: windows to take the scales of activations from; for `static`.
            symmetric: signed activations around zero, for `static`.
            per_channel: a scale for each output channel of the weights instead of one for all.
            operators: what to quantise; MatMul and Gemm are one. None: LSTM, MatMul and Gemm, and
                convolutions where that is measured to be faster on this machine.
            windows: held-out windows to judge by; without them the last third of
                calibration_data, which then does not calibrate, else seeded noise: 2048 windows,
                fewer of a slow model.
            tolerance: how far from FP32 it may be; the optimiser's if None.
            verbose: tell of every step.

        Raises:
            QuantizationError: nothing in the model can be quantised, or, without `operators`, the
                file gets neither smaller nor faster by it.
            ParityError: the quantised model is too far from the FP32 one.
            InvalidModelError, InvalidInputError, OutputFileError: see their messages.
        """

        def work(report: Report, stopped: Callable[[], bool]) -> bool:
            source, target = Path(onnx_path), Path(output_path)
            kind = check_quantization_type(quantization_type)
            check_target(target, source)
            content = read_onnx(source)
            original = OnnxModel(content, self.num_threads, source)
            calibration, held_out = windows_for(kind, original, calibration_data, windows)
            if kind is QuantizationType.ROWWISE:
                refuse_mixing(original, held_out)

            def quantize(chosen: Collection[str]) -> bytes:
                if kind is QuantizationType.STATIC:
                    return quantize_statically(
                        content, source, chosen, calibration, per_channel, symmetric
                    )
                quantized = quantize_dynamically(content, source, chosen, per_channel)
                return rowwise(quantized, source) if kind is QuantizationType.ROWWISE else quantized

            report("quantising", 0.1)
            offered = STATIC_OPERATORS if kind is QuantizationType.STATIC else DYNAMIC_OPERATORS
            if operators is not None:
                result = quantize(check_operators(operators, offered))
            else:
                sample = held_out[: original.input_shape[0] or 1]
                result = quantize_if_faster(
                    content, source, offered, quantize, sample, self.num_threads
                )
            report("comparing with FP32", 0.7)
            quantized = OnnxModel(result, self.num_threads, target)
            evaluate(original, quantized, held_out, tolerance or self.tolerance)
            put(target, result, stopped)
            return True

        return await self._run("quantise", verbose, work)

    async def optimize_graph(
        self,
        onnx_path: Path | str,
        output_path: Path | str,
        level: GraphLevel | int = GraphLevel.EXTENDED,
        verbose: bool | None = None,
    ) -> bool:
        """Write the model as ONNX Runtime rewrites it at a level, proven to give the same.

        Raises:
            GraphError: ONNX Runtime cannot write it.
            ParityError: the rewritten model gives something else.
            InvalidModelError, InvalidInputError, OutputFileError: see their messages.
        """

        def work(report: Report, stopped: Callable[[], bool]) -> bool:
            source, target = Path(onnx_path), Path(output_path)
            graph_level(level)
            check_target(target, source)
            content = read_onnx(source)
            report("rewriting", 0.2)
            result = optimize_graph(content, source, level)
            report("comparing", 0.7)
            original = OnnxModel(content, name=source)
            windows = evaluation_windows(original, None)[:PROOF_WINDOWS]
            require_parity(original, OnnxModel(result, name=target), windows)
            put(target, result, stopped)
            return True

        return await self._run("optimise the graph", verbose, work)

    async def benchmark(
        self,
        onnx_path: Path | str,
        input_shape: tuple[int, ...],
        num_iterations: int = 1000,
        warmup_iterations: int = 100,
        verbose: bool | None = None,
    ) -> dict[str, float]:
        """Return how fast a model runs on seeded noise; no sample is left out.

        Args:
            onnx_path: the model.
            input_shape: with the batch, for example (1, 60, 110).
            num_iterations: calls that count.
            warmup_iterations: calls before them that do not.
            verbose: tell of every step.

        Returns:
            latency_ms (the mean), latency_std_ms, p50_ms, p95_ms, p99_ms, min_ms, max_ms of a call
            and throughput in samples a second, where a batch counts all of its samples;
            p50_low_ms and p50_high_ms, the 95 % confidence interval of the median.

        Raises:
            InvalidModelError, InvalidInputError: see their messages.
        """

        def work(report: Report, stopped: Callable[[], bool]) -> dict[str, float]:
            shape = sample_shape(input_shape)
            check_count("num_iterations", num_iterations, least=1)
            check_count("warmup_iterations", warmup_iterations, least=0)
            model = OnnxModel(Path(onnx_path), self.num_threads)
            windows = noise(shape, int(input_shape[0]))
            (timing,) = timed_calls(
                calls_of({"model": model}, windows),
                windows,
                num_iterations,
                warmup_iterations,
                report,
                stopped,
            ).values()
            return figures(timing)

        return await self._run("benchmark", verbose, work)

    async def compare_pytorch_onnx(
        self,
        pytorch_model: nn.Module,
        onnx_path: Path | str,
        input_shape: tuple[int, ...] | None = None,
        num_iterations: int = 100,
        warmup_iterations: int = 10,
        *,
        tolerance: float = 1e-4,
        windows: Windows | None = None,
        verbose: bool | None = None,
    ) -> dict[str, Any]:
        """Return how far a file is from its network and how much faster.

        Args:
            pytorch_model: the network, as it is; it is left as it is.
            onnx_path: the file.
            input_shape: with the batch; one sample of the file's own shape if None.
            num_iterations: calls of each that count; the two take turns.
            warmup_iterations: calls before them that do not.
            tolerance: largest difference of a single element for `outputs_match`, for outputs up
                to one; above it relative to the output's largest element.
            windows: to compare on; seeded noise without them.
            verbose: tell of every step.

        Returns:
            numerical_difference {mean, max, std} over the single elements of every output,
            pytorch_latency_ms and onnx_latency_ms {mean, p95}, speedup (the ratio of the means),
            outputs_match, and direction_agreement.

        Raises:
            ParityError: the file has other outputs than the network.
            InvalidModelError, InvalidInputError, ExportError: see their messages.
        """

        def work(report: Report, stopped: Callable[[], bool]) -> dict[str, Any]:
            check_count("num_iterations", num_iterations, least=1)
            check_count("warmup_iterations", warmup_iterations, least=0)
            check_network(pytorch_model)
            exported = OnnxModel(Path(onnx_path), self.num_threads)
            shape = (1, *declared_shape(exported)) if input_shape is None else input_shape
            sample, batch = sample_shape(shape), int(shape[0])
            compared = (
                noise(sample, max(batch, PROOF_WINDOWS))
                if windows is None
                else check_windows("windows", windows)
            )
            with (
                prepared(pytorch_model, Path(onnx_path)) as network,
                torch_threads(self.num_threads),
            ):
                reference = torch_model(network)
                expected = run_all(reference, compared, batch)
                received = paired(expected, run_all(exported, compared, batch))
                timed = compared[[index % len(compared) for index in range(batch)]]
                timings = timed_calls(
                    calls_of({"pytorch": reference, "onnx": exported}, timed),
                    timed,
                    num_iterations,
                    warmup_iterations,
                    report,
                    stopped,
                )
            return comparison(expected, received, timings, tolerance)

        return await self._run("compare", verbose, work)

    async def export_and_optimize(
        self,
        model: nn.Module,
        model_path: Path | str | None,
        output_dir: Path | str,
        input_shape: tuple[int, ...],
        quantize: bool = True,
        benchmark_iterations: int = 1000,
        *,
        opset_version: int = 18,
        quantization_type: str = QuantizationType.DYNAMIC,
        calibration_data: Windows | None = None,
        windows: Windows | None = None,
        verbose: bool | None = None,
    ) -> dict[str, Any]:
        """Export to model.onnx, quantise to model_quantized.onnx, and time both, in turn.

        Args:
            model, model_path, input_shape, opset_version: see export_to_onnx.
            output_dir: the folder for both files; made if it is missing.
            quantize: whether to quantise.
            benchmark_iterations: calls of each that count.
            quantization_type, calibration_data, windows: see quantize_model.
            verbose: tell of every step.

        Returns:
            export_success, quantize_success, benchmarks {onnx_fp32, onnx_int8} with the keys of
            `benchmark`, comparison {speedup, latency_reduction_pct, size_reduction_pct},
            recommended (the key of the faster file in benchmarks, None without an export), and
            warnings and errors by step. A file that is smaller but not faster counts as quantised,
            and is not recommended. Every key is there also when a step fails: its figures are NaN
            then, beside its `error`.
        """

        async def export(target: Path) -> bool:
            check_count("benchmark_iterations", benchmark_iterations, least=1)
            return await self.export_to_onnx(
                model, model_path, target, input_shape, opset_version, verbose
            )

        async def quantize_file(source: Path, target: Path) -> bool:
            return await self.quantize_model(
                source,
                target,
                quantization_type,
                calibration_data,
                windows=windows,
                verbose=verbose,
            )

        async def time_files(files: Mapping[str, Path]) -> dict[str, Timing]:
            return await self._time_files(files, input_shape, benchmark_iterations, verbose)

        return await run_steps(
            Path(output_dir), export, quantize_file if quantize else None, time_files
        )

    async def _time_files(
        self,
        files: Mapping[str, Path],
        input_shape: tuple[int, ...],
        iterations: int,
        verbose: bool | None,
    ) -> dict[str, Timing]:
        def work(report: Report, stopped: Callable[[], bool]) -> dict[str, Timing]:
            windows = noise(sample_shape(input_shape), int(input_shape[0]))
            models = {name: OnnxModel(path, self.num_threads) for name, path in files.items()}
            warm_up = min(100, iterations)
            return timed_calls(
                calls_of(models, windows), windows, iterations, warm_up, report, stopped
            )

        return await self._run("benchmark", verbose, work)

    async def _run(
        self,
        what: str,
        verbose: bool | None,
        work: Callable[[Report, Callable[[], bool]], T],
    ) -> T:
        """Run `work` in a thread; it learns when nobody waits for it any more."""
        stop = threading.Event()

        def reported() -> T:
            with shown(what, lines=self._is_verbose(verbose)) as report:
                report("begun", 0.0)
                result = work(report, stop.is_set)
                report("done", 1.0)
                return result

        try:
            return await asyncio.to_thread(reported)
        except asyncio.CancelledError:
            stop.set()
            raise

    def _is_verbose(self, verbose: bool | None) -> bool:
        return self.verbose if verbose is None else verbose


@cache
def get_onnx_optimizer() -> ONNXOptimizer:
    """Return the process's optimiser with default settings, always the same one."""
    return ONNXOptimizer()
