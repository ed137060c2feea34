"""Rewrites of ONNX graphs: offline optimisation, half-precision weights, rows one at a time."""

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
"""The number of elements below which a tensor of weights stays in single precision."""


def optimize_graph(content: bytes, name: Path, level: GraphLevel | int) -> bytes:
    """Return the model as ONNX Runtime rewrites it at `level` on loading.

    A file of GraphLevel.ALL may hold memory layouts that are specific to this kind of machine.

    Raises:
        InvalidModelError: the model does not load.
        GraphError: the rewritten model cannot be written as ONNX.
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
            raise GraphError(
                name, f"ONNX Runtime wrote no file: {error}; try another level"
            ) from error


def half_weights(content: bytes, name: Path) -> bytes:
    """Return the model with its weights stored in half precision, at half the size.

    The weights are converted back when the model is loaded, so it runs at the same speed and its
    outputs are independent of the batch; the weights themselves are rounded to 11 bits.

    Raises:
        GraphError: no tensor of weights is large enough, or half precision cannot hold one.
    """
    model = load_graph(content, name)
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < _SMALLEST_HALF:
            continue
        with np.errstate(over="ignore"):
            halves = numpy_helper.to_array(tensor).astype(np.float16)
        if not np.isfinite(halves).all():
            raise GraphError(
                name, f"half precision cannot hold the weights {tensor.name}; keep it in FP32"
            )
        original = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(halves, f"{original}/half"))
        casts.append(helper.make_node("Cast", [tensor.name], [original], f"{original}/cast", to=1))
    if not casts:
        raise GraphError(
            name, "its weights are too small to gain from half precision; keep the FP32 file"
        )
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return _serialised(model)


def rowwise(content: bytes, name: Path) -> bytes:
    """Return a model that processes the rows of a batch one after the other.

    Its outputs are then independent of the batch, whatever the model computes; in particular with
    dynamic quantisation, which otherwise takes its scale from the whole batch. A single row costs
    nothing extra; several rows lose the gain of being computed together.

    Raises:
        GraphError: the operator set is older than 13, or an output does not declare its shape.
    """
    model = load_graph(content, name)
    opset = {used.domain: used.version for used in model.opset_import}.get("", 0)
    if opset < MIN_ROWWISE_OPSET:
        raise GraphError(
            name, f"rows one at a time need operator set 13, it has {opset}; export it again"
        )
    graph = model.graph
    weights = {weight.name for weight in graph.initializer}
    sources = [value for value in graph.input if value.name not in weights]
    outputs = list(graph.output)
    if any(not output.type.tensor_type.HasField("shape") for output in outputs):
        raise GraphError(name, "an output does not declare its shape; export it with its shapes")
    row = _unused(graph, "row")
    body = helper.make_graph(
        [
            *(
                helper.make_node(
                    "Unsqueeze", [f"{row}/{source.name}", f"{row}/axis"], [source.name]
                )
                for source in sources
            ),
            *graph.node,
            *(
                helper.make_node("Squeeze", [output.name, f"{row}/axis"], [f"{row}/{output.name}"])
                for output in outputs
            ),
        ],
        row,
        [_declared(source, f"{row}/{source.name}", first=None) for source in sources],
        [_declared(output, f"{row}/{output.name}", first=None) for output in outputs],
        [*graph.initializer, numpy_helper.from_array(np.array([0]), f"{row}/axis")],
    )
    # The body and the outer graph share a name space, and the outer graph keeps the old names.
    inner = {
        **{source.name: f"{row}/in/{source.name}" for source in sources},
        **{o.name: f"{row}/out/{o.name}" for o in outputs},
    }
    for node in body.node:
        _rename(node, inner)
    scan = helper.make_node(
        "Scan",
        [source.name for source in sources],
        [output.name for output in outputs],
        body=body,
        num_scan_inputs=len(sources),
    )
    rows = helper.make_graph(
        [scan],
        graph.name,
        [_declared(source, source.name, first="batch") for source in sources],
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
    """Return `name`, extended until no value of the graph has that name or prefix."""
    values = {value for node in graph.node for value in (*node.input, *node.output)}
    while any(value == name or value.startswith(f"{name}/") for value in values):
        name += "_"
    return name


def _rename(node: onnx.NodeProto, names: Mapping[str, str]) -> None:
    """Rename the values of a node and of its subgraphs."""
    node.input[:] = [names.get(name, name) for name in node.input]
    node.output[:] = [names.get(name, name) for name in node.output]
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                _rename(inner, names)
            for value in graph.output:
                value.name = names.get(value.name, value.name)


def _declared(value: onnx.ValueInfoProto, name: str, first: str | None) -> onnx.ValueInfoProto:
    """Return the declaration with another first size, or without it if `first` is None."""
    dims = [
        dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None
        for dim in value.type.tensor_type.shape.dim
    ]
    sizes = dims[1:] if first is None else [first, *dims[1:]]
    return helper.make_tensor_value_info(name, value.type.tensor_type.elem_type, sizes)


def _serialised(model: onnx.ModelProto) -> bytes:
    content: bytes = model.SerializeToString()
    return content
