"""Finds references to other files in an ONNX model, without loading it. Pure.

A tensor may keep its values in another file: any path, or an address in memory. No checksum covers
such values, so a model that has one is rejected before a library opens it.
"""

from collections.abc import Iterator, Mapping

from registry.errors import UnreadableArtifactError
from registry.predictors.protobuf import EXPECTED, fields

TENSOR_FIELDS: Mapping[str, Mapping[int, str]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto",
        6: "GraphProto",
        10: "TensorProto",
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
    "TensorProto": {},
}
"""The message type by field number, for the fields that lead to a tensor (onnx.proto)."""

_NAME, _EXTERNAL_DATA, _DATA_LOCATION = 8, 13, 14
"""Fields of a TensorProto."""

_KEY = b"location"
"""The key under which a tensor names its file; protobuf stores text as it is."""

_MAX_DEPTH = 100
"""The nesting that protobuf's own parser accepts."""


def check_self_contained(content: bytes, path: object) -> None:
    """Check that no tensor of an ONNX model keeps its values in another file.

    A file that is not an ONNX model at all may pass: loading it fails.

    Args:
        content: the file's content.
        path: the file, for the error.

    Raises:
        UnreadableArtifactError: a tensor does, or the file's structure is damaged.
    """
    # The search is fast; walking through the fields of a large tree ensemble takes seconds.
    if _KEY in content:
        for tensor in _tensors(memoryview(content), str(path)):
            _check_tensor(tensor, str(path))


def _tensors(model: memoryview, path: str) -> Iterator[memoryview]:
    """Yield every tensor of a model."""
    pending = [("ModelProto", model, 0)]
    while pending:
        kind, message, depth = pending.pop()
        if kind == "TensorProto":
            yield message
            continue
        if depth > _MAX_DEPTH:
            raise UnreadableArtifactError(path, EXPECTED, f"it is nested over {_MAX_DEPTH} deep")
        children = TENSOR_FIELDS[kind]
        for number, value in fields(message, path):
            if number in children and isinstance(value, memoryview):
                pending.append((children[number], value, depth + 1))


def _check_tensor(tensor: memoryview, path: str) -> None:
    name, references = "", False
    for number, value in fields(tensor, path):
        if number == _NAME and isinstance(value, memoryview):
            name = bytes(value[:100]).decode(errors="replace")
        # 0 is the default: the values are in this file.
        references |= number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value != 0)
    if references:
        problem = (
            f"the values of {name!r} are in another file; save the model with "
            f"onnx.save_model(model, path, save_as_external_data=False)"
        )
        raise UnreadableArtifactError(path, EXPECTED, problem)
