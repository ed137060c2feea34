"""ONNX files as functions."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from optimization.errors import InvalidModelError
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
