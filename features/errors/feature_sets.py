"""Errors of feature sets."""

from collections.abc import Sequence

from features.errors.base import FeaturesError


class FeatureSetError(FeaturesError):
    """Base class of the errors of feature sets."""


class UnknownFeatureSetError(FeatureSetError):
    """No installed distribution declares the feature set."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(name, tuple(known))
        self.name, self.known = name, tuple(known)

    def __str__(self) -> str:
        return (
            f"unknown feature set {self.name[:80]!r}, known: {', '.join(self.known) or 'none'}; "
            f"install the distribution that declares it by an entry point in the group "
            f"tradeserve.feature_sets"
        )


class AmbiguousFeatureSetError(FeatureSetError):
    """Several installed distributions declare the feature set."""

    def __init__(self, name: str, origins: Sequence[str]) -> None:
        super().__init__(name, tuple(origins))
        self.name, self.origins = name, tuple(origins)

    def __str__(self) -> str:
        return (
            f"the feature set {self.name!r} is declared {len(self.origins)} times: "
            f"{', '.join(self.origins)}; uninstall all of these distributions but one"
        )


class BrokenFeatureSetError(FeatureSetError):
    """The entry point cannot be imported, or names no feature set."""

    def __init__(self, name: str, origin: str, problem: str) -> None:
        super().__init__(name, origin, problem)
        self.name, self.origin, self.problem = name, origin, problem

    def __str__(self) -> str:
        return (
            f"cannot use the feature set {self.name!r}, {self.origin}: {self.problem}; repair or "
            f"reinstall this distribution"
        )


class UnreadableSourceError(FeatureSetError):
    """The source of a feature set cannot be read."""

    def __init__(self, module: str, problem: str) -> None:
        super().__init__(module, problem)
        self.module, self.problem = module, problem

    def __str__(self) -> str:
        return (
            f"cannot read the source of the module {self.module}: {self.problem}; install its "
            f"distribution with its source files"
        )


class InvalidRowsError(FeatureSetError):
    """The feature set failed, or returned invalid rows."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(name, problem)
        self.name, self.problem = name, problem

    def __str__(self) -> str:
        return (
            f"the feature set {self.name!r} computed no valid rows: {self.problem}; correct its "
            f"compute, which returns finite float32 of the shape (bars - lookback + 1, features)"
        )


class FailedCheckError(FeatureSetError):
    """The feature set breaks a rule that every feature set keeps."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(name, problem)
        self.name, self.problem = name, problem

    def __str__(self) -> str:
        return (
            f"the feature set {self.name!r} failed its check: {self.problem}; correct its compute "
            f"or its lookback, and repeat the check with modelctl features check {self.name}"
        )


class UnusableBarsError(FeatureSetError):
    """The feature set cannot be checked on these bars."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(name, problem)
        self.name, self.problem = name, problem

    def __str__(self) -> str:
        return (
            f"cannot check the feature set {self.name!r} on these bars: {self.problem}; pass more "
            f"real bars of its timeframe, sorted by time"
        )


class NoBarsError(FeatureSetError):
    """There are no bars on which a feature set can be checked."""

    def __init__(self, timeframe: str, problem: str) -> None:
        super().__init__(timeframe, problem)
        self.timeframe, self.problem = timeframe, problem

    def __str__(self) -> str:
        return (
            f"expected real bars of the timeframe {self.timeframe} to check the feature set, "
            f"received none: {self.problem}; pass a CSV or Parquet file with --bars, or the folder "
            f"of a bar log with --bar-log"
        )


class NoLookbackError(FeatureSetError):
    """The rows of a feature set depend on where the bars start."""

    def __init__(self, name: str, limit: int, problem: str) -> None:
        super().__init__(name, limit, problem)
        self.name, self.limit, self.problem = name, limit, problem

    def __str__(self) -> str:
        return (
            f"the rows of the feature set {self.name!r} depend on where the bars start even with "
            f"{self.limit} bars: {self.problem}; replace this feature by one with a finite "
            f"lookback, or raise the limit"
        )
