"""Rewrites of a graph without which ONNX Runtime's quantiser skips parts of it. Pure."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def prepare(model: onnx.ModelProto) -> None:
    """Express a graph in the forms that the quantiser knows; the outputs remain the same.

    - Every node receives a name of its own. Nodes are excluded from quantisation by name: without
      one, all that have none are excluded.
    - A Scaler (ai.onnx.ml) becomes a difference and a product, and other operators of that domain
      declare the type of their output, which ONNX's inference does not know: the quantiser skips
      products of an unknown type.
    - The bias of a Gemm has one axis. ONNX Runtime writes (1, n) when it fuses a product and a sum,
      for which the quantiser fails with a scale per channel.
    """
    nodes = [part for node in model.graph.node for part in _without_scaler(model.graph, node)]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    _declare_types(model.graph)
    for node in model.graph.node:
        _flatten_bias(model.graph, node)
    names: set[str] = set()
    for index, node in enumerate(model.graph.node):
        name = node.name or f"{node.op_type}_{index}"
        while name in names:
            name = f"{name}_{index}"
        names.add(name)
        node.name = name


def _declare_types(graph: onnx.GraphProto) -> None:
    """Declare the outputs of scalers, normalisers and imputers, which are of float32."""
    known = {value.name for value in (*graph.value_info, *graph.output)}
    for node in graph.node:
        attributes = {attribute.name for attribute in node.attribute}
        if node.op_type in ("Normalizer", "Scaler") or "imputed_value_floats" in attributes:
            (output,) = node.output
            declared = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
            graph.value_info.extend([declared] if output not in known else [])


def _flatten_bias(graph: onnx.GraphProto, node: onnx.NodeProto) -> None:
    """Give a Gemm a bias of shape (n,) instead of (1, n), which is broadcast in the same way."""
    if node.op_type != "Gemm" or len(node.input) < 3:
        return
    bias = next((weight for weight in graph.initializer if weight.name == node.input[2]), None)
    if bias is not None and len(bias.dims) == 2 and bias.dims[0] == 1:
        name = f"{node.output[0]}/bias"
        values = numpy_helper.to_array(bias).ravel()
        graph.initializer.append(numpy_helper.from_array(values, name))
        node.input[2] = name


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
