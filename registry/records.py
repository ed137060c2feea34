"""The registry's values: what a version is and what is known of it. No IO here."""

import re
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Literal

import semver
from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    JsonValue,
    field_validator,
)

from registry.errors import InvalidNameError
from registry.outputs import check_output_names

SCHEMA_VERSION: Literal[1] = 1

_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)
_ARTIFACT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)

DIRECTIONS: Mapping[str, int] = {"HOLD": 0, "BUY": 1, "SELL": 2}
"""Direction on the wire by label, the same for every model whatever its own class order."""


OUTPUTS = ("direction_logits", "confidence", "expected_return")
"""The heads of a network of ours; other models give what `registry.outputs` allows."""


class ModelStage(StrEnum):
    """Where a version stands in its life. The values are what goes over the wire."""

    NONE = "None"
    STAGING = "Staging"
    PRODUCTION = "Production"
    ARCHIVED = "Archived"


STAGE_NAMES: Mapping[str, ModelStage] = {
    "production": ModelStage.PRODUCTION,
    "staging": ModelStage.STAGING,
}
"""The stages that one version at a time holds, by the name that refers to their holder."""


class ModelMetadata(BaseModel):
    """What `metadata.json` holds about one version of a model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = SCHEMA_VERSION
    name: str
    version: str
    stage: ModelStage = ModelStage.NONE
    created_at: datetime
    updated_at: datetime
    description: str = ""
    model_type: str
    """Name of the network class, for example `HybridCNNLSTM`; any word for a version with ONNX
    files alone."""
    framework: str = "pytorch"
    metrics: dict[str, FiniteFloat] = Field(default_factory=dict)
    training_params: dict[str, JsonValue] = Field(default_factory=dict)
    dataset_info: dict[str, JsonValue] = Field(default_factory=dict)
    input_shape: tuple[int, ...] = (60, 110)
    """Shape of one sample, without the batch axis: (timesteps, features)."""
    output_names: dict[str, str]
    """Name of the model's output by its meaning: direction_logits, confidence, expected_return."""
    label_map: dict[int, str]
    """HOLD, BUY or SELL by the model's class index."""
    model_size_mb: float
    tags: tuple[str, ...] = ()
    artifacts: dict[str, str]
    """sha256 (hex) of every artifact by its file name; names are added, never changed."""
    serving_artifact: str | None = None
    """Which artifact serves, by name; None: model.onnx where there is one, else model.pt."""
    optimization: dict[str, JsonValue] | None = None
    """Evidence of the last optimisation: what was measured, where, and what was recommended."""

    @field_validator("label_map")
    @classmethod
    def _names_every_direction_once(cls, label_map: dict[int, str]) -> dict[int, str]:
        if sorted(label_map) != [0, 1, 2] or set(label_map.values()) != set(DIRECTIONS):
            raise ValueError(
                f"expected class indices 0, 1, 2 mapped to {', '.join(DIRECTIONS)}, "
                f"received {label_map}"
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
        if len(shape) != 2 or min(shape) < 1:
            raise ValueError(f"expected (timesteps, features), both at least 1, received {shape}")
        return shape


class Action(StrEnum):
    """What can happen to a version."""

    REGISTERED = "registered"
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled back"
    STAGED = "staged"
    UNSTAGED = "unstaged"
    RETIRED = "retired"
    METRICS_UPDATED = "metrics updated"
    OPTIMIZED = "optimized"
    PINNED = "artifact pinned"
    DELETED = "deleted"


KEEPS_STAGE = frozenset({Action.METRICS_UPDATED, Action.OPTIMIZED, Action.PINNED})
"""Actions that leave a version in its stage."""


class HistoryEntry(BaseModel):
    """One line of a model's history: what happened, when, by whom and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    time: AwareDatetime
    action: Action
    version: str
    from_stage: ModelStage | None
    """None for a registration."""
    to_stage: ModelStage | None
    """None for a deletion."""
    replaced: str | None = None
    """The version that held the stage until then."""
    added: tuple[str, ...] = ()
    """Artifacts that came to the version."""
    serves: str | None = None
    """The artifact that serves since then, where that was decided."""
    by: str
    reason: str = ""

    @field_validator("by", "reason")
    @classmethod
    def _can_be_written(cls, text: str) -> str:
        text.encode()  # a lone surrogate is no character
        return text


class Finding(BaseModel):
    """Something in the registry's folder that should not be so."""

    model_config = ConfigDict(frozen=True)

    path: str
    """Below the registry's root."""
    problem: str
    remedy: str
    repairable: bool
    """Whether `repair` mends it without losing anything."""


class ModelInfo(BaseModel):
    """One registered version: its metadata and where its files lie."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    metadata: ModelMetadata
    path: Path
    """The version's folder."""

    def artifact_path(self, artifact: str) -> Path:
        """Return where the artifact `artifact` (a key of `metadata.artifacts`) lies."""
        return self.path / artifact


def check_model_name(name: object) -> str:
    """Return `name` if it may name a model, else raise InvalidNameError."""
    if not isinstance(name, str) or not _MODEL_NAME.fullmatch(name):
        raise InvalidNameError(
            "model name",
            name,
            "1 to 64 letters, digits, '_' or '-', beginning with a letter or digit",
        )
    return name


def check_artifact_name(name: object) -> str:
    """Return `name` if it may name an artifact file, else raise InvalidNameError."""
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
    """Return `version` if it is a semantic version (semver.org 2.0.0), else raise."""
    if not isinstance(version, str) or len(version) > 64 or not _is_semantic(version):
        raise InvalidNameError("version", version, "a semantic version such as 1.0.0")
    return version


@cache
def precedence(version: str) -> tuple[object, ...]:
    """Sort key of a semantic version (semver.org 2.0.0, item 11): 1.10.0 after 1.9.0.

    A pre-release comes before its release; its identifiers compare as numbers where they are
    numbers, and these come before words. Build metadata counts last, for a fixed order only.
    """
    parsed = semver.Version.parse(version)
    identifiers = tuple(
        (0, int(each), "") if each.isdigit() else (1, 0, each)
        for each in (parsed.prerelease or "").split(".")
    )
    is_release = parsed.prerelease is None
    return (*parsed.to_tuple()[:3], is_release, identifiers, parsed.build or "")


@cache
def _is_semantic(version: str) -> bool:
    return semver.Version.is_valid(version)


def check_reference(reference: object) -> str:
    """Return `reference` if it is a semantic version or a stage's name, else raise."""
    if isinstance(reference, str) and reference in STAGE_NAMES:
        return reference
    try:
        return check_version(reference)
    except InvalidNameError:
        expected = f"a semantic version such as 1.0.0, or {' or '.join(STAGE_NAMES)}"
        raise InvalidNameError("version", reference, expected) from None
