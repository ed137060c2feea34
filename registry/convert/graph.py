"""Changes of a converted graph: one named output of numbers, and none of maps or labels."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from registry.convert.errors import UnsupportedModelError

if TYPE_CHECKING:
    import onnx

INPUT = "features"

Splits: TypeAlias = NDArray[np.float64]
"""The thresholds of the splits of one node."""

_NUMBERS = {"nodes_values", "class_weights", "target_weights", "base_values", "nodes_hitrates"}
"""The attributes of a tree ensemble that are floats; each has a form as a tensor of doubles."""


def with_one_output(
    converted: "onnx.ModelProto", output: str, width: int, *, of_float32: bool = True
) -> bytes:
    """Return a model with the input INPUT and the scores as its only output.

    A ZipMap, which returns one map per row, is removed; its input holds the same numbers. A graph
    of doubles has an output of doubles.

    Args:
        converted: the converter's result: labels and scores of a classifier, or one output.
        output: the name of the output.
        width: the number of values per row.
        of_float32: whether the input is float32, for a graph of doubles too.
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
    if not any(opset.domain == "" for opset in model.opset_import):
        model.opset_import.append(helper.make_opsetid("", 13))
    _rename(graph, graph.input[0].name, INPUT)
    if scores in (INPUT, output):
        scores = _rename(graph, scores, f"{scores}_converted")
    kind = graph.input[0].type.tensor_type.elem_type
    if kind == TensorProto.DOUBLE and of_float32:
        _rename(graph, INPUT, f"{INPUT}_double")
        graph.input[0].name = INPUT
        graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT
        graph.node.insert(0, _cast(INPUT, f"{INPUT}_double", TensorProto.DOUBLE))
    kind = TensorProto.DOUBLE if kind == TensorProto.DOUBLE else TensorProto.FLOAT
    graph.node.append(_cast(scores, output, kind))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(output, kind, [None, width]))
    content: bytes = model.SerializeToString()
    return content


def in_doubles(converted: "onnx.ModelProto", values: Callable[[Splits], Splits]) -> None:
    """Change a graph of tree ensembles of floats, in place, to one of doubles.

    Args:
        converted: a graph whose trees read the input itself.
        values: returns the thresholds in double, given those in float32.
    """
    from onnx import TensorProto, helper, numpy_helper

    for node in _ensembles(converted):
        attributes = {attribute.name: attribute for attribute in node.attribute}
        is_split = np.array([mode == b"BRANCH_LEQ" for mode in attributes["nodes_modes"].strings])
        for name in sorted(_NUMBERS & attributes.keys()):
            numbers = np.array(attributes[name].floats, np.float64)
            if name == "nodes_values":
                numbers[is_split] = values(numbers[is_split])
            node.attribute.remove(attributes[name])
            tensor = numpy_helper.from_array(numbers)
            node.attribute.append(helper.make_attribute(f"{name}_as_tensor", tensor))
    converted.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    for opset in converted.opset_import:
        if opset.domain == "ai.onnx.ml":
            opset.version = 3  # the first one with doubles


def truncate(converted: "onnx.ModelProto", columns: Sequence[int], width: int) -> None:
    """Truncate some columns of the input to integers, in place, before the rest of the graph.

    Args:
        converted: a graph of floats or of doubles.
        columns: the columns.
        width: the number of columns of the input.
    """
    from onnx import helper, numpy_helper

    graph = converted.graph
    source, target = graph.input[0].name, f"{graph.input[0].name}_truncated"
    for node in graph.node:
        node.input[:] = [target if name == source else name for name in node.input]
    is_truncated = np.isin(np.arange(width), columns)[np.newaxis]
    graph.initializer.append(numpy_helper.from_array(is_truncated, f"{target}_columns"))
    steps = [
        ("Abs", [source], f"{target}_size"),
        ("Floor", [f"{target}_size"], f"{target}_floor"),
        ("Sign", [source], f"{target}_sign"),
        ("Mul", [f"{target}_floor", f"{target}_sign"], f"{target}_integer"),
        ("Where", [f"{target}_columns", f"{target}_integer", source], target),
    ]
    for at, (operator, sources, result) in enumerate(steps):
        graph.node.insert(at, helper.make_node(operator, sources, [result]))
    for opset in list(converted.opset_import):
        if opset.domain == "":
            converted.opset_import.remove(opset)
    converted.opset_import.append(helper.make_opsetid("", 13))


def round_for_trees(converted: "onnx.ModelProto") -> None:
    """Round the input of every tree ensemble of a graph of doubles to float32, in place.

    scikit-learn's trees do so, while the scaler before them has doubles.
    """
    from onnx import TensorProto

    nodes = converted.graph.node
    for node in list(_ensembles(converted)):
        source = node.input[0]
        names = {attribute.name for attribute in node.attribute}
        casts = [_cast(source, f"{node.name}_float", TensorProto.FLOAT)]
        if "nodes_values_as_tensor" in names:
            casts.append(_cast(f"{node.name}_float", f"{node.name}_rounded", TensorProto.DOUBLE))
        node.input[0] = casts[-1].output[0]
        for cast in casts:
            nodes.insert(list(nodes).index(node), cast)
        if node.op_type == "TreeEnsembleRegressor":  # its output is always float
            target = node.output[0]
            node.output[0] = f"{node.name}_sum"
            after = list(nodes).index(node) + 1
            nodes.insert(after, _cast(f"{node.name}_sum", target, TensorProto.DOUBLE))
    del converted.graph.value_info[:]


def thresholds(converted: "onnx.ModelProto") -> list[tuple[int, float]]:
    """Return the feature and the threshold of every split of the trees in a graph."""
    from onnx import numpy_helper

    found: dict[tuple[int, float], None] = {}
    for node in _ensembles(converted):
        attributes = {attribute.name: attribute for attribute in node.attribute}
        exact = attributes.get("nodes_values_as_tensor")
        splits = zip(
            attributes["nodes_featureids"].ints,
            numpy_helper.to_array(exact.t).tolist() if exact else attributes["nodes_values"].floats,
            attributes["nodes_modes"].strings,
            strict=True,
        )
        found |= {(feature, value): None for feature, value, mode in splits if mode != b"LEAF"}
    return list(found)


def run(content: bytes, rows: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the only output of a model for flat rows."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    (values,) = session.run(None, {INPUT: rows})
    result: NDArray[np.floating] = np.asarray(values).reshape(len(rows), -1)
    return result


def _ensembles(converted: "onnx.ModelProto") -> "list[onnx.NodeProto]":
    return [node for node in converted.graph.node if node.op_type.startswith("TreeEnsemble")]


def _cast(source: str, target: str, kind: int) -> "onnx.NodeProto":
    from onnx import helper

    return helper.make_node("Cast", [source], [target], to=kind)


def _rename(graph: "onnx.GraphProto", name: str, new: str) -> str:
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [new if value == name else value for value in names]
    for value in (*graph.input, *graph.output):
        if value.name == name:
            value.name = new
    return new
