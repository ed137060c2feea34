"""ONNXOptimizer: export, quantise, optimise, measure and compare; each file is verified first."""

import asyncio
import threading
from collections.abc import Callable, Collection, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from optimization import operations
from optimization.arguments import check_count
from optimization.measurement.parity import Tolerance
from optimization.measurement.timing import Timing
from optimization.operations import Caller, Iterations, Quantization
from optimization.pipeline import run_steps
from optimization.progress import shown
from optimization.quantization.quantize import QuantizationType
from optimization.results import figures
from optimization.runtime import GraphLevel, Windows

T = TypeVar("T")


class ONNXOptimizer:
    """Export networks to ONNX, make the files faster, and measure them.

    A method returns its evidence or True, or raises an `OptimizationError` that states what was
    expected and what was received. After an error, or if the caller is cancelled, no file is
    written and an existing file is unchanged. The work runs in a worker thread.

    Args:
        num_threads: the number of threads of measured models.
        tolerance: the largest accepted differences between a quantised model and its original.
        verbose: write each step to standard error; every method can override it.

    >>> optimizer = ONNXOptimizer(num_threads=2, tolerance=Tolerance(direction_agreement=0.99))
    >>> optimizer.tolerance.direction_agreement
    0.99
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
        """Export a network with the weights in `model_path` to one ONNX file.

        Args:
            model: the network; the weights are loaded into it.
            model_path: a state dict or a checkpoint; None keeps the network's weights.
            output_path: the file to write.
            input_shape: the shape with the batch, for example (1, 60, 110); the file accepts any
                batch size.
            opset_version: the ONNX operator set, from 9 to 20.
            verbose: print the nodes of the exported graph.

        Raises:
            WeightsError: the weights do not exist or belong to another network.
            ExportError: the network cannot be exported, or the file does not run.
            ParityError: the outputs of the file differ from those of the network.
        """
        work = partial(
            operations.export,
            network=model,
            model_path=None if model_path is None else Path(model_path),
            output_path=Path(output_path),
            input_shape=input_shape,
            opset_version=opset_version,
            verbose=self._is_verbose(verbose),
        )
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
        """Write an INT8 model whose outputs equal those of the FP32 model within the tolerance.

        Without `operators` the file is smaller or faster; one that is only smaller is logged as a
        warning with the measured ratio.

        Args:
            onnx_path: the FP32 model.
            output_path: the file to write.
            quantization_type: `dynamic`, `rowwise` or `static`.
            calibration_data: windows from which `static` takes the scales of activations.
            symmetric: use signed activations around zero, for `static`.
            per_channel: use a scale per output channel of the weights instead of a single one.
            operators: the operators to quantise; MatMul and Gemm count as one. None selects LSTM,
                MatMul and Gemm, and convolutions if they are measured to be faster on this machine.
            windows: held-out windows for the evaluation; by default the last third of
                calibration_data, which then does not calibrate, else seeded noise: 2048 windows,
                fewer for a slow model.
            tolerance: the accepted differences from FP32; by default those of the optimiser.
            verbose: write each step to standard error.

        Raises:
            QuantizationError: nothing in the model can be quantised, or, without `operators`, the
                file would be neither smaller nor faster.
            ParityError: the quantised model exceeds the tolerance.
            InvalidModelError: the FP32 file is missing, damaged or of another kind.
            InvalidInputError: an argument is invalid.
            OutputFileError: the file cannot be written.
        """
        options = Quantization(
            quantization_type=quantization_type,
            calibration_data=calibration_data,
            symmetric=symmetric,
            per_channel=per_channel,
            operators=operators,
            windows=windows,
            tolerance=tolerance or self.tolerance,
        )
        work = partial(
            operations.quantize, source=Path(onnx_path), target=Path(output_path), options=options
        )
        return await self._run("quantise", verbose, work)

    async def optimize_graph(
        self,
        onnx_path: Path | str,
        output_path: Path | str,
        level: GraphLevel | int = GraphLevel.EXTENDED,
        verbose: bool | None = None,
    ) -> bool:
        """Write the model with ONNX Runtime's graph optimisations of a level, verified.

        Raises:
            GraphError: ONNX Runtime cannot write the graph.
            ParityError: the outputs of the rewritten model differ.
            InvalidModelError: the file is missing, damaged or of another kind.
            InvalidInputError: an argument is invalid.
            OutputFileError: the file cannot be written.
        """
        work = partial(
            operations.rewrite_graph, source=Path(onnx_path), target=Path(output_path), level=level
        )
        return await self._run("optimise the graph", verbose, work)

    async def benchmark(
        self,
        onnx_path: Path | str,
        input_shape: tuple[int, ...],
        num_iterations: int = 1000,
        warmup_iterations: int = 100,
        verbose: bool | None = None,
    ) -> dict[str, float]:
        """Return the latency and throughput of a model on seeded noise; outliers count.

        Args:
            onnx_path: the model.
            input_shape: the shape with the batch, for example (1, 60, 110).
            num_iterations: the number of measured calls.
            warmup_iterations: the number of unmeasured calls before them.
            verbose: write each step to standard error.

        Returns:
            latency_ms (the mean), latency_std_ms, p50_ms, p95_ms, p99_ms, min_ms and max_ms per
            call; throughput in samples per second, where a call counts all samples of its batch;
            p50_low_ms and p50_high_ms, the 95 % confidence interval of the median.

        Raises:
            InvalidModelError: the file is missing, damaged or of another kind.
            InvalidInputError: an argument is invalid.
        """
        timings = await self._time_files(
            {"model": Path(onnx_path)}, input_shape, num_iterations, warmup_iterations, verbose
        )
        return figures(timings["model"])

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
        """Return the differences between a file and its network, and the speedup.

        Args:
            pytorch_model: the network, which is not changed.
            onnx_path: the file.
            input_shape: the shape with the batch; by default one sample of the file's shape.
            num_iterations: the number of measured calls per model; the two are interleaved.
            warmup_iterations: the number of unmeasured calls before them.
            tolerance: the largest difference of an element for `outputs_match`, for outputs up to
                one; above it relative to the output's largest element.
            windows: the windows for the comparison; by default seeded noise.
            verbose: write each step to standard error.

        Returns:
            numerical_difference {mean, max, std} over the elements of all outputs,
            pytorch_latency_ms and onnx_latency_ms {mean, p95}, speedup (the ratio of the means),
            outputs_match, and direction_agreement.

        Raises:
            ParityError: the file has other outputs than the network.
            InvalidModelError: the file is missing, damaged or of another kind.
            InvalidInputError: an argument is invalid.
            ExportError: the network is not on the CPU and cannot be copied there.
        """

        def work(caller: Caller) -> dict[str, Any]:
            iterations = Iterations(measured=num_iterations, warm_up=warmup_iterations)
            compared = operations.compare(
                caller, pytorch_model, Path(onnx_path), input_shape, windows, iterations
            )
            return compared.as_json(tolerance)

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
        """Export to model.onnx, quantise to model_quantized.onnx, and time both, interleaved.

        Args:
            model, model_path, input_shape, opset_version: see export_to_onnx.
            output_dir: the folder for both files; it is created if it does not exist.
            quantize: whether to quantise.
            benchmark_iterations: the number of measured calls per file.
            quantization_type, calibration_data, windows: see quantize_model.
            verbose: write each step to standard error.

        Returns:
            export_success, quantize_success, benchmarks {onnx_fp32, onnx_int8} with the keys of
            `benchmark`, comparison {speedup, latency_reduction_pct, size_reduction_pct},
            recommended (the key of the faster file in benchmarks, None without an export), and
            warnings and errors by step. A file that is smaller but not faster counts as quantised
            and is not recommended. All keys are present when a step fails: its figures are then
            NaN, beside its `error`.
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
            warm_up = min(100, benchmark_iterations)
            return await self._time_files(
                files, input_shape, benchmark_iterations, warm_up, verbose
            )

        return await run_steps(
            Path(output_dir), export, quantize_file if quantize else None, time_files
        )

    async def _time_files(
        self,
        files: Mapping[str, Path],
        input_shape: tuple[int, ...],
        measured: int,
        warm_up: int,
        verbose: bool | None,
    ) -> dict[str, Timing]:
        def work(caller: Caller) -> dict[str, Timing]:
            iterations = Iterations(measured=measured, warm_up=warm_up)
            return operations.time_files(caller, files, input_shape, iterations)

        return await self._run("benchmark", verbose, work)

    async def _run(self, what: str, verbose: bool | None, work: Callable[[Caller], T]) -> T:
        """Run `work` in a worker thread, and signal it if the caller is cancelled."""
        stop = threading.Event()

        def reported() -> T:
            with shown(what, lines=self._is_verbose(verbose)) as report:
                report("started", 0.0)
                result = work(
                    Caller(report=report, stopped=stop.is_set, num_threads=self.num_threads)
                )
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
    """Return the process's optimiser with default settings, always the same one.

    >>> get_onnx_optimizer() is get_onnx_optimizer()
    True
    """
    return ONNXOptimizer()
