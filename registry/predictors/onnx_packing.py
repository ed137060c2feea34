"""Packs an ONNX model whose values are in other files into one file, without loading it. Pure.

The fields of the model are copied as they are; only a tensor with values in another file is
rewritten with these values. The result is the same for the same files, and so is its digest.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias

from registry.errors import UnreadableArtifactError
from registry.predictors.onnx_references import (
    DATA_LOCATION,
    EXTERNAL_DATA,
    MAX_DEPTH,
    REMEDY,
    TENSOR_FIELDS,
    refers_to_file,
)
from registry.predictors.protobuf import EXPECTED, fields, length_header, located_fields, varint

MAX_PACKED_BYTES = 2**31 - 1
"""The size of the largest file that protobuf parses."""

ReadFile: TypeAlias = Callable[[str], memoryview]
"""Returns the content of the file with this name; raises OSError or RegistryError."""

_DIMS, _TYPE, _NAME, _RAW_DATA = 1, 2, 8, 9
_VALUES = frozenset({4, 5, 6, 7, _RAW_DATA, 10, 11})
"""The numbers of a TensorProto's fields (onnx.proto)."""

_EXTERNAL = 1

_MOST_DIGITS = 20
"""The digits of the largest number of 64 bits."""

_BITS: Mapping[int, int] = MappingProxyType(
    {
        **dict.fromkeys((25, 26), 2),
        **dict.fromkeys((21, 22, 23), 4),
        **dict.fromkeys((27, 28), 6),
        **dict.fromkeys((2, 3, 9, 17, 18, 19, 20, 24), 8),
        **dict.fromkeys((4, 5, 10, 16), 16),
        **dict.fromkeys((1, 6, 12), 32),
        **dict.fromkeys((7, 11, 13, 14), 64),
        15: 128,
    }
)
"""The bits of an element by TensorProto.DataType, for the types that a file of values can hold."""


def pack(content: bytes, path: object, read: ReadFile) -> bytes:
    """Return a model with all values in the one file.

    Args:
        content: the model's content.
        path: the model's file, for errors.
        read: reads a file beside the model, given its plain name.

    Raises:
        UnreadableArtifactError: a reference leads out of the model's folder, its file is missing or
            shorter than the tensor, the structure is damaged, or the result has over 2 GB.
    """
    packing = _Packing(str(path), read)
    parts = packing.message("ModelProto", memoryview(content), 0)
    size = sum(map(len, parts))
    if size > MAX_PACKED_BYTES:
        problem = (
            f"it has {size} bytes with the values in its other files, more than the "
            f"{MAX_PACKED_BYTES} of an ONNX file; store the weights in half precision"
        )
        raise UnreadableArtifactError(str(path), EXPECTED, problem)
    return b"".join(parts)


@dataclass(frozen=True, slots=True)
class _Packing:
    path: str
    read: ReadFile
    known: dict[str, memoryview] = field(default_factory=dict)
    """The files that were read, by name."""

    def message(self, kind: str, message: memoryview, depth: int) -> list[bytes | memoryview]:
        """Return the parts of a message in which no tensor refers to another file."""
        if kind == "TensorProto":
            return self._tensor(message)
        if depth > MAX_DEPTH:
            problem = f"it is nested over {MAX_DEPTH} deep"
            raise UnreadableArtifactError(self.path, EXPECTED, problem)
        children = TENSOR_FIELDS[kind]
        parts: list[bytes | memoryview] = []
        for number, value, start, end in located_fields(message, self.path):
            if number in children and isinstance(value, memoryview):
                inner = self.message(children[number], value, depth + 1)
                parts += [length_header(number, sum(map(len, inner))), *inner]
            else:
                parts.append(message[start:end])
        return parts

    def _tensor(self, tensor: memoryview) -> list[bytes | memoryview]:
        if not refers_to_file(tensor, self.path):
            return [tensor]
        kept: list[bytes | memoryview] = []
        name, kind, sizes, has_values, location = "", 0, list[int](), False, 0
        reference: dict[str, str] = {}
        for number, value, start, end in located_fields(tensor, self.path):
            if number == EXTERNAL_DATA and isinstance(value, memoryview):
                key, text = self._entry(value)
                reference[key] = text
                continue
            if number == DATA_LOCATION and isinstance(value, int):
                location = value
                continue
            kept.append(tensor[start:end])
            has_values |= number in _VALUES
            if number == _DIMS:
                sizes += [value] if isinstance(value, int) else self._packed_integers(value)
            elif number == _TYPE and isinstance(value, int):
                kind = value
            elif number == _NAME and isinstance(value, memoryview):
                name = bytes(value[:100]).decode(errors="replace")
        if location != _EXTERNAL or has_values or kind not in _BITS or "location" not in reference:
            raise self._error(name, reference, "in a form that ONNX does not define")
        size = -(-math.prod(sizes) * _BITS[kind] // 8)
        values = self._values(name, reference, size)
        return [*kept, length_header(_RAW_DATA, size), values]

    def _values(self, name: str, reference: Mapping[str, str], size: int) -> memoryview:
        """Return the bytes to which a reference leads."""
        file, offset = reference["location"], reference.get("offset", "0")
        if not offset.isdecimal() or len(offset) > _MOST_DIGITS:
            raise self._error(name, reference, f"at the offset {offset[:_MOST_DIGITS]!r}")
        # Without a length, the values may end before the file does.
        if (length := reference.get("length", str(size))) != str(size):
            problem = f"of which it declares {length[:_MOST_DIGITS]} bytes instead of {size}"
            raise self._error(name, reference, problem)
        if file not in self.known:
            if not is_plain_name(file):
                raise self._error(name, reference, "which is not a file name in the model's folder")
            try:
                self.known[file] = self.read(file)
            except OSError as error:
                problem = f"which cannot be read: {error.strerror or error}"
                raise self._error(name, reference, problem) from error
        content = self.known[file]
        if int(offset) + size > len(content):
            problem = f"which has {len(content)} bytes instead of {int(offset) + size} or more"
            raise self._error(name, reference, problem)
        return content[int(offset) : int(offset) + size]

    def _entry(self, entry: memoryview) -> tuple[str, str]:
        """Return the key and the value of a StringStringEntryProto, its fields 1 and 2."""
        texts = {
            number: bytes(text).decode(errors="replace")
            for number, text in fields(entry, self.path)
            if isinstance(text, memoryview)
        }
        return texts.get(1, ""), texts.get(2, "")

    def _packed_integers(self, encoded: memoryview) -> list[int]:
        found, position = [], 0
        while position < len(encoded):
            value, position = varint(encoded, position, self.path)
            found.append(value)
        return found

    def _error(
        self, name: str, reference: Mapping[str, str], problem: str
    ) -> UnreadableArtifactError:
        file = reference.get("location", "")[:100]
        text = f"the values of {name!r} are in another file, {file!r}, {problem}; {REMEDY}"
        return UnreadableArtifactError(self.path, EXPECTED, text)


def is_plain_name(name: str) -> bool:
    """Return whether a reference is the name of a file in the model's own folder.

    >>> [is_plain_name(name) for name in ("model.onnx.data", "a/b", "..", "a\\\\b", "")]
    [True, False, False, False, False]
    """
    return name not in ("", ".", "..") and not set(name) & set("/\\\0")
