"""The feature sets of versions: the record of a checked one, and the comparison with the installed.

A version that names a feature set serves only if that is installed with the recorded source. The
comparison imports nothing, and a trial loads it in a separate process, so that no code of a feature
set runs where versions are loaded.
"""

from collections.abc import Callable

from features import Bars
from features.errors import FailedCheckError, FeaturesError
from features.feature_sets import InstalledFeatureSet, check_feature_set, find_source, trial
from features.times import iso
from registry import trial_run
from registry.errors import ChangedFeatureSetError, MissingFeatureSetError
from registry.feature_sets import FeatureSetRecord
from registry.records import ModelMetadata


def checked_record(
    installed: InstalledFeatureSet, bars: Bars, source: str, seed: int = 0
) -> FeatureSetRecord:
    """Check a feature set on real bars, and return its record for the metadata of a version.

    Args:
        installed: the feature set; see `features.feature_sets.find_feature_set`.
        bars: real bars of its timeframe in ascending order, at least two lookbacks.
        source: the origin of the bars, as a text.
        seed: determines the cut points of the check.

    Raises:
        FailedCheckError: it breaks a rule.
        UnusableBarsError: there are too few bars, or they are not ascending on the grid.
    """
    feature_set = installed.feature_set
    report = check_feature_set(feature_set, bars, seed=seed)
    if report.violation is not None:
        raise FailedCheckError(feature_set.name, str(report.violation))
    first, last = iso(int(bars.time[0])), iso(int(bars.time[-1]))
    return FeatureSetRecord(
        name=feature_set.name,
        version=feature_set.version,
        sha256=installed.source.sha256,
        feature_names=feature_set.feature_names,
        checked_on=(
            f"{len(bars)} bars from {first} to {last} of {source}, {report.cut_points} cut points, "
            f"seed {seed}"
        ),
    )


def require_installed(metadata: ModelMetadata) -> None:
    """Check that the feature set of a version, if it names one, is installed with its source.

    Raises:
        MissingFeatureSetError: it is not installed, or its source cannot be read.
        ChangedFeatureSetError: its source differs.
    """
    recorded = metadata.feature_set
    if recorded is None:
        return
    name, version = metadata.name, metadata.version
    try:
        installed = find_source(recorded.name)
    except FeaturesError as error:
        raise MissingFeatureSetError(name, version, str(recorded), str(error)) from error
    if installed.sha256 != recorded.sha256:
        raise ChangedFeatureSetError(
            name, version, str(recorded), recorded.sha256, installed.sha256
        )


def try_feature_set(metadata: ModelMetadata) -> None:
    """Load the feature set of a version, if it names one, in a separate process.

    Raises:
        MissingFeatureSetError: it is not installed, cannot be loaded, or declares something else.
        ChangedFeatureSetError: its source differs.
    """
    require_installed(metadata)
    recorded = metadata.feature_set
    if recorded is None:
        return
    name, version = metadata.name, metadata.version
    try:
        declared = trial.try_feature_set(recorded.name)
    except FeaturesError as error:
        raise MissingFeatureSetError(name, version, str(recorded), str(error)) from error
    if (declared.version, declared.feature_names) != (recorded.version, recorded.feature_names):
        raise MissingFeatureSetError(
            name,
            version,
            str(recorded),
            f"the installed one is version {declared.version} with {len(declared.feature_names)} "
            f"features, from a source with the same digest; install the packages that it had when "
            f"the version was registered",
        )


def try_out(metadata: ModelMetadata, read: Callable[[str], bytes]) -> None:
    """Check that a version can serve: its feature set loads, and its artifacts run.

    Args:
        metadata: the version's metadata.
        read: returns an artifact's content, given a key of `metadata.artifacts`.

    Raises:
        RegistryError: it cannot.
    """
    try_feature_set(metadata)
    trial_run.try_out(metadata, read)
