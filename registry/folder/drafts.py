"""The metadata of a version being registered, and its comparison with a published version."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from registry.errors import UnreadableArtifactError, VersionExistsError
from registry.folder.atomic_io import sha256_of
from registry.folder.metadata import BYTES_PER_MB, created
from registry.folder.source_files import checked_sources
from registry.outputs import DIRECTION_OUTPUTS, MEANINGS, QUANTILES
from registry.predictors import (
    Declarations,
    check_classes,
    named_label_maps,
    read_declarations,
)
from registry.records import DIRECTIONS, OUTPUTS, ModelMetadata, NumberType
from registry.reference_outputs import ARTIFACT, recorded_meanings
from registry.signatures import manifest

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
    """Return validated metadata that lacks only the artifacts' digests.

    Raises:
        InvalidMetadataError: a field is missing, unknown or of the wrong type.
        UnreadableArtifactError: a file names its classes in another order than the label map, or
            has another number of quantiles than the metadata has levels.
    """
    declared = _declarations(files)
    size_bytes = sum(source.stat().st_size for source in files.values())
    defaults = {
        "output_names": _output_names(declared),
        "label_map": _label_map(declared),
    }
    metadata = created(
        {
            **defaults,
            **fields,
            "name": name,
            "version": version,
            "created_at": now,
            "updated_at": now,
            "model_size_mb": size_bytes / BYTES_PER_MB,
            "reference_outputs": recorded_meanings(files[ARTIFACT]) if ARTIFACT in files else (),
            "input_type": _input_type(declared),
            "artifacts": {},
        },
        f"{name}:{version}",
    )
    for artifact, model in declared.items():
        check_classes(model, metadata.label_map, files[artifact])
        _check_levels(model, metadata, files[artifact])
    return metadata


def _check_levels(declared: Declarations, metadata: ModelMetadata, path: Path) -> None:
    """Check that a file has as many quantiles as the metadata has levels, if it states a number."""
    shapes = {value.name: value.shape for value in declared.outputs}
    shape = shapes.get(metadata.output_names.get(QUANTILES, ""), ())
    levels = metadata.quantile_levels
    if len(shape) == 2 and shape[1] not in (None, len(levels)):
        raise UnreadableArtifactError(
            str(path),
            f"a model of {len(levels)} quantiles, as many as dataset_info has quantile_levels",
            f"its output {metadata.output_names[QUANTILES]} has {shape[1]}; declare their levels",
        )


def _declarations(files: Mapping[str, Path]) -> Mapping[str, Declarations]:
    """Return what the ONNX files among `files` declare, by artifact."""
    models = {artifact: file for artifact, file in files.items() if artifact.endswith(".onnx")}
    found = {artifact: read_declarations(file.read_bytes()) for artifact, file in models.items()}
    return {artifact: model for artifact, model in found.items() if model is not None}


def _input_type(declared: Mapping[str, Declarations]) -> NumberType:
    """Return float64 if a file takes doubles, which must not be rounded."""
    types = {value.type for model in declared.values() for value in model.inputs}
    return "float64" if "float64" in types else "float32"


def _output_names(declared: Mapping[str, Declarations]) -> Mapping[str, str]:
    """Return the outputs of model.onnx that have the name of a meaning, else the usual ones."""
    model = declared.get("model.onnx")
    names = {value.name for value in model.outputs} if model else set()
    found = {meaning: meaning for meaning in MEANINGS if meaning in names}
    is_sufficient = {*DIRECTION_OUTPUTS, "expected_return", QUANTILES} & found.keys()
    return found if is_sufficient else {output: output for output in OUTPUTS}


def _label_map(declared: Mapping[str, Declarations]) -> Mapping[int, str]:
    """Return the label map that model.onnx states by the names of its classes, else the usual."""
    named = named_label_maps(declared.get("model.onnx"))
    return named[0] if named else {index: label for label, index in DIRECTIONS.items()}


MEANING = (
    "input_shape",
    "output_names",
    "label_map",
    "training_params",
    "dataset_info",
    "feature_set",
)
"""The optional fields of a registration that its manifest contains."""


def manifest_of_files(
    name: str, version: str, files: Mapping[str, Path], fields: Mapping[str, Any]
) -> bytes:
    """Return the manifest of files that are to be registered, to be signed by their author.

    Args:
        name: the model's name.
        version: the version.
        files: the file by the name of its artifact.
        fields: the model type, and those of MEANING that the registration will receive.

    Raises:
        InvalidMetadataError: a field is not valid.
        ArtifactError: a file is missing or not accepted; see checked_sources.
        OSError: a file cannot be read.
    """
    with checked_sources(files, "register") as sources:
        draft = draft_metadata(name, version, fields, sources, datetime.now(UTC))
        digests = {artifact: sha256_of(source) for artifact, source in sources.items()}
    return manifest(draft.model_copy(update={"artifacts": digests}))


def check_identical(
    offered: ModelMetadata,
    digests: Mapping[str, str],
    published: ModelMetadata,
    registered: Mapping[str, str],
) -> None:
    """Check that the offered files and their meaning are identical to the published ones.

    Args:
        offered: the metadata offered.
        digests: the sha256 of the offered files by artifact name.
        published: the published metadata.
        registered: the sha256 of the published artifacts, without those added later.

    Raises:
        VersionExistsError: they differ; the error contains both sides.
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
    if _feature_set(offered) != _feature_set(published):
        raise VersionExistsError(
            offered.name,
            offered.version,
            f"feature_set={_feature_set(published)}",
            f"feature_set={_feature_set(offered)}",
        )


def _feature_set(metadata: ModelMetadata) -> str:
    """Return what identifies the feature set of a version; its check may have used other bars."""
    recorded = metadata.feature_set
    return "none" if recorded is None else f"{recorded}, sha256 {recorded.sha256}"


def _digests(artifacts: Mapping[str, str]) -> str:
    return ", ".join(f"{artifact} sha256 {digest}" for artifact, digest in artifacts.items())
