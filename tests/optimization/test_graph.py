"""Graphs rewritten: the same answers in another form."""

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
def test_every_level_gives_the_same(exported, windows, level):
    assert_same(exported, optimize_graph(exported.read_bytes(), exported, level), windows)


def test_the_extended_level_fuses(exported):
    content = exported.read_bytes()
    count = [
        len(onnx.load_model_from_string(each).graph.node)
        for each in (content, optimize_graph(content, exported, GraphLevel.EXTENDED))
    ]
    assert count[1] < count[0]


@pytest.mark.parametrize("level", [3, -1, "all"])
def test_an_unknown_level_lists_the_known(exported, level):
    with pytest.raises(InvalidInputError, match=r"NONE \(0\), BASIC \(1\), EXTENDED \(2\), ALL"):
        optimize_graph(exported.read_bytes(), exported, level)


def test_half_precision_halves_the_file_and_hardly_moves_an_answer(exported, windows):
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


def test_weights_too_large_for_half_precision_are_refused(tmp_path):
    with pytest.raises(GraphError, match="half precision cannot hold the weights w"):
        half_weights(linear(1e6), tmp_path / "m.onnx")


def test_rows_one_at_a_time_need_a_newer_operator_set(tmp_path):
    with pytest.raises(GraphError, match="need operator set 13, it has 12"):
        rowwise(linear(1), tmp_path / "m.onnx")


def test_rows_one_at_a_time_give_the_same_under_the_same_names(exported, windows):
    by_row = rowwise(exported.read_bytes(), exported)
    onnx.checker.check_model(by_row, full_check=True)
    first, second = OnnxModel(exported), OnnxModel(by_row)
    assert (first.input_name, first.output_names) == (second.input_name, second.output_names)
    assert second.input_shape == (None, 12, 6)
    assert_same(exported, by_row, windows)


def test_an_output_may_be_called_row(tmp_path):
    model = onnx.load_model_from_string(linear(1))
    model.graph.node[0].output[0] = model.graph.output[0].name = "row"
    model.opset_import[0].version = 13
    by_row = rowwise(model.SerializeToString(), tmp_path / "m.onnx")
    windows = np.ones((3, 16), dtype=np.float32)
    np.testing.assert_array_equal(OnnxModel(by_row)(windows)["row"], np.full((3, 16), 16))


@pytest.mark.parametrize("kept", [0, 20, 1000, -1])
def test_a_damaged_file_is_refused_with_its_name(exported, tmp_path, kept):
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(exported.read_bytes()[:kept])
    with pytest.raises(InvalidModelError, match=r"damaged\.onnx: expected an ONNX model.* damaged"):
        OnnxModel(damaged)


def test_a_file_that_is_not_there_and_one_that_takes_something_else(tmp_path):
    with pytest.raises(InvalidModelError, match="there is no such file"):
        OnnxModel(tmp_path / "absent.onnx")
    model = onnx.load_model_from_string(linear(1))
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    del model.graph.initializer[:]
    model.graph.node[0].input[1] = "x"
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 16
    with pytest.raises(InvalidModelError, match=r"it takes x tensor\(double\)"):
        OnnxModel(model.SerializeToString())


def test_windows_of_another_shape_are_refused_with_both(exported):
    with pytest.raises(InvalidInputError, match=r"\(None, 12, 6\).*float32 of shape \(1, 12, 5\)"):
        OnnxModel(exported)(np.zeros((1, 12, 5), dtype=np.float32))
