"""Metadata of a version that is being registered, and its comparison with a published one."""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from registry.errors import InvalidMetadataError, VersionExistsError
from registry.folder.reader import sentence
from registry.records import DIRECTIONS, OUTPUTS, ModelMetadata

BYTES_PER_MB = 1_000_000

_IMMUTABLE_FIELDS = (
    "model_type",
    "framework",
    "training_params",
    "dataset_info",
    "input_shape",
    "output_names",
    "label_map",
)


def draft_metadata(
    name: str, version: str, fields: Mapping[str, Any], files: Mapping[str, Path], now: datetime
) -> ModelMetadata:
    """Return validated metadata in which only the artifacts' digests are missing.

    Raises:
        InvalidMetadataError: a field is missing, unknown or of the wrong kind.
    """
    size_bytes = sum(source.stat().st_size for source in files.values())
    defaults = {
        "output_names": {output: output for output in OUTPUTS},
        "label_map": {index: label for label, index in DIRECTIONS.items()},
    }
    try:
        metadata = ModelMetadata.model_validate(
            {
                **defaults,
                **fields,
                "name": name,
                "version": version,
                "created_at": now,
                "updated_at": now,
                "model_size_mb": size_bytes / BYTES_PER_MB,
                "artifacts": {},
            }
        )
    except ValidationError as error:
        raise InvalidMetadataError(f"{name}:{version}", sentence(error)) from error
    refuse_unwritable(metadata)
    return metadata


def refuse_unwritable(metadata: ModelMetadata) -> None:
    """Return if the metadata comes back from JSON as it is.

    Raises:
        InvalidMetadataError: NaN or infinity, which would come back as null, or a lone surrogate.
    """
    values = metadata.model_dump(exclude={"created_at", "updated_at"})
    try:
        json.dumps(values, allow_nan=False, ensure_ascii=False).encode()
        ModelMetadata.model_validate_json(metadata.model_dump_json())
    except ValueError as error:
        problem = f"expected finite numbers, and text that UTF-8 can write: {error}"
        where = f"{metadata.name}:{metadata.version}"
        raise InvalidMetadataError(where, ascii(problem)[1:-1]) from None


def refuse_other_content(
    offered: ModelMetadata,
    digests: Mapping[str, str],
    published: ModelMetadata,
    registered: Mapping[str, str],
) -> None:
    """Return if what is offered is what is published: the files, and what they mean.

    `registered` are the published artifacts without those that joined the version later.

    Raises:
        VersionExistsError: it differs; both sides are shown.
    """
    if digests != registered:
        raise VersionExistsError(
            offered.name, offered.version, _digests(registered), _digests(digests)
        )
    differing = [
        field for field in _IMMUTABLE_FIELDS if getattr(offered, field) != getattr(published, field)
    ]
    if differing:
        raise VersionExistsError(
            offered.name,
            offered.version,
            "; ".join(f"{field}={getattr(published, field)}" for field in differing),
            "; ".join(f"{field}={getattr(offered, field)}" for field in differing),
        )


def _digests(artifacts: Mapping[str, str]) -> str:
    return ", ".join(f"{artifact} sha256 {digest}" for artifact, digest in artifacts.items())
