"""Everything that the registry refuses, as one tree.

    RegistryError
    ├── InvalidNameError            a model name, version or artifact name breaks the rules
    ├── InvalidMetadataError        metadata that cannot be written, or read from disk
    ├── UnknownModelError           no such model
    ├── UnknownVersionError         the model exists, the version does not
    ├── EmptyStageError             no version of the model holds that stage
    ├── VersionExistsError          a published version is immutable
    ├── ProductionVersionError      the production version cannot be archived; promote another first
    ├── ArtifactError
    │   ├── MissingArtifactError    the file is not there
    │   ├── CorruptArtifactError    the file's sha256 is not the recorded one
    │   └── UnreadableArtifactError the file is not what its format promises
    ├── UnknownArchitectureError    no network class goes by that model type
    └── InputShapeError             an array of another shape than the model takes

Errors carry data, rebuild after pickling from `args`, and know nothing of HTTP.
"""

from collections.abc import Sequence
from pathlib import Path


class RegistryError(Exception):
    """Base of everything raised by the registry."""


class InvalidNameError(RegistryError):
    """A model name, version or artifact name that the registry does not accept."""

    def __init__(self, kind: str, value: object, expected: str) -> None:
        super().__init__(kind, value, expected)
        self.kind, self.value, self.expected = kind, value, expected

    def __str__(self) -> str:
        return f"invalid {self.kind} {self.value!r}: expected {self.expected}"


class InvalidMetadataError(RegistryError):
    """Metadata that does not follow the schema."""

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(where, problem)
        self.where, self.problem = where, problem

    def __str__(self) -> str:
        return f"metadata of {self.where} is invalid: {self.problem}"


class UnknownModelError(RegistryError):
    """No model of that name is registered."""

    def __init__(self, model: str, known: Sequence[str]) -> None:
        super().__init__(model, tuple(known))
        self.model, self.known = model, tuple(known)

    def __str__(self) -> str:
        known = ", ".join(self.known) or "none"
        return f"no model {self.model!r} in the registry; registered models: {known}"


class UnknownVersionError(RegistryError):
    """The model has no such version."""

    def __init__(self, model: str, version: str, known: Sequence[str]) -> None:
        super().__init__(model, version, tuple(known))
        self.model, self.version, self.known = model, version, tuple(known)

    def __str__(self) -> str:
        known = ", ".join(self.known) or "none"
        return f"model {self.model!r} has no version {self.version!r}; its versions: {known}"


class EmptyStageError(RegistryError):
    """No version of the model holds the stage."""

    def __init__(self, model: str, stage: str) -> None:
        super().__init__(model, stage)
        self.model, self.stage = model, stage

    def __str__(self) -> str:
        return (
            f"model {self.model!r} has no {self.stage} version; "
            f"set one with set_model_stage or promote_to_production"
        )


class VersionExistsError(RegistryError):
    """The version is published already, with other content."""

    def __init__(self, model: str, version: str, published: str, offered: str) -> None:
        super().__init__(model, version, published, offered)
        self.model, self.version = model, version
        self.published, self.offered = published, offered

    def __str__(self) -> str:
        return (
            f"version {self.version} of model {self.model!r} is already published and immutable "
            f"(published {self.published}, offered {self.offered}); register a new version instead"
        )


class ProductionVersionError(RegistryError):
    """The operation is not allowed on the version in production."""

    def __init__(self, model: str, version: str, operation: str) -> None:
        super().__init__(model, version, operation)
        self.model, self.version, self.operation = model, version, operation

    def __str__(self) -> str:
        return (
            f"cannot {self.operation} version {self.version} of model {self.model!r}: "
            f"it is in production; promote another version first"
        )


class ArtifactError(RegistryError):
    """Base of what can be wrong with a model file."""


class MissingArtifactError(ArtifactError):
    """A model file that should be there is not."""

    def __init__(self, path: Path | str, expected: str) -> None:
        super().__init__(path, expected)
        self.path, self.expected = path, expected

    def __str__(self) -> str:
        return f"no file at {self.path}: expected {self.expected}"


class CorruptArtifactError(ArtifactError):
    """A model file whose content is not what was registered."""

    def __init__(self, path: Path | str, expected_sha256: str, actual_sha256: str) -> None:
        super().__init__(path, expected_sha256, actual_sha256)
        self.path = path
        self.expected_sha256, self.actual_sha256 = expected_sha256, actual_sha256

    def __str__(self) -> str:
        return (
            f"{self.path} was changed after it was registered: expected sha256 "
            f"{self.expected_sha256}, found {self.actual_sha256}; restore the file or register "
            f"a new version"
        )


class UnreadableArtifactError(ArtifactError):
    """A model file that does not hold what its format promises."""

    def __init__(self, path: Path | str, expected: str, problem: str) -> None:
        super().__init__(path, expected, problem)
        self.path, self.expected, self.problem = path, expected, problem

    def __str__(self) -> str:
        return f"cannot load {self.path} as {self.expected}: {self.problem}"


class UnknownArchitectureError(RegistryError):
    """No network class is known by that model type."""

    def __init__(self, model_type: str, known: Sequence[str]) -> None:
        super().__init__(model_type, tuple(known))
        self.model_type, self.known = model_type, tuple(known)

    def __str__(self) -> str:
        return f"unknown model type {self.model_type!r}; known: {', '.join(self.known)}"


class InputShapeError(RegistryError):
    """An input of another shape than the model takes."""

    def __init__(self, expected: str, received: Sequence[int]) -> None:
        super().__init__(expected, tuple(received))
        self.expected, self.received = expected, tuple(received)

    def __str__(self) -> str:
        return f"wrong input shape: expected {self.expected}, received {self.received}"
