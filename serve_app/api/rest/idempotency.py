"""The header by which a client repeats a command safely. Pure: no IO.

Its name and its meaning follow draft-ietf-httpapi-idempotency-key-header.
"""

from typing import Any

from starlette.requests import Request

from serve_app.api.rest.fields import MAX_TEXT
from serve_app.data_plane.windows import describe
from serve_app.errors import InvalidRequestError

HEADER = "Idempotency-Key"

PARAMETER: dict[str, Any] = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": "The same value for every attempt of one command: it is executed once.",
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_TEXT, "pattern": "^[!-~]+$"},
}
"""The header in the OpenAPI document."""


def key_of(request: Request) -> str | None:
    """Return the key of a command; None without one.

    Raises:
        InvalidRequestError: there are several, or one that is not 1 to MAX_TEXT printable
            characters of ASCII.
    """
    keys = request.headers.getlist(HEADER)
    if not keys:
        return None
    key = keys[0]
    is_text = key.isascii() and key.isprintable() and " " not in key
    if len(keys) > 1 or not 0 < len(key) <= MAX_TEXT or not is_text:
        expected = f"one header of 1 to {MAX_TEXT} printable characters of ASCII, such as a UUID"
        raise InvalidRequestError(HEADER, expected, describe(key) if len(keys) == 1 else "several")
    return key
