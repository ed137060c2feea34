"""Reads what an ONNX model declares about its inputs, outputs and classes, without loading it.

The registry derives a version's metadata from it, in processes that have no library for ONNX. Pure.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from registry.errors import UnreadableArtifactError
from registry.predictors.protobuf import fields

_ELEMENT_TYPES: Mapping[int, str] = MappingProxyType(
    {1: "float32", 6: "int32", 7: "int64", 8: "string", 9: "bool", 10: "float16", 11: "float64"}
)
"""The types of onnx.proto's TensorProto.DataType that occur in models of numbers."""

OTHER_TYPE = "other"
"""The type of a value that is no tensor of _ELEMENT_TYPES, for example one map per row."""

MAX_CLASSES = 3
"""The length of the longest list of texts that can name the classes of a model."""

_STRING = 8
_MODEL_GRAPH, _MODEL_PROPERTIES = 7, 14
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_INPUT, _GRAPH_OUTPUT = 1, 5, 11, 12
_NODE_ATTRIBUTE = 5
_ATTRIBUTE_FLOATS, _ATTRIBUTE_INTS, _ATTRIBUTE_STRINGS = 7, 8, 9
_TENSOR_TYPE, _TENSOR_STRINGS, _TENSOR_NAME = 2, 6, 8
"""The numbers of the fields that are read (onnx.proto)."""


@dataclass(frozen=True, slots=True)
class DeclaredValue:
    """An input or an output of a model."""

    name: str
    type: str
    """The type of its elements, for example float32; OTHER_TYPE if it is no tensor of numbers."""
    shape: tuple[int | None, ...]
    """The size of every axis, None where any size is accepted."""


@dataclass(frozen=True, slots=True)
class Declarations:
    """The declarations of an ONNX model."""

    inputs: tuple[DeclaredValue, ...]
    """The inputs without a default value."""
    outputs: tuple[DeclaredValue, ...]
    texts: tuple[tuple[str, ...], ...]
    """The lists of two or three texts in the model's operators and properties, in the order of the
    classes if they name these."""


def read_declarations(content: bytes) -> Declarations | None:
    """Return the declarations of an ONNX model, None for any other content.

    Loading such a file fails, which gives the better error.
    """
    try:
        return _read(memoryview(content))
    except (UnreadableArtifactError, UnicodeDecodeError, TypeError):
        return None


def _read(model: memoryview) -> Declarations | None:
    inputs: list[DeclaredValue] = []
    outputs: list[DeclaredValue] = []
    texts: list[tuple[str, ...]] = []
    initialised: set[str] = set()
    for number, value in _messages(model):
        if number == _MODEL_PROPERTIES:
            texts += _texts_of_property(dict(_messages(value)))
        if number != _MODEL_GRAPH:
            continue
        for part, item in _messages(value):
            if part == _GRAPH_INPUT:
                inputs.append(_declared(item))
            elif part == _GRAPH_OUTPUT:
                outputs.append(_declared(item))
            elif part == _GRAPH_INITIALIZER:
                name, values = _tensor(item)
                initialised.add(name)
                texts += _as_texts(values)
            elif part == _GRAPH_NODE:
                texts += _texts_of_node(item)
    if not outputs:
        return None
    own = tuple(value for value in inputs if value.name not in initialised)
    return Declarations(own, tuple(outputs), tuple(dict.fromkeys(texts)))


def _messages(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield the fields of a message that are texts, bytes or messages."""
    for number, value in fields(message, ""):
        if isinstance(value, memoryview):
            yield number, value


def _declared(value: memoryview) -> DeclaredValue:
    """Return a ValueInfoProto: its name is field 1, its type 2."""
    members = dict(_messages(value))
    name = bytes(members[1]).decode() if 1 in members else ""
    tensor = dict(_messages(members[2])).get(1) if 2 in members else None
    if tensor is None:
        return DeclaredValue(name, OTHER_TYPE, ())
    parts = dict(fields(tensor, ""))
    sizes = parts.get(2)
    shape = [
        dict(fields(size, "")).get(1)
        for _, size in (_messages(sizes) if isinstance(sizes, memoryview) else ())
    ]
    element = parts.get(1)
    return DeclaredValue(
        name,
        _ELEMENT_TYPES.get(element, OTHER_TYPE) if isinstance(element, int) else OTHER_TYPE,
        tuple(size if isinstance(size, int) and size > 0 else None for size in shape),
    )


def _tensor(tensor: memoryview) -> tuple[str, list[str]]:
    """Return the name of a tensor, and its elements if they are texts."""
    name, texts, is_text = "", [], False
    for number, value in fields(tensor, ""):
        if number == _TENSOR_TYPE:
            is_text = value == _STRING
        elif number == _TENSOR_NAME and isinstance(value, memoryview):
            name = bytes(value).decode()
        elif is_text and number == _TENSOR_STRINGS and isinstance(value, memoryview):
            texts.append(bytes(value[:100]).decode(errors="replace"))
    return name, texts


def _texts_of_node(node: memoryview) -> Iterator[tuple[str, ...]]:
    """Yield the lists of texts among a node's attributes."""
    for number, attribute in _messages(node):
        if number != _NODE_ATTRIBUTE:
            continue
        texts: list[str] = []
        for part, value in fields(attribute, ""):
            # The numbers of a tree ensemble are millions; fields are in ascending order.
            if part in (_ATTRIBUTE_FLOATS, _ATTRIBUTE_INTS) or len(texts) > MAX_CLASSES:
                break
            if part == _ATTRIBUTE_STRINGS and isinstance(value, memoryview):
                texts.append(bytes(value[:100]).decode(errors="replace"))
        yield from _as_texts(texts)


def _texts_of_property(entry: Mapping[int, memoryview]) -> Iterator[tuple[str, ...]]:
    """Yield the list in a property: JSON of a list or of names by index, or separated by commas."""
    text = bytes(entry[2]).decode() if 2 in entry else ""
    if len(text) > 10_000:
        return
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = text.split(",")
    if isinstance(document, dict):
        document = _by_index(document)
    if isinstance(document, list) and all(isinstance(item, str) for item in document):
        yield from _as_texts([item.strip() for item in document])


def _by_index(document: Mapping[str, Any]) -> list[Any]:
    """Return the names in {index: name} or in {name: index}, by index."""
    by_index = {index: name for name, index in document.items() if isinstance(index, int)}
    by_index |= {int(index): name for index, name in document.items() if index.isdecimal()}
    return [by_index[index] for index in sorted(by_index)]


def _as_texts(values: Sequence[str]) -> list[tuple[str, ...]]:
    return [tuple(values)] if 2 <= len(values) <= MAX_CLASSES else []
