import pickle

import pytest

from features import errors
from testkit.error_trees import defined_tree, drawn_tree


def test_tree():
    """The module's docstring draws the classes that it defines."""
    assert drawn_tree(errors) == defined_tree(errors)


@pytest.mark.parametrize(
    "error",
    [
        errors.InvalidSymbolError("a b"),
        errors.UnknownTimeframeError("7m", ["1m"]),
        errors.InvalidTimeError("x", "which is not a time"),
        errors.InvalidCalendarError("zone", "an IANA time zone", "Mars"),
        errors.InvalidColumnsError("no columns"),
        errors.UnknownSeriesError("X", "1m", ["Y 1h"]),
        errors.InvalidLabelRuleError("dead_band", "at least 0", "-1"),
        errors.BarFileError("x.csv", "it is empty", "pass another one"),
        errors.MissingPackageError("the database", "psycopg", "postgres"),
        errors.UnknownFeatureSetError("x", ["y"]),
        errors.AmbiguousFeatureSetError("x", ["a:X", "b:X"]),
        errors.BrokenFeatureSetError("x", "a:X", "no module"),
        errors.UnreadableSourceError("a", "no file"),
        errors.InvalidRowsError("x", "rsi is nan"),
        errors.FailedCheckError("x", "rsi differs"),
        errors.NoBarsError("1h", "the log has none"),
        errors.UnusableBarsError("x", "there are none"),
        errors.NoLookbackError("x", 2048, "obv differs"),
        errors.BarLogUrlError("mysql://", "mysql is not supported"),
        errors.NewerBarLogError("sqlite:///x", 2, 1),
        errors.ForeignBarLogError("bars", "sqlite:///x"),
        errors.LockedBarLogError("bars"),
        errors.UnavailableBarLogError("bars", "disk full"),
        errors.DamagedBarLogError("x.parquet", "no magic bytes"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_pickled(error):
    """An error is the same after pickling, and its message has a remedy."""
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))
    assert ";" in str(error)
