"""The installed feature sets, each provided by an entry point.

A distribution declares its feature sets in its pyproject.toml:

    [project.entry-points."tradeserve.feature_sets"]
    acme_hourly = "acme.features:HOURLY"

The value names an instance, whose `name` is that of the entry point. Only feature sets that an
installed distribution declares are imported: a model's files name one of them and cannot contain
their own.
"""

from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

from features.errors import (
    AmbiguousFeatureSetError,
    BrokenFeatureSetError,
    UnknownFeatureSetError,
)
from features.feature_sets.feature_set import FeatureSet, find_declaration_problem
from features.feature_sets.source import SourceDigest, digest_source

ENTRY_POINT_GROUP = "tradeserve.feature_sets"


@dataclass(frozen=True, slots=True)
class InstalledFeatureSet:
    """A feature set, with its origin."""

    feature_set: FeatureSet
    """The feature set."""
    origin: str
    """The entry point and the distribution that declares it."""
    source: SourceDigest
    """The digest of its source."""


def feature_set_names() -> list[str]:
    """Return the names of all declared feature sets, without importing any."""
    return sorted(entry_points(group=ENTRY_POINT_GROUP).names)


def find_feature_set(name: str) -> InstalledFeatureSet:
    """Return the installed feature set with a name.

    Raises:
        UnknownFeatureSetError: no installed distribution declares it.
        AmbiguousFeatureSetError: it is declared more than once.
        BrokenFeatureSetError: it cannot be imported, or is no feature set of this name.
        UnreadableSourceError: its source cannot be read.
    """
    entry = _find_entry(name)
    feature_set = _load(entry)
    return InstalledFeatureSet(feature_set, _origin(entry), digest_source(entry.module))


def find_source(name: str) -> SourceDigest:
    """Return the digest of an installed feature set, without importing it.

    Raises:
        UnknownFeatureSetError: no installed distribution declares it.
        AmbiguousFeatureSetError: it is declared more than once.
        UnreadableSourceError: its source cannot be read.
    """
    return digest_source(_find_entry(name).module)


def _find_entry(name: str) -> EntryPoint:
    found = [entry for entry in entry_points(group=ENTRY_POINT_GROUP) if entry.name == name]
    if not found:
        raise UnknownFeatureSetError(name, feature_set_names())
    if len(found) > 1:
        raise AmbiguousFeatureSetError(name, [_origin(entry) for entry in found])
    return found[0]


def _load(entry: EntryPoint) -> FeatureSet:
    try:
        loaded = entry.load()
        problem = find_declaration_problem(loaded)
    # The import runs the distribution's code, which may raise any error.
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
        raise BrokenFeatureSetError(entry.name, _origin(entry), problem) from error
    if problem is None and loaded.name != entry.name:
        problem = f"expected the name of the entry point, received the name {loaded.name!r}"
    if problem is not None:
        raise BrokenFeatureSetError(entry.name, _origin(entry), problem)
    feature_set: FeatureSet = loaded
    return feature_set


def _origin(entry: EntryPoint) -> str:
    distribution = entry.dist
    if distribution is None:
        return entry.value
    return f"{entry.value} of the distribution {distribution.name} {distribution.version}"
