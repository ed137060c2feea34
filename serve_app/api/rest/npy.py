"""Reads NumPy's file format, whose header is the text of a Python literal, by a strict grammar.

`numpy.lib.format` evaluates the literal and builds any data type that it names, and raises errors
of many kinds for a hostile one. The format: https://numpy.org/doc/stable/reference/generated/
numpy.lib.format.html. Pure: no IO.
"""

import math
import re
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serve_app.errors import InvalidFeaturesError

MAX_HEADER_BYTES = 1024
"""The longest header; NumPy writes 118 bytes for an array of numbers."""

_MAGIC = b"\x93NUMPY"
_BYTES_OF_LENGTH = {b"\x01\x00": 2, b"\x02\x00": 4, b"\x03\x00": 4}
"""The size of the header's length, by the version of the format."""

_NUMBERS = re.compile(r"[<>=|]?(?:f[248]|[iu][1248])")
_HEADER = re.compile(r"\{([\t\n -~]*)\}[ \n]*")
"""Printable ASCII: Python rejects other characters that a pattern's whitespace would match."""

_ENTRY = re.compile(
    r"""\s*(['"])(descr|fortran_order|shape)\1\s*:\s*"""
    r"""(?:(['"])([^'"\\]*)\3|(True|False)|\(([0-9,\s]*)\))\s*(?:,|$)"""
)
_LENGTHS = re.compile(r"\s*(?:[0-9]{1,15}\s*,\s*)(?:[0-9]{1,15}\s*,\s*){0,6}(?:[0-9]{1,15}\s*)?")


class _Header(NamedTuple):
    dtype: np.dtype[Any]
    is_fortran: bool
    shape: tuple[int, ...]


def read_npy(body: bytes) -> NDArray[Any]:
    """Return the array of numbers in a file, without copying it.

    Raises:
        InvalidFeaturesError: the file holds something else, or its size contradicts its header.
    """
    if not body.startswith(_MAGIC):
        raise _error("another file")
    start = len(_MAGIC) + 2
    size = _BYTES_OF_LENGTH.get(body[len(_MAGIC) : start])
    if size is None:
        raise _error("another version of the format than 1.0, 2.0 and 3.0")
    length = int.from_bytes(body[start : start + size], "little")
    start += size
    if length > MAX_HEADER_BYTES or start + length > len(body):
        raise _error(f"a header of {length} bytes in {len(body)}")
    header = _parse_header(body[start : start + length].decode("latin-1"))
    start += length
    rest = len(body) - start
    if header.dtype.itemsize * math.prod(header.shape) != rest:
        raise _error(f"a header for {header.dtype} {header.shape} with {rest} bytes after it")
    if rest == 0:
        return np.empty(0, header.dtype)
    numbers = np.frombuffer(body, header.dtype, offset=start)
    return numbers.reshape(header.shape, order="F" if header.is_fortran else "C")


def _parse_header(text: str) -> _Header:
    """Return the three entries of a header, in any order."""
    literal = _HEADER.fullmatch(text)
    entries: dict[str, re.Match[str]] = {}
    content = "" if literal is None else literal[1].rstrip()
    position = 0
    while position < len(content):
        entry = _ENTRY.match(content, position)
        if entry is None or entry[2] in entries:
            break
        entries[entry[2]] = entry
        position = entry.end()
    if position < len(content) or len(entries) < 3:
        raise _error("a header that does not consist of descr, fortran_order and shape")
    descr, is_fortran = entries["descr"][4], entries["fortran_order"][5]
    lengths = entries["shape"][6]
    if descr is None or not _NUMBERS.fullmatch(descr):
        raise _error(f"Python objects or structures, or the data type {descr!a:.20}")
    if is_fortran is None or lengths is None:
        raise _error("a header whose fortran_order is no boolean, or whose shape is no tuple")
    if lengths.strip() and not _LENGTHS.fullmatch(lengths):
        raise _error(f"the shape ({lengths:.40})")
    shape = tuple(int(length) for length in lengths.split(",") if length.strip())
    return _Header(np.dtype(descr), is_fortran == "True", shape)


def _error(received: str) -> InvalidFeaturesError:
    return InvalidFeaturesError("features", "an .npy file with an array of numbers", received)
