"""ONNX graphs rewritten: by ONNX Runtime offline, to half-precision weights, to a row at a time."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from optimization.errors import GraphError
from optimization.runtime import GraphLevel, graph_level, load_graph, session_options, start_session

MIN_ROWWISE_OPSET = 13
_SMALLEST_HALF = 256
"""Elements below which a tensor of weights stays in single precision: it saves nothing."""


def optimize_graph(content: bytes, name: Path, level: GraphLevel | int) -> bytes:
    """Return the model as ONNX Runtime rewrites it at `level` when it loads it.

    A file of GraphLevel.ALL may hold memory layouts of this machine's kind.

    Raises:
        InvalidModelError: the model does not load.
        GraphError: it cannot be written as ONNX again.
    """
    options = session_options(num_threads=1)
    options.graph_optimization_level = graph_level(level)
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder, "optimised.onnx")
        options.optimized_model_filepath = str(written)
        start_session(content, name, options)
        try:
            return written.read_bytes()
        except OSError as error:
            raise GraphError(name, f"ONNX Runtime wrote nothing: {error}") from error


def half_weights(content: bytes, name: Path) -> bytes:
    """Return the model with its weights kept in half precision, half the size.

    They are converted back when the model is loaded, so it runs as fast as before, and no answer
    depends on what else is in the batch; the weights themselves are rounded to 11 bits.

    Raises:
        GraphError: the model has no weights worth it, or some that half precision cannot hold.
    """
    model = load_graph(content, name)
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < _SMALLEST_HALF:
            continue
        with np.errstate(over="ignore"):
            halves = numpy_helper.to_array(tensor).astype(np.float16)
        if not np.isfinite(halves).all():
            raise GraphError(name, f"half precision cannot hold the weights {tensor.name}")
        original = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(halves, f"{original}/half"))
        casts.append(helper.make_node("Cast", [tensor.name], [original], f"{original}/cast", to=1))
    if not casts:
        raise GraphError(name, "it has no weights worth keeping in half precision")
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return _serialised(model)


def rowwise(content: bytes, name: Path) -> bytes:
    """Return the model as one that takes the rows of a batch one after the other.

    No answer then depends on what else is in the batch, whatever the model does inside: dynamic
    quantisation, above all, which else takes its scale from the whole batch. It costs nothing for
    a lone row, and the gain of computing rows together for many.

    Raises:
        GraphError: an operator set before 13, or an output without the batch first.
    """
    model = load_graph(content, name)
    opset = {each.domain: each.version for each in model.opset_import}.get("", 0)
    if opset < MIN_ROWWISE_OPSET:
        raise GraphError(name, f"rows one at a time need operator set 13, it has {opset}")
    graph = model.graph
    (source,) = (
        each for each in graph.input if each.name not in {w.name for w in graph.initializer}
    )
    outputs = list(graph.output)
    if any(not output.type.tensor_type.HasField("shape") for output in outputs):
        raise GraphError(name, "an output does not declare its shape")
    row = _unused(graph, "row")
    body = helper.make_graph(
        [
            helper.make_node("Unsqueeze", [row, f"{row}/axis"], [source.name]),
            *graph.node,
            *(
                helper.make_node("Squeeze", [output.name, f"{row}/axis"], [f"{row}/{output.name}"])
                for output in outputs
            ),
        ],
        row,
        [_declared(source, row, first=None)],
        [_declared(output, f"{row}/{output.name}", first=None) for output in outputs],
        [*graph.initializer, numpy_helper.from_array(np.array([0]), f"{row}/axis")],
    )
    # Inside and outside are one name space: the names of old are the outer ones' now.
    inner = {
        source.name: f"{row}/in/{source.name}",
        **{o.name: f"{row}/out/{o.name}" for o in outputs},
    }
    for node in body.node:
        _rename(node, inner)
    scan = helper.make_node(
        "Scan", [source.name], [output.name for output in outputs], body=body, num_scan_inputs=1
    )
    rows = helper.make_graph(
        [scan],
        graph.name,
        [_declared(source, source.name, first="batch")],
        [_declared(output, output.name, first="batch") for output in outputs],
    )
    return _serialised(
        helper.make_model(
            rows,
            opset_imports=model.opset_import,
            ir_version=model.ir_version,
            functions=model.functions,
        )
    )


def _unused(graph: onnx.GraphProto, name: str) -> str:
    """Return `name`, longer where the graph has it or something below it already."""
    values = {each for node in graph.node for each in (*node.input, *node.output)}
    while any(value == name or value.startswith(f"{name}/") for value in values):
        name += "_"
    return name


def _rename(node: onnx.NodeProto, names: Mapping[str, str]) -> None:
    """Rename values of a node and of the graphs inside it."""
    node.input[:] = [names.get(each, each) for each in node.input]
    node.output[:] = [names.get(each, each) for each in node.output]
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                _rename(inner, names)
            for value in graph.output:
                value.name = names.get(value.name, value.name)


def _declared(value: onnx.ValueInfoProto, name: str, first: str | None) -> onnx.ValueInfoProto:
    """Return the declaration with another first size; without it where `first` is None."""
    dims = [
        each.dim_value if each.HasField("dim_value") else each.dim_param or None
        for each in value.type.tensor_type.shape.dim
    ]
    sizes = dims[1:] if first is None else [first, *dims[1:]]
    return helper.make_tensor_value_info(name, value.type.tensor_type.elem_type, sizes)


def _serialised(model: onnx.ModelProto) -> bytes:
    content: bytes = model.SerializeToString()
    return content
