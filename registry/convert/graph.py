"""Changes of a converted graph: one named output of numbers, and none of maps or labels."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from registry.convert.errors import UnsupportedModelError

if TYPE_CHECKING:
    import onnx

INPUT = "features"


def with_one_output(converted: "onnx.ModelProto", output: str, width: int) -> bytes:
    """Return a model with the input INPUT and the scores as its only output.

    A ZipMap, which returns one map per row, is removed; its input holds the same numbers.

    Args:
        converted: the converter's result: labels and scores of a classifier, or one output.
        output: the name of the output.
        width: the number of values per row.
    """
    import onnx
    from onnx import TensorProto, helper

    model = onnx.ModelProto()
    model.CopyFrom(converted)
    graph = model.graph
    scores = graph.output[-1].name
    for node in [node for node in graph.node if node.op_type == "ZipMap"]:
        if scores in node.output:
            scores = node.input[0]
        graph.node.remove(node)
    if len(graph.input) != 1:
        names = ", ".join(value.name for value in graph.input)
        raise UnsupportedModelError("the model", "one input of numbers", names or "none")
    _rename(graph, graph.input[0].name, INPUT)
    if scores in (INPUT, output):
        scores = _rename(graph, scores, f"{scores}_converted")
    graph.node.append(helper.make_node("Identity", [scores], [output]))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, [None, width]))
    if not any(opset.domain == "" for opset in model.opset_import):
        model.opset_import.append(helper.make_opsetid("", 13))
    content: bytes = model.SerializeToString()
    return content


def thresholds(converted: "onnx.ModelProto") -> list[tuple[int, float]]:
    """Return the feature and the threshold of every split of the trees in a graph."""
    found: dict[tuple[int, float], None] = {}
    for node in converted.graph.node:
        attributes = {attribute.name: attribute for attribute in node.attribute}
        if "nodes_featureids" not in attributes or "nodes_values" not in attributes:
            continue
        splits = zip(
            attributes["nodes_featureids"].ints,
            attributes["nodes_values"].floats,
            attributes["nodes_modes"].strings,
            strict=True,
        )
        found |= {(feature, value): None for feature, value, mode in splits if mode != b"LEAF"}
    return list(found)


def run(content: bytes, rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the only output of a model for flat rows."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    (values,) = session.run(None, {INPUT: rows})
    result: NDArray[np.float32] = np.asarray(values, np.float32).reshape(len(rows), -1)
    return result


def _rename(graph: "onnx.GraphProto", name: str, new: str) -> str:
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [new if value == name else value for value in names]
    for value in (*graph.input, *graph.output):
        if value.name == name:
            value.name = new
    return new
