"""Checks of the fields of a JSON object. Pure: no IO."""

from collections.abc import Mapping, Sequence
from typing import Any

from serve_app.data_plane.windows import MAX_SHOWN, describe
from serve_app.errors import InvalidRequestError

MAX_TEXT = 128
"""The largest number of characters of a text."""


def object_fields(what: str, document: object, known: Sequence[str]) -> Mapping[str, Any]:
    """Return the fields of a JSON object.

    Raises:
        InvalidRequestError: the document is not an object, or has a field that is not `known`.
    """
    if not isinstance(document, dict):
        raise InvalidRequestError(what, "a JSON object", describe(document))
    unknown = [name for name in document if name not in known]
    if unknown:
        received = f"{len(unknown)} unknown, the first {unknown[0][:MAX_SHOWN]!a}"
        raise InvalidRequestError(what, f"the fields {', '.join(known)}", received)
    return document


def text_field(fields: Mapping[str, Any], name: str) -> str | None:
    """Return the text in a field; None if the field is absent or null.

    Raises:
        InvalidRequestError: the value is not a text of 1 to MAX_TEXT characters.
    """
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT or not is_unicode(value):
        raise InvalidRequestError(name, f"a text of 1 to {MAX_TEXT} characters", describe(value))
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


def is_unicode(value: str) -> bool:
    """Return whether a text can be encoded: JSON's escapes can spell half a surrogate pair."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
