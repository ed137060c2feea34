"""Rewrites of a graph without which ONNX Runtime's quantiser skips parts of it. Pure."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def prepare(model: onnx.ModelProto) -> None:
    """Name every node uniquely, and express scalers in operators whose types can be inferred.

    Nodes are excluded from quantisation by name: without one, all that have none are excluded. The
    type behind a Scaler (ai.onnx.ml) is unknown to ONNX's inference, and with it the products that
    follow. The outputs of the model remain the same.
    """
    nodes = [part for node in model.graph.node for part in _without_scaler(model.graph, node)]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    names: set[str] = set()
    for index, node in enumerate(model.graph.node):
        name = node.name or f"{node.op_type}_{index}"
        while name in names:
            name = f"{name}_{index}"
        names.add(name)
        node.name = name


def doubles_of(model: onnx.ModelProto) -> int:
    """Return the number of weights in double precision, which the quantiser cannot read."""
    return sum(
        int(np.prod(weight.dims))
        for weight in model.graph.initializer
        if weight.data_type == TensorProto.DOUBLE
    )


def _without_scaler(graph: onnx.GraphProto, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """Return a node, or for a Scaler of float32 its formula, (input - offset) * scale."""
    types = {value.name: value.type.tensor_type.elem_type for value in graph.input}
    values = {attribute.name: list(attribute.floats) for attribute in node.attribute}
    is_scaler = node.op_type == "Scaler" and set(values) == {"offset", "scale"}
    if not is_scaler or types.get(node.input[0]) != TensorProto.FLOAT:
        return [node]
    (output,) = node.output
    for name, numbers in values.items():
        weight = np.array(numbers, np.float32)
        graph.initializer.append(numpy_helper.from_array(weight, f"{output}/{name}"))
    centred = f"{output}/centred"
    return [
        helper.make_node("Sub", [node.input[0], f"{output}/offset"], [centred], centred),
        helper.make_node("Mul", [centred, f"{output}/scale"], [output], f"{output}/scaled"),
    ]
