"""INT8 files: smaller, and near the original."""

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from optimization.errors import InvalidInputError, QuantizationError
from optimization.export.exporter import export_onnx
from optimization.graph import rowwise
from optimization.measurement.parity import compare_outputs
from optimization.quantization.quantize import quantize_dynamically, quantize_statically
from optimization.runtime import OnnxModel
from tests.optimization.networks import WeightNormed

ALL = ("LSTM", "MatMul", "Gemm")


def kinds(content):
    return {node.op_type for node in onnx.load_model_from_string(content).graph.node}


def distance(first, second, windows):
    return compare_outputs(first(windows), second(windows)).max_relative_difference


@pytest.mark.parametrize("per_channel", [True, False])
def test_quantize_dynamically(exported, windows, per_channel):
    """The file is less than half the size, and its outputs are near the original's."""
    content = exported.read_bytes()
    quantized = quantize_dynamically(content, exported, ALL, per_channel)
    assert "DynamicQuantizeLSTM" in kinds(quantized)
    assert len(quantized) < len(content) / 2
    difference = distance(OnnxModel(exported), OnnxModel(quantized), windows)
    assert 0 < difference < 0.2


@pytest.mark.parametrize("symmetric", [True, False])
def test_quantize_statically(exported, windows, symmetric):
    """The outputs are near the original's, LSTM stays, and zero points follow `symmetric`."""
    quantized = quantize_statically(
        exported.read_bytes(), exported, ("MatMul", "Gemm", "Conv"), windows, symmetric=symmetric
    )
    assert {"QuantizeLinear", "LSTM"} <= kinds(quantized)
    assert 0 < distance(OnnxModel(exported), OnnxModel(quantized), windows) < 0.5
    zeros = [
        onnx.numpy_helper.to_array(weight)
        for weight in onnx.load_model_from_string(quantized).graph.initializer
        if weight.name.endswith("_zero_point") and not weight.dims
    ]
    assert all(zero.dtype == np.int8 and zero == 0 for zero in zeros) == symmetric


@pytest.mark.parametrize("per_channel", [True, False])
def test_seven_bits(exported, windows, per_channel):
    """No processor saturates: the sum of two products of weight and activation fits in 16 bits."""
    content = exported.read_bytes()
    operators = ("MatMul", "Gemm", "Conv")
    for quantized in (
        quantize_dynamically(content, exported, ALL, per_channel),
        quantize_statically(content, exported, operators, windows, per_channel),
    ):
        weights = [
            onnx.numpy_helper.to_array(weight).astype(int)
            for weight in onnx.load_model_from_string(quantized).graph.initializer
            if weight.data_type == onnx.TensorProto.INT8 and np.prod(weight.dims) > 1000
        ]
        assert weights
        assert all(2 * 255 * np.abs(values).max() < 2**15 for values in weights)


def test_rowwise_equals_single_rows(exported, windows):
    """A row-wise model returns for each row the dynamic model's outputs for that row alone."""
    dynamic = quantize_dynamically(exported.read_bytes(), exported, ALL)
    whole, by_row = OnnxModel(dynamic), OnnxModel(rowwise(dynamic, exported))
    outputs = by_row(windows[:5])
    for index in range(5):
        alone = whole(windows[index : index + 1])
        for name, values in alone.items():
            np.testing.assert_array_equal(outputs[name][index : index + 1], values)


def test_computed_weights(tmp_path):
    """Weights that the graph computes are quantised."""
    path = tmp_path / "model.onnx"
    export_onnx(WeightNormed(), path, (30, 20))
    assert "ConvInteger" in kinds(quantize_dynamically(path.read_bytes(), path, ("Conv",)))


def test_small_products(exported):
    """The heads, products with 48 x 3 weights, are not quantised."""
    quantized = quantize_dynamically(exported.read_bytes(), exported, ALL)
    assert not {"MatMulInteger", "DynamicQuantizeMatMul"} & kinds(quantized)


def test_absent_operators(exported):
    """The error for absent operators lists those of the model."""
    without_lstm = quantize_dynamically(exported.read_bytes(), exported, ALL)
    with pytest.raises(QuantizationError, match=r"none of the operators LSTM; it has \["):
        quantize_dynamically(without_lstm, exported, ("LSTM",))


def test_old_opset(tmp_path, exported):
    """An operator set before 11 is an error."""
    model = onnx.load(exported)
    model.opset_import[0].version = 10
    del model.graph.node[:], model.graph.output[:]
    model.graph.node.append(onnx.helper.make_node("Identity", ["windows"], ["out"]))
    model.graph.output.append(onnx.helper.make_tensor_value_info("out", 1, ["batch", 12, 6]))
    with pytest.raises(QuantizationError, match="operator set 10 is too old, expected 11"):
        quantize_dynamically(model.SerializeToString(), exported, ALL)


@pytest.mark.parametrize(
    ("calibration", "problem"),
    [
        (np.full((4, 12, 6), np.nan, dtype=np.float32), "288 that are NaN"),
        (np.zeros((0, 12, 6), dtype=np.float32), r"shape \(0, 12, 6\)"),
        (np.zeros((4, 12, 6)), "float64"),
        ([[1.0]], "list"),
    ],
    ids=["NaN", "none", "double", "list"],
)
def test_invalid_calibration(exported, calibration, problem):
    """The error for invalid calibration data states the problem."""
    with pytest.raises(InvalidInputError, match=rf"calibration_data: .* {problem}"):
        quantize_statically(exported.read_bytes(), exported, ("Gemm",), calibration)


def test_calibration_of_another_shape(exported):
    """Calibration data of another shape is an error."""
    with pytest.raises(QuantizationError, match="Got invalid dimensions"):
        quantize_statically(
            exported.read_bytes(), exported, ("Gemm",), np.zeros((4, 12, 5), dtype=np.float32)
        )


def perceptron(path, opset_version=18):
    """Export two products, which ONNX Runtime turns into Gemm."""
    layers = (nn.Flatten(), nn.Linear(72, 128), nn.ReLU(), nn.Linear(128, 64))
    export_onnx(nn.Sequential(*layers), path, (12, 6), opset_version=opset_version)
    return path.read_bytes()


def test_matmul_and_gemm(tmp_path):
    """MatMul and Gemm are quantised together, whichever is named."""
    path = tmp_path / "model.onnx"
    content = perceptron(path)
    sizes = {len(quantize_dynamically(content, path, (name,))) for name in ("MatMul", "Gemm")}
    assert len(sizes) == 1
    assert sizes.pop() < 0.5 * len(content)


def test_per_channel_old_opset(tmp_path, windows):
    """A scale per channel needs operator set 13 in static quantisation."""
    path = tmp_path / "model.onnx"
    content = perceptron(path, opset_version=12)
    with pytest.raises(QuantizationError, match=r"needs operator set 13 .* per_channel=False"):
        quantize_statically(content, path, ("MatMul",), windows)
    assert "QuantizeLinear" in kinds(
        quantize_statically(content, path, ("MatMul",), windows, per_channel=False)
    )


class Pooled(nn.Module):
    """Weights its timesteps by their product with a vector, as in attention pooling."""

    def __init__(self):
        super().__init__()
        self.query, self.head = nn.Parameter(torch.randn(6)), nn.Linear(6, 3)

    def forward(self, windows):
        weights = torch.softmax(windows @ self.query, dim=1)
        return self.head((weights[..., None] * windows).sum(1))


def test_product_with_vector(tmp_path):
    """A product with a vector is not quantised, since the file would not load."""
    path = tmp_path / "pooled.onnx"
    export_onnx(Pooled(), path, (12, 6))
    quantized = quantize_dynamically(path.read_bytes(), path, ["MatMul", "Gemm"])
    windows = np.random.default_rng(0).standard_normal((3, 12, 6), dtype=np.float32)
    assert 0 < distance(OnnxModel(path), OnnxModel(quantized), windows) < 0.1


def masked(weights):
    """Return a product that reads missing values, and replaces its own NaN by zero."""
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("MatMul", ["x", "w"], ["h"]),
            onnx.helper.make_node("IsNaN", ["h"], ["is_missing"]),
            onnx.helper.make_node("Where", ["is_missing", "zero", "h"], ["y"]),
        ],
        "masked",
        [onnx.helper.make_tensor_value_info("x", 1, ["batch", 72])],
        [onnx.helper.make_tensor_value_info("y", 1, ["batch", 64])],
        [
            onnx.numpy_helper.from_array(weights, "w"),
            onnx.numpy_helper.from_array(np.float32(0), "zero"),
        ],
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    return onnx.helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


def test_missing_values_in_calibration(tmp_path, windows):
    """The scales are those of the complete windows, wherever others are among them."""
    rows = windows.reshape(len(windows), -1)
    content = masked(np.random.default_rng(0).standard_normal((72, 64), dtype=np.float32))
    mixed = np.repeat(rows, 2, axis=0)
    mixed[::2, 5] = np.nan
    expected = quantize_statically(content, tmp_path, ("MatMul",), rows)
    received = quantize_statically(content, tmp_path, ("MatMul",), mixed, accepts_missing=True)
    assert received == expected
    with pytest.raises(QuantizationError, match="every calibration window has missing values"):
        quantize_statically(content, tmp_path, ("MatMul",), mixed[::2], accepts_missing=True)
