"""The registry's values: versions, their metadata and their history. Performs no IO."""

import math
import re
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Literal, Self, TypeAlias

import semver
from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    JsonValue,
    field_validator,
    model_validator,
)

from registry.errors import InvalidNameError, MissingReferenceError
from registry.feature_sets import FeatureSetRecord, check_input
from registry.outputs import (
    DIRECTION_OUTPUTS,
    MEDIAN,
    QUANTILES,
    check_levels,
    check_output_names,
    output_width,
    quantile_level,
)

SCHEMA_VERSION: Literal[1] = 1

_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)
_ARTIFACT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)

DIRECTIONS: Mapping[str, int] = {"HOLD": 0, "BUY": 1, "SELL": 2}
"""Direction on the wire by label; the same for every model, whatever its own class order."""

NumberType: TypeAlias = Literal["float32", "float64"]
"""The types that the numbers of a window can have."""

OUTPUTS = ("direction_logits", "confidence", "expected_return")
"""The heads of a built-in network; other models may have any outputs of `registry.outputs`."""


class ModelStage(StrEnum):
    """The stages of a version's lifecycle. The values are the names on the wire."""

    NONE = "None"
    STAGING = "Staging"
    PRODUCTION = "Production"
    ARCHIVED = "Archived"


STAGE_NAMES: Mapping[str, ModelStage] = {
    "production": ModelStage.PRODUCTION,
    "staging": ModelStage.STAGING,
}
"""The stages that at most one version holds, by the name that refers to the holder."""


class ModelMetadata(BaseModel):
    """The content of `metadata.json`: everything recorded about one version of a model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = SCHEMA_VERSION
    name: str
    version: str
    stage: ModelStage = ModelStage.NONE
    created_at: datetime
    updated_at: datetime
    description: str = ""
    model_type: str
    """The name of the network class, for example `HybridCNNLSTM`. It may be any word if the version
    has ONNX files only."""
    framework: str = "pytorch"
    metrics: dict[str, FiniteFloat] = Field(default_factory=dict)
    training_params: dict[str, JsonValue] = Field(default_factory=dict)
    dataset_info: dict[str, JsonValue] = Field(default_factory=dict)
    input_shape: tuple[int, ...] = (60, 110)
    """The shape of one sample without the batch axis: (timesteps, features). (features,), of a
    model of flat rows, is stored as (1, features)."""
    input_type: NumberType = "float32"
    """The type of the input that the ONNX file declares. Windows of a float64 model are never
    rounded: requests in another type are rejected."""
    output_names: dict[str, str]
    """The model's output name by meaning; see `registry.outputs`."""
    label_map: dict[int, str]
    """The label (HOLD, BUY or SELL) by the model's class index; two or three classes."""
    model_size_mb: float
    """The total size of the artifacts, in MB (10^6 bytes)."""
    tags: tuple[str, ...] = ()
    artifacts: dict[str, str]
    """The sha256 (hex) of every artifact by file name; entries are added, never changed."""
    derived: dict[str, str] = Field(default_factory=dict)
    """The artifacts that an optimisation added, each with the artifact that it was made from."""
    signatures: dict[str, str] = Field(default_factory=dict)
    """Signatures (base64) over the manifest of the registered artifacts, by the id of the key."""
    derived_signatures: dict[str, str] = Field(default_factory=dict)
    """Signatures (base64) over the manifest that includes the derived artifacts."""
    reference_outputs: tuple[str, ...] = ()
    """The meanings of the training library's outputs in windows.npz, which every artifact must
    return; empty if the file holds none."""
    serving_artifact: str | None = None
    """The artifact that serves; None means model.onnx if it exists, otherwise model.pt."""
    feature_set: FeatureSetRecord | None = None
    """The feature set that computes the version's windows; None if only bots compute them."""
    optimization: dict[str, JsonValue] | None = None
    """The evidence of the last optimisation: measurements, machine and recommendation."""

    @field_validator("label_map")
    @classmethod
    def _names_directions_once(cls, label_map: dict[int, str]) -> dict[int, str]:
        labels = set(label_map.values())
        is_complete = len(labels) in (2, 3) and labels <= set(DIRECTIONS)
        if not is_complete or sorted(label_map) != list(range(len(labels))):
            raise ValueError(
                f"expected class indices 0, 1, 2 (or 0, 1) mapped to different ones of "
                f"{', '.join(DIRECTIONS)}, received {label_map}"
            )
        return label_map

    @field_validator("artifacts")
    @classmethod
    def _are_plain_files(cls, artifacts: dict[str, str]) -> dict[str, str]:
        for artifact in artifacts:
            try:
                check_artifact_name(artifact)
            except InvalidNameError as error:
                raise ValueError(str(error)) from error
        return artifacts

    @field_validator("output_names")
    @classmethod
    def _make_a_prediction(cls, output_names: dict[str, str]) -> dict[str, str]:
        check_output_names(output_names)
        return output_names

    @field_validator("input_shape")
    @classmethod
    def _is_positive(cls, shape: tuple[int, ...]) -> tuple[int, ...]:
        if len(shape) not in (1, 2) or min(shape) < 1:
            raise ValueError(
                f"expected (timesteps, features), or (features,) of flat rows, each at least 1, "
                f"received {shape}"
            )
        return shape if len(shape) == 2 else (1, *shape)

    @model_validator(mode="after")
    def _regressor_has_a_dead_band(self) -> Self:
        band = self.dataset_info.get("dead_band")
        is_number = isinstance(band, int | float) and not isinstance(band, bool)
        if self.is_regressor and not (is_number and 0 < band < math.inf):  # type: ignore[operator]
            raise ValueError(
                f"dataset_info: expected dead_band, the return from which on a regressor's "
                f"prediction is BUY or SELL, a number above 0, received {band!r}"
            )
        return self

    @model_validator(mode="after")
    def _fits_its_feature_set(self) -> Self:
        check_input(self.feature_set, self.input_shape)
        return self

    @model_validator(mode="after")
    def _quantiles_have_levels(self) -> Self:
        if QUANTILES in self.output_names:
            try:
                check_levels(self.dataset_info.get("quantile_levels"))
            except ValueError as error:
                raise ValueError(f"dataset_info: {error}") from error
        return self

    @field_validator("dataset_info")
    @classmethod
    def _declares_missing_values(cls, dataset_info: dict[str, JsonValue]) -> dict[str, JsonValue]:
        declared = dataset_info.get("missing_values", False)
        if not isinstance(declared, bool):
            raise ValueError(f"missing_values: expected true or false, received {declared!r}")  # noqa: TRY004  pydantic converts it
        return dataset_info

    @property
    def accepts_missing(self) -> bool:
        """Whether NaN in a window is a missing value; otherwise such a window is rejected."""
        return self.dataset_info.get("missing_values") is True

    @property
    def is_regressor(self) -> bool:
        """Whether the direction follows from the expected return, for lack of an own output."""
        return not any(meaning in self.output_names for meaning in DIRECTION_OUTPUTS)

    @property
    def dead_band(self) -> float:
        """The return up to which a regressor's prediction is HOLD."""
        return float(self.dataset_info["dead_band"])  # type: ignore[arg-type]

    @property
    def quantile_levels(self) -> tuple[float, ...]:
        """The levels of the return's quantiles, ascending; empty without quantiles."""
        if QUANTILES in self.output_names:
            return check_levels(self.dataset_info["quantile_levels"])
        levels = [level for meaning in self.output_names if (level := quantile_level(meaning))]
        return tuple(sorted([*levels, MEDIAN])) if levels else ()

    @property
    def output_widths(self) -> dict[str, int]:
        """The number of numbers per window of each output, by meaning."""
        classes, levels = len(self.label_map), len(self.quantile_levels)
        return {meaning: output_width(meaning, classes, levels) for meaning in self.output_names}


def check_has_reference(metadata: ModelMetadata) -> None:
    """Raise MissingReferenceError if a version has no outputs of its training library."""
    if not metadata.reference_outputs:
        raise MissingReferenceError(metadata.name, metadata.version)


class Action(StrEnum):
    """The changes to a version. The values are stored in the history file."""

    REGISTERED = "registered"
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled back"
    STAGED = "staged"
    UNSTAGED = "unstaged"
    RETIRED = "retired"
    METRICS_UPDATED = "metrics updated"
    OPTIMIZED = "optimized"
    PINNED = "artifact pinned"
    SIGNED = "signed"
    ACCEPTED = "feature set accepted"
    DELETED = "deleted"


KEEPS_STAGE = frozenset(
    {Action.METRICS_UPDATED, Action.OPTIMIZED, Action.PINNED, Action.SIGNED, Action.ACCEPTED}
)
"""The actions that do not change a version's stage."""


class HistoryEntry(BaseModel):
    """One line of a model's history: a change with its time, author and reason."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    time: AwareDatetime
    action: Action
    version: str
    from_stage: ModelStage | None
    """The stage before the change; None for a registration."""
    to_stage: ModelStage | None
    """The stage after the change; None for a deletion."""
    replaced: str | None = None
    """The version that held the stage until this change."""
    added: tuple[str, ...] = ()
    """The artifacts that this change added to the version."""
    serves: str | None = None
    """The artifact that serves from this change on, if the change selected one."""
    by: str
    reason: str = ""

    @field_validator("by", "reason")
    @classmethod
    def _can_be_written(cls, text: str) -> str:
        text.encode()  # fails for a lone surrogate, which UTF-8 cannot encode
        return text


class Finding(BaseModel):
    """A deviation of the registry's folder from what the registry wrote."""

    model_config = ConfigDict(frozen=True)

    path: str
    """The path relative to the registry's root."""
    problem: str
    """The fact that was found."""
    remedy: str
    """The action that removes the problem."""
    repairable: bool
    """Whether `repair` fixes it; repair never loses data."""


class ModelInfo(BaseModel):
    """One registered version: its metadata and the location of its files."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    metadata: ModelMetadata
    path: Path
    """The version's folder."""

    def artifact_path(self, artifact: str) -> Path:
        """Return the path of an artifact, given a key of `metadata.artifacts`."""
        return self.path / artifact


def check_model_name(name: object) -> str:
    """Return `name` if it is a valid model name.

    Raises:
        InvalidNameError: it is not.
    """
    if not isinstance(name, str) or not _MODEL_NAME.fullmatch(name):
        raise InvalidNameError(
            "model name",
            name,
            "1 to 64 letters, digits, '_' or '-', starting with a letter or digit",
        )
    return name


def check_artifact_name(name: object) -> str:
    """Return `name` if it is a valid file name of an artifact.

    Raises:
        InvalidNameError: it is not, or it is reserved for the registry's own files.
    """
    if (
        not isinstance(name, str)
        or not _ARTIFACT_NAME.fullmatch(name)
        or name in {"metadata.json", "metrics.json"}
    ):
        raise InvalidNameError(
            "artifact name",
            name,
            "a plain file name of at most 64 letters, digits, '_', '-' or '.', not a reserved one",
        )
    return name


def check_version(version: object) -> str:
    """Return `version` if it is a semantic version (semver.org 2.0.0).

    >>> check_version("1.10.0-rc.1")
    '1.10.0-rc.1'
    >>> check_version("latest")
    Traceback (most recent call last):
    registry.errors.versions.InvalidNameError: invalid version 'latest': expected ...

    Raises:
        InvalidNameError: it is not.
    """
    if not isinstance(version, str) or len(version) > 64 or not _is_semantic(version):
        raise InvalidNameError("version", version, "a semantic version such as 1.0.0")
    return version


@cache
def precedence(version: str) -> tuple[object, ...]:
    """Return the sort key of a semantic version (semver.org 2.0.0, item 11).

    A pre-release precedes its release. Numeric identifiers of a pre-release compare as numbers and
    precede words. Build metadata has no precedence; it counts last, only to make the order total.

    >>> sorted(["1.10.0", "1.9.0", "1.10.0-rc.2", "1.10.0-rc.10"], key=precedence)
    ['1.9.0', '1.10.0-rc.2', '1.10.0-rc.10', '1.10.0']
    """
    parsed = semver.Version.parse(version)
    identifiers = tuple(
        (0, int(identifier), "") if identifier.isdigit() else (1, 0, identifier)
        for identifier in (parsed.prerelease or "").split(".")
    )
    is_release = parsed.prerelease is None
    return (*parsed.to_tuple()[:3], is_release, identifiers, parsed.build or "")


@cache
def _is_semantic(version: str) -> bool:
    return semver.Version.is_valid(version)


def check_reference(reference: object) -> str:
    """Return `reference` if it is a semantic version or the name of a stage in STAGE_NAMES.

    >>> check_reference("production")
    'production'
    >>> check_reference("1.0")
    Traceback (most recent call last):
    registry.errors.versions.InvalidNameError: invalid version '1.0': expected ...

    Raises:
        InvalidNameError: it is neither.
    """
    if isinstance(reference, str) and reference in STAGE_NAMES:
        return reference
    try:
        return check_version(reference)
    except InvalidNameError:
        expected = f"a semantic version such as 1.0.0, or {' or '.join(STAGE_NAMES)}"
        raise InvalidNameError("version", reference, expected) from None
