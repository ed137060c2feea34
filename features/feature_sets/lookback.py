"""Finds the lookback of features that are computed recursively, such as exponential averages."""

import numpy as np

from features.bars import Bars
from features.errors import NoLookbackError
from features.feature_sets.check_bars import change_bars, require_bars
from features.feature_sets.differences import Difference, find_difference
from features.feature_sets.feature_set import FeatureSet
from features.feature_sets.rows import compute_rows


def find_lookback(
    feature_set: FeatureSet,
    bars: Bars,
    *,
    limit: int = 2048,
    cut_points: int = 1000,
    seed: int = 0,
) -> int:
    """Return the smallest lookback with which rows do not depend on where the bars start.

    A recursive indicator never forgets a bar, but its weight soon falls below what a float32
    shows. The declared lookback is doubled until, at all cut points and the bars after them, the
    rows from the whole history equal bit for bit the rows from bars that start so many bars before,
    and the rows from bars that are changed before that as by the check. Bisection then finds the
    smallest one.

    Equal rows at the cut points do not exclude another rounding at other bars: declare half as many
    bars more than the result, and check the feature set with them.

    Args:
        feature_set: the feature set, with the smallest lookback that `compute` accepts.
        bars: real bars of its timeframe in ascending order, more than two limits.
        limit: the longest lookback to try.
        cut_points: the number of bars at which rows are compared; all with twice the limit before
            them if there are fewer.
        seed: determines the cut points.

    Raises:
        UnusableBarsError: there are too few bars, or they are not ascending on the grid.
        InvalidRowsError: `compute` failed or returned invalid rows.
        NoLookbackError: the rows depend on where the bars start even with the limit.
    """
    limit = max(limit, feature_set.lookback)
    require_bars(feature_set, bars, 2 * limit + 1)
    whole = compute_rows(feature_set, bars)
    random = np.random.default_rng(seed)
    cuts = random.permutation(np.arange(2 * limit, len(bars)))[:cut_points].tolist()

    def difference_at(cut: int, lookback: int) -> Difference | None:
        row, stop = cut - feature_set.lookback + 1, min(cut + lookback, len(bars))
        recent = bars.take(slice(cut - lookback + 1, stop))
        longer = bars.take(slice(cut - 2 * lookback + 1, stop))
        changed = change_bars(longer, slice(lookback), feature_set.timeframe, random)
        for known in (recent, changed):
            found = find_difference(
                whole[row : row + stop - cut],
                compute_rows(feature_set, known)[cut - stop :],
                bars.time[cut:stop],
                feature_set.feature_names,
            )
            if found is not None:
                return found
        return None

    def difference_with(lookback: int) -> Difference | None:
        for position, cut in enumerate(cuts):
            found = difference_at(cut, lookback)
            if found is not None:
                # The next lookback probably fails at this cut point as well.
                cuts.insert(0, cuts.pop(position))
                return found
        return None

    too_short, lookback = feature_set.lookback - 1, feature_set.lookback
    while (found := difference_with(lookback)) is not None:
        if lookback == limit:
            raise NoLookbackError(feature_set.name, limit, str(found))
        too_short, lookback = lookback, min(2 * lookback, limit)
    while lookback - too_short > 1:
        middle = (too_short + lookback) // 2
        if difference_with(middle) is None:
            lookback = middle
        else:
            too_short = middle
    return lookback
