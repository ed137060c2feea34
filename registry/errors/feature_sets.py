"""Errors of the feature sets that compute the windows of versions."""

from registry.errors.base import RegistryError


class FeatureSetMismatchError(RegistryError):
    """Base class of the errors of a version whose feature set is not the installed one."""


class MissingFeatureSetError(FeatureSetMismatchError):
    """The feature set of a version is not installed, or cannot be used."""

    def __init__(self, model: str, version: str, feature_set: str, problem: str) -> None:
        super().__init__(model, version, feature_set, problem)
        self.model, self.version = model, version
        self.feature_set, self.problem = feature_set, problem

    def __str__(self) -> str:
        return (
            f"{self.model}:{self.version} does not serve without its feature set "
            f"{self.feature_set}: {self.problem}"
        )


class ChangedFeatureSetError(FeatureSetMismatchError):
    """The source of the installed feature set is not that of the version's."""

    def __init__(
        self, model: str, version: str, feature_set: str, expected: str, received: str
    ) -> None:
        super().__init__(model, version, feature_set, expected, received)
        self.model, self.version, self.feature_set = model, version, feature_set
        self.expected, self.received = expected, received

    def __str__(self) -> str:
        return (
            f"{self.model}:{self.version} does not serve with another source of its feature set "
            f"{self.feature_set}: expected sha256 {self.expected[:12]}…, installed is "
            f"{self.received[:12]}…; install the distribution with which it was trained, or, if "
            f"the change does not alter its rows, accept the installed one with modelctl features "
            f"accept {self.model} {self.version}"
        )
