"""Rewritten graphs have the same outputs."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from optimization.errors import GraphError, InvalidInputError, InvalidModelError
from optimization.graph import half_weights, optimize_graph, rowwise
from optimization.runtime import GraphLevel, OnnxModel


def assert_same(first, second, windows, tolerance=1e-5):
    for name, expected in OnnxModel(first)(windows).items():
        np.testing.assert_allclose(OnnxModel(second)(windows)[name], expected, atol=tolerance)


@pytest.mark.parametrize("level", GraphLevel)
def test_optimized_graph_outputs(exported, windows, level):
    """The outputs are the same at each level."""
    assert_same(exported, optimize_graph(exported.read_bytes(), exported, level), windows)


def test_extended_level_fuses(exported):
    """The extended level leaves fewer nodes."""
    content = exported.read_bytes()
    count = [
        len(onnx.load_model_from_string(model).graph.node)
        for model in (content, optimize_graph(content, exported, GraphLevel.EXTENDED))
    ]
    assert count[1] < count[0]


@pytest.mark.parametrize("level", [3, -1, "all"])
def test_unknown_level(exported, level):
    """The error for an unknown level lists the known ones."""
    with pytest.raises(InvalidInputError, match=r"NONE \(0\), BASIC \(1\), EXTENDED \(2\), ALL"):
        optimize_graph(exported.read_bytes(), exported, level)


def test_half_weights(exported, windows):
    """Half precision nearly halves the file, and the outputs stay within 0.001."""
    content = exported.read_bytes()
    halved = half_weights(content, exported)
    assert len(halved) < 0.6 * len(content)
    assert_same(exported, halved, windows, tolerance=1e-3)


def linear(weight):
    """A product with a matrix that holds `weight`, as an ONNX file."""
    matrix = np.full((16, 16), weight, dtype=np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 16])],
        [onnx.numpy_helper.from_array(matrix, "w")],
    )
    opset = [helper.make_opsetid("", 12)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


def test_half_weights_overflow(tmp_path):
    """Weights that overflow in half precision are an error."""
    with pytest.raises(GraphError, match="half precision cannot hold the weights w"):
        half_weights(linear(1e6), tmp_path / "m.onnx")


def test_rowwise_old_opset(tmp_path):
    """Rows one at a time need operator set 13."""
    with pytest.raises(GraphError, match="need operator set 13, it has 12"):
        rowwise(linear(1), tmp_path / "m.onnx")


def test_rowwise_outputs(exported, windows):
    """A row-wise model has the same names, shape and outputs."""
    by_row = rowwise(exported.read_bytes(), exported)
    onnx.checker.check_model(by_row, full_check=True)
    first, second = OnnxModel(exported), OnnxModel(by_row)
    assert first.output_names == second.output_names
    assert first.inputs_of(windows).keys() == second.inputs_of(windows).keys()
    assert second.input_shape == (None, 12, 6)
    assert_same(exported, by_row, windows)


def test_rowwise_with_output_named_row(tmp_path):
    """An output may have the name of the generated graph."""
    model = onnx.load_model_from_string(linear(1))
    model.graph.node[0].output[0] = model.graph.output[0].name = "row"
    model.opset_import[0].version = 13
    by_row = rowwise(model.SerializeToString(), tmp_path / "m.onnx")
    windows = np.ones((3, 16), dtype=np.float32)
    np.testing.assert_array_equal(OnnxModel(by_row)(windows)["row"], np.full((3, 16), 16))


@pytest.mark.parametrize("kept", [0, 20, 1000, -1])
def test_damaged_file(exported, tmp_path, kept):
    """The error for a truncated file names it."""
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(exported.read_bytes()[:kept])
    with pytest.raises(InvalidModelError, match=r"damaged\.onnx: expected an ONNX model.* damaged"):
        OnnxModel(damaged)


def test_missing_file_and_other_input(tmp_path):
    """A missing file and a model with an input of another type are errors."""
    with pytest.raises(InvalidModelError, match="there is no such file"):
        OnnxModel(tmp_path / "absent.onnx")
    model = onnx.load_model_from_string(linear(1))
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    del model.graph.initializer[:]
    model.graph.node[0].input[1] = "x"
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 16
    with pytest.raises(InvalidModelError, match=r"it takes x tensor\(int64\)"):
        OnnxModel(model.SerializeToString())


def test_windows_of_another_shape(exported):
    """The error states the expected and the received shape."""
    with pytest.raises(InvalidInputError, match=r"\(None, 12, 6\).*float32 of shape \(1, 12, 5\)"):
        OnnxModel(exported)(np.zeros((1, 12, 5), dtype=np.float32))
