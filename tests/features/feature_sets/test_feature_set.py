"""What a feature set declares."""

import pytest

from features.feature_sets.feature_set import find_declaration_problem
from testkit.feature_sets import ToyFeatureSet, change_and_volume


def toy(**changes):
    return ToyFeatureSet(function=change_and_volume, **changes)


def test_valid():
    """An instance with all members is a feature set."""
    assert find_declaration_problem(toy()) is None
    assert find_declaration_problem(toy(version="2.0.1+cpu", lookback=1)) is None


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (ToyFeatureSet, "expected an instance"),
        (change_and_volume, "expected an instance"),
        (None, "expected an instance"),
        (toy(name=""), "a name of 1 to 64"),
        (toy(name="a/b"), "a name of 1 to 64"),
        (toy(name="a\n"), "a name of 1 to 64"),
        (toy(version=1), "a version of 1 to 64"),
        (toy(version="v" * 65), "a version of 1 to 64"),
        (toy(timeframe="1h"), "a Timeframe"),
        (toy(lookback=0), "at least 1 bar, received 0"),
        (toy(lookback=2.0), "at least 1 bar"),
        (toy(lookback=True), "at least 1 bar"),
        (toy(feature_names=["a"]), "a tuple of at least one text"),
        (toy(feature_names=()), "a tuple of at least one text"),
        (toy(feature_names=("a", 1)), "a tuple of at least one text"),
    ],
)
def test_invalid(value, problem):
    """Each member is checked."""
    assert problem in find_declaration_problem(value)
