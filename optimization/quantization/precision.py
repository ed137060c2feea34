"""Single precision for a network behind a double input.

Prices need doubles until their offset is removed, and ONNX Runtime quantises floats only. Therefore
everything up to the network's first layer stays in double precision, and the rest becomes single.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference

from optimization.errors import GraphError
from optimization.graph import optimize_graph
from optimization.runtime import GraphLevel, load_graph

_LAYERS = ("MatMul", "Gemm", "Conv", "LSTM", "GRU", "RNN")
"""The operators of which the first one begins the network."""

_SINGLE = "/single"
"""The end of the name of a value that has become single."""


def has_doubles(model: onnx.ModelProto) -> bool:
    """Return whether a model has weights in double precision."""
    return any(weight.data_type == TensorProto.DOUBLE for weight in model.graph.initializer)


def single_precision(content: bytes, name: Path) -> bytes:
    """Return the model with its network in single precision; without double weights, unchanged.

    Raises:
        GraphError: see to_single.
        InvalidModelError: the model does not load.
    """
    model = load_graph(optimize_graph(content, name, GraphLevel.BASIC), name)
    if not has_doubles(model):
        return content
    to_single(model, name)
    single: bytes = model.SerializeToString()
    return single


def to_single(model: onnx.ModelProto, name: Path) -> None:
    """Rewrite a model in place so that it is single from its first layer on.

    The types of its inputs and outputs stay. Without double weights, nothing changes.

    Raises:
        GraphError: the graph has subgraphs, a type is unknown, or single precision cannot hold a
            weight.
    """
    if not has_doubles(model):
        return
    graph = model.graph
    types = _types(model)
    network = _network(graph)
    made = {output for node in network for output in node.output}
    weights = {weight.name: weight for weight in graph.initializer}
    added: dict[str, onnx.NodeProto] = {}
    singles: dict[str, onnx.TensorProto] = {}
    for node in network:
        if any(attribute.g.node or attribute.graphs for attribute in node.attribute):
            problem = f"{node.name} has a subgraph in double precision; export it in float32"
            raise GraphError(name, problem)
        for index, value in enumerate(node.input):
            if value in made or not value:
                continue
            if value in weights:
                if weights[value].data_type == TensorProto.DOUBLE:
                    singles[value] = _single(weights[value], name)
                    node.input[index] = value + _SINGLE
            elif value not in types:
                raise GraphError(name, f"the type of {value} is unknown; export it in float32")
            elif types[value] == TensorProto.DOUBLE:
                single = value + _SINGLE
                added[value] = helper.make_node("Cast", [value], [single], single, to=1)
                node.input[index] = single
        _convert_attributes(node)
    _replace_nodes(graph, network, list(added.values()))
    _restore_outputs(graph, made)
    graph.initializer.extend(singles.values())
    used = {value for node in graph.node for value in node.input}
    kept = [weight for weight in graph.initializer if weight.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    declared = [value for value in graph.value_info if value.name not in made]
    del graph.value_info[:]
    graph.value_info.extend(declared)


def _types(model: onnx.ModelProto) -> dict[str, int]:
    inferred = shape_inference.infer_shapes(model).graph
    values = (*inferred.input, *inferred.output, *inferred.value_info)
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    return {name: kind for name, kind in types.items() if kind}


def _network(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return the first layers and all nodes behind them."""
    network, made = [], set[str]()
    for node in graph.node:
        if node.op_type in _LAYERS or not made.isdisjoint(node.input):
            network.append(node)
            made |= set(node.output)
    return network


def _single(weight: onnx.TensorProto, name: Path) -> onnx.TensorProto:
    values = numpy_helper.to_array(weight)
    with np.errstate(over="ignore"):
        single = values.astype(np.float32)
    if not np.array_equal(np.isfinite(single), np.isfinite(values)):
        problem = f"single precision cannot hold the weights {weight.name}; keep it in double"
        raise GraphError(name, problem)
    return numpy_helper.from_array(single, weight.name + _SINGLE)


def _convert_attributes(node: onnx.NodeProto) -> None:
    """Make single what a node converts or creates in double precision."""
    for attribute in node.attribute:
        if node.op_type == "Cast" and attribute.i == TensorProto.DOUBLE:
            attribute.i = TensorProto.FLOAT
        if attribute.t.data_type == TensorProto.DOUBLE:
            values = numpy_helper.to_array(attribute.t).astype(np.float32)
            attribute.t.CopyFrom(numpy_helper.from_array(values))


def _replace_nodes(
    graph: onnx.GraphProto, network: list[onnx.NodeProto], casts: list[onnx.NodeProto]
) -> None:
    """Order the nodes so that those in front of the network precede it."""
    names = {id(node) for node in network}
    before = [node for node in graph.node if id(node) not in names]
    ordered = [
        onnx.NodeProto.FromString(node.SerializeToString()) for node in (*before, *casts, *network)
    ]
    del graph.node[:]
    graph.node.extend(ordered)


def _restore_outputs(graph: onnx.GraphProto, made: set[str]) -> None:
    """Convert the network's outputs back to doubles where the model declares these."""
    doubles = [
        output.name
        for output in graph.output
        if output.name in made and output.type.tensor_type.elem_type == TensorProto.DOUBLE
    ]
    for node in graph.node:
        node.input[:] = [name + _SINGLE if name in doubles else name for name in node.input]
        node.output[:] = [name + _SINGLE if name in doubles else name for name in node.output]
    graph.node.extend(
        helper.make_node("Cast", [name + _SINGLE], [name], f"{name}/double", to=TensorProto.DOUBLE)
        for name in doubles
    )
