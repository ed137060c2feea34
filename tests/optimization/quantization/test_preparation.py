"""Graphs that ONNX Runtime's quantiser would skip in part."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from optimization.quantization.preparation import prepare
from optimization.quantization.quantize import quantize_dynamically, quantize_statically
from optimization.runtime import OnnxModel

NAME = Path("pipeline.onnx")
FEATURES, CLASSES = 96, 64
ROWS = np.random.default_rng(0).normal(3, 2, (64, FEATURES)).astype(np.float32)
WEIGHTS = np.random.default_rng(1).normal(size=(FEATURES, CLASSES))
SCALER = {"offset": [3.0] * FEATURES, "scale": [0.5] * FEATURES}
ONE_SCALE = {"offset": [3.0], "scale": [0.5]}


def pipeline(scaler=None, names=("scale", "first", "second"), dtype=np.float32):
    """Return a scaler and a product with 6144 weights, behind which is one that is too small."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    source, nodes = "x", []
    if scaler is not None:
        nodes = [helper.make_node("Scaler", ["x"], ["s"], names[0], domain="ai.onnx.ml", **scaler)]
        source = "s"
    nodes.append(helper.make_node("MatMul", [source, "w1"], ["h"], names[1]))
    nodes.append(helper.make_node("MatMul", ["h", "w2"], ["y"], names[2]))
    weights = {"w1": WEIGHTS, "w2": np.ones((CLASSES, 3))}
    graph = helper.make_graph(
        nodes,
        "pipeline",
        [helper.make_tensor_value_info("x", kind, ["batch", FEATURES])],
        [helper.make_tensor_value_info("y", kind, ["batch", 3])],
        [numpy_helper.from_array(value.astype(dtype), name) for name, value in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def assert_quantized(content, *, is_static):
    """Quantise a model; the file has less than half the size, and outputs near the original's."""
    if is_static:
        quantized = quantize_statically(content, NAME, ("MatMul",), ROWS)
    else:
        quantized = quantize_dynamically(content, NAME, ("MatMul",))
    assert len(quantized) < len(content) / 2
    (expected,) = OnnxModel(content, name=NAME)(ROWS).values()
    (received,) = OnnxModel(quantized, name=NAME)(ROWS).values()
    assert np.abs(received - expected).max() < 0.05 * np.abs(expected).max()


@pytest.mark.parametrize("names", [("a", "b", "c"), ("", "", ""), ("", "MatMul_1", "")])
@pytest.mark.parametrize("scaler", [None, SCALER])
@pytest.mark.parametrize("is_static", [False, True])
def test_products_are_quantised(names, scaler, is_static):
    """Whatever the names of the nodes, and behind a scaler too."""
    content = pipeline(scaler, names).SerializeToString()
    assert_quantized(content, is_static=is_static)


ML = "ai.onnx.ml"
FRONTS = {
    "MinMaxScaler": [
        helper.make_node("Mul", ["x", "scale"], ["m"]),
        helper.make_node("Add", ["m", "min"], ["s"]),
    ],
    "MinMaxScaler(clip=True)": [
        helper.make_node("Mul", ["x", "scale"], ["m"]),
        helper.make_node("Add", ["m", "min"], ["a"]),
        helper.make_node("Clip", ["a", "zero", "one"], ["s"]),
    ],
    "Normalizer": [helper.make_node("Normalizer", ["x"], ["s"], domain=ML, norm="L2")],
    "SimpleImputer, StandardScaler": [
        helper.make_node(
            "Imputer",
            ["x"],
            ["i"],
            domain=ML,
            imputed_value_floats=[0.0] * FEATURES,
            replaced_value_float=float("nan"),
        ),
        helper.make_node("Scaler", ["i"], ["s"], domain=ML, **SCALER),
    ],
}
"""The nodes that skl2onnx 1.20 writes in front of a network, by the steps of the pipeline."""


@pytest.mark.parametrize("is_static", [False, True])
@pytest.mark.parametrize("front", FRONTS)
def test_pipelines_are_quantised(front, is_static):
    """Products behind the steps of a pipeline, with a bias of shape (1, n)."""
    model = pipeline(SCALER)
    graph = model.graph
    added = helper.make_node("Add", ["h", "bias"], ["biased"])
    graph.node[2].input[0] = "biased"
    nodes = [*FRONTS[front], graph.node[1], added, graph.node[2]]
    weights = {"scale": 0.1, "min": -0.2, "zero": 0, "one": 1, "bias": np.ones((1, CLASSES))}
    used = {name for node in nodes for name in node.input}
    graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value, np.float32), name)
        for name, value in weights.items()
        if name in used
    )
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(nodes)
    content = model.SerializeToString()
    assert_quantized(content, is_static=is_static)


@pytest.mark.parametrize("scaler", [SCALER, ONE_SCALE])
def test_scaler_keeps_its_outputs(scaler):
    """Its formula in other operators returns the same bits."""
    model = pipeline(scaler)
    before = OnnxModel(model.SerializeToString(), name=NAME)(ROWS)["y"]
    prepare(model)
    assert "Scaler" not in {node.op_type for node in model.graph.node}
    np.testing.assert_array_equal(
        OnnxModel(model.SerializeToString(), name=NAME)(ROWS)["y"], before
    )


@pytest.mark.parametrize("is_static", [False, True])
def test_double_precision(is_static):
    """A double model is quantised behind its input, whose type stays."""
    content = pipeline(dtype=np.float64).SerializeToString()
    rows = ROWS.astype(np.float64)
    if is_static:
        quantized = quantize_statically(content, NAME, ("MatMul",), rows)
    else:
        quantized = quantize_dynamically(content, NAME, ("MatMul",))
    assert len(quantized) < len(content) / 4
    (expected,) = OnnxModel(content, name=NAME)(rows).values()
    (received,) = OnnxModel(quantized, name=NAME)(rows).values()
    assert received.dtype == np.float64
    assert np.abs(received - expected).max() < 0.05 * np.abs(expected).max()


def test_scaler_of_integers_stays():
    """Its conversion to float32 is its own."""
    model = pipeline(SCALER)
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    prepare(model)
    assert model.graph.node[0].op_type == "Scaler"
