"""The keys of which one must have signed every version that is registered or enters a stage."""

import json
from collections.abc import Collection

from registry.errors import InvalidMetadataError, StorageError
from registry.folder import atomic_io
from registry.layout import Layout
from registry.signatures import check_key_id


def read_trusted_keys(layout: Layout) -> tuple[str, ...]:
    """Return the ids of the trusted keys, none if no signature is required.

    Raises:
        InvalidMetadataError: the file was modified externally; nothing is accepted until it is
            restored.
    """
    path = layout.trusted_keys()
    try:
        document = json.loads(atomic_io.read_file(path))
        return tuple(check_key_id(str(key_id)) for key_id in _list(document))
    except FileNotFoundError:
        return ()
    except ValueError as error:
        problem = f"{error}; restart the server, which writes it from require_signature"
        raise InvalidMetadataError(str(path), problem) from error


def write_trusted_keys(layout: Layout, key_ids: Collection[str]) -> None:
    """Replace the ids of the trusted keys; with none, no signature is required.

    Raises:
        StorageError: the file cannot be written.
    """
    path = layout.trusted_keys()
    if tuple(key_ids) == _present(layout):
        return
    try:
        if key_ids:
            atomic_io.write_file(path, json.dumps(list(key_ids)).encode() + b"\n")
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError.of(path, error) from error


def _present(layout: Layout) -> tuple[str, ...] | None:
    try:
        return read_trusted_keys(layout)
    except InvalidMetadataError:
        return None


def _list(document: object) -> list[object]:
    if not isinstance(document, list) or not document:
        raise ValueError("expected a list of key ids")
    return document
