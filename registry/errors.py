"""The registry's errors, as one tree.

    RegistryError
    ├── InvalidNameError            a model name, version or artifact name is not valid
    ├── InvalidMetadataError        metadata cannot be written, or cannot be read from disk
    │   └── SchemaVersionError      metadata was written by another version of this software
    ├── UnknownModelError           the model does not exist
    ├── UnknownVersionError         the model exists, the version does not
    ├── EmptyStageError             no version of the model is in the stage
    ├── VersionExistsError          a published version is immutable
    ├── DeletedVersionError         the number of a deleted version cannot be reused
    ├── StageHeldError              the operation would leave a stage without its version
    ├── NothingToRollBackError      no earlier production version is left
    ├── StorageError                the disk is full, read-only, or fails
    ├── UnsafePathError             a link or special file is in the place of a file or folder
    ├── ArtifactError
    │   ├── MissingArtifactError    the file does not exist
    │   ├── CorruptArtifactError    the file's sha256 differs from the recorded one
    │   ├── UnreadableArtifactError the file does not have its declared format
    │   ├── UnusableModelError      the model loads, but its outputs are not a prediction
    │   ├── ReferenceMismatchError  the model's outputs differ from those of its training library
    │   ├── MissingReferenceError   the version has no reference outputs, and they are mandatory
    │   └── TrialLimitError         the model takes too much time or memory in its trial run
    ├── SignatureError              a version is not signed with a key that is required
    ├── SigningKeyError             a file contains no key to sign with
    ├── MissingPackageError         the library that runs the artifact is not installed
    ├── NoGpuError                  the library that runs the artifact finds no GPU
    ├── ArchitectureError
    │   ├── UnknownArchitectureError    no network class has that model type
    │   ├── AmbiguousArchitectureError  several network classes have that model type
    │   └── BrokenArchitectureError     an installed network class cannot be used
    └── InputShapeError             the input's shape differs from the model's

Errors carry data, can be rebuilt from `args` after pickling, and are independent of HTTP.
"""

from collections.abc import Sequence
from pathlib import Path


class RegistryError(Exception):
    """Base class of all errors of the registry."""


class InvalidNameError(RegistryError):
    """A model name, version, artifact name or other argument is not valid."""

    def __init__(self, kind: str, value: object, expected: str) -> None:
        super().__init__(kind, value, expected)
        self.kind, self.value, self.expected = kind, value, expected

    def __str__(self) -> str:
        return f"invalid {self.kind} {self.value!r}: expected {self.expected}"


class InvalidMetadataError(RegistryError):
    """Metadata does not conform to the schema."""

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(where, problem)
        self.where, self.problem = where, problem

    def __str__(self) -> str:
        return f"metadata of {self.where} is invalid: {self.problem}"


class SchemaVersionError(InvalidMetadataError):
    """Metadata has a schema version that this software does not support."""

    def __init__(self, where: str, expected: int, received: object) -> None:
        super().__init__(where, f"expected schema version {expected}, received {received!r}")
        self.args = (where, expected, received)
        self.expected, self.received = expected, received

    def __str__(self) -> str:
        return f"{super().__str__()}; read it with the software that wrote it"


class UnknownModelError(RegistryError):
    """No model with that name is registered."""

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
    """No version of the model is in the stage."""

    def __init__(self, model: str, stage: str) -> None:
        super().__init__(model, stage)
        self.model, self.stage = model, stage

    def __str__(self) -> str:
        return (
            f"model {self.model!r} has no {self.stage} version; "
            f"set one with set_model_stage or promote_to_production"
        )


class VersionExistsError(RegistryError):
    """The version is already published with different content."""

    def __init__(self, model: str, version: str, published: str, offered: str) -> None:
        super().__init__(model, version, published, offered)
        self.model, self.version = model, version
        self.published, self.offered = published, offered

    def __str__(self) -> str:
        return (
            f"version {self.version} of model {self.model!r} is already published and immutable "
            f"(published {self.published}, offered {self.offered}); register a new version instead"
        )


class DeletedVersionError(RegistryError):
    """The version was deleted; its number is never reused, since replicas may still serve it."""

    def __init__(self, model: str, version: str, when: str, by: str) -> None:
        super().__init__(model, version, when, by)
        self.model, self.version, self.when, self.by = model, version, when, by

    def __str__(self) -> str:
        return (
            f"version {self.version} of model {self.model!r} was deleted at {self.when} by "
            f"{self.by}, and its number cannot be reused; register a new version"
        )


class StageHeldError(RegistryError):
    """The operation is not allowed while the version is in its stage."""

    def __init__(self, model: str, version: str, stage: str, operation: str) -> None:
        super().__init__(model, version, stage, operation)
        self.model, self.version, self.stage, self.operation = model, version, stage, operation

    def __str__(self) -> str:
        remedy = {
            "Production": "promote another version first",
            "Staging": "set another stage first",
        }[self.stage]
        return (
            f"cannot {self.operation} version {self.version} of model {self.model!r}: "
            f"it is in {self.stage}; {remedy}"
        )


class NothingToRollBackError(RegistryError):
    """No version was in production before the current one, or all of those are gone."""

    def __init__(self, model: str, current: str | None) -> None:
        super().__init__(model, current)
        self.model, self.current = model, current

    def __str__(self) -> str:
        return (
            f"cannot roll back model {self.model!r}: no production version before "
            f"{self.current or 'the first'} is left; promote a version instead"
        )


class StorageError(RegistryError):
    """A file operation failed; the registry is unchanged."""

    def __init__(self, where: Path | str, problem: str) -> None:
        super().__init__(where, problem)
        self.where, self.problem = where, problem

    def __str__(self) -> str:
        return (
            f"cannot write below {self.where}: {self.problem}; nothing was changed; "
            f"free disk space or grant the permission, then retry"
        )


class UnsafePathError(RegistryError):
    """A link or special file is where the registry expects a regular file or folder."""

    def __init__(self, path: Path | str) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return (
            f"{self.path} is a link, which may lead out of the registry, or not a regular file or "
            f"folder; replace it with the regular one"
        )


class ArtifactError(RegistryError):
    """Base class of all errors of model files."""


class MissingArtifactError(ArtifactError):
    """A model file does not exist."""

    def __init__(self, path: Path | str, expected: str) -> None:
        super().__init__(path, expected)
        self.path, self.expected = path, expected

    def __str__(self) -> str:
        return f"no file at {self.path}: expected {self.expected}"


class CorruptArtifactError(ArtifactError):
    """The content of a model file differs from the registered content."""

    def __init__(self, path: Path | str, expected_sha256: str, actual_sha256: str) -> None:
        super().__init__(path, expected_sha256, actual_sha256)
        self.path = path
        self.expected_sha256, self.actual_sha256 = expected_sha256, actual_sha256

    def __str__(self) -> str:
        return (
            f"{self.path} was modified after registration: expected sha256 "
            f"{self.expected_sha256}, found {self.actual_sha256}; restore the file or register "
            f"a new version"
        )


class UnreadableArtifactError(ArtifactError):
    """A model file does not have its declared format."""

    def __init__(self, path: Path | str, expected: str, problem: str) -> None:
        super().__init__(path, expected, problem)
        self.path, self.expected, self.problem = path, expected, problem

    def __str__(self) -> str:
        return f"cannot load {self.path} as {self.expected}: {self.problem}"


class UnusableModelError(ArtifactError):
    """A model loads, but does not run, or its outputs are not a prediction."""

    def __init__(self, path: Path | str, problem: str) -> None:
        super().__init__(path, problem)
        self.path, self.problem = path, problem

    def __str__(self) -> str:
        return (
            f"{self.path} gives no usable prediction: {self.problem}; correct the model or its "
            f"metadata and register a new version"
        )


class ReferenceMismatchError(ArtifactError):
    """An artifact's outputs differ from the outputs that its training library recorded."""

    def __init__(
        self,
        path: Path | str,
        windows: int,
        differing: int,
        rows: Sequence[int],
        output: str,
        largest: float,
        row: int,
        allowed: float,
        changed_directions: int,
    ) -> None:
        rows = tuple(rows)
        super().__init__(
            path, windows, differing, rows, output, largest, row, allowed, changed_directions
        )
        self.path, self.windows, self.differing, self.rows = path, windows, differing, rows
        self.output, self.largest, self.row, self.allowed = output, largest, row, allowed
        self.changed_directions = changed_directions

    def __str__(self) -> str:
        rows = ", ".join(map(str, self.rows)) + (", …" if self.differing > len(self.rows) else "")
        return (
            f"{self.path} does not return the reference outputs in windows.npz: {self.differing} "
            f"of {self.windows} windows differ (rows {rows or 'none'}), {self.output} by up to "
            f"{self.largest:.3g} in row {self.row}, expected at most {self.allowed:.3g}, and "
            f"{self.changed_directions} directions change; convert the trained model with "
            f"modelctl convert, which names the option that is lost"
        )


class MissingReferenceError(ArtifactError):
    """A version has no reference outputs, and a setting makes them mandatory."""

    def __init__(self, model: str, version: str) -> None:
        super().__init__(model, version)
        self.model, self.version = model, version

    def __str__(self) -> str:
        return (
            f"{self.model}:{self.version} has no reference outputs, which are mandatory: expected "
            f"the training library's outputs in windows.npz; convert the trained model with "
            f"modelctl convert and register the result as a new version"
        )


class TrialLimitError(ArtifactError):
    """A model takes more time or memory to load or to run than a trial run allows."""

    def __init__(self, path: Path | str, limit: str) -> None:
        super().__init__(path, limit)
        self.path, self.limit = path, limit

    def __str__(self) -> str:
        return (
            f"the trial run of {self.path} was stopped: expected at most {self.limit}, and it took "
            f"more; correct or reduce the model and register a new version"
        )


class SignatureError(RegistryError):
    """A version has no valid signature by a key that is required."""

    def __init__(self, version: str, expected: str, received: str) -> None:
        super().__init__(version, expected, received)
        self.version, self.expected, self.received = version, expected, received

    def __str__(self) -> str:
        return (
            f"{self.version} is not accepted: expected {self.expected}, received {self.received}; "
            f"compare the files with their source, then sign them with modelctl sign, or with "
            f"--sign-with when they are added"
        )


class SigningKeyError(RegistryError):
    """A file contains no private key to sign with."""

    def __init__(self, path: Path | str, problem: str) -> None:
        super().__init__(path, problem)
        self.path, self.problem = path, problem

    def __str__(self) -> str:
        return (
            f"cannot use {self.path} as a signing key: {self.problem}; expected an Ed25519 private "
            f"key in PEM without a password: create one in a new file with modelctl key create"
        )


class MissingPackageError(RegistryError):
    """The library that runs the artifact is not installed."""

    def __init__(self, path: Path | str, package: str, extra: str) -> None:
        super().__init__(path, package, extra)
        self.path, self.package, self.extra = path, package, extra

    def __str__(self) -> str:
        return (
            f"cannot run {self.path} without {self.package}; "
            f"install it: pip install 'tradeserve[{self.extra}]'"
        )


class NoGpuError(RegistryError):
    """A model is configured to run on a GPU, but the library that runs it finds none."""

    def __init__(self, path: Path | str, library: str, problem: str) -> None:
        super().__init__(path, library, problem)
        self.path, self.library, self.problem = path, library, problem

    def __str__(self) -> str:
        return (
            f"cannot run {self.path} on a GPU: {self.library} finds no usable GPU "
            f"({self.problem}); set num_gpus: 0 to run it on the CPU"
        )


class ArchitectureError(RegistryError):
    """Base class of all errors of model types."""


class UnknownArchitectureError(ArchitectureError):
    """No network class has that model type."""

    def __init__(self, model_type: str, known: Sequence[str]) -> None:
        super().__init__(model_type, tuple(known))
        self.model_type, self.known = model_type, tuple(known)

    def __str__(self) -> str:
        return (
            f"unknown model type {self.model_type!r}; known: {', '.join(self.known)}; install "
            f"others as entry points of the group tradeserve.architectures"
        )


class AmbiguousArchitectureError(ArchitectureError):
    """Several network classes have that model type."""

    def __init__(self, model_type: str, sources: Sequence[str]) -> None:
        super().__init__(model_type, tuple(sources))
        self.model_type, self.sources = model_type, tuple(sources)

    def __str__(self) -> str:
        return (
            f"model type {self.model_type!r} is ambiguous: it names {' and '.join(self.sources)}; "
            f"rename the entry point or uninstall its distribution"
        )


class BrokenArchitectureError(ArchitectureError):
    """The network class of that model type cannot be used."""

    def __init__(self, model_type: str, source: str, problem: str) -> None:
        super().__init__(model_type, source, problem)
        self.model_type, self.source, self.problem = model_type, source, problem

    def __str__(self) -> str:
        return (
            f"model type {self.model_type!r} of {self.source} cannot be used: {self.problem}; "
            f"correct the distribution that provides it"
        )


class InputShapeError(RegistryError):
    """The input's shape differs from the shape that the model expects."""

    def __init__(self, expected: str, received: Sequence[int]) -> None:
        super().__init__(expected, tuple(received))
        self.expected, self.received = expected, tuple(received)

    def __str__(self) -> str:
        return f"wrong input shape: expected {self.expected}, received {self.received}"
