"""Validation of metadata, and its form on disk. Pure."""

import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from registry.errors import InvalidMetadataError, SchemaVersionError
from registry.folder.json_values import with_json_values
from registry.records import SCHEMA_VERSION, ModelMetadata

BYTES_PER_MB = 1_000_000


def dump(metadata: ModelMetadata) -> bytes:
    """Return the content of the metadata file."""
    return metadata.model_dump_json(indent=2).encode() + b"\n"


def parse(content: bytes, file: Path | str, name: str, version: str) -> ModelMetadata:
    """Return the metadata in the content of `file`, which must be that of `name` and `version`.

    Raises:
        SchemaVersionError: another version of this software wrote it.
        InvalidMetadataError: it does not conform to the schema, or belongs to another version.
    """
    try:
        metadata = ModelMetadata.model_validate_json(content)
    except ValidationError as error:
        _check_schema(file, content)
        raise InvalidMetadataError(str(file), describe(error)) from error
    if (metadata.name, metadata.version) != (name, version):
        found = f"{metadata.name}:{metadata.version}"
        raise InvalidMetadataError(str(file), f"expected {name}:{version}, found {found}")
    return metadata


def update(metadata: ModelMetadata, **changes: object) -> ModelMetadata:
    """Return validated metadata with the changed fields.

    Raises:
        InvalidMetadataError: a value does not conform to the schema or cannot be written.
    """
    return created({**metadata.model_dump(), **changes}, f"{metadata.name}:{metadata.version}")


def created(fields: Mapping[str, object], where: str) -> ModelMetadata:
    """Return validated metadata of `where`, a version, with the values of libraries as JSON.

    Raises:
        InvalidMetadataError: a field is missing, unknown, or has a value that cannot be written.
    """
    try:
        metadata = ModelMetadata.model_validate(with_json_values(fields))
    except ValidationError as error:
        raise InvalidMetadataError(where, describe(error)) from error
    except ValueError as error:  # of with_json_values
        raise InvalidMetadataError(where, str(error)) from error
    check_writable(metadata)
    return metadata


def check_writable(metadata: ModelMetadata) -> None:
    """Check that writing the metadata as JSON and reading it back loses nothing.

    Raises:
        InvalidMetadataError: it contains NaN or infinity, which JSON turns into null, or a lone
            surrogate, which UTF-8 cannot encode.
    """
    values = metadata.model_dump(exclude={"created_at", "updated_at"})
    try:
        json.dumps(values, allow_nan=False, ensure_ascii=False).encode()
        ModelMetadata.model_validate_json(metadata.model_dump_json())
    except ValueError as error:
        problem = f"expected finite numbers and text that UTF-8 can encode: {error}"
        where = f"{metadata.name}:{metadata.version}"
        raise InvalidMetadataError(where, ascii(problem)[1:-1]) from None


def describe(error: ValidationError) -> str:
    """Return pydantic's findings as one line, each with its field and problem."""
    return "; ".join(
        f"{'.'.join(map(str, item['loc'])) or 'document'}: {item['msg']}" for item in error.errors()
    )


def _check_schema(file: Path | str, content: bytes) -> None:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return  # not JSON at all, which is the better reason
    if not isinstance(document, dict):
        return
    found = document.get("schema_version", SCHEMA_VERSION)
    if found != SCHEMA_VERSION:
        raise SchemaVersionError(str(file), SCHEMA_VERSION, found)
