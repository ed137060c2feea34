"""Reads a JSON document front to back, and stops at the first deviation from what is expected.

A value is read only after its name has been accepted, every byte is visited a bounded number of
times, and no library's parser receives more than PIECE_BYTES at once: simdjson needs 9 ms for
32 KiB of numbers with many digits. Pure: no IO.
"""

import json
import re
from collections.abc import Iterator

import orjson

from serve_app.api.rest.slices import Steps
from serve_app.data_plane.windows import describe
from serve_app.errors import InvalidRequestError, MalformedJsonError

PIECE_BYTES = 32 * 1024
"""The most that a library's parser receives at once."""

MAX_VALUE_BYTES = 4096
"""The longest value other than an array of numbers; 128 characters, all escaped, take 768."""

MAX_DEPTH = 64
"""The deepest nesting of a value."""

MAX_SPACE = 4096
"""The most white space between two tokens."""

_SPACE = rb"[ \t\n\r]{0,%d}+" % MAX_SPACE
_STRING = rb'"[^"\\\x00-\x1f]*+(?:\\[^\x00-\x1f][^"\\\x00-\x1f]*+)*+"'
_SPACES = re.compile(_SPACE)
_NAME = re.compile(rb"(" + _STRING + rb")" + _SPACE + rb":" + _SPACE)
_AFTER_OPENING = re.compile(rb"[\[{]" + _SPACE + rb"([\]}])?+")
_AFTER_VALUE = re.compile(_SPACE + rb"([,\]}])" + _SPACE)
_SCALAR = re.compile(_STRING + rb"|[-+.0-9A-Za-z]++")
_TOKEN = re.compile(rb"[\[\]{}]|" + _STRING + rb'|"')
_CLOSING = {b"{": b"}", b"[": b"]"}


class JsonReader:
    """A position in a document, and the readers of what may follow it.

    The literals NaN and Infinity, and halves of surrogate pairs, are accepted, so that a later
    check can name the field. The methods raise MalformedJsonError if the document is not JSON.
    """

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.position = 0
        self.skip_space()

    def is_at(self, byte: bytes) -> bool:
        """Return whether `byte` is next."""
        return self.body.startswith(byte, self.position)

    def skip_space(self) -> None:
        """Move past white space."""
        space = _SPACES.match(self.body, self.position)
        assert space is not None
        self.position = space.end()

    def members(self, what: str) -> Iterator[str]:
        """Yield the names of an object; the caller reads each value before the next name.

        Args:
            what: names the object in an error.

        Raises:
            InvalidRequestError: the next value is not an object.
        """
        if not self.is_at(b"{"):
            raise InvalidRequestError(what, "a JSON object", describe(self.value(what)))
        is_last = self.opens_empty(b"}")
        while not is_last:
            yield self._name()
            is_last = self.ends(b"}")

    def items(self, name: str, expected: str) -> Iterator[int]:
        """Yield the indices of a list; the caller reads each item before the next index.

        Args:
            name: names the list in an error.
            expected: describes the list in an error.

        Raises:
            InvalidRequestError: the next value is not a list.
        """
        if not self.is_at(b"["):
            raise InvalidRequestError(name, expected, describe(self.value(name)))
        is_last = self.opens_empty(b"]")
        index = 0
        while not is_last:
            yield index
            is_last = self.ends(b"]")
            index += 1

    def value(self, name: str) -> object:
        """Return a value of at most MAX_VALUE_BYTES.

        Args:
            name: names the value in an error.

        Raises:
            InvalidRequestError: the value is longer, or nested more than MAX_DEPTH deep.
        """
        start, limit = self.position, self.position + MAX_VALUE_BYTES
        scalar = _SCALAR.match(self.body, start, limit)
        end = self._end_within(limit) if scalar is None or scalar.end() == limit else scalar.end()
        if end is None:
            expected = f"a value of at most {MAX_VALUE_BYTES} bytes"
            raise InvalidRequestError(name, expected, f"a longer one at byte {start}")
        value = self._load(self.body[start:end])
        self.position = end
        return value

    def skip(self) -> Steps[None]:
        """Move past a value of any size without reading it; only brackets and texts are matched."""
        if self.is_at(b"[") or self.is_at(b"{"):
            yield from self._skip_until([])
            return
        end = self._end_within(self.position + PIECE_BYTES)
        if end is None:
            raise _too_long(self.position)
        self.position = end

    def skip_rest(self) -> Steps[None]:
        """Move past the rest of the object in which the position is, like `skip`."""
        yield from self._skip_until([b"}"])

    def comma_after_space(self, position: int) -> bool:
        """Return whether white space and then a comma follow at an offset."""
        end = _AFTER_VALUE.match(self.body, position)
        return end is not None and end[1] == b","

    def finish(self) -> None:
        """Check that nothing follows but white space."""
        self.skip_space()
        if self.position < len(self.body):
            raise self.malformed("the end")

    def opens_empty(self, closing: bytes) -> bool:
        """Move past an opening bracket; return whether the closing one follows, and past it."""
        opening = _AFTER_OPENING.match(self.body, self.position)
        assert opening is not None
        self.position = opening.end()
        if opening[1] is None:
            return False
        if opening[1] != closing:
            self.position -= 1
            raise self.malformed("a value")
        return True

    def ends(self, closing: bytes) -> bool:
        """Move past what follows a value: a comma, or the `closing` bracket.

        Returns:
            Whether it was the bracket.
        """
        end = _AFTER_VALUE.match(self.body, self.position)
        if end is None or end[1] not in (b",", closing):
            raise self.malformed(f"',' or '{closing.decode()}'")
        self.position = end.end()
        return end[1] == closing

    def malformed(self, expected: str) -> MalformedJsonError:
        """Return the error for a document that does not continue as expected."""
        next_bytes = self.body[self.position : self.position + 1]
        received = repr(next_bytes)[1:] if next_bytes else "the end"
        return MalformedJsonError(
            f"expected {expected} at byte {self.position}, received {received}"
        )

    def _load(self, token: bytes) -> object:
        """Return the value in a few bytes, which are those at the position."""
        try:
            return orjson.loads(token)
        except orjson.JSONDecodeError as error:
            problem = f"{error.msg} at byte {self.position + error.pos}"
        try:
            return json.loads(token.decode())
        except ValueError:
            raise MalformedJsonError(problem) from None

    def _name(self) -> str:
        limit = self.position + MAX_VALUE_BYTES
        text = _NAME.match(self.body, self.position, limit)
        if text is None:
            if self.is_at(b'"') and limit < len(self.body):
                raise _too_long(self.position)
            raise self.malformed("a name in double quotes and ':'")
        name = self._load(text[1])
        self.position = text.end()
        assert isinstance(name, str)
        return name

    def _skip_until(self, opened: list[bytes]) -> Steps[None]:
        """Move past the last of the closing brackets in `opened`, or past the next value."""
        position, is_started = self.position, bool(opened)
        while opened or not is_started:
            scanned = self._scan(position, position + PIECE_BYTES, opened)
            if opened and scanned == position:
                raise _too_long(position)
            position, is_started = scanned, True
            yield
        self.position = position

    def _end_within(self, limit: int) -> int | None:
        """Return the end of the next value; None if it is not before `limit`."""
        is_cut = limit < len(self.body)
        if self.is_at(b"[") or self.is_at(b"{"):
            opened = list[bytes]()
            end = self._scan(self.position, limit, opened)
            return None if opened else end
        scalar = _SCALAR.match(self.body, self.position, limit)
        if scalar is not None and not (is_cut and scalar.end() == limit):
            return scalar.end()
        if is_cut and (scalar is not None or self.is_at(b'"')):
            return None
        raise self.malformed("a value")

    def _scan(self, start: int, limit: int, opened: list[bytes]) -> int:
        """Match brackets from `start` on, and keep the closing ones that are missing in `opened`.

        Returns:
            The end of the value if `opened` is empty, otherwise the offset at which to continue,
            which is `start` if a text is longer than the limit.
        """
        for token in _TOKEN.finditer(self.body, start, limit):
            text = token.group()
            if text in _CLOSING:
                opened.append(_CLOSING[text])
                if len(opened) > MAX_DEPTH:
                    expected = f"values nested at most {MAX_DEPTH} deep"
                    raise InvalidRequestError("request", expected, "deeper ones")
            elif text == b'"':  # the end of this text is beyond the limit
                self._check_is_cut(limit, "the end of a text")
                return token.start()
            elif len(text) == 1:
                if text != opened.pop():
                    self.position = token.start()
                    raise self.malformed("another closing bracket")
                if not opened:
                    return token.end()
        self._check_is_cut(limit, "a closing bracket")
        return limit

    def _check_is_cut(self, limit: int, expected: str) -> None:
        if limit >= len(self.body):
            self.position = len(self.body)
            raise self.malformed(expected)


def _too_long(position: int) -> InvalidRequestError:
    expected = f"names and texts of at most {MAX_VALUE_BYTES} bytes"
    return InvalidRequestError("request", expected, f"a longer one at byte {position}")
