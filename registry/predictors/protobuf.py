"""Reads the fields of a protobuf message in place, without a schema and without copies. Pure."""

from collections.abc import Iterator

from registry.errors import UnreadableArtifactError

EXPECTED = "an ONNX model, all its weights in the one file"

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
"""Wire types of the protobuf encoding; the two others, of groups, do not occur in ONNX."""


def fields(message: memoryview, path: str) -> Iterator[tuple[int, int | memoryview]]:
    """Yield the number and the value of each field of a message: an integer, or bytes.

    Args:
        message: the encoded message.
        path: the file, for the error.

    Raises:
        UnreadableArtifactError: the encoding is damaged.
    """
    for number, value, _, _ in located_fields(message, path):
        yield number, value


def located_fields(
    message: memoryview, path: str
) -> Iterator[tuple[int, int | memoryview, int, int]]:
    """Yield each field as `fields` does, with the start and the end of its encoding."""
    position, end = 0, len(message)
    while position < end:
        start = position
        tag, position = varint(message, position, path)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == _VARINT:
            value, position = varint(message, position, path)
            yield number, value, start, position
            continue
        if wire_type == _LENGTH:
            size, position = varint(message, position, path)
        elif wire_type in (_FIXED32, _FIXED64):
            size = 4 if wire_type == _FIXED32 else 8
        else:
            raise _damaged(path)
        if number == 0 or size > end - position:
            raise _damaged(path)
        yield number, message[position : position + size], start, position + size
        position += size


def length_header(number: int, size: int) -> bytes:
    """Return what precedes the bytes of a field with a length: its number and that length."""
    return _encoded(number << 3 | _LENGTH) + _encoded(size)


def _encoded(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def varint(message: memoryview, position: int, path: str) -> tuple[int, int]:
    """Return the integer at a position, and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(message):
            break
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise _damaged(path)


def _damaged(path: str) -> UnreadableArtifactError:
    problem = "its structure is damaged; export the model again"
    return UnreadableArtifactError(path, EXPECTED, problem)
