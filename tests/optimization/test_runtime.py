"""ONNX files as functions."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from optimization.errors import InvalidInputError, InvalidModelError
from optimization.measurement.parity import measure_parity
from optimization.runtime import OnnxModel


def classifier(outputs):
    """Return a model of scores with a label beside them, as converters write them."""
    label = helper.make_node("ArgMax", ["x"], ["output_label"], axis=1, keepdims=0)
    scores = helper.make_node("Softmax", ["x"], ["probabilities"], axis=1)
    declared = {
        "output_label": helper.make_tensor_value_info("output_label", TensorProto.INT64, ["b"]),
        "probabilities": helper.make_tensor_value_info(
            "probabilities", TensorProto.FLOAT, ["b", 3]
        ),
    }
    graph = helper.make_graph(
        [label, scores],
        "classifier",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["b", 3])],
        [declared[name] for name in outputs],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    return model.SerializeToString()


def test_labels_beside_scores():
    """A classifier's labels are no output to compare: they follow from the scores."""
    model = OnnxModel(classifier(["output_label", "probabilities"]))
    windows = np.eye(3, dtype=np.float32)
    assert list(model(windows)) == ["probabilities"]
    assert measure_parity(model, model, windows).direction_agreement == 1


def test_labels_alone():
    """A model that returns labels alone has nothing to compare."""
    with pytest.raises(InvalidModelError, match=r"output_label tensor\(int64\)"):
        OnnxModel(classifier(["output_label"]))


def sum_of_inputs(types, shapes):
    """Return a model of several inputs, whose output is the first one."""
    graph = helper.make_graph(
        [helper.make_node("Identity", ["a"], ["out"])],
        "inputs",
        [
            helper.make_tensor_value_info(name, kind, shape)
            for name, kind, shape in zip("ab", types, shapes, strict=True)
        ],
        [helper.make_tensor_value_info("out", types[0], shapes[0])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    return model.SerializeToString()


def test_several_inputs():
    """Each input receives its columns of the window, in its own type."""
    shapes = [["n", 3, 2], ["n", 3, 1]]
    model = OnnxModel(sum_of_inputs([TensorProto.DOUBLE] * 2, shapes))
    assert (model.input_shape, model.dtype) == ((None, 3, 3), np.float64)
    windows = np.arange(18, dtype=np.float64).reshape(2, 3, 3)
    np.testing.assert_array_equal(model.inputs_of(windows)["b"], windows[:, :, 2:])
    np.testing.assert_array_equal(model(windows)["out"], windows[:, :, :2])
    with pytest.raises(InvalidInputError, match=r"shape \(None, 3, 3\) .* of shape \(2, 3, 4\)"):
        model(np.zeros((2, 3, 4)))


@pytest.mark.parametrize(
    ("types", "shapes"),
    [
        ((TensorProto.FLOAT, TensorProto.DOUBLE), (["n", 3, 2], ["n", 3, 1])),
        ((TensorProto.FLOAT, TensorProto.FLOAT), (["n", 3, 2], ["n", "k"])),
        ((TensorProto.FLOAT, TensorProto.FLOAT), (["n", 3, 2], [])),
    ],
    ids=["two types", "an open size", "a scalar"],
)
def test_inputs_without_a_window(types, shapes):
    """Inputs that no window can be split among are rejected, and the error lists them."""
    with pytest.raises(InvalidModelError, match=r"it takes a tensor\(float\) .*, b tensor"):
        OnnxModel(sum_of_inputs(types, shapes))
