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

EXTERNAL_DATA, DATA_LOCATION = 13, 14
"""The fields of a TensorProto that lead to another file."""

REMEDY = (
    "load the model beside that file with model = onnx.load(path), and save it with "
    "onnx.save_model(model, path, save_as_external_data=False)"
)
"""The remedy for values in another file."""

_NAME = 8

_KEY = b"location"
"""The key under which a tensor names its file; protobuf stores text as it is."""

MAX_DEPTH = 100
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
    for tensor in _tensors(content, str(path)):
        if refers_to_file(tensor, str(path)):
            problem = f"the values of {_name_of(tensor, str(path))!r} are in another file; {REMEDY}"
            raise UnreadableArtifactError(str(path), EXPECTED, problem)


def has_references(content: bytes, path: object) -> bool:
    """Return whether a tensor of an ONNX model keeps its values in another file.

    Raises:
        UnreadableArtifactError: the file's structure is damaged.
    """
    return any(refers_to_file(tensor, str(path)) for tensor in _tensors(content, str(path)))


def refers_to_file(tensor: memoryview, path: str) -> bool:
    """Return whether a tensor keeps its values in another file, or declares it."""
    return any(
        # 0 is the default: the values are in this file.
        number == EXTERNAL_DATA or (number == DATA_LOCATION and value != 0)
        for number, value in fields(tensor, path)
    )


def _tensors(content: bytes, path: str) -> Iterator[memoryview]:
    """Yield every tensor of a model, none if there is no reference in it."""
    # The search is fast; walking through the fields of a large tree ensemble takes seconds.
    pending = [("ModelProto", memoryview(content), 0)] if _KEY in content else []
    while pending:
        kind, message, depth = pending.pop()
        if kind == "TensorProto":
            yield message
            continue
        if depth > MAX_DEPTH:
            raise UnreadableArtifactError(path, EXPECTED, f"it is nested over {MAX_DEPTH} deep")
        children = TENSOR_FIELDS[kind]
        for number, value in fields(message, path):
            if number in children and isinstance(value, memoryview):
                pending.append((children[number], value, depth + 1))


def _name_of(tensor: memoryview, path: str) -> str:
    for number, value in fields(tensor, path):
        if number == _NAME and isinstance(value, memoryview):
            return bytes(value[:100]).decode(errors="replace")
    return ""
