"""Feature sets: pure functions from bars to rows, found by entry point and checked on real bars."""

from features.feature_sets.catalogue import (
    ENTRY_POINT_GROUP,
    InstalledFeatureSet,
    feature_set_names,
    find_feature_set,
    find_source,
)
from features.feature_sets.checks import CheckReport, Rule, Violation, check_feature_set
from features.feature_sets.differences import Difference
from features.feature_sets.feature_set import FeatureSet, PanelFeatureSet
from features.feature_sets.lookback import find_lookback
from features.feature_sets.rows import Rows, compute_last_rows, compute_rows
from features.feature_sets.source import SourceDigest, digest_source

__all__ = [
    "ENTRY_POINT_GROUP",
    "CheckReport",
    "Difference",
    "FeatureSet",
    "InstalledFeatureSet",
    "PanelFeatureSet",
    "Rows",
    "Rule",
    "SourceDigest",
    "Violation",
    "check_feature_set",
    "compute_last_rows",
    "compute_rows",
    "digest_source",
    "feature_set_names",
    "find_feature_set",
    "find_lookback",
    "find_source",
]
