"""Errors of a version's files and of the models in them."""

from collections.abc import Sequence
from pathlib import Path

from registry.errors.base import RegistryError


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
            f"{self.changed_directions} directions change; convert a scikit-learn, LightGBM, "
            f"XGBoost or CatBoost model with modelctl convert, which names the option that is "
            f"lost, and export a network again from the weights that returned these outputs"
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
