"""INT8 models from FP32 models, with ONNX Runtime's quantiser.

Weights take 7 of the 8 bits. Processors with AVX2 or AVX-512 but without VNNI add two products of
an unsigned and a signed byte in 16 bits, and saturate (ONNX Runtime's documentation, "Quantize
ONNX Models", section "When and why do I need to try U8U8?"): with 8 bits, a file written on a
processor with VNNI has other outputs on one without.
"""

import logging
import math
import tempfile
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from itertools import chain
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

from optimization.arguments import check_windows
from optimization.errors import InvalidInputError, QuantizationError
from optimization.graph import optimize_graph
from optimization.quantization.precision import to_single
from optimization.quantization.preparation import prepare
from optimization.runtime import GraphLevel, OnnxModel, Windows, load_graph

DYNAMIC_OPERATORS = ("LSTM", "MatMul", "Gemm", "Conv")
"""The operators that can be quantised with scales taken from the current batch."""

STATIC_OPERATORS = ("MatMul", "Gemm", "Conv")
"""The operators that can be quantised with scales fixed by calibration; LSTM cannot."""

MIN_OPSET = 11
MIN_PER_CHANNEL_OPSET = 13
"""The oldest operator set whose QuantizeLinear takes a scale per channel."""

_PRODUCTS = ("MatMul", "Gemm")

_LEAST_WEIGHTS = 4096
"""The number of weights below which quantising a matrix product gains nothing."""

_QUANTIZED = {
    *("DynamicQuantizeLSTM", "DynamicQuantizeMatMul", "MatMulInteger", "ConvInteger"),
    *("DynamicQuantizeLinear", "QuantizeLinear", "QLinearConv", "QLinearMatMul"),
}


class QuantizationType(StrEnum):
    """The source of the scales of activations."""

    DYNAMIC = "dynamic"
    """The current batch: outputs depend on the other requests of the batch."""
    ROWWISE = "rowwise"
    """The current row: outputs are independent of the batch, and rows run one by one."""
    STATIC = "static"
    """Calibration: outputs are independent of the batch, and LSTM stays in FP32."""


def check_quantization_type(value: object) -> QuantizationType:
    """Return the type with that name; InvalidInputError for an unknown one."""
    if isinstance(value, str) and value in set(QuantizationType):
        return QuantizationType(value)
    expected = f"one of {', '.join(QuantizationType)}"
    raise InvalidInputError("quantization_type", expected, repr(value))


def quantize_dynamically(
    content: bytes, name: Path, operators: Collection[str], per_channel: bool = True
) -> bytes:
    """Return the model with INT8 weights for `operators` and activations scaled at run time.

    The scale is taken from the whole batch: outputs depend on the other requests of the batch,
    unless the model processes rows one at a time (`optimization.graph.rowwise`).

    Raises:
        InvalidModelError: the content is not an ONNX model.
        QuantizationError: the model has none of these operators, its operator set is too old, or
            ONNX Runtime fails.
    """

    def quantize(source: Path, target: Path, excluded: list[str]) -> None:
        quantize_dynamic(
            source,
            target,
            nodes_to_exclude=excluded,
            op_types_to_quantize=with_products(operators),
            per_channel=per_channel,
            reduce_range=True,
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
    *,
    accepts_missing: bool = False,
) -> bytes:
    """Return the model with INT8 weights for `operators` and activations scaled by calibration.

    The scales are fixed, so outputs are independent of the batch; windows outside the range of the
    calibration are clipped. With `accepts_missing`, NaN is a missing value.

    Raises:
        InvalidModelError: the content is not an ONNX model.
        InvalidInputError: the windows are invalid.
        QuantizationError: see quantize_dynamically.
    """
    model = OnnxModel(content, name=name)
    check_windows("calibration_data", calibration, model.dtype, accepts_missing=accepts_missing)
    opset = _opset(load_graph(content, name))
    if per_channel and MIN_OPSET <= opset < MIN_PER_CHANNEL_OPSET:
        problem = (
            f"a scale per channel needs operator set {MIN_PER_CHANNEL_OPSET} in static "
            f"quantisation, it has {opset}; export with a newer one or pass per_channel=False"
        )
        raise QuantizationError(name, problem)

    def quantize(source: Path, target: Path, excluded: list[str]) -> None:
        quantize_static(
            source,
            target,
            _Rows(model, calibration),
            nodes_to_exclude=excluded,
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=with_products(operators),
            per_channel=per_channel,
            reduce_range=True,
            activation_type=QuantType.QInt8 if symmetric else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={
                "ActivationSymmetric": symmetric,
                "WeightSymmetric": True,
                # Their outputs stay exact: most are the model's outputs, and scales clip rare
                # values.
                "OpTypesToExcludeOutputQuantization": ["MatMul", "Gemm"],
            },
        )

    try:
        return _quantized(content, name, with_products(operators), quantize)
    except QuantizationError as error:
        if _is_complete(calibration).any():
            raise
        problem = f"{error.problem}; every calibration window has missing values, add complete ones"
        raise QuantizationError(name, problem) from error


def with_products(operators: Collection[str]) -> list[str]:
    """Return the operators, with both kinds of matrix product if either is among them.

    ONNX Runtime turns a MatMul with a bias into a Gemm, and a Gemm into a MatMul.
    """
    both = _PRODUCTS if set(_PRODUCTS) & set(operators) else ()
    return list(dict.fromkeys([*operators, *both]))


def operators_in(content: bytes, name: Path) -> set[str]:
    """Return the types of the operators in a model's graph."""
    return {node.op_type for node in load_graph(content, name).graph.node}


class _Rows(CalibrationDataReader):  # type: ignore[misc]
    """Calibration windows in parts.

    Windows with missing values are apart from the others: where a layer reads them, ONNX Runtime
    ignores the part.
    """

    def __init__(self, model: OnnxModel, windows: Windows) -> None:
        is_complete = _is_complete(windows)
        groups = filter(len, (windows[is_complete], windows[~is_complete]))
        self._parts: Iterator[Windows] = chain.from_iterable(
            np.array_split(group, -(-len(group) // 32)) for group in groups
        )
        self._model = model

    def get_next(self) -> Mapping[str, Windows] | None:
        part = next(self._parts, None)
        return None if part is None else self._model.inputs_of(part)


def _is_complete(windows: Windows) -> NDArray[np.bool_]:
    """Return for each window whether it has no missing value."""
    return np.asarray(~np.isnan(windows).any(axis=tuple(range(1, windows.ndim))))


def _quantized(
    content: bytes,
    name: Path,
    operators: Collection[str],
    quantize: Callable[[Path, Path, list[str]], None],
) -> bytes:
    # Weights that the graph computes from others, such as those of weight_norm, become constants.
    folded = optimize_graph(content, name, GraphLevel.BASIC)
    model = load_graph(folded, name)
    prepare(model)
    to_single(model, name)
    opset = _opset(model)
    if opset < MIN_OPSET:
        problem = f"operator set {opset} is too old, expected {MIN_OPSET} or newer; export it again"
        raise QuantizationError(name, problem)
    present = {node.op_type for node in model.graph.node}
    if not present & set(operators):
        problem = f"it has none of the operators {', '.join(operators)}; it has {sorted(present)}"
        raise QuantizationError(name, problem)
    with tempfile.TemporaryDirectory() as folder, _quiet():
        source, target = Path(folder, "fp32.onnx"), Path(folder, "int8.onnx")
        source.write_bytes(model.SerializeToString())
        # ONNX Runtime and onnx raise exceptions of many classes.
        try:
            quantize(source, target, _small_products(model, operators))
            quantized = target.read_bytes()
        except Exception as error:
            raise QuantizationError(name, f"{type(error).__name__}: {error}") from error
    kinds = {node.op_type for node in onnx.load_model_from_string(quantized).graph.node}
    if not kinds & _QUANTIZED:
        problem = (
            f"ONNX Runtime quantised none of its {', '.join(sorted(present & set(operators)))}, "
            f"whose weights are not constant matrices; choose other operators"
        )
        raise QuantizationError(name, problem)
    return quantized


def _opset(model: onnx.ModelProto) -> int:
    return {opset.domain: int(opset.version) for opset in model.opset_import}.get("", 0)


def _small_products(model: onnx.ModelProto, operators: Collection[str]) -> list[str]:
    """Return the names of the matrix products that are too small to gain from quantisation.

    Scaling their input costs as much as they save, and the heads, which are among them, pass an
    error on to the output undamped. If all products are small, only those with a vector are
    returned, for which ONNX Runtime writes a file that does not load.
    """
    vectors = {weight.name for weight in model.graph.initializer if len(weight.dims) == 1}
    sizes = {weight.name: math.prod(weight.dims) for weight in model.graph.initializer}
    nodes = [node for node in model.graph.node if node.op_type in operators]
    small = [
        node.name
        for node in nodes
        if node.op_type in _PRODUCTS
        and sum(sizes.get(name, 0) for name in node.input[:2]) < _LEAST_WEIGHTS
    ]
    if len(small) == len(nodes):
        small = [
            node.name for node in nodes if node.op_type == "MatMul" and vectors & {*node.input[:2]}
        ]
    # ONNX Runtime first turns a Gemm into a MatMul of that name, and then searches for the name.
    return [name for product in small for name in (product, f"{product}_MatMul")]


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the quantiser's advice, which it logs through the root logger."""
    root = logging.getLogger()

    def other(record: logging.LogRecord) -> bool:
        return "onnxruntime" not in record.pathname or record.levelno > logging.WARNING

    root.addFilter(other)
    try:
        # Of a part whose windows all have missing values.
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "All-NaN axis", RuntimeWarning)
            yield
    finally:
        root.removeFilter(other)
