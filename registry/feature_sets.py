"""The feature set of a version, as its metadata records it. Performs no IO."""

from collections import Counter
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator


class FeatureSetRecord(BaseModel):
    """The feature set that computes the windows of a version, and the bars on which it passed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=64)]
    """The name of its entry point."""
    version: Annotated[str, Field(min_length=1, max_length=64)]
    """Its version."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """The digest of its source (hex), which the installed one must have."""
    feature_names: Annotated[tuple[str, ...], Field(min_length=1)]
    """The names of its features, in the order of the model's input."""
    checked_on: Annotated[str, Field(min_length=1)]
    """The bars on which it passed its check, as a text."""

    @field_validator("feature_names")
    @classmethod
    def _are_unique(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        repeated = [name for name, count in Counter(names).items() if count > 1]
        if repeated:
            raise ValueError(f"expected unique names, received {repeated[0]!r} more than once")
        return names

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    @property
    def meaning(self) -> dict[str, str | list[str]]:
        """What decides the values of a window: all but the evidence."""
        return {
            "name": self.name,
            "version": self.version,
            "sha256": self.sha256,
            "feature_names": list(self.feature_names),
        }


def check_input(feature_set: FeatureSetRecord | None, input_shape: tuple[int, ...]) -> None:
    """Check that a model takes as many features as its feature set has.

    Raises:
        ValueError: it does not.
    """
    if feature_set is not None and len(feature_set.feature_names) != input_shape[-1]:
        raise ValueError(
            f"feature_set: expected a model of {len(feature_set.feature_names)} features, as many "
            f"as {feature_set} has, received the input_shape {input_shape}"
        )
