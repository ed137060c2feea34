"""Single precision behind a double input."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from optimization.errors import GraphError
from optimization.quantization.precision import single_precision
from optimization.runtime import OnnxModel

NAME = Path("double.onnx")
LEVEL = 100_000_000.0
"""A price whose moves float32, with its 24 bits, cannot represent."""

RANDOM = np.random.default_rng(3)
PRICES = LEVEL + RANDOM.standard_normal((40, 8))


def model(nodes, weights, outputs, kind=TensorProto.DOUBLE):
    """Return the content of a model of `x` (batch, 8)."""
    graph = helper.make_graph(
        nodes,
        "double",
        [helper.make_tensor_value_info("x", kind, ["batch", 8])],
        [helper.make_tensor_value_info(name, *declared) for name, declared in outputs.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return made.SerializeToString()


NETWORK = [
    helper.make_node("Sub", ["x", "level"], ["centred"]),
    helper.make_node("MatMul", ["centred", "w"], ["h"]),
    helper.make_node("Tanh", ["h"], ["scores"]),
    helper.make_node("ArgMax", ["scores"], ["label"], axis=1, keepdims=0),
]
WEIGHTS = {"level": np.full(8, LEVEL), "w": RANDOM.normal(size=(8, 3))}
OUTPUTS = {
    "scores": (TensorProto.DOUBLE, ["batch", 3]),
    "label": (TensorProto.INT64, ["batch"]),
}
SCORES = {"scores": OUTPUTS["scores"]}


def test_digits_in_front_of_the_network():
    """Prices lose no digits before their level is subtracted, although the network is single."""
    content = model(NETWORK, WEIGHTS, OUTPUTS)
    single = single_precision(content, NAME)
    kinds = {w.data_type for w in onnx.load_from_string(single).graph.initializer if w.dims[1:]}
    assert kinds == {TensorProto.FLOAT}
    expected = OnnxModel(content)(PRICES)["scores"]
    received = OnnxModel(single)(PRICES)["scores"]
    assert np.abs(received - expected).max() < 1e-5
    rounded = OnnxModel(content)(PRICES.astype(np.float32).astype(np.float64))["scores"]
    assert np.abs(rounded - expected).max() > 0.1


def test_contract_stays():
    """The inputs and the outputs keep their names and types, of which labels are integers."""
    content = model(NETWORK, WEIGHTS, OUTPUTS)
    before, after = (
        onnx.load_from_string(file).graph for file in (content, single_precision(content, NAME))
    )
    assert list(before.input) == list(after.input)
    declared = [(value.name, value.type.tensor_type.elem_type) for value in after.output]
    assert declared == [("scores", TensorProto.DOUBLE), ("label", TensorProto.INT64)]


def test_conversions_within_the_network():
    """What the network itself converts to double, or creates in double, is single too."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Greater", ["h", "zero"], ["is_positive"]),
        helper.make_node("Cast", ["is_positive"], ["positive"], to=TensorProto.DOUBLE),
        helper.make_node("Shape", ["h"], ["shape"]),
        helper.make_node(
            "ConstantOfShape", ["shape"], ["ones"], value=helper.make_tensor("v", 11, [1], [1.0])
        ),
        helper.make_node("Add", ["positive", "ones"], ["shifted"]),
        helper.make_node("Mul", ["h", "shifted"], ["scores"]),
    ]
    content = model(nodes, {"w": WEIGHTS["w"], "zero": np.zeros(())}, SCORES)
    rows = PRICES - LEVEL
    expected = OnnxModel(content)(rows)["scores"]
    received = OnnxModel(single_precision(content, NAME))(rows)["scores"]
    np.testing.assert_allclose(received, expected, atol=1e-5)


def test_single_model_is_unchanged():
    """A model without double weights is returned as it is."""
    weights = {name: value.astype(np.float32) for name, value in WEIGHTS.items()}
    outputs = {"scores": (TensorProto.FLOAT, ["batch", 3])}
    content = model(NETWORK[:3], weights, outputs, TensorProto.FLOAT)
    assert single_precision(content, NAME) is content


def test_weights_beyond_single_precision():
    """Weights that single precision cannot hold are an error."""
    weights = {**WEIGHTS, "w": np.full((8, 3), 1e300)}
    with pytest.raises(GraphError, match="single precision cannot hold the weights w"):
        single_precision(model(NETWORK[:3], weights, SCORES), NAME)


def test_subgraph():
    """A subgraph within the network is an error."""
    branch = helper.make_graph(
        [helper.make_node("Identity", ["h"], ["b"])],
        "branch",
        [],
        [helper.make_tensor_value_info("b", TensorProto.DOUBLE, None)],
    )
    nodes = [
        *NETWORK[:2],
        helper.make_node("ReduceMax", ["h"], ["top"], keepdims=0),
        helper.make_node("Greater", ["top", "zero"], ["condition"]),
        helper.make_node("If", ["condition"], ["scores"], then_branch=branch, else_branch=branch),
    ]
    with pytest.raises(GraphError, match="has a subgraph in double precision"):
        single_precision(model(nodes, {**WEIGHTS, "zero": np.zeros(())}, SCORES), NAME)
