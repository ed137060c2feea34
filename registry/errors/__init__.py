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
    ├── UnreadablePathError         this user may not read a file or folder, or the disk fails
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
    ├── FeatureSetMismatchError
    │   ├── MissingFeatureSetError  the feature set of a version is not installed
    │   └── ChangedFeatureSetError  the source of the installed one is not that of the version's
    └── InputShapeError             the input's shape differs from the model's

Errors carry data, can be rebuilt from `args` after pickling, and are independent of HTTP.
"""

from registry.errors.artifacts import (
    ArtifactError,
    CorruptArtifactError,
    MissingArtifactError,
    MissingReferenceError,
    ReferenceMismatchError,
    TrialLimitError,
    UnreadableArtifactError,
    UnusableModelError,
)
from registry.errors.base import (
    RegistryError,
)
from registry.errors.feature_sets import (
    ChangedFeatureSetError,
    FeatureSetMismatchError,
    MissingFeatureSetError,
)
from registry.errors.libraries import (
    AmbiguousArchitectureError,
    ArchitectureError,
    BrokenArchitectureError,
    InputShapeError,
    MissingPackageError,
    NoGpuError,
    UnknownArchitectureError,
)
from registry.errors.signatures import (
    SignatureError,
    SigningKeyError,
)
from registry.errors.storage import (
    StorageError,
    UnreadablePathError,
    UnsafePathError,
)
from registry.errors.versions import (
    DeletedVersionError,
    EmptyStageError,
    InvalidMetadataError,
    InvalidNameError,
    NothingToRollBackError,
    SchemaVersionError,
    StageHeldError,
    UnknownModelError,
    UnknownVersionError,
    VersionExistsError,
)

__all__ = [
    "AmbiguousArchitectureError",
    "ArchitectureError",
    "ArtifactError",
    "BrokenArchitectureError",
    "ChangedFeatureSetError",
    "CorruptArtifactError",
    "DeletedVersionError",
    "EmptyStageError",
    "FeatureSetMismatchError",
    "InputShapeError",
    "InvalidMetadataError",
    "InvalidNameError",
    "MissingArtifactError",
    "MissingFeatureSetError",
    "MissingPackageError",
    "MissingReferenceError",
    "NoGpuError",
    "NothingToRollBackError",
    "ReferenceMismatchError",
    "RegistryError",
    "SchemaVersionError",
    "SignatureError",
    "SigningKeyError",
    "StageHeldError",
    "StorageError",
    "TrialLimitError",
    "UnknownArchitectureError",
    "UnknownModelError",
    "UnknownVersionError",
    "UnreadableArtifactError",
    "UnreadablePathError",
    "UnsafePathError",
    "UnusableModelError",
    "VersionExistsError",
]
