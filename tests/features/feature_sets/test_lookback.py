"""The lookback of recursive features."""

import numpy as np
import pytest

from features.errors import InvalidRowsError, NoLookbackError, UnusableBarsError
from features.feature_sets import check_feature_set, find_lookback
from testkit.feature_sets import ToyFeatureSet, random_bars

BARS = random_bars(1400)
LIMIT = 512


def average(share):
    """Return a function that computes an exponential average over all bars that it receives."""

    def compute(bars):
        values, last = [], bars.close[0]
        for close in bars.close.tolist():
            last += share * (close - last)
            values.append(last)
        return np.array(values)

    return compute


def recursive(column, lookback=1):
    return ToyFeatureSet(
        function=lambda bars: column(bars)[lookback - 1 :].astype(np.float32)[:, None],
        lookback=lookback,
        feature_names=("average",),
    )


def find(feature_set, **options):
    return find_lookback(feature_set, BARS, **({"limit": LIMIT, "cut_points": 100} | options))


def test_recursive():
    """The lookback of an exponential average is found; one bar less is too short."""
    found = find(recursive(average(0.3)))
    # 0.7 ** 36 is 3e-6: times a change of some per cent, it is a unit of a float32's last place.
    assert 20 < found < 70
    assert check_feature_set(recursive(average(0.3), 2 * found), BARS).is_passed
    assert not check_feature_set(recursive(average(0.3), found // 2), BARS).is_passed


def test_slower():
    """A slower average needs a longer lookback, one that never forgets has none."""
    assert find(recursive(average(0.1))) > 2 * find(recursive(average(0.3)))
    with pytest.raises(NoLookbackError, match="even with 512 bars: average of the bar") as caught:
        find(recursive(lambda bars: np.cumsum(bars.volume)))
    assert caught.value.limit == LIMIT


def test_finite():
    """A declared lookback that suffices is found, and it is never undercut."""
    assert find(recursive(lambda bars: bars.close)) == 1
    assert find(recursive(lambda bars: bars.close, 5)) == 5


@pytest.mark.parametrize("lookback", [2, 3, 4, 7, 100, 511, 512])
def test_exact(lookback):
    """The lookback of a feature that needs exactly so many bars is found."""

    def oldest(bars):
        return np.append(np.full(lookback - 1, -1.0), bars.close)[: len(bars)]

    assert find(recursive(oldest), cut_points=20) == lookback


def test_beyond_limit():
    """A lookback beyond the limit is rejected."""

    def oldest(bars):
        return np.append(np.full(LIMIT, -1.0), bars.close)[: len(bars)]

    with pytest.raises(NoLookbackError):
        find(recursive(oldest))


def test_too_few_bars():
    """The bars must contain twice the limit before a cut point."""
    with pytest.raises(UnusableBarsError, match="at least 1401 bars, received 1400"):
        find(recursive(average(0.3)), limit=700)


def test_invalid_rows():
    """Invalid rows are an error, not a lookback."""
    with pytest.raises(InvalidRowsError, match="is nan"):
        find(recursive(lambda bars: np.full(len(bars), np.nan)))
