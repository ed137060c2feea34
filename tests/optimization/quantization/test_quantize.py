"""INT8 files: smaller, near the original, and what their answers depend on."""

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from optimization.errors import InvalidInputError, QuantizationError
from optimization.export.exporter import export_onnx
from optimization.graph import rowwise
from optimization.measurement.batch_dependence import measure_batch_dependence
from optimization.measurement.parity import compare_outputs
from optimization.quantization.quantize import (
    check_windows,
    quantize_dynamically,
    quantize_statically,
)
from optimization.runtime import OnnxModel
from tests.optimization.networks import WeightNormed

ALL = ("LSTM", "MatMul", "Gemm")


def kinds(content):
    return {each.op_type for each in onnx.load_model_from_string(content).graph.node}


def distance(first, second, windows):
    return compare_outputs(first(windows), second(windows)).max_relative_difference


@pytest.mark.parametrize("per_channel", [True, False])
def test_dynamic_quantisation_is_small_and_near(exported, windows, per_channel):
    content = exported.read_bytes()
    quantized = quantize_dynamically(content, exported, ALL, per_channel)
    assert "DynamicQuantizeLSTM" in kinds(quantized)
    assert len(quantized) < len(content) / 2
    difference = distance(OnnxModel(exported), OnnxModel(quantized), windows)
    assert 0 < difference < 0.2


@pytest.mark.parametrize("symmetric", [True, False])
def test_static_quantisation_is_near_and_leaves_lstm(exported, windows, symmetric):
    quantized = quantize_statically(
        exported.read_bytes(), exported, ("MatMul", "Gemm", "Conv"), windows, symmetric=symmetric
    )
    assert {"QuantizeLinear", "LSTM"} <= kinds(quantized)
    assert 0 < distance(OnnxModel(exported), OnnxModel(quantized), windows) < 0.5
    zeros = [
        onnx.numpy_helper.to_array(each)
        for each in onnx.load_model_from_string(quantized).graph.initializer
        if each.name.endswith("_zero_point") and not each.dims
    ]
    assert all(zero.dtype == np.int8 and zero == 0 for zero in zeros) == symmetric


def test_only_what_does_not_look_at_the_batch_answers_the_same_in_it(exported, windows):
    content = exported.read_bytes()
    dynamic = quantize_dynamically(content, exported, ALL)
    by_row = rowwise(dynamic, exported)
    static = quantize_statically(content, exported, ("MatMul", "Gemm"), windows)
    depends = {
        name: measure_batch_dependence(OnnxModel(each), windows)
        for name, each in {
            "fp32": content,
            "dynamic": dynamic,
            "by row": by_row,
            "static": static,
        }.items()
    }
    assert {name: each.depends for name, each in depends.items()} == {
        "fp32": False,
        "dynamic": True,
        "by row": False,
        "static": False,
    }
    loud = depends["dynamic"].max_abs_difference_loud["direction_logits"]
    assert loud > depends["dynamic"].max_abs_difference["direction_logits"]
    assert max(depends["by row"].max_abs_difference_loud.values()) == 0


def test_a_loud_mate_is_loud_whatever_the_first_window(exported, windows):
    dynamic = OnnxModel(quantize_dynamically(exported.read_bytes(), exported, ALL))
    quiet = np.concatenate([np.zeros_like(windows[:1]), windows])
    loud = measure_batch_dependence(dynamic, quiet).max_abs_difference_loud["direction_logits"]
    assert loud > measure_batch_dependence(dynamic, windows).max_abs_difference["direction_logits"]
    assert measure_batch_dependence(dynamic, np.zeros_like(windows)).depends


def test_a_row_alone_is_what_dynamic_quantisation_gives_it_alone(exported, windows):
    dynamic = quantize_dynamically(exported.read_bytes(), exported, ALL)
    whole, by_row = OnnxModel(dynamic), OnnxModel(rowwise(dynamic, exported))
    answers = by_row(windows[:5])
    for number in range(5):
        alone = whole(windows[number : number + 1])
        for name, values in alone.items():
            np.testing.assert_array_equal(answers[name][number : number + 1], values)


def test_weights_that_the_graph_computes_are_quantised_too(tmp_path):
    path = tmp_path / "model.onnx"
    export_onnx(WeightNormed(), path, (30, 20))
    assert "ConvInteger" in kinds(quantize_dynamically(path.read_bytes(), path, ("Conv",)))


def test_small_products_stay_as_they_are_where_there_is_more(exported):
    """The heads: 48 x 3 weights."""
    quantized = quantize_dynamically(exported.read_bytes(), exported, ALL)
    assert not {"MatMulInteger", "DynamicQuantizeMatMul"} & kinds(quantized)


def test_a_model_without_such_operators_says_which_it_has(exported):
    without_lstm = quantize_dynamically(exported.read_bytes(), exported, ALL)
    with pytest.raises(QuantizationError, match=r"none of the operators LSTM; it has \["):
        quantize_dynamically(without_lstm, exported, ("LSTM",))


def test_an_operator_set_that_is_too_old_is_refused(tmp_path, exported):
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
def test_windows_that_calibrate_nothing_are_refused(exported, calibration, problem):
    with pytest.raises(InvalidInputError, match=rf"calibration_data: .* {problem}"):
        quantize_statically(exported.read_bytes(), exported, ("Gemm",), calibration)


def test_calibration_of_another_shape_is_refused(exported):
    with pytest.raises(QuantizationError, match="Got invalid dimensions"):
        quantize_statically(
            exported.read_bytes(), exported, ("Gemm",), np.zeros((4, 12, 5), dtype=np.float32)
        )


def perceptron(path, opset_version=18):
    """Two products, which ONNX Runtime makes Gemm of, whatever they were."""
    layers = (nn.Flatten(), nn.Linear(72, 128), nn.ReLU(), nn.Linear(128, 64))
    export_onnx(nn.Sequential(*layers), path, (12, 6), opset_version=opset_version)
    return path.read_bytes()


def test_matmul_and_gemm_are_one(tmp_path):
    path = tmp_path / "model.onnx"
    content = perceptron(path)
    sizes = {len(quantize_dynamically(content, path, (name,))) for name in ("MatMul", "Gemm")}
    assert len(sizes) == 1
    assert sizes.pop() < 0.5 * len(content)


def test_static_scales_a_channel_need_a_newer_operator_set(tmp_path, windows):
    path = tmp_path / "model.onnx"
    content = perceptron(path, opset_version=12)
    with pytest.raises(QuantizationError, match=r"needs operator set 13 .* per_channel=False"):
        quantize_statically(content, path, ("MatMul",), windows)
    assert "QuantizeLinear" in kinds(
        quantize_statically(content, path, ("MatMul",), windows, per_channel=False)
    )


def test_good_windows_come_back(windows):
    assert check_windows("windows", windows) is windows


class Pooled(nn.Module):
    """Weighs its timesteps by their product with a vector, as attention pooling does."""

    def __init__(self):
        super().__init__()
        self.query, self.head = nn.Parameter(torch.randn(6)), nn.Linear(6, 3)

    def forward(self, windows):
        weights = torch.softmax(windows @ self.query, dim=1)
        return self.head((weights[..., None] * windows).sum(1))


def test_a_product_with_a_vector_stays_as_it_is(tmp_path):
    """ONNX Runtime's scales a channel would not fit it, and the file would not load."""
    path = tmp_path / "pooled.onnx"
    export_onnx(Pooled(), path, (12, 6))
    quantized = quantize_dynamically(path.read_bytes(), path, ["MatMul", "Gemm"])
    windows = np.random.default_rng(0).standard_normal((3, 12, 6), dtype=np.float32)
    assert 0 < distance(OnnxModel(path), OnnxModel(quantized), windows) < 0.1
