"""INT8 models from FP32 ones, with ONNX Runtime's quantiser."""

import logging
import math
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

from optimization.errors import InvalidInputError, QuantizationError
from optimization.graph import optimize_graph
from optimization.runtime import GraphLevel, OnnxModel, Windows, load_graph

DYNAMIC_OPERATORS = ("LSTM", "MatMul", "Gemm", "Conv")
"""What can be quantised with scales taken from the batch at hand."""

STATIC_OPERATORS = ("MatMul", "Gemm", "Conv")
"""What can be quantised with scales fixed by calibration; LSTM stays as it is."""

MIN_OPSET = 11
MIN_PER_CHANNEL_OPSET = 13
"""Of static quantisation: QuantizeLinear takes a scale a channel from there on."""

_PRODUCTS = ("MatMul", "Gemm")

_LEAST_WEIGHTS = 4096
"""Of a matrix product, below which quantising it is no gain."""

_QUANTIZED = {
    *("DynamicQuantizeLSTM", "DynamicQuantizeMatMul", "MatMulInteger", "ConvInteger"),
    *("DynamicQuantizeLinear", "QuantizeLinear", "QLinearConv", "QLinearMatMul"),
}


class QuantizationType(StrEnum):
    """Where the scale of the activations comes from."""

    DYNAMIC = "dynamic"
    """From the batch at hand: an answer depends on its batch-mates."""
    ROWWISE = "rowwise"
    """From the row at hand: no answer depends on its batch-mates, rows run one by one."""
    STATIC = "static"
    """From calibration: no answer depends on its batch-mates, LSTM stays in FP32."""


def quantize_dynamically(
    content: bytes, name: Path, operators: Collection[str], per_channel: bool = True
) -> bytes:
    """Return the model with INT8 weights for `operators`, and activations scaled as they come.

    The scale is taken from the whole batch: an answer depends on its batch-mates, unless the
    model takes rows one at a time (`optimization.graph.rowwise`).

    Raises:
        InvalidModelError: no ONNX model.
        QuantizationError: it has none of these operators, an operator set that is too old, or
            ONNX Runtime refuses.
    """

    def quantize(source: Path, target: Path, left_out: list[str]) -> None:
        quantize_dynamic(
            source,
            target,
            nodes_to_exclude=left_out,
            op_types_to_quantize=with_products(operators),
            per_channel=per_channel,
            weight_type=QuantType.QInt8,
        )

    return _quantized(content, name, with_products(operators), quantize)


def quantize_statically(
    content: bytes,
    name: Path,
    operators: Collection[str],
    calibration: Windows,
    per_channel: bool = True,
    symmetric: bool = False,
) -> bytes:
    """Return the model with INT8 weights for `operators`, and activations scaled by calibration.

    The scales are fixed, so no answer depends on its batch-mates; windows unlike those of the
    calibration are clipped.

    Raises:
        InvalidModelError: no ONNX model.
        InvalidInputError: windows that do not calibrate anything.
        QuantizationError: see quantize_dynamically.
    """
    check_windows("calibration_data", calibration)
    input_name = OnnxModel(content, name=name).input_name
    opset = _opset(load_graph(content, name))
    if per_channel and MIN_OPSET <= opset < MIN_PER_CHANNEL_OPSET:
        problem = (
            f"a scale a channel needs operator set {MIN_PER_CHANNEL_OPSET} in static quantisation, "
            f"it has {opset}; export anew with a newer one or pass per_channel=False"
        )
        raise QuantizationError(name, problem)

    def quantize(source: Path, target: Path, left_out: list[str]) -> None:
        quantize_static(
            source,
            target,
            _Rows(input_name, calibration),
            nodes_to_exclude=left_out,
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=with_products(operators),
            per_channel=per_channel,
            activation_type=QuantType.QInt8 if symmetric else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={
                "ActivationSymmetric": symmetric,
                "WeightSymmetric": True,
                # Their outputs stay exact: most are the model's own, and scales clip the rare.
                "OpTypesToExcludeOutputQuantization": ["MatMul", "Gemm"],
            },
        )

    return _quantized(content, name, with_products(operators), quantize)


def with_products(operators: Collection[str]) -> list[str]:
    """Return the operators with both kinds of matrix product where one of them is among them.

    ONNX Runtime turns a MatMul with a bias into a Gemm, and a Gemm into a MatMul.
    """
    both = _PRODUCTS if set(_PRODUCTS) & set(operators) else ()
    return list(dict.fromkeys([*operators, *both]))


def check_windows(what: str, windows: object) -> Windows:
    """Return windows that can be worked with; InvalidInputError for any other."""
    expected = "an array of float32 numbers, (windows, ...), at least one window"
    if not isinstance(windows, np.ndarray):
        raise InvalidInputError(what, expected, type(windows).__name__)
    if windows.dtype != np.float32 or windows.ndim < 2 or len(windows) == 0:
        raise InvalidInputError(what, expected, f"{windows.dtype} of shape {windows.shape}")
    if not np.isfinite(windows).all():
        count = int((~np.isfinite(windows)).sum())
        raise InvalidInputError(what, "finite numbers", f"{count} that are NaN or infinite")
    return windows


def operators_in(content: bytes, name: Path) -> set[str]:
    """Return the kinds of operators of a model's graph."""
    return {each.op_type for each in load_graph(content, name).graph.node}


class _Rows(CalibrationDataReader):  # type: ignore[misc]
    """Calibration windows, some at a time."""

    def __init__(self, input_name: str, windows: Windows) -> None:
        parts = np.array_split(windows, -(-len(windows) // 32))
        self._parts: Iterator[Windows] = iter(parts)
        self._input_name = input_name

    def get_next(self) -> dict[str, Windows] | None:
        part = next(self._parts, None)
        return None if part is None else {self._input_name: part}


def _quantized(
    content: bytes,
    name: Path,
    operators: Collection[str],
    quantize: Callable[[Path, Path, list[str]], None],
) -> bytes:
    # Weights that the graph computes from others, as those of weight_norm, become constants.
    folded = optimize_graph(content, name, GraphLevel.BASIC)
    model = load_graph(folded, name)
    opset = _opset(model)
    if opset < MIN_OPSET:
        problem = f"operator set {opset} is too old, expected {MIN_OPSET} or newer; export anew"
        raise QuantizationError(name, problem)
    present = {each.op_type for each in model.graph.node}
    if not present & set(operators):
        problem = f"it has none of the operators {', '.join(operators)}; it has {sorted(present)}"
        raise QuantizationError(name, problem)
    with tempfile.TemporaryDirectory() as folder, _quiet():
        source, target = Path(folder, "fp32.onnx"), Path(folder, "int8.onnx")
        source.write_bytes(folded)
        # ONNX Runtime and onnx raise whatever they stumble over.
        try:
            quantize(source, target, _small_products(model, operators))
            quantized = target.read_bytes()
        except Exception as error:
            raise QuantizationError(name, f"{type(error).__name__}: {error}") from error
    kinds = {each.op_type for each in onnx.load_model_from_string(quantized).graph.node}
    if not kinds & _QUANTIZED:
        problem = (
            f"ONNX Runtime quantised none of its {', '.join(sorted(present & set(operators)))}, "
            f"whose weights are no constant matrices"
        )
        raise QuantizationError(name, problem)
    return quantized


def _opset(model: onnx.ModelProto) -> int:
    return {each.domain: int(each.version) for each in model.opset_import}.get("", 0)


def _small_products(model: onnx.ModelProto, operators: Collection[str]) -> list[str]:
    """Return the names of matrix products to leave as they are, since they are too small to gain.

    To scale their input costs as much as they save, and the heads, which are among them, pass an
    error on to the answer undamped. Where nothing else is left, only products with a vector are,
    of which ONNX Runtime makes a file that does not load.
    """
    vectors = {each.name for each in model.graph.initializer if len(each.dims) == 1}
    sizes = {each.name: math.prod(each.dims) for each in model.graph.initializer}
    wanted = [each for each in model.graph.node if each.op_type in operators]
    small = [
        each.name
        for each in wanted
        if each.op_type in _PRODUCTS
        and sum(sizes.get(name, 0) for name in each.input[:2]) < _LEAST_WEIGHTS
    ]
    if len(small) == len(wanted):
        small = [
            each.name for each in wanted if each.op_type == "MatMul" and vectors & {*each.input[:2]}
        ]
    # ONNX Runtime turns a Gemm into a MatMul of that name first, and then looks for the name.
    return [name for each in small for name in (each, f"{each}_MatMul")]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back the quantiser's advice, which it logs through the root logger."""
    root = logging.getLogger()

    def other(record: logging.LogRecord) -> bool:
        return "onnxruntime" not in record.pathname or record.levelno > logging.WARNING

    root.addFilter(other)
    try:
        yield
    finally:
        root.removeFilter(other)
