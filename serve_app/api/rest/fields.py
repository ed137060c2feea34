"""Checks of the fields of a JSON object. Pure: no IO."""

import re
from collections.abc import Container, Mapping, Sequence
from typing import Any

from serve_app.data_plane.windows import MAX_SHOWN, describe
from serve_app.errors import InvalidRequestError

MAX_TEXT = 128
"""The largest number of characters of a text."""


_UNUSABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def check_name(what: str, name: str, known: Sequence[str], read: Container[str]) -> None:
    """Check the name of a field before its value is read.

    Args:
        what: names the object in an error.
        name: the name.
        known: the names that the object may have.
        read: the names of the object that precede this one.

    Raises:
        InvalidRequestError: the name is unknown, or occurs twice.
    """
    if name not in known:
        received = f"the unknown {name[:MAX_SHOWN]!a}"
        raise InvalidRequestError(what, f"the fields {', '.join(known)}", received)
    if name in read:
        raise InvalidRequestError(name, "one value", "several")


def object_fields(what: str, document: object, known: Sequence[str]) -> Mapping[str, Any]:
    """Return the fields of a JSON object.

    Raises:
        InvalidRequestError: the document is not an object, or has a field that is not `known`.
    """
    if not isinstance(document, dict):
        raise InvalidRequestError(what, "a JSON object", describe(document))
    for name in document:
        check_name(what, name, known, ())
    return document


def text_field(fields: Mapping[str, Any], name: str) -> str | None:
    """Return the text in a field; None if the field is absent or null.

    Raises:
        InvalidRequestError: the value is not a text of 1 to MAX_TEXT characters, or contains
            control characters or half of a surrogate pair.
    """
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT or not is_printable(value):
        expected = f"a text of 1 to {MAX_TEXT} characters, none of them a control character"
        raise InvalidRequestError(name, expected, describe(value))
    return value


def required_text(fields: Mapping[str, Any], name: str, expected: str) -> str:
    """Return the text in a field that must be present.

    Raises:
        InvalidRequestError: the value is absent, null, or not a text of 1 to MAX_TEXT characters.
    """
    value = text_field(fields, name)
    if value is None:
        raise InvalidRequestError(name, expected, "nothing")
    return value


def flag_field(fields: Mapping[str, Any], name: str) -> bool:
    """Return the boolean in a field; False if the field is absent or null.

    Raises:
        InvalidRequestError: the value is not a boolean.
    """
    value = fields.get(name)
    if value is not None and not isinstance(value, bool):
        raise InvalidRequestError(name, "true or false", describe(value))
    return bool(value)


def is_printable(value: str) -> bool:
    """Return whether a text has neither control characters nor halves of surrogate pairs.

    JSON's escapes can spell both. Databases reject NUL, encoders reject the halves, and the other
    control characters would forge lines of a log.
    """
    return value.isprintable() or _UNUSABLE.search(value) is None
