"""The registry's values: what a version is and what is known of it. No IO here."""

import re
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Literal

import semver
from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator

from registry.errors import InvalidNameError

SCHEMA_VERSION: Literal[1] = 1

_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)
_ARTIFACT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)

DIRECTIONS: Mapping[str, int] = {"HOLD": 0, "BUY": 1, "SELL": 2}
"""Direction on the wire by label, the same for every model whatever its own class order."""


OUTPUTS = ("direction_logits", "confidence", "expected_return")
"""What a prediction is made of; the metadata says by which name a model gives each."""


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
    """Name of the network class, for example `HybridCNNLSTM`."""
    framework: str = "pytorch"
    metrics: dict[str, float] = Field(default_factory=dict)
    training_params: dict[str, JsonValue] = Field(default_factory=dict)
    dataset_info: dict[str, JsonValue] = Field(default_factory=dict)
    input_shape: tuple[int, ...] = (60, 110)
    """Shape of one sample, without the batch axis: (timesteps, features)."""
    output_names: dict[str, str] = Field(default_factory=dict)
    """Name of the model's output by its meaning: direction_logits, confidence, expected_return."""
    label_map: dict[int, str] = Field(default_factory=dict)
    """HOLD, BUY or SELL by the model's class index."""
    model_size_mb: float
    tags: tuple[str, ...] = ()
    artifacts: dict[str, str]
    """sha256 (hex) of every artifact by its file name."""

    @field_validator("label_map")
    @classmethod
    def _names_every_direction_once(cls, label_map: dict[int, str]) -> dict[int, str]:
        if sorted(label_map) != [0, 1, 2] or set(label_map.values()) != set(DIRECTIONS):
            raise ValueError(
                f"expected class indices 0, 1, 2 mapped to {', '.join(DIRECTIONS)}, "
                f"received {label_map}"
            )
        return label_map

    @field_validator("input_shape")
    @classmethod
    def _is_positive(cls, shape: tuple[int, ...]) -> tuple[int, ...]:
        if len(shape) != 2 or min(shape) < 1:
            raise ValueError(f"expected (timesteps, features), both at least 1, received {shape}")
        return shape


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
    if not isinstance(version, str) or len(version) > 64 or not semver.Version.is_valid(version):
        raise InvalidNameError("version", version, "a semantic version such as 1.0.0")
    return version


def precedence(version: str) -> semver.Version:
    """Sort key of a semantic version: 1.10.0 after 1.9.0, a pre-release before its release."""
    return semver.Version.parse(version)


def check_reference(reference: object) -> str:
    """Return `reference` if it is a semantic version or a stage's name, else raise."""
    if isinstance(reference, str) and reference in STAGE_NAMES:
        return reference
    try:
        return check_version(reference)
    except InvalidNameError:
        expected = f"a semantic version such as 1.0.0, or {' or '.join(STAGE_NAMES)}"
        raise InvalidNameError("version", reference, expected) from None
